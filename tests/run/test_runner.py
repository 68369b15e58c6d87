"""One task from plan to outcome over the manager in memory: order, faults, and that nothing is left."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from attrs import define

from engine.adapters.workspace import TaskDirectory, Workdir
from engine.core.errors import BadInput, ContainerError, InfrastructureError, Interrupted, Problem, TaskFailed
from engine.core.manager import ContainerTimeouts, ImageInfo
from engine.core.outcome import TaskOutcome
from engine.core.plan import Plan, PlannedStep
from engine.core.recipe import Again, Artifact
from engine.core.spec import ContainerHandle, ContainerSpec, ResourceLimits
from engine.runner import run_task
from engine.runner.leftovers import remove_task
from tests.fakes.memory import Behaviour, MemoryManager
from tests.run.toys import IMAGE, WORKER, Source, Store, Told, Words, labels, plan, step


def writes(name: str, text: str = "x") -> Callable[[ContainerSpec], None]:
    """An effect: a file in the container's /result."""

    def effect(spec: ContainerSpec) -> None:
        (source,) = (mount.source for mount in spec.mounts if mount.target == "/result")
        Path(source, name).write_text(text)

    return effect


GOOD = {
    ("dep",): Behaviour(output=[b"installing\n"]),
    ("build",): Behaviour(output=[b"compiling\n"], effect=writes("a.rpm")),
}


@define
class Bench:
    """A manager, a work directory and everything around one run."""

    manager: MemoryManager
    workdir: Workdir
    source: Source
    store: Store
    told: Told

    def run(self, *names: str | PlannedStep, plan_keys: dict[str, Any] | None = None, **more: Any) -> TaskOutcome:
        directory = self.workdir.claim()
        made = [step(directory, name) if isinstance(name, str) else name for name in names]
        return self.run_plan(plan(directory, *made, **(plan_keys or {})), directory, **more)

    def run_plan(self, made: Plan, directory: TaskDirectory, **more: Any) -> TaskOutcome:
        return run_task(
            made,
            manager=self.manager,
            workspace=directory,
            source=self.source,
            closing=Words(),
            delivery=self.store,
            progress=self.told,
            **more,
        )

    def nothing_left(self) -> bool:
        return self.workdir.ids() == [] and self.manager.containers({}) == []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    manager = MemoryManager(dict(GOOD), images={IMAGE}, timeouts=ContainerTimeouts(stop_grace=0))
    return Bench(manager, Workdir(str(tmp_path / "work")), Source(), Store(), Told())


def test_a_good_task(bench: Bench) -> None:
    outcome = bench.run("dep", "build", plan_keys={"anchor": True})
    assert outcome.failure is None
    assert outcome.status == "done"
    assert outcome.exit_code == 0
    assert outcome.result == {"rpms": ["a.rpm"]}
    assert [(run.name, run.ok, run.exit_code) for run in outcome.steps] == [("dep", True, 0), ("build", True, 0)]
    assert [(log.name, log.bytes) for log in outcome.logs] == [("dep.log", 11), ("build.log", 10)]
    assert outcome.inputs[0].bytes == 4
    assert outcome.images[0].id == f"id-of-{IMAGE}"
    assert bench.store.outcomes == [outcome]
    assert bench.store.seen == [
        "in/a.src.rpm",
        "in/config",
        "lock",
        "logs/build.log",
        "logs/dep.log",
        "plan.json",
        "result/a.rpm",
    ]
    assert bench.told.out == {"dep": b"installing\n", "build": b"compiling\n"}
    assert bench.told.notes == []
    assert bench.nothing_left()


def test_an_outcome_is_plain_data(bench: Bench) -> None:
    import json

    data = json.loads(json.dumps(bench.run("build").data()))
    assert data["format"] == 1
    assert data["artifacts"][0]["files"][0] == {
        "name": "a.rpm",
        "source": "result/a.rpm",
        "path": "a.rpm",
        "bytes": 1,
    }


