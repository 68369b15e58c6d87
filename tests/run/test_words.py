"""What a person sees: progress, the part of the log that matters, the end, and how to repeat it."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import time
from pathlib import Path

import attrs
import click
import pytest

from engine.adapters.workspace import TaskDirectory, Workdir
from engine.cli import progress as shown
from engine.cli.report import report
from engine.cli.run import keep_command, run, stop_signals
from engine.core.excerpt import clean, excerpt, last_line
from engine.core.outcome import ArtifactFile, ArtifactSet, Failure, LogFile, StepRun, TaskOutcome
from engine.core.replay import replay_script
from engine.core.snapshots import BuildrootReport
from tests.run.toys import plan, step


@pytest.mark.parametrize(
    ("raw", "clean_text"),
    [
        ("plain\n", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("10%\r 50%\r100%", "100%"),
        ("a\tb", "a       b"),
        ("bell\x07 null\x00", "bell\ufffd null\ufffd"),
        ("\u202eevil", "\ufffdevil"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_a_log_line_cannot_drive_the_terminal(raw: str, clean_text: str) -> None:
    assert clean(raw) == clean_text


def test_last_line() -> None:
    assert last_line("a\nb\n\n   \n") == "b"
    assert last_line("") == ""


def test_the_excerpt_has_early_errors_and_the_end() -> None:
    text = "start\nx.c:3:1: error: no\nmore\n" + "".join(f"line {n}\n" for n in range(30)) + "\n\n"
    assert excerpt(text, last=2) == ["…", "x.c:3:1: error: no", "…", "line 28", "line 29"]
    assert excerpt("only\n") == ["only"]
    assert excerpt("") == []


@pytest.mark.parametrize(
    "line",
    [
        "make: *** [Makefile:2: all] Error 1",
        "/bin/ld: undefined reference to `x'",
        "Error: Unable to find a match: foo",
        "No matching package to install: 'foo'",
        " nothing provides libx needed by y",
        "FAIL: tests/a",
        "sh: gcc: command not found",
    ],
)
def test_lines_that_speak_of_an_error_are_found(line: str) -> None:
    assert line in excerpt(f"{line}\n" + "ok\n" * 50)


@pytest.mark.parametrize("line", ["cc -Werror -c error.c", "checking for strerror... yes", "0 failed, 3 passed"])
def test_lines_that_only_look_like_one_are_not(line: str) -> None:
    assert line not in excerpt(f"{line}\n" + "ok\n" * 50)


def test_times() -> None:
    assert [shown.seconds_words(n) for n in (0.44, 12.3, 59.6, 185, 3725)] == [
        "0.4 s",
        "12 s",
        "1 min 00 s",
        "3 min 05 s",
        "1 h 02 min",
    ]


@pytest.fixture
def directory(tmp_path: Path) -> TaskDirectory:
    return Workdir(str(tmp_path / "work")).claim()


def play(view: shown.NotesOnly, directory: TaskDirectory) -> None:
    build = step(directory, "build")
    view.phase("looking for image x\x1b[2J")
    view.step_started(build, 1, 2, 1)
    view.output(build, b"gcc -c a.c\n\x1b[31mlast words\n")
    view.step_ended(build, StepRun(name="build", ok=True, again=True, seconds=1))
    view.step_started(build, 1, 2, 2)
    view.output(build, b"second round\n")
    view.step_ended(build, StepRun(name="build", exit_code=1, seconds=0.5))
    view.note("a link was left out")
    view.close()


def test_plain_progress(directory: TaskDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "SILENCE", 0.0)
    stream = io.StringIO()
    play(shown.make_progress(plan(directory, step(directory, "build")), stream, quiet=False), directory)
    lines = stream.getvalue().splitlines()
    for line in lines:
        time.strptime(line[:8], "%H:%M:%S")
    assert [line[9:] for line in lines] == [
        "looking for image x",
        "step 1/2 build: doing build",
        "step 1/2 build: last words",
        "step 1/2 build: asks for another round after 1.0 s",
        "step 1/2 build (round 2): doing build",
        "step 1/2 build: second round",
        "step 1/2 build: failed (exit code 1) after 0.5 s",
        "note: a link was left out",
    ]


def test_quiet_progress_still_notes(directory: TaskDirectory) -> None:
    stream = io.StringIO()
    play(shown.make_progress(plan(directory, step(directory, "build")), stream, quiet=True), directory)
    assert stream.getvalue() == "note: a link was left out\n"


def test_progress_on_a_terminal(directory: TaskDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")):  # rich asks for these first
        monkeypatch.setenv(name, value)
    controller, terminal = pty.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:
        view = shown.make_progress(
            plan(directory, step(directory, "build"), step(directory, "pack")), stream, quiet=False
        )
        assert isinstance(view, shown.TerminalProgress)
        play(view, directory)
        stream.flush()
        said = b""
        while select.select([controller], [], [], 0.2)[0]:
            said += os.read(controller, 65536)
    os.close(controller)
    text = said.decode()
    assert "doing build: failed (exit code 1) after 0.5 s" in text
    assert "doing pack" in text
    assert "note: a link was left out" in text
    assert "\x1b[31mlast" not in text
    assert "\x1b[2J" not in text


def outcome(**more: object) -> TaskOutcome:
    values: dict[str, object] = {"status": "done", "method": "toy", "task_id": 3, "worker_id": "w", "plan": "sha256:0"}
    return TaskOutcome(**{**values, "started": 0.0, "seconds": 2.0, **more})  # type: ignore[arg-type]


def test_the_end_of_a_good_task_lists_what_there_is() -> None:
    files = (ArtifactFile(name="a.rpm", source="result/a.rpm", path="a.rpm", bytes=2048),)
    made = outcome(artifacts=(ArtifactSet(name="r", files=files),), logs=(LogFile(name="build.log", bytes=10),))
    made = attrs.evolve(made, buildroot=BuildrootReport(decision="hit", reason="hit: the repo is known", seconds=0.1))
    assert list(report(made, "out", "again")) == [
        "toy: done in 2.0 s; results in out:",
        "  root:    hit: the repo is known (0.1 s)",
        "  a.rpm (2.0 KiB)",
        "  build.log (10 bytes)",
        "  result.json",
    ]


def test_the_end_of_a_failed_task_says_why_and_what_next(tmp_path: Path) -> None:
    (tmp_path / "build.log").write_text("gcc\nerror: x\n")
    failure = Failure(fault="BuildError", message="error building", step="build", log="build.log")
    lines = list(report(outcome(failure=failure, workspace="/w/3"), str(tmp_path), "engine run toy --keep"))
    assert lines == [
        "--- build.log",
        "gcc",
        "error: x",
        "---",
        "toy: failed after 2.0 s",
        "  why:     error building",
        "  class:   BuildError (the task's own fault: it would fail the same way elsewhere)",
        f"  log:     {tmp_path}/build.log",
        "  repeat:  engine run toy --keep",
        f"  step:    {tmp_path}/replay.sh",
        "",
        "kept: /w/3",
        "  look around:  engine shell 3 --workdir /w",
        "  remove it:    engine shell --remove 3 --workdir /w",
    ]


def test_a_failure_of_the_host_is_said_as_such(tmp_path: Path) -> None:
    failure = Failure(fault="infrastructure", message="disk full", retry=True)
    lines = list(report(outcome(failure=failure), str(tmp_path), "x"))
    assert "  class:   infrastructure (this host's fault: the same task may succeed later or elsewhere)" in lines
    assert not any("repeat" in line for line in lines)


def test_who_has_no_task_image_yet_is_told_how_to_name_one() -> None:
    failure = Failure(fault="infrastructure", message="pull image registry/almalinux:10: no such host")
    assert any("cure:    name a task image: --image" in line for line in report(outcome(failure=failure), "out", "x"))


def test_the_replay_script(directory: TaskDirectory) -> None:
    made = plan(directory, step(directory, "dep"), step(directory, "build"))
    failure = Failure(fault="BuildError", message="m", step="build", log="build.log")
    script = replay_script(made, outcome(failure=failure), "engine run toy 'a b' --keep")
    assert script.startswith("#!/bin/sh\n")
    assert made.digest in script
    assert "#   engine run toy 'a b' --keep\n" in script
    assert f"if ! [ -d {directory.path}/in ]; then" in script
    assert script.rstrip().endswith("build")
    assert f"--name=toy-{directory.task_id}-build" in script
    assert replay_script(made, outcome(), "x") == ""
    assert replay_script(made, outcome(failure=Failure(fault="infrastructure", message="m")), "x") == ""


def test_the_replay_script_holds_its_command_as_comments(directory: TaskDirectory) -> None:
    made = plan(directory, step(directory, "build"))
    failure = Failure(fault="BuildError", message="m", step="build", log="build.log")
    script = replay_script(made, outcome(failure=failure), "engine run toy --param 'x=a\nreboot\n' --keep")
    before, _test, _after = script.partition("set -eu\n")
    assert all(line.startswith("#") for line in before.splitlines())
    assert "#   reboot\n" in before


@pytest.mark.parametrize(("handler", "stops"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_run_under_nohup_outlives_its_terminal(handler: signal.Handlers, stops: bool) -> None:
    former = signal.signal(signal.SIGHUP, handler)
    try:
        with stop_signals() as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert stopped.is_set() is stops
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, former)


def test_the_command_to_repeat_names_what_was_given_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["toy", "a b", "--repo", "https://example.org/x", "--repo", "rpms", "--param", "x=1; rm -rf /"]
    given += ["--no-network", "--results", "out", "--quiet", "--format", "json", "--image", "reg/img:1"]
    for name in [name for name in os.environ if name.startswith("ADJUTANT_")]:
        monkeypatch.delenv(name)
    context = click.Context(run)
    run.parse_args(context, given)
    text = keep_command(context, (str(tmp_path / "a b"),), [Path("/etc/koji-adjutant/recipes")])
    assert text == (
        f"engine run toy '{tmp_path}/a b' --repo https://example.org/x --repo {tmp_path}/rpms"
        f" --param 'x=1; rm -rf /' --results {tmp_path}/out --image reg/img:1 --no-network --keep"
    )


def test_the_command_to_repeat_says_what_the_environment_and_the_directory_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ADJUTANT_")]:
        monkeypatch.delenv(name)
    said = {"TASK_IMAGE_DEFAULT": "reg/img:2", "CONFIG": "w.toml", "KOJID_CONF": "kojid.conf", "HUB_PASSWORD": "geheim"}
    for name, value in said.items():
        monkeypatch.setenv(f"ADJUTANT_{name}", value)
    context = click.Context(run)
    run.parse_args(context, ["toy"])
    assert keep_command(context, (), [Path("recipes"), Path("/usr/share/r")]) == (
        f"env ADJUTANT_TASK_IMAGE_DEFAULT=reg/img:2 ADJUTANT_KOJID_CONF={tmp_path}/kojid.conf engine run toy"
        f" --recipes {tmp_path}/recipes --recipes /usr/share/r --config {tmp_path}/w.toml --keep"
    )


def test_a_step_that_we_stopped_did_not_fail_with_exit_code_0() -> None:
    assert shown.end_words(StepRun(name="one", exit_code=0, seconds=0.2)) == "stopped after 0.2 s"
