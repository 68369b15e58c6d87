"""What an installed engine needs besides its modules is in the package: operators have no source tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_recipe_schema_image_and_unit_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    placed = {
        (target, path.relative_to(ROOT).as_posix())
        for target, globs in project["tool"]["setuptools"]["data-files"].items()
        for glob in globs
        for path in ROOT.glob(glob)
    }
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("recipes", "schema", "images", "packaging")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert placed == {(f"share/koji-adjutant/{Path(path).parent.as_posix()}", path) for path in there}
