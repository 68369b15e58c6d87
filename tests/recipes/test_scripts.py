"""Shell functions of the shipped recipes, run by bash alone."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from engine.core.loader import load_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "buildArch.toml"


def test_phases_have_their_times_in_utc_wherever_the_root_is(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE.read_text(), str(RECIPE))
    (script,) = [file.content for file in recipe.files if file.path == "phase.sh"]
    (tmp_path / "phase.sh").write_text(script)
    command = 'target=noarch result=$1; . "$1/phase.sh"; phase "Start: this"; date +%Z'
    environment = {**os.environ, "TZ": "XYZ-9"}
    done = subprocess.run(
        ["bash", "-euc", command, "bash", str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "XYZ\n"  # the build's own clock is left alone
    found = re.fullmatch(r"(.{19}),\d{3} - Start: this\n", (tmp_path / "state.log").read_text())
    assert found is not None
    told = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    assert abs(told.timestamp() - time.time()) < 60