def test_steps_run_one_after_the_other_and_stop_at_the_first_that_fails(bench: Bench) -> None:
    bench.manager.commands = {**GOOD, ("dep",): Behaviour(exit_code=3)}
    outcome = bench.run("dep", "build")
    assert [spec.argv for spec in bench.manager.started] == [("dep",)]
    assert outcome.failure is not None
    assert outcome.failure.fault == "BuildError"
    assert outcome.failure.step == "dep"
    assert outcome.exit_code == 1
    assert outcome.artifacts == ()
    assert bench.store.outcomes == [outcome]
    assert "logs/dep.log" in bench.store.seen
    assert bench.nothing_left()


def test_the_recipes_message_is_used(bench: Bench) -> None:
    directory = bench.workdir.claim()
    bench.manager.commands = {("build",): Behaviour(exit_code=3)}
    outcome = bench.run_plan(plan(directory, step(directory, "build", message="error building")), directory)
    assert outcome.failure is not None
    assert outcome.failure.message == "error building: exit code 3"


@pytest.mark.parametrize(
    ("behaviour", "more", "fault", "words"),
    [
        (Behaviour(exit_code=75), {"exits": {"75": "infrastructure"}}, "infrastructure", "exit code 75"),
        (Behaviour(seconds=60), {"timeout": 1}, "BuildError", "no end after 1 s"),
        (Behaviour(killed_by=SIGKILL), {}, "BuildError", "killed by signal 9 (SIGKILL)"),
        (Behaviour(killed_by=SIGKILL, oom=True), {}, "BuildError", "out of memory (limit 1.0 GiB)"),
        (Behaviour(killed_by=SIGKILL, oom=True), {"limits": ResourceLimits()}, "infrastructure", "the host ran out"),
    ],
)
def test_ends_of_steps(bench: Bench, behaviour: Behaviour, more: dict[str, Any], fault: str, words: str) -> None:
    directory = bench.workdir.claim()
    bench.manager.commands = {("build",): behaviour}
    outcome = bench.run_plan(plan(directory, step(directory, "build", **more)), directory)
    assert outcome.failure is not None
    assert outcome.failure.fault == fault
    assert words in outcome.failure.message
    assert bench.nothing_left()


def again(bench: Bench, codes: list[int], most: int, *, standby: bool = False) -> TaskOutcome:
    """dep, then build, which ends with each of `codes` in turn."""
    left = iter(codes)

    class Turns(dict[tuple[str, ...], Behaviour]):
        def __getitem__(self, argv: tuple[str, ...]) -> Behaviour:
            if argv != ("build",):
                return super().__getitem__(argv)
            return Behaviour(output=[b"round\n"], effect=writes("a.rpm"), exit_code=next(left))

    bench.manager.commands = Turns(GOOD)
    directory = bench.workdir.claim()
    build = step(directory, "build", again=Again(exit=11, step="dep", max=most))
    return bench.run_plan(plan(directory, step(directory, "dep", standby=standby), build), directory)


def test_another_round(bench: Bench) -> None:
    outcome = again(bench, [11, 11, 0], most=2)
    assert outcome.failure is None
    assert [(run.name, run.round, run.ok) for run in outcome.steps] == [
        ("dep", 1, True),
        ("build", 1, True),
        ("dep", 2, True),
        ("build", 2, True),
        ("dep", 3, True),
        ("build", 3, True),
    ]
    assert outcome.logs[1].bytes == len("round\n" * 3)


def test_one_round_too_many(bench: Bench) -> None:
    outcome = again(bench, [11, 11, 11], most=2)
    assert outcome.failure is not None
    assert outcome.failure.message == "step build: asked for another round (exit code 11) more than 2 times"
    assert bench.nothing_left()


def test_another_exit_code_is_a_failure(bench: Bench) -> None:
    outcome = again(bench, [11, 12], most=2)
    assert outcome.failure is not None
    assert "exit code 12" in outcome.failure.message


