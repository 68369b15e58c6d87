"""Generated tables are fresh, and the walk-through of docs/recipes.md works as it is written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from engine.core.loader import load_recipe
from tools import docs, standin

ROOT = Path(__file__).parents[2]
WALK = "## Write a new task type in ten minutes"
COPIED = ("engine", "images", "recipes", "schema", "tests", "tools", "pyproject.toml")
_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@frozen
class Block:
    """A fenced block: what stands after the fence, and its text."""

    info: str
    text: str


def _blocks() -> list[Block]:
    section = docs.DOCUMENT.read_text().split(WALK, 1)[1]
    return [Block(found["info"], found["text"]) for found in _BLOCK.finditer(section)]


def test_tables_are_fresh() -> None:
    written = {document: document.read_text() for document in docs.DOCUMENTS}
    for document, text in written.items():
        assert text == docs.text(text), f"{document.name} is not what its sources say: {docs.FIX}"
    for name in docs.PARTS:
        assert any(f"<!-- generated: {name} -->" in text for text in written.values())


def test_a_stale_table_would_be_seen() -> None:
    written = docs.DOCUMENT.read_text()
    stale = written.replace("| `shared-Z` |", "| `shared-z` |")
    assert stale != written
    assert docs.text(stale) == docs.text(written)


# --- the walk-through


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a recipe's author needs of the repository."""
    place = tmp_path / "checkout"
    for name in COPIED:
        source, target = ROOT / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "data"))
        else:
            shutil.copy(source, target)
    return place


def _environment(**more: str) -> dict[str, str]:
    left_out = ("ADJUTANT_", "PYTEST_", "CI")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Each ``$ command`` of a console block with the output that is written below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def _pattern(output: str) -> str:
    """The written output as a regular expression: a line ``...`` is any lines, ``...`` within one any text."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in output.splitlines()
    ]
    return "".join(lines)


def _follow(place: Path, *, podman: bool, **environ: str) -> int:
    """Do what the document says; the number of commands that were run."""
    count = 0
    for block in _blocks():
        language, _, rest = block.info.partition(" ")
        if language == "toml":
            (place / rest).parent.mkdir(parents=True, exist_ok=True)
            (place / rest).write_text(block.text)
        elif block.info == "console" or (podman and block.info == "console podman"):
            for command, output in _commands(block.text):
                done = subprocess.run(
                    command,
                    shell=True,
                    cwd=place,
                    env=_environment(**environ),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                assert re.fullmatch(_pattern(output), done.stdout), (
                    f"$ {command}\n{done.stdout}\n--- written:\n{output}"
                )
                count += 1
    return count


def test_the_walk_through_works_as_written(copy: Path) -> None:
    before = {path.relative_to(copy) for path in copy.rglob("*.py")}
    assert _follow(copy, podman=False) >= 8
    assert {path.relative_to(copy) for path in copy.rglob("*.py")} == before, "no Python, it says"
    made = {str(path.relative_to(copy)) for path in copy.rglob("*srpmInfo*/**/*") if path.is_file()}
    assert made == {f"tests/golden/srpmInfo/with_changelog/{name}" for name in ("request.toml", "expected.txt")}
    assert (copy / "recipes/srpmInfo.toml").is_file()


@pytest.mark.podman
def test_the_walk_through_runs(copy: Path, podman_host: None) -> None:
    try:
        image = standin.task_image()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))
    shutil.copy(standin.srpm("hz"), copy / "package.src.rpm")
    count = _follow(copy, podman=True, ADJUTANT_TASK_IMAGE_DEFAULT=image)
    assert count == _follow_count(podman=True)
    assert "hz.spec" in (copy / "out/digests.txt").read_text()
    assert "Name        : hz" in (copy / "out/info.log").read_text()


def _follow_count(*, podman: bool) -> int:
    wanted = {"console", "console podman"} if podman else {"console"}
    return sum(len(list(_commands(block.text))) for block in _blocks() if block.info in wanted)


def test_recipes_in_the_document_load() -> None:
    recipes = [block.text for block in _blocks() if block.info.startswith("toml recipes/")]
    assert recipes
    for text in recipes:
        load_recipe(text, "docs/recipes.md")
