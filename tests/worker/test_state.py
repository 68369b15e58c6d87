"""The worker's own files, its notifications, and its processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.adapters.worker_names import WorkerName, elsewhere
from engine.cli.gc import gc
from engine.cli.status import status
from engine.core.errors import BadInput, InfrastructureError
from engine.worker.notify import Notifier
from engine.worker.options import WorkerOptions
from engine.worker.outage import Outage
from engine.worker.processes import SideJob, die_with_parent, is_running, start_time
from engine.worker.state import StateDirectory
from tests.worker.workshop import wait_for


@contextmanager
def child_of_a_test() -> Iterator[None]:
    """A forked child ends with this, whatever happens in it: else it would go on with the tests that follow."""
    try:
        yield
    finally:
        os._exit(0)


def test_only_one_daemon_for_a_workdir(tmp_path: Path) -> None:
    first, second = os.fork(), StateDirectory(str(tmp_path))
    if first == 0:
        with child_of_a_test():
            StateDirectory(str(tmp_path)).take_lock()
            time.sleep(60)
    wait_for(lambda: second.daemon() == first)
    with pytest.raises(InfrastructureError, match=rf"another worker \(pid {first}\) runs in {tmp_path}"):
        second.take_lock()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    second.take_lock()
    second.release_lock()


def test_a_daemon_started_anew_waits_for_its_own_children(tmp_path: Path) -> None:
    """As after SIGUSR1: the same pid, and a child of before still has the lock."""
    before, after = StateDirectory(str(tmp_path)), StateDirectory(str(tmp_path))
    before.take_lock()
    child = os.fork()
    if child == 0:
        with child_of_a_test():
            time.sleep(0.5)
    before.release_lock()
    after.take_lock()
    os.waitpid(child, 0)
    after.release_lock()


def test_a_task_process_of_a_dead_daemon_is_killed_before_the_lock_is_had(tmp_path: Path) -> None:
    daemon = os.fork()
    if daemon == 0:
        with child_of_a_test():
            state = StateDirectory(str(tmp_path))
            state.take_lock()
            if os.fork() == 0:  # a task process that, unlike ours, would outlive its daemon
                state.write_task(7, method="toy")
                time.sleep(60)
            wait_for(lambda: state.task(7))
    os.waitpid(daemon, 0)
    state = StateDirectory(str(tmp_path))
    orphan = state.task(7)
    assert is_running(orphan["pid"], orphan["started"])
    state.take_lock()
    assert not is_running(orphan["pid"], orphan["started"])
    state.release_lock()


def test_a_half_written_file_is_no_state(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path))
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "state.json").write_text('{"pid": 1')
    assert state.read() == {}
    assert state.daemon() is None
    assert state.tasks() == {}


@pytest.mark.parametrize("text", [None, "", "{}", "[]"], ids=["absent", "empty", "no keys", "no object"])
def test_a_daemon_whose_state_cannot_be_read_is_starting(tmp_path: Path, text: str | None) -> None:
    """It has just begun, or its disk is full."""
    state = StateDirectory(str(tmp_path))
    state.take_lock()
    if text is not None:
        (state.path / "state.json").write_text(text)
    said = CliRunner().invoke(status, ["--workdir", str(tmp_path)], standalone_mode=False)
    assert (said.stdout, said.return_value) == (f"worker    (no name yet), pid {os.getpid()}, starting\n", 4)
    state.release_lock()


@pytest.mark.parametrize("text", ["{}", '{"pid": 1}', '{"started": 7}'])
def test_a_record_without_its_keys_is_nobodys(tmp_path: Path, text: str) -> None:
    state = StateDirectory(str(tmp_path))
    (state.path / "tasks").mkdir(parents=True)
    for name in ("daemon.json", "tasks/7.json"):
        (state.path / name).write_text(text)
    assert state.daemon() is None
    state.take_lock()
    assert state.daemon() == os.getpid()
    state.release_lock()


def test_drain_is_kept_until_undone(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path))
    assert state.drained() is None
    state.drain("")
    assert StateDirectory(str(tmp_path)).drained() == "no reason given"
    assert state.undrain() is True
    assert state.undrain() is False


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        with child_of_a_test():
            middle = os.getpid()
            if os.fork() == 0:
                die_with_parent(middle)
                os.write(writing, str(os.getpid()).encode())
            time.sleep(60)
    child = int(os.read(reading, 20))
    started = start_time(child)
    assert started is not None
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_for(lambda: not is_running(child, started))


def test_a_job_on_the_side_says_how_it_went() -> None:
    def bad() -> None:
        raise ValueError("no such thing")

    assert SideJob(lambda: None, 10).wait() == ""
    assert SideJob(bad, 10).wait() == "no such thing"
    assert SideJob(lambda: time.sleep(60), 0.2).wait() == "took too long"
    killed = SideJob(lambda: os.kill(os.getpid(), signal.SIGKILL), 10)
    assert killed.wait() == "was killed"


def test_a_clock_that_is_set_back_keeps_no_worker_out(monkeypatch: pytest.MonkeyPatch) -> None:
    outage = Outage(WorkerOptions(failures=1, pause=5), lambda: None)
    outage.note(1, "toy", "no podman")
    assert outage.reason().startswith("1 infrastructure failures in a row, next self-check in ")
    now = time.time
    monkeypatch.setattr("engine.worker.outage.time.time", lambda: now() - 86400)
    wait_for(lambda: outage.reason() == "")


def test_systemd_is_told_and_its_variable_is_not_passed_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        notifier = Notifier(environment)
        assert environment == {}
        notifier.send(READY=1, MAINPID=5)
        assert systemd.recv(100) == b"READY=1\nMAINPID=5"
        notifier.status("two\nlines")
        notifier.status("two\nlines")
        assert systemd.recv(100) == b"STATUS=two lines"
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)
        for _ in range(1000):  # a reader that does not read stops nobody
            notifier.send(STATUS="x" * 1000)
        notifier.restore()
        assert environment == {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.send(READY=1)
    notifier.alive()


def test_two_workers_of_one_host_have_two_names(tmp_path: Path) -> None:
    """Else each would remove the other's containers; `engine gc` asks before it does."""
    first, second = (WorkerName("w", str(tmp_path / name), tmp_path) for name in "ab")
    assert elsewhere("w", str(tmp_path / "a"), tmp_path) is None
    first.take()
    with pytest.raises(InfrastructureError, match=f"named 'w' runs on this host .* {tmp_path}/a .*another worker.id"):
        second.take()
    assert elsewhere("w", str(tmp_path / "a"), tmp_path) is None
    assert elsewhere("w", str(tmp_path / "b"), tmp_path) == str(tmp_path / "a")
    assert elsewhere("other", str(tmp_path / "b"), tmp_path) is None
    first.release()
    assert elsewhere("w", str(tmp_path / "b"), tmp_path) is None
    second.take()
    second.release()