def test_a_standby_step_is_passed_over(bench: Bench) -> None:
    directory = bench.workdir.claim()
    steps = [step(directory, "dep", standby=True), step(directory, "build", again=Again(exit=11, step="dep"))]
    outcome = bench.run_plan(plan(directory, *steps), directory)
    assert [run.name for run in outcome.steps] == ["build"]
    assert [log.name for log in outcome.logs] == ["build.log"]


def test_a_standby_step_runs_when_it_is_asked_for(bench: Bench) -> None:
    outcome = again(bench, [11, 0], most=3, standby=True)
    assert [(run.name, run.round) for run in outcome.steps] == [("build", 1), ("dep", 1), ("build", 2)]
    assert outcome.failure is None


@pytest.mark.parametrize(("glob", "runs"), [("result/*.rpm", ["build", "dep"]), ("result/*.noarch.rpm", ["build"])])
def test_a_step_that_waits_for_a_file(bench: Bench, glob: str, runs: list[str]) -> None:
    directory = bench.workdir.claim()
    outcome = bench.run_plan(
        plan(directory, step(directory, "build"), step(directory, "dep", when_file=glob)), directory
    )
    assert [run.name for run in outcome.steps] == runs
    assert [log.name for log in outcome.logs] == [f"{name}.log" for name in runs]
    assert outcome.failure is None


def test_a_link_is_not_a_file_that_a_step_waits_for(bench: Bench) -> None:
    directory = bench.workdir.claim()
    directory.prepare(["result"])
    os.symlink("/etc/passwd", f"{directory.path}/result/x.noarch.rpm")
    steps = [step(directory, "build"), step(directory, "dep", when_file="result/*.noarch.rpm")]
    assert [run.name for run in bench.run_plan(plan(directory, *steps), directory).steps] == ["build"]


def test_what_went_wrong_before_fails_the_task_with_its_log(bench: Bench) -> None:
    directory = bench.workdir.claim()
    directory.prepare(["logs"])
    directory.log("root.log", 1_000_000).write(b"no such group\n")
    error = TaskFailed("BuildrootError", "group build is not in the repo")
    made = plan(directory, step(directory, "build"), anchor=True)
    outcome = bench.run_plan(made, directory, refused=error, earlier_logs=["root.log"])
    assert outcome.failure is not None
    assert (outcome.failure.fault, outcome.failure.message) == ("BuildrootError", "group build is not in the repo")
    assert [(log.name, log.bytes) for log in outcome.logs] == [("root.log", 14)]
    assert bench.manager.started == []
    assert bench.store.outcomes == [outcome]
    assert bench.nothing_left()


def test_a_step_goes_on_with_a_log_begun_before(bench: Bench) -> None:
    directory = bench.workdir.claim()
    directory.prepare(["logs"])
    directory.log("dep.log", 1_000_000).write(b"making the root\n")
    made = plan(directory, step(directory, "dep"), step(directory, "build"))
    outcome = bench.run_plan(made, directory, earlier_logs=["dep.log"])
    assert [(log.name, log.bytes) for log in outcome.logs] == [("dep.log", 16 + 11), ("build.log", 10)]


def test_two_steps_may_share_a_log(bench: Bench) -> None:
    directory = bench.workdir.claim()
    steps = [step(directory, name, log="all.log") for name in ("dep", "build")]
    outcome = bench.run_plan(plan(directory, *steps), directory)
    assert [(log.name, log.bytes) for log in outcome.logs] == [("all.log", 21)]


def test_a_log_without_end_is_stopped(bench: Bench) -> None:
    bench.manager.commands = {("build",): Behaviour(output=[b"x" * 5000], seconds=60)}
    outcome = bench.run("build", plan_keys={"log_bytes": 1000})
    assert outcome.failure is not None
    assert outcome.failure.fault == "BuildError"
    assert "its log grew beyond 1000 bytes" in outcome.failure.message
    assert outcome.logs[0].cut
    assert outcome.logs[0].bytes < 1100


