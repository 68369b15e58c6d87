"""Logs on the hub: how far behind, whole, time-stamped, and what happens when the task is not ours any more."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import koji
import pytest
from koji.xmlrpcplus import Fault

from engine.core.errors import InfrastructureError
from engine.worker.logs import LogUploader, NotOurs
from engine.worker.session import WorkerSession
from tests.hub import HubStandIn
from tests.worker.conftest import AnyHub
from tests.worker.workshop import wait_for


@pytest.fixture
def session(hub: AnyHub) -> Iterator[WorkerSession]:
    """A builder's session, as a task process has it."""
    options = {"user": hub.builder, "password": hub.password(hub.builder), "use_fast_upload": True, "max_retries": 50}
    made = WorkerSession(hub.url, options | {"retry_interval": 0.1})
    made.login()
    made.exclusiveSession()
    yield made
    made.logout()


@pytest.fixture
def task(hub: AnyHub, session: WorkerSession) -> int:
    """A task that is OPEN on builder1."""
    number = hub.make_task("toy", [])
    session.host.updateHost(0.0, True, data={"methods": ["toy"], "maxjobs": 4})
    hub.assign(number, hub.builder)
    assert session.host.openTask(number) is not None
    return number


@pytest.mark.any_hub
def test_a_growing_log_is_less_than_two_seconds_behind(
    hub: AnyHub, session: WorkerSession, task: int, tmp_path: Path
) -> None:
    logs = LogUploader(session, task, timestamps=True)
    source, target = tmp_path / "build.log", hub.task_dir(task) / "build.log"
    logs.add("build.log", str(source))
    logs.start()
    lags = []
    with source.open("ab", buffering=0) as file:
        for number in range(12):
            line = f"line {number}\n".encode()
            file.write(line)
            written, size = time.monotonic(), source.stat().st_size
            wait_for(lambda size=size: target.exists() and target.stat().st_size >= size)
            lags.append(time.monotonic() - written)
            time.sleep(0.05)
    assert statistics.median(lags) < 2  # the machine itself may stand still for one of them
    assert logs.finish() == ("build.log", "build.log-ts.log")
    assert target.read_bytes() == source.read_bytes()
    stamps = [line.split() for line in (hub.task_dir(task) / "build.log-ts.log").read_text().splitlines()]
    assert stamps[0][1] == "0"
    assert int(stamps[-1][1]) == source.stat().st_size
    assert [int(offset) for _, offset in stamps] == sorted(int(offset) for _, offset in stamps)


@pytest.mark.any_hub
def test_a_large_log_arrives_whole(hub: AnyHub, session: WorkerSession, task: int, tmp_path: Path) -> None:
    source = tmp_path / "build.log"
    logs = LogUploader(session, task)
    logs.add("build.log", str(source))
    logs.start()

    def write() -> None:
        with source.open("wb") as file:
            for _ in range(40):
                file.write(os.urandom(1024 * 1024))

    writer = threading.Thread(target=write)
    writer.start()
    writer.join()
    logs.finish()
    assert (hub.task_dir(task) / "build.log").read_bytes() == source.read_bytes()


@pytest.mark.any_hub
def test_nothing_is_lost_when_answers_are(hub: AnyHub, session: WorkerSession, task: int, tmp_path: Path) -> None:
    source = tmp_path / "x.log"
    logs = LogUploader(session, task)
    logs.add("x.log", str(source))
    logs.start()
    with source.open("ab", buffering=0) as file:
        for number in range(5):
            hub.lose_answers("rawUpload")
            file.write(f"{number}\n".encode() * 1000)
            time.sleep(0.2)
            if number == 3:
                hub.restart()
    logs.finish()
    assert (hub.task_dir(task) / "x.log").read_bytes() == source.read_bytes()


@pytest.mark.any_hub
def test_a_cancelled_task_is_noticed_by_its_logs(
    hub: AnyHub, session: WorkerSession, task: int, tmp_path: Path
) -> None:
    lost = threading.Event()
    logs = LogUploader(session, task, lost=lost.set)
    source = tmp_path / "x.log"
    source.write_text("one\n")
    logs.add("x.log", str(source))
    logs.start()
    wait_for((hub.task_dir(task) / "x.log").exists)
    hub.cancel(task)
    with source.open("a") as file:
        file.write("two\n")
    assert lost.wait(60)
    with pytest.raises(NotOurs):
        logs.finish()
    assert (hub.task_dir(task) / "x.log").read_text() == "one\n"