def test_a_name_that_cannot_be_held_is_said_with_its_place(tmp_path: Path) -> None:
    """Below /tmp, where there is no run-time directory, anybody may have made it before."""
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match=f"{tmp_path}/file/x/w.worker: Not a directory .*XDG_RUNTIME_DIR"):
        WorkerName("w", str(tmp_path), tmp_path / "file/x").take()
    if os.geteuid() == 0:
        (tmp_path / "squatted").mkdir(mode=0o777)
        os.chown(tmp_path / "squatted", 12345, 12345)
        with pytest.raises(InfrastructureError, match="squatted/w.worker: the directory belongs to uid 12345"):
            WorkerName("w", str(tmp_path), tmp_path / "squatted").take()


def test_gc_leaves_a_living_worker_of_another_work_directory_alone(tmp_path: Path) -> None:
    holder = WorkerName(f"gc-name-{os.getpid()}", str(tmp_path / "a"))
    holder.take()
    try:
        (tmp_path / "b").mkdir()
        words = ["--worker", f"gc-name-{os.getpid()}", "--workdir", str(tmp_path / "b"), "--dry-run"]
        with pytest.raises(BadInput, match=f"runs with the work directory {tmp_path}/a .*--workdir {tmp_path}/a"):
            CliRunner().invoke(gc, words, catch_exceptions=False)
    finally:
        holder.release()


def test_a_directory_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path / "work"))
    state.take_lock()
    shutil.rmtree(tmp_path / "work")
    state.write_task(1, phase="in a task process")
    assert state.task(1)["phase"] == "in a task process"
    state.write({"ready": True})
    assert state.daemon() == os.getpid()
    code = "import sys; from engine.worker.state import StateDirectory as S; S(sys.argv[1]).take_lock()"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "work")], capture_output=True, text=True, check=False
    )
    assert f"another worker (pid {os.getpid()}) runs in {tmp_path / 'work'}" in second.stderr
    (tmp_path / "work/worker/daemon.json").unlink()  # systemd-tmpfiles takes old files one by one
    state.write({"ready": True})
    assert state.daemon() == os.getpid()
    state.release_lock()


def test_a_state_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "worker").write_text("in the way")
    StateDirectory(str(tmp_path)).write({"ready": True})
    StateDirectory(str(tmp_path)).write_task(1, phase="started")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed")
def test_systemd_tmpfiles_leaves_the_work_directory_alone(tmp_path: Path) -> None:
    kept, removed = tmp_path / "koji-adjutant/worker/drain", tmp_path / "other"
    kept.parent.mkdir(parents=True)
    kept.touch()
    removed.touch()
    ours = Path("packaging/tmpfiles.d/koji-adjutant.conf").read_text().replace("/var/tmp", str(tmp_path))  # noqa: S108
    assert f"{tmp_path}/koji-adjutant" in ours
    (tmp_path.parent / "all.conf").write_text(f"e {tmp_path} - - - 0\n{ours}")
    subprocess.run(["systemd-tmpfiles", "--clean", tmp_path.parent / "all.conf"], check=True)
    assert kept.exists()
    assert not removed.exists()