def test_no_artifact_is_a_failure_of_the_package(bench: Bench) -> None:
    outcome = bench.run("dep")
    assert outcome.failure is not None
    assert outcome.failure.fault == "BuildError"
    assert "0 files match result/*.rpm" in outcome.failure.message
    assert bench.nothing_left()


def test_a_link_as_artifact_is_noted_not_followed(bench: Bench) -> None:
    def link(spec: ContainerSpec) -> None:
        writes("a.rpm")(spec)
        os.symlink("/etc/shadow", spec.mounts[0].source + "/b.rpm")

    bench.manager.commands = {("build",): Behaviour(effect=link)}
    outcome = bench.run("build")
    assert outcome.result == {"rpms": ["a.rpm"]}
    assert "'result/b.rpm' was not collected: it is a link" in outcome.notes[0]


ALWAYS = (
    Artifact(name="rpms", glob=("result/*.rpm",), min=1),
    Artifact(name="logs", glob=("result/*.info",), min=1, max=1, always=True),
)


def test_what_is_always_wanted_is_collected_of_a_failed_task(bench: Bench) -> None:
    bench.manager.commands = {
        ("dep",): Behaviour(effect=writes("half.rpm")),
        ("build",): Behaviour(exit_code=1, effect=writes("hw.info")),
    }
    outcome = bench.run("dep", "build", plan_keys={"artifacts": ALWAYS})
    assert outcome.failure is not None
    assert [(group.name, [file.name for file in group.files]) for group in outcome.artifacts] == [("logs", ["hw.info"])]
    assert outcome.result is None
    assert bench.nothing_left()


def test_too_few_results_do_not_lose_what_is_always_wanted(bench: Bench) -> None:
    bench.manager.commands = {("build",): Behaviour(effect=writes("hw.info"))}
    outcome = bench.run("build", plan_keys={"artifacts": ALWAYS})
    assert outcome.failure is not None
    assert "artifacts rpms: 0 files match" in outcome.failure.message
    assert [group.name for group in outcome.artifacts] == ["logs"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.symlink("/etc/shadow", path / "a.info"), "'result/a.info' was not collected: it is a link"),
        (lambda path: os.mkfifo(path / "a.info"), "'result/a.info' was not collected: it is no file"),
        (
            lambda path: [(path / name).touch() for name in ("a.info", "b.info")],
            "not collected: artifacts logs: 2 files",
        ),
        (lambda path: (path / "-a.info").touch(), "not collected: artifacts logs: the file name"),
    ],
)
def test_rules_hold_for_what_a_failed_task_leaves_and_do_not_hide_its_failure(
    bench: Bench, make: Callable[[Path], object], words: str
) -> None:
    def effect(spec: ContainerSpec) -> None:
        make(Path(spec.mounts[0].source))

    bench.manager.commands = {("build",): Behaviour(exit_code=7, effect=effect)}
    outcome = bench.run("build", plan_keys={"artifacts": ALWAYS})
    assert outcome.failure is not None
    assert "exit code 7" in outcome.failure.message
    assert outcome.artifacts == ()
    assert any(note.startswith(words) for note in outcome.notes), outcome.notes
    assert bench.nothing_left()