@pytest.mark.any_hub
def test_an_empty_log_is_not_there_and_not_named(
    hub: AnyHub, session: WorkerSession, task: int, tmp_path: Path
) -> None:
    logs = LogUploader(session, task)
    (tmp_path / "empty.log").touch()
    logs.add("empty.log", str(tmp_path / "empty.log"))
    logs.add("never.log", str(tmp_path / "never.log"))
    logs.start()
    assert logs.finish() == ()
    assert not (hub.task_dir(task) / "empty.log").exists()


def test_a_hub_that_cannot_store_a_log_is_an_infrastructure_failure(
    hub: HubStandIn, session: WorkerSession, task: int, tmp_path: Path
) -> None:
    blocked = hub.task_dir(task) / "x.log"
    blocked.mkdir(parents=True)  # the hub cannot write a file of this name
    (tmp_path / "x.log").write_text("x\n")
    logs = LogUploader(session, task)
    logs.add("x.log", str(tmp_path / "x.log"))
    logs.start()
    with pytest.raises(InfrastructureError, match="logs could not be uploaded"):
        logs.finish()


def test_what_the_hub_could_not_take_is_sent_again(
    hub: HubStandIn, session: WorkerSession, task: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A build of hours is not lost because the hub's database was restarted in its first minute."""
    logs = LogUploader(session, task)
    for name in ("a.log", "b.log"):
        logs.add(name, str(tmp_path / name))
        (tmp_path / name).write_text("one\n")
    hub.answer_instead("rawUpload", Fault(1, "<class 'psycopg2.OperationalError'>: terminating connection"), 2)
    logs.start()
    wait_for((hub.task_dir(task) / "b.log").exists)
    with (tmp_path / "a.log").open("a") as file:
        file.write("two\n")
    assert logs.finish() == ("a.log", "b.log")
    assert (hub.task_dir(task) / "a.log").read_text() == "one\ntwo\n"
    assert [record.getMessage() for record in caplog.records if record.name == "engine.worker.logs"] == [
        "uploading a.log failed; it is tried again", "uploading b.log failed; it is tried again",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [1, 6], ids=["once", "always"])
def test_without_fast_uploads_a_log_is_whole_too(
    hub: HubStandIn, session: WorkerSession, task: int, tmp_path: Path, wrong: int
) -> None:
    """uploadFile says False where a piece did not arrive whole (contract trap 16)."""
    session.opts["use_fast_upload"] = False
    (tmp_path / "x.log").write_bytes(b"0123456789abcdef" * 100_000)
    logs = LogUploader(session, task, timestamps=True)
    logs.add("x.log", str(tmp_path / "x.log"))
    hub.answer_instead("uploadFile", False, wrong)
    if wrong > 1:
        with pytest.raises(InfrastructureError, match="x.log did not arrive whole at offset 0, 6 times"):
            logs.finish()
        return
    assert logs.finish() == ("x.log", "x.log-ts.log")
    assert (hub.task_dir(task) / "x.log").read_bytes() == (tmp_path / "x.log").read_bytes()
    assert (hub.task_dir(task) / "x.log-ts.log").read_text().endswith(" 1600000\n")
    assert hub.calls("rawUpload") == []


@pytest.mark.any_hub
@pytest.mark.parametrize("call", ["host.setTaskWeight", "host.closeTask", "host.failTask"])
def test_lost_answers_of_calls_that_were_carried_out(hub: AnyHub, session: WorkerSession, task: int, call: str) -> None:
    hub.lose_answers(call)
    answer = koji.xmlrpcplus.dumps((1,), methodresponse=1, allow_none=1)
    if call == "host.failTask":
        answer = koji.xmlrpcplus.dumps(koji.xmlrpcplus.Fault(1005, "bad"))
    second = 2.0 if call == "host.setTaskWeight" else answer
    assert session.callMethod(call, task, second) is None
    wanted = {"host.setTaskWeight": "OPEN", "host.closeTask": "CLOSED", "host.failTask": "FAILED"}[call]
    assert hub.task(task)["state_name"] == wanted
    assert len([one for one in hub.calls(call) if one.fault_code is None]) == 1


def test_a_renewed_session_goes_on_counting(hub: HubStandIn, session: WorkerSession) -> None:
    before = session.callnum
    hub.expire_session("builder1")
    assert session.host.getID() == 1
    assert session.callnum > before
    assert session.host.getID() == 1
    assert [call.fault_code for call in hub.calls("host.getID")] == [koji.AuthExpired.faultCode, None, None]
