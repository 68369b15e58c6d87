"""Scripts that recipes hold, run by this host's bash."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.adapters.recipes import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the pairs of machines are those of x86_64")
@pytest.mark.skipif(shutil.which("setarch") is None, reason="setarch is not installed (package util-linux)")
@pytest.mark.parametrize(("target", "machine"), [("i686", "i686"), ("x86_64", "x86_64"), ("noarch", "x86_64")])
def test_a_32_bit_target_sees_a_32_bit_machine(target: str, machine: str, tmp_path: Path) -> None:
    files = {file.path: file.content for file in read_recipe(RECIPES / "buildArch.toml").files}
    (tmp_path / "phase.sh").write_text(files["phase.sh"])
    script = tmp_path / "script.sh"
    script.write_text('set -eu\ntarget=$1\n. "${0%/*}/phase.sh"\necho "$# $1 $(uname -m)"\n')
    told = subprocess.run(
        ["bash", "--login", script, target, "second word"], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == f"2 {target} {machine}"