def test_phases_are_the_engines_and_the_steps_own_in_order(bench: Bench) -> None:
    own = "2026-11-25 07:00:00,001 - Start: rpmbuild\n"
    own += "2026-11-25 07:00:01,002 - Finish: rpmbuild\n\x1b[2Jno line of ours\n"
    bench.manager.commands = {
        ("dep",): Behaviour(),
        ("build",): Behaviour(exit_code=1, effect=writes("phases.log", own)),
    }
    directory = bench.workdir.claim()
    made = plan(directory, step(directory, "dep"), step(directory, "build"), anchor=True, phases="phases.log")
    outcome = bench.run_plan(made, directory)
    kept = bench.store.logs["phases.log"].splitlines()
    assert [text.partition(" - ")[2] for text in kept] == [
        "Start: fetching /src/a.src.rpm",
        "Finish: fetching /src/a.src.rpm",
        f"Start: looking for image {IMAGE}",
        f"Finish: looking for image {IMAGE}",
        "Start: preparing the root",
        "Finish: preparing the root",
        "Start: dep (doing dep)",
        "Finish: dep (doing dep)",
        "Start: build (doing build)",
        "Start: rpmbuild",
        "Finish: rpmbuild",
        "Finish: build (doing build), failed",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ", text) for text in kept)
    now = datetime.now(UTC)
    assert abs(datetime.fromisoformat(kept[-1][:19] + "+00:00") - now) < timedelta(minutes=1)
    assert "phases.log" in [log.name for log in outcome.logs]


@pytest.mark.parametrize("what", ["link", "fifo"])
def test_phases_that_a_step_did_not_write_to_a_file_are_left_out(bench: Bench, what: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("2026-11-25 07:00:00,001 - Start: secret\n")

    def effect(spec: ContainerSpec) -> None:
        writes("a.rpm")(spec)
        place = Path(spec.mounts[0].source, "phases.log")
        place.symlink_to(secret) if what == "link" else os.mkfifo(place)

    bench.manager.commands = {("build",): Behaviour(effect=effect)}
    outcome = bench.run("build", plan_keys={"phases": "phases.log"})
    assert outcome.failure is None
    assert "Finish: build" in bench.store.logs["phases.log"]
    assert "secret" not in bench.store.logs["phases.log"]
    assert bench.nothing_left()


def test_a_missing_image_is_the_hosts_fault(bench: Bench) -> None:
    bench.manager.images.clear()
    outcome = bench.run("build")
    assert outcome.failure is not None
    assert outcome.failure.fault == "infrastructure"
    assert IMAGE in outcome.failure.message
    assert outcome.exit_code == 4
    assert bench.store.outcomes == [outcome]
    assert bench.nothing_left()


def test_a_command_that_cannot_start_names_the_step(bench: Bench) -> None:
    outcome = bench.run("dep", "nosuch", plan_keys={"anchor": True})
    assert outcome.failure is not None
    assert outcome.failure.fault == "infrastructure"
    assert outcome.failure.message.startswith("step nosuch: start container")
    assert outcome.failure.step == "nosuch"
    assert outcome.steps[-1].exit_code is None
    assert bench.nothing_left()


def test_the_hub_has_no_such_file(bench: Bench) -> None:
    bench.source.trouble = TaskFailed("BuildError", "no such file on the hub: work/a.src.rpm")
    outcome = bench.run("build")
    assert outcome.failure is not None
    assert (outcome.failure.fault, outcome.failure.step) == ("BuildError", "")
    assert bench.nothing_left()


def test_a_file_that_the_user_named_and_is_not_there(bench: Bench) -> None:
    bench.source.trouble = BadInput([Problem("request", "inputs.srpm", "no such file")])
    with pytest.raises(BadInput):
        bench.run("build")
    assert bench.store.outcomes == []
    assert bench.nothing_left()


def test_a_bug_is_not_hidden_and_still_cleans_up(bench: Bench) -> None:
    bench.source.trouble = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        bench.run("build")
    assert bench.nothing_left()


def test_results_that_cannot_be_stored(bench: Bench) -> None:
    bench.store.trouble = InfrastructureError("disk full")
    with pytest.raises(InfrastructureError, match="disk full"):
        bench.run("build", plan_keys={"anchor": True})
    assert bench.nothing_left()


def test_stopping_a_running_step(bench: Bench) -> None:
    stop = threading.Event()
    bench.manager.commands = {("build",): Behaviour(seconds=60, ignores_term=True, effect=lambda _spec: stop.set())}
    begin = time.monotonic()
    with pytest.raises(Interrupted, match="step build"):
        bench.run("build", plan_keys={"anchor": True}, cancelled=stop.is_set)
    assert time.monotonic() - begin < 25
    assert bench.store.outcomes == []
    assert bench.nothing_left()


def test_stopping_between_steps(bench: Bench) -> None:
    stop = threading.Event()

    def effect(_spec: ContainerSpec) -> None:
        stop.set()

    bench.manager.commands = {**GOOD, ("dep",): Behaviour(effect=effect)}
    with pytest.raises(Interrupted):
        bench.run("dep", "build", cancelled=stop.is_set)
    assert [spec.argv for spec in bench.manager.started] == [("dep",)]
    assert bench.nothing_left()


def test_stopping_while_an_image_is_pulled(bench: Bench) -> None:
    release = threading.Event()

    class Slow(MemoryManager):
        def ensure_image_available(self, image: str, policy: Any = None) -> ImageInfo:
            release.wait(30)
            raise AssertionError

    bench.manager = Slow({}, images={IMAGE})
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        bench.run("build", cancelled=lambda: time.monotonic() - begin > 0.2)
    assert time.monotonic() - begin < 25
    assert bench.nothing_left()
    release.set()


def test_stopping_while_an_input_is_fetched(bench: Bench) -> None:
    with pytest.raises(Interrupted, match="fetching"):
        bench.run("build", cancelled=lambda: True)
    assert bench.nothing_left()


@pytest.mark.parametrize("name", ["ensure_image_available", "create_anchor", "run", "anchor_path"])
def test_ctrl_c_at_any_place_cleans_up(bench: Bench, name: str) -> None:
    real = bench.manager

    class Pressed(MemoryManager):
        pass

    def press(self: MemoryManager, *args: Any, **more: Any) -> Any:
        if name in {"create_anchor", "run"}:
            if name == "run":
                self.create(*args)
            else:
                MemoryManager.create_anchor(self, *args)
        raise KeyboardInterrupt

    setattr(Pressed, name, press)
    bench.manager = Pressed(real.commands, images={IMAGE})
    with pytest.raises(Interrupted):
        bench.run("build", plan_keys={"anchor": True})
    assert bench.nothing_left()


def test_a_container_that_cannot_be_removed_is_named_and_the_rest_is_removed(bench: Bench) -> None:
    class Stuck(MemoryManager):
        def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
            if handle.name.endswith("-root"):
                raise ContainerError("remove container", handle.name, "device busy")
            return super().remove(handle, force=force)

    bench.manager = Stuck(dict(GOOD), images={IMAGE})
    outcome = bench.run("build", plan_keys={"anchor": True})
    assert outcome.failure is None
    assert any("not cleaned up: remove container toy-1-root" in note for note in bench.told.notes)
    assert bench.workdir.ids() == []


def test_keeping_leaves_workspace_and_root(bench: Bench) -> None:
    bench.manager.commands = {("build",): Behaviour(exit_code=1)}
    outcome = bench.run("build", plan_keys={"anchor": True}, keep=True)
    assert outcome.workspace == bench.workdir.path + "/1"
    assert [info.name for info in bench.manager.containers(labels(1))] == ["toy-1-root"]
    kept = bench.workdir.kept()[1]
    assert kept.step == "build"
    assert kept.plan is not None
    assert kept.plan.digest == outcome.plan
    directory = bench.workdir.open(1)
    assert directory is not None
    remove_task(directory, WORKER, bench.manager)
    assert bench.nothing_left()


def test_a_kept_task_that_failed_before_any_step(bench: Bench) -> None:
    bench.manager.images.clear()
    bench.run("build", keep=True)
    assert bench.workdir.kept()[1].step == ""


def test_podmans_own_log_is_not_kept_beside_the_log(bench: Bench) -> None:
    bench.run("dep", "build")
    assert not [name for name in bench.store.seen if name.endswith(".ctr")]


class FullDisk(TaskDirectory):
    """A directory on a disk that is full when `full` is set."""

    full = False

    def disks(self) -> Any:
        from engine.core.outcome import DiskSpace

        return (DiskSpace(path=self.path, bytes=0 if self.full else 1 << 40),)


def full_disk(bench: Bench) -> FullDisk:
    directory = bench.workdir.claim()
    path = directory.path
    directory.close()
    return FullDisk(path, 1)


def test_a_step_that_fails_on_a_full_disk_is_the_hosts(bench: Bench) -> None:
    directory = full_disk(bench)

    def effect(_spec: ContainerSpec) -> None:
        directory.full = True

    bench.manager.commands = {("build",): Behaviour(exit_code=1, effect=effect)}
    outcome = bench.run_plan(plan(directory, step(directory, "build")), directory)
    assert outcome.failure is not None
    assert outcome.failure.fault == "infrastructure"
    assert f"disk full: 0 bytes free on {directory.path}" in outcome.failure.message
    assert bench.nothing_left()


def test_a_disk_that_was_full_while_the_step_ran_counts_although_it_freed_it(bench: Bench) -> None:
    directory = full_disk(bench)

    class Cleaning(MemoryManager):
        def run(self, spec: ContainerSpec, **more: Any) -> Any:
            directory.full = True
            for _look in range(20):  # longer than the pause between two looks, however late each comes
                more["cancelled"]()
                time.sleep(0.02)
            directory.full = False
            return super().run(spec, **more)

    bench.manager = Cleaning({("build",): Behaviour(exit_code=1)}, images={IMAGE})
    outcome = bench.run_plan(plan(directory, step(directory, "build")), directory)
    assert outcome.failure is not None
    assert outcome.failure.fault == "infrastructure"


def test_a_log_that_cannot_be_written_stops_the_step(bench: Bench) -> None:
    class Refusing:
        size, room, cut = 0, 100, False
        trouble: OSError | None = None

        def write(self, data: bytes) -> None:
            self.trouble = OSError(errno.ENOSPC, "No space left on device")

        def end_early(self) -> None: ...

        def tail(self) -> str:
            return ""

    class Directory(TaskDirectory):
        def log(self, name: str, limit: int) -> Any:
            return Refusing()

    directory = bench.workdir.claim()
    directory.close()
    other = Directory(directory.path, 1)
    bench.manager.commands = {("build",): Behaviour(output=[b"x"], seconds=60)}
    outcome = bench.run_plan(plan(other, step(other, "build")), other)
    assert outcome.failure is not None
    assert outcome.failure.fault == "infrastructure"
    assert "cannot write the log build.log" in outcome.failure.message
    assert bench.nothing_left()


def test_twenty_tasks_at_once(bench: Bench) -> None:
    """None lost, none mixed up, no leftover."""

    def own(spec: ContainerSpec) -> None:
        (source,) = (mount.source for mount in spec.mounts if mount.target == "/result")
        Path(source, f"{spec.argv[0]}.rpm").write_text("x")

    numbers = range(1, 21)
    bench.manager.commands = {
        (f"job{n}",): Behaviour(output=[f"job {n}\n".encode()], effect=own, seconds=0.2) for n in numbers
    }
    outcomes: dict[int, TaskOutcome] = {}
    stores = {n: Store() for n in numbers}

    def work(n: int) -> None:
        directory = bench.workdir.claim()
        made = plan(directory, step(directory, f"job{n}"), anchor=True)
        outcomes[n] = run_task(
            made,
            manager=bench.manager,
            workspace=directory,
            source=Source(content=f"srpm {n}".encode()),
            closing=Words(),
            delivery=stores[n],
        )

    threads = [threading.Thread(target=work, args=(n,)) for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: outcome.result for n, outcome in outcomes.items()} == {n: {"rpms": [f"job{n}.rpm"]} for n in numbers}
    assert len({outcome.task_id for outcome in outcomes.values()}) == 20
    assert all(outcome.inputs[0].bytes == len(f"srpm {n}") for n, outcome in outcomes.items())
    assert bench.nothing_left()
