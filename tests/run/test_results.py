"""Which files become artifacts, and what a recipe's result may say about them."""

from __future__ import annotations

import pytest

from engine.core.errors import BadInput
from engine.core.outcome import LogFile
from engine.core.recipe import Artifact
from engine.core.results import (
    MAX_BYTES,
    MAX_FILES,
    FoundFile,
    matches,
    may_hold,
    result_value,
    result_variables,
    select,
)

RPMS = Artifact(name="rpms", glob=("result/*.rpm",), exclude=("*.src.rpm",), min=1)


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("result/*.rpm", "result/a.rpm", True),
        ("result/*.rpm", "result/deep/a.rpm", False),
        ("result/*.rpm", "result/.hidden.rpm", False),
        ("result/.*.rpm", "result/.hidden.rpm", True),
        ("result/**/*.rpm", "result/a.rpm", True),
        ("result/**/*.rpm", "result/a/b/c.rpm", True),
        ("result/**", "result/a/b", True),
        ("result/?.log", "result/é.log", True),
        ("result/[ab].log", "result/c.log", False),
        ("result/A.log", "result/a.log", False),
        ("result", "result/a", False),
    ],
)
def test_globs(glob: str, path: str, fits: bool) -> None:
    assert matches(Artifact(name="x", glob=(glob,)), path) is fits


def test_exclusions_hold_for_the_name_or_the_whole_path() -> None:
    assert not matches(RPMS, "result/a.src.rpm")
    by_path = Artifact(name="x", glob=("**/*.rpm",), exclude=("result/debug/*",))
    assert matches(by_path, "result/a.rpm")
    assert not matches(by_path, "result/debug/a.rpm")


@pytest.mark.parametrize(
    ("directory", "entered"),
    [("result", True), ("result/repo", True), ("result/repo/repodata", False), ("in", False)],
)
def test_only_directories_that_can_hold_artifacts_are_walked(directory: str, entered: bool) -> None:
    assert may_hold([RPMS, Artifact(name="y", glob=("result/repo/*",))], directory) is entered


def test_two_stars_at_the_end_go_all_the_way_down() -> None:
    everything = Artifact(name="x", glob=("result/**",))
    assert may_hold([everything], "result/a/b/c")
    assert not may_hold([everything], "in/a")


def test_many_stars_do_not_take_exponential_time() -> None:
    glob = "/".join(["**", "a"] * 40) + "/b"
    assert not matches(Artifact(name="x", glob=(glob,)), "/".join("a" * 200))


def test_selection_is_sorted_and_keeps_its_place_below_result() -> None:
    found = [FoundFile(path=path, bytes=3) for path in ("result/b.rpm", "result/x.src.rpm", "result/a.rpm")]
    selection = select([RPMS], found)
    assert [(file.name, file.source, file.path) for file in selection.sets[0].files] == [
        ("a.rpm", "result/a.rpm", "a.rpm"),
        ("b.rpm", "result/b.rpm", "b.rpm"),
    ]
    assert selection.failure is None


@pytest.mark.parametrize("kind", ["link", "other"])
def test_what_is_no_file_is_left_out_with_a_note_and_not_counted(kind: str) -> None:
    selection = select([RPMS], [FoundFile(path="result/a.rpm", kind=kind)])  # type: ignore[arg-type]
    assert "'result/a.rpm' was not collected" in selection.notes[0]
    assert selection.failure is not None
    assert "0 files match result/*.rpm, at least 1 are needed" in selection.failure.message


@pytest.mark.parametrize("name", ["a\nb.rpm", "a\x1b[31m.rpm", "-rf.rpm", "a\udcff.rpm", "\u202egnp.rpm"])
def test_a_dangerous_name_is_a_failure_that_shows_no_raw_byte_of_it(name: str) -> None:
    failure = select([RPMS], [FoundFile(path=f"result/{name}")]).failure
    assert failure is not None
    assert failure.fault == "BuildError"
    assert "is refused" in failure.message
    assert failure.message.isprintable()


def test_too_many_of_a_set() -> None:
    one = Artifact(name="srpm", glob=("result/*",), max=1, fails="GenericError")
    failure = select([one], [FoundFile(path="result/a"), FoundFile(path="result/b")]).failure
    assert failure is not None
    assert failure.fault == "GenericError"
    assert "at most 1 are allowed: 'result/a', 'result/b'" in failure.message


@pytest.mark.parametrize(
    "found",
    [
        [FoundFile(path="result/sparse.rpm", bytes=MAX_BYTES + 1, allocated=4096)],
        [FoundFile(path="result/fat.rpm", bytes=1, allocated=MAX_BYTES + 1)],
        [FoundFile(path=f"result/{number}.rpm") for number in range(MAX_FILES + 1)],
    ],
    ids=["sparse", "allocated", "count"],
)
def test_the_amount_is_bounded(found: list[FoundFile]) -> None:
    failure = select([RPMS], found).failure
    assert failure is not None
    assert "too much to collect" in failure.message


def test_the_amount_is_bounded_over_all_sets_and_counts_a_file_once() -> None:
    half = MAX_BYTES // 2 + 1
    sets = [Artifact(name="a", glob=("result/a*",)), Artifact(name="b", glob=("result/*",))]
    assert select(sets, [FoundFile(path="result/a", bytes=half)]).failure is None
    both = [FoundFile(path="result/a", bytes=half), FoundFile(path="result/b", bytes=half)]
    assert select(sets, both).failure is not None


@pytest.mark.parametrize(
    ("paths", "logs"),
    [
        (["result/a/x.rpm", "result/b/x.rpm"], []),
        (["result/build.log"], ["build.log"]),
        (["result/result.json"], []),
        (["result/build.log/x.rpm"], ["build.log"]),
    ],
)
def test_names_that_would_cover_one_another_are_a_failure(paths: list[str], logs: list[str]) -> None:
    everything = Artifact(name="all", glob=("result/**",))
    failure = select([everything], [FoundFile(path=path) for path in paths], logs).failure
    assert failure is not None
    assert "share one name" in failure.message


def test_result_variables_and_value() -> None:
    sets = select([RPMS], [FoundFile(path="result/a.rpm")]).sets
    logs = [LogFile(name="build.log", bytes=3), LogFile(name="empty.log", bytes=0)]
    variables = result_variables(sets, logs, task_id=123456, declared=["rpms", "srpms"])
    template = {
        "rpms": "{{ artifacts.rpms.paths }}",
        "srpms": "{{ artifacts.srpms.paths }}",
        "logs": "{{ logs.names }}",
        "brootid": "{{ buildroot.id }}",
        "list": ["{{ upload_path }}", 7, None],
    }
    assert result_value(template, {**variables, "buildroot": {"id": None}}, "r") == {
        "rpms": ["tasks/3456/123456/a.rpm"],
        "srpms": [],
        "logs": ["build.log"],
        "brootid": None,
        "list": ["tasks/3456/123456", 7, None],
    }


def test_a_wrong_name_in_the_result_is_told_with_its_place() -> None:
    with pytest.raises(BadInput, match=r"recipes/x.toml: result: unknown variable 'artefacts'"):
        result_value("{{ artefacts }}", result_variables([], [], task_id=1), "recipes/x.toml")
