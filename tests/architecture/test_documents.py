"""What documents name exists: links and their heads, paths of this tree, settings, options of commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engine.cli import cli
from engine.settings.document import LEAVES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith("0002-")  # the specification, as it was given
)
FOLDERS = "benchmarks|docs|engine|images|packaging|recipes|samples|schema|tests|tools"
# What the reader makes, or a place for a name.
MADE = re.compile(r"srpmInfo|METHOD|FOLDER|/CASE")


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Every long option of `command` and its commands."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found, context)


def heads(path: Path) -> set[str]:
    """The anchors of a document, as its readers' programs make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_named_is_there(path: Path) -> None:
    assert wrong_names(path) == []


def wrong_names(path: Path) -> list[str]:
    """What a document names and is not there."""
    text = path.read_text()
    wrong = []
    for target, head in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        there = (path.parent / target).resolve() if target else path
        if not there.exists():
            wrong.append(f"link to {target}")
        elif head and head not in heads(there):
            wrong.append(f"link to {target}#{head}")
    for name in re.findall(rf"[`(\s]((?:{FOLDERS})/[\w./*-]+)", text):
        place = name.rstrip(".,")
        if not (MADE.search(place) or any(ROOT.glob(place.rstrip("/"))) or any(path.parent.glob(place.rstrip("/")))):
            wrong.append(f"path {place}")
    tables = {leaf.table for leaf in LEAVES.values() if leaf.table}
    known = {*LEAVES, *tables}
    settings = re.findall(r"`((?:hub\.|worker\.|buildroots\.|adjutant_)[a-z_.]+)`", text)
    wrong += [f"setting {name}" for name in settings if name not in known and not name.endswith((".toml", ".log"))]
    every = set(options(cli, click.Context(cli)))
    for line in re.findall(r"`engine ([^`]*)`", text):
        wrong += [f"option {word} of engine {line}" for word in re.findall(r"--[a-z][\w-]*", line) if word not in every]
    return wrong


def test_a_wrong_name_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](nowhere.md) [b](#no-head) `tests/nothing/` `hub.sleptime` `adjutant_image` `engine run --kep`\n# One\n"
    )
    words = ("nowhere.md", "#no-head", "tests/nothing", "hub.sleptime", "adjutant_image", "--kep")
    assert [word for word, said in zip(words, wrong_names(page), strict=True) if word not in said] == []
