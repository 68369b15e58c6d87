"""Module streams: what `module_setup_commands` enables is seen, and nothing else of the module."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from engine.buildroot.state import State
from engine.core.errors import TaskFailed
from tests.buildroot.builds import Builder
from tests.buildroot.conftest import GROUP
from tests.buildroot.modules import add_modules, say_modules
from tests.buildroot.roots import RECIPE, Place, SmallRepo
from tools import compare_mock
from tools.mock import NoMock, version

WANTS = "BuildRequires: tool, tool-extra"
NO_TRACE = "%build\n! ls /etc/dnf/modules.d/*.module\n"
SHOWS = "%build\necho @tool $(cat /usr/share/tool/text)\n"
pytestmark = [pytest.mark.podman, pytest.mark.timeout(1200)]


def with_modules(*commands: tuple[str, str], packages: tuple[str, ...] = ("tool",), **keywords: Any) -> Any:
    assert RECIPE.buildroot is not None
    text = json.dumps(commands)
    buildroot = attrs.evolve(RECIPE.buildroot, module_setup_commands=text, packages=packages, **keywords)
    return attrs.evolve(RECIPE, buildroot=buildroot)


def tools(place: Place, repo: SmallRepo, recipe: Any) -> list[str]:
    """The packages `tool*` of the root, as its rpmdb names them, and the streams that dnf left in it."""
    with place.prepare(repo, recipe=recipe) as root:
        text = place.run(
            root, "rpm -qa --qf '%{NAME}-%{VERSION}\\n' 'tool*'; ls -A /etc/dnf/modules.d 2> /dev/null || :"
        )
    return sorted(text.split())


@pytest.fixture(scope="module")
def place(shared: Place) -> Place:
    """One work directory: most of these roots are a package away from each other."""
    return shared


@pytest.fixture(scope="module")
def modular(tmp_path_factory: pytest.TempPathFactory, packages: Path, make_package: Callable[..., Path]) -> SmallRepo:
    repo = SmallRepo(tmp_path_factory.mktemp("modular") / "repo", packages, (*GROUP, "gawk"))
    repo.put(make_package("marker", "1"))
    add_modules(repo, make_package)
    return repo


def test_the_enabled_stream_and_no_other(place: Place, modular: SmallRepo) -> None:
    assert tools(place, modular, with_modules()) == ["tool-3"], "no stream is on, and none is a default"
    assert tools(place, modular, with_modules(("enable", "tool:1"))) == ["tool-1"]
    assert tools(place, modular, with_modules(("enable", "tool:2"))) == ["tool-2"]
    labels = {item.label for item in place.state.snapshots()}
    assert labels == {"build x86_64", "build x86_64 (enable tool:1)", "build x86_64 (enable tool:2)"}


def test_commands_are_done_in_order(place: Place, modular: SmallRepo) -> None:
    both = (("enable", "tool:1"), ("reset", "tool"), ("enable", "tool:2"))
    assert tools(place, modular, with_modules(*both)) == ["tool-2"]
    assert tools(place, modular, with_modules(("enable", "tool:1"), ("disable", "tool"))) == ["tool-3"]
    assert tools(place, modular, with_modules(("install", "tool:1/full"), packages=())) == ["tool-1", "tool-extra-1"]
    assert tools(place, modular, with_modules(("install", "tool:1"), packages=())) == ["tool-1"]


def test_hotfixes_show_what_modules_hide(place: Place, modular: SmallRepo) -> None:
    assert tools(place, modular, with_modules(("enable", "tool:1"), module_hotfixes=True)) == ["tool-3"]


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ([("enable", "tool:9")], "missing groups or modules: tool:9"),
        ([("enable", "nothing:1")], "missing groups or modules: nothing:1"),
        ([("install", "tool:1/none")], "missing groups or modules: tool:1/none"),
        ([("enable", "tool:1"), ("enable", "tool:2")], "module 'tool' stream '1' to '2'"),
        ([("enable", "tool:1, tool:2")], "broken groups or modules"),
        ([("install", "tool:1"), ("disable", "tool")], "tool-1-1.noarch is filtered out by modular filtering"),
    ],
)
def test_what_dnf_refuses_is_the_tags_fault(
    place: Place, modular: SmallRepo, commands: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(TaskFailed) as failed:
        tools(place, modular, with_modules(*commands))
    assert failed.value.fault == "BuildrootError"
    assert words in str(failed.value)


def test_a_build_gets_its_requirements_from_the_enabled_stream(
    tmp_path: Path, place: Place, modular: SmallRepo, task_image: str
) -> None:
    """The tag says it, the recipe passes it on. A repeat takes the same; with another stream it is no repeat."""
    source = Builder(tmp_path / "unused", modular, task_image, tmp_path).srpm("wants-tool", head=WANTS, body=NO_TRACE)
    settings = attrs.evolve(place.settings, workdir=str(tmp_path / "work"))
    with compare_mock.local_runs(settings) as runs:
        for number, (stream, repeats) in enumerate((("1", 0), ("1", 1), ("2", 1))):
            results = tmp_path / str(number)
            extra = {"mock.module_setup_commands": [["enable", f"tool:{stream}"]]}
            compare_mock.build_here(runs, source, modular.path, results, extra=extra)
            installed = (results / "installed_pkgs.log").read_text().split()
            assert [word for word in installed if word.startswith("tool")] == [
                f"tool-{stream}-1.noarch", f"tool-extra-{stream}-1.noarch"
            ]  # fmt: skip
            counts = State(settings.workdir).counts()
            assert counts.get("requirements_made", 0) + counts.get("requirements_hit", 0) == repeats


def test_a_build_with_modules_is_the_same_as_under_mock(tmp_path: Path, modular: SmallRepo, task_image: str) -> None:
    try:
        version()
    except NoMock as reason:
        pytest.skip(str(reason))
    source = Builder(tmp_path / "unused", modular, task_image, tmp_path).srpm("wants-tool", head=WANTS, body=SHOWS)
    extra = {"mock.module_setup_commands": [["install", "tool:2/full"], ["enable", "tool:2"]]}
    found = compare_mock.compare([source], modular.path, tmp_path / "both", extra=extra)
    text, unknown = compare_mock.report(found)
    assert unknown == 0, text
    for side in ("mock", "here"):
        results = tmp_path / "both" / side / source.name.removesuffix(".src.rpm")
        assert "@tool 2" in (results / "build.log").read_text().splitlines()
        assert "tool-extra-2-1.noarch" in (results / "installed_pkgs.log").read_text()


def test_a_default_stream_and_its_platform(place: Place, modular: SmallRepo, make_package: Callable[..., Path]) -> None:
    """The last one: it changes the repo."""
    say = {"default": "2", "requires": "platform: [t1]"}
    modular.index()
    say_modules(modular, **say)
    assert tools(place, modular, with_modules()) == ["tool-3"], "there is no such platform"
    release = "Provides: system-release\nProvides: base-module(platform:t1)"
    modular.put(make_package("tiny-release", "1", head=release))
    modular.index()
    say_modules(modular, **say)
    assert tools(place, modular, with_modules()) == ["tool-2"]
    assert tools(place, modular, with_modules(("disable", "tool"))) == ["tool-3"]
