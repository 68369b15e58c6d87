"""koji.ClientSession, as a builder uses it, against the stand-in."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import koji
import koji.daemon
import pytest
import requests
from koji.xmlrpcplus import Fault, dumps

from . import HubStandIn, Settings

#: uploadWrapper of koji 1.36.1 leaves the file it sent to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    with HubStandIn(tmp_path / "koji", settings=Settings(run_interval=0.0)) as running:
        running.add_host("builder1", capacity=2)
        yield running


@pytest.fixture
def builder(hub: HubStandIn) -> Iterator[koji.ClientSession]:
    session = hub.session("builder1")
    session.exclusiveSession(force=True)
    yield session
    session.rsession.close()


def opened(hub: HubStandIn, builder: koji.ClientSession, method: str = "sleep") -> int:
    """The id of a task the builder has open."""
    task = hub.make_task(method, [0])
    builder.host.openTask(task)
    return task


def value(result: Any) -> str:
    document: str = dumps((result,), methodresponse=1, allow_none=1)
    return document


# -- sessions


def test_wrong_password_and_no_login(hub: HubStandIn) -> None:
    with pytest.raises(koji.AuthError, match="invalid username or password"):
        hub.session("builder1", "wrong")
    anonymous = koji.ClientSession(hub.url, {"max_retries": 0})
    assert anonymous.getAPIVersion() == 1
    assert anonymous.hub_version == (1, 35, 3)
    with pytest.raises(koji.AuthError, match="Not logged-in"):
        anonymous.host.getID()


def test_host_calls_need_an_exclusive_session(hub: HubStandIn) -> None:
    plain = hub.session("builder1")
    with pytest.raises(koji.AuthError, match="requires an exclusive session"):
        plain.host.getID()
    with pytest.raises(koji.AuthError, match="is not a host"):
        hub.session("admin").host.getID()
    plain.exclusiveSession()
    assert plain.host.getID() == 1


def test_lock_is_refused_forced_and_lost(hub: HubStandIn, builder: koji.ClientSession) -> None:
    other = hub.session("builder1")
    with pytest.raises(koji.AuthLockError, match="User locked by another session"):
        other.getLoggedInUser()
    with pytest.raises(koji.AuthLockError, match="Cannot get exclusive session"):
        other.exclusiveSession(force=False)
    other.exclusiveSession(force=True)
    with pytest.raises(koji.AuthError, match="Invalid session or bad credentials"):
        builder.host.getID()


def test_subsession_shares_the_lock_and_ends_with_its_master(hub: HubStandIn, builder: koji.ClientSession) -> None:
    child = builder.subsession()
    assert child.host.getID() == 1
    child_id = child.sinfo["session-id"]
    builder.logoutChild(child_id)
    with pytest.raises(koji.AuthError, match="Invalid session"):
        child.host.getID()
    second = builder.subsession()
    builder.logout()
    with pytest.raises(koji.AuthError, match="Invalid session"):
        second.host.getID()


def test_a_session_ages_by_itself_and_takes_its_subsessions_along(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.clock.advance(1439 * 60)
    child = builder.subsession()
    hub.clock.advance(120)
    assert child.host.getID() == 1  # not as old as its master, which did not call since
    assert [call for call in hub.calls("login") if call.kwargs.get("renew")] == []
    for number, session in enumerate((builder, child), 1):
        with contextlib.suppress(koji.SequenceError):  # the trap of the next test
            session.host.getID()
        assert len([call for call in hub.calls("login") if call.kwargs.get("renew")]) == number


def test_renewal_trap(hub: HubStandIn, builder: koji.ClientSession) -> None:
    """The client restarts its count after a renewal, the hub does not (observed.md)."""
    for _ in range(5):
        builder.host.updateHost(0.0, False)
    hub.expire_session("builder1")
    with pytest.raises(koji.SequenceError):
        builder.host.getHostTasks()
    faults = []
    for _ in range(10):
        try:
            builder.host.getHostTasks()
            break
        except (koji.SequenceError, koji.RetryError) as error:
            faults.append(error.faultCode)
    assert faults[-1] == koji.RetryError.faultCode
    assert set(faults[:-1]) == {koji.SequenceError.faultCode}
    assert builder.host.getID() == 1


def test_fresh_login_after_expiry(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.expire_session("builder1")
    fresh = hub.session("builder1")
    fresh.exclusiveSession(force=True)
    assert fresh.host.getID() == 1


def test_sessions_expire_with_the_clock(hub: HubStandIn, builder: koji.ClientSession) -> None:
    builder.auth_method = None
    hub.clock.advance(1440 * 60 + 1)
    with pytest.raises(Exception, match="expired|reauth|NoneType"):
        builder.getLoggedInUser()
    assert hub.call_log[-1].fault_code == koji.AuthExpired.faultCode


# -- trouble on the way


def test_lost_answer_of_a_write_is_a_retry_error(hub: HubStandIn) -> None:
    session = hub.session("builder1", max_retries=3, retry_interval=0)
    session.exclusiveSession(force=True)
    task = opened(hub, session)
    hub.lose_answers("host.closeTask")
    with pytest.raises(koji.RetryError, match="unable to retry call"):
        session.host.closeTask(task, value("done"))
    assert hub.result(task) == "done"


def test_lost_answer_of_a_read_is_repeated(hub: HubStandIn) -> None:
    session = hub.session("builder1", max_retries=3, retry_interval=0)
    session.exclusiveSession(force=True)
    hub.lose_answers("host.getHostTasks")
    assert session.host.getHostTasks() == []
    assert len(hub.calls("host.getHostTasks")) == 2


def test_lost_answer_of_update_host_is_repeated(hub: HubStandIn) -> None:
    """It writes, but the hub accepts its repetition."""
    session = hub.session("builder1", max_retries=3, retry_interval=0)
    session.exclusiveSession(force=True)
    hub.lose_answers("host.updateHost")
    session.host.updateHost(0.0, True)
    numbers = [call.callnum for call in hub.calls("host.updateHost")]
    assert len(numbers) == 2
    assert numbers[0] == numbers[1]


def test_network_down_and_up_keeps_sessions_and_tasks(hub: HubStandIn, builder: koji.ClientSession) -> None:
    task = opened(hub, builder)
    with hub.network_outage(), pytest.raises(requests.exceptions.ConnectionError):
        builder.host.getHostTasks()
    assert [row["id"] for row in builder.host.getHostTasks()] == [task]


def test_client_waits_for_a_hub_that_comes_back(hub: HubStandIn) -> None:
    session = hub.session("builder1", max_retries=20, retry_interval=0.1)
    session.exclusiveSession(force=True)
    hub.network_down()
    timer = threading.Timer(0.5, hub.network_up)
    timer.start()
    assert session.host.getID() == 1
    timer.join()


def test_offline(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.offline()
    with pytest.raises(koji.ServerOffline, match="planned outage"):
        builder.host.getID()
    hub.offline(False)
    assert builder.host.getID() == 1


def test_slow_answers(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.slow_answers(0.3)
    started = time.monotonic()
    builder.echo("x")
    assert time.monotonic() - started >= 0.3
    hub.slow_answers(0)


def test_slow_answers_since_a_call(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.slow_answers(0.5, since="getHost")
    builder.echo("x")
    assert hub.server.delay == 0
    for call in (builder.getHost, builder.echo):
        began = time.monotonic()
        call("builder1")
        assert time.monotonic() - began >= 0.5
    hub.slow_answers(0)


def test_too_long_a_request(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.settings.max_request_length = 1000
    with pytest.raises(koji.GenericError, match="too long"):
        builder.echo("x" * 2000)


# -- uploads


def test_upload_wrapper_in_chunks(hub: HubStandIn, builder: koji.ClientSession, tmp_path: Path) -> None:
    task = opened(hub, builder)
    file = tmp_path / "build.log"
    file.write_bytes(bytes(range(256)) * 5000)
    builder.uploadWrapper(str(file), koji.pathinfo.taskrelpath(task), blocksize=300_000)
    assert (hub.task_dir(task) / "build.log").read_bytes() == file.read_bytes()
    chunks = [(call.kwargs["offset"], call.kwargs["size"]) for call in hub.calls("rawUpload")]
    assert chunks[:2] == [(0, 300_000), (300_000, 300_000)]
    assert sum(size for _offset, size in chunks) == 1_280_000
    checked = builder.checkUpload(koji.pathinfo.taskrelpath(task), "build.log", verify="sha256")
    assert checked["hexdigest"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_upload_survives_a_lost_answer(hub: HubStandIn, tmp_path: Path) -> None:
    session = hub.session("builder1", max_retries=3, retry_interval=0)
    session.exclusiveSession(force=True)
    task = opened(hub, session)
    file = tmp_path / "root.log"
    file.write_bytes(b"line\n" * 100)
    hub.lose_answers("rawUpload")
    session.uploadWrapper(str(file), koji.pathinfo.taskrelpath(task))
    assert (hub.task_dir(task) / "root.log").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("fast", [True, False])
def test_incremental_upload_of_a_growing_log(hub: HubStandIn, tmp_path: Path, fast: bool) -> None:
    session = hub.session("builder1", use_fast_upload=fast)
    session.exclusiveSession(force=True)
    task = opened(hub, session)
    path = koji.pathinfo.taskrelpath(task)
    file = tmp_path / "mock.log"
    with file.open("w+b") as log:
        reader = file.open("rb")
        for part in (b"one\n", b"two\n" * 50_000, b""):
            log.write(part)
            log.flush()
            koji.daemon.incremental_upload(session, "mock.log", reader, path)
        reader.close()
    assert (hub.task_dir(task) / "mock.log").read_bytes() == file.read_bytes()


def test_upload_to_a_task_that_is_not_ours(hub: HubStandIn, builder: koji.ClientSession, tmp_path: Path) -> None:
    task = opened(hub, builder)
    hub.cancel(task)
    file = tmp_path / "late.log"
    file.write_text("late")
    with pytest.raises(koji.ActionNotAllowed, match=f"host 1 does not own task {task}"):
        builder.uploadWrapper(str(file), koji.pathinfo.taskrelpath(task))
    assert not hub.task_dir(task).exists()


def test_output_is_listed_and_read_back(hub: HubStandIn, builder: koji.ClientSession, tmp_path: Path) -> None:
    task = opened(hub, builder)
    file = tmp_path / "state.log"
    file.write_bytes(b"0123456789")
    builder.uploadWrapper(str(file), koji.pathinfo.taskrelpath(task))
    assert builder.listTaskOutput(task) == ["state.log"]
    assert builder.downloadTaskOutput(task, "state.log", offset=2, size=3) == b"234"
    assert builder.downloadTaskOutput(task, "state.log", offset=-4) == b"6789"
    with pytest.raises(koji.GenericError, match="no file"):
        builder.downloadTaskOutput(task, "../../../etc/passwd")
    url = f"{hub.topurl}/work/{koji.pathinfo.taskrelpath(task)}/state.log"
    assert urllib.request.urlopen(url).read() == b"0123456789"
    ranged = urllib.request.Request(url, headers={"Range": "bytes=3-5"})
    assert urllib.request.urlopen(ranged).read() == b"345"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{hub.topurl}/../../etc/passwd")


# -- scheduler and clock


def offered(builder: koji.ClientSession) -> list[int]:
    builder.host.updateHost(0.0, True, data={"methods": ["sleep"], "maxjobs": 10})
    return [task["id"] for task in builder.host.getTasks()]


def test_capacity_and_priority(hub: HubStandIn, builder: koji.ClientSession) -> None:
    tasks = [hub.make_task("sleep", [0]) for _ in range(4)]
    urgent = hub.make_task("sleep", [0], priority=1)
    assert offered(builder) == [urgent, tasks[0]]


def test_arch_channel_and_disabled_host(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.add_channel("images")
    hub.make_task("sleep", [0], arch="s390x")
    hub.make_task("sleep", [0], channel="images")
    assert offered(builder) == []
    hub.host("builder1").enabled = False
    mine = hub.make_task("sleep", [0], arch="x86_64")
    assert offered(builder) == []
    hub.host("builder1").enabled = True
    assert offered(builder) == [mine]


def test_soft_refusal_comes_back_and_a_hard_one_does_not(hub: HubStandIn, builder: koji.ClientSession) -> None:
    soft, hard = hub.make_task("sleep", [0]), hub.make_task("sleep", [0])
    assert offered(builder) == [soft, hard]
    builder.host.refuseTask(soft, soft=True, msg="busy")
    builder.host.refuseTask(hard, soft=False, msg="never")
    assert offered(builder) == []
    hub.clock.advance(901)
    assert offered(builder) == [soft]
    assert hub.task(hard)["state_name"] == "FREE"


def test_refusal_goes_to_another_host(hub: HubStandIn, builder: koji.ClientSession) -> None:
    hub.add_host("builder2")
    other = hub.session("builder2")
    other.exclusiveSession()
    task = hub.make_task("sleep", [0])
    assert offered(builder) == [task]
    builder.host.refuseTask(task, msg="disk full")
    assert offered(other) == [task]


def test_silent_host_loses_its_tasks(hub: HubStandIn, builder: koji.ClientSession) -> None:
    task = hub.make_task("sleep", [0])
    assert offered(builder) == [task]
    builder.host.openTask(task)
    hub.clock.advance(200)
    hub.run_scheduler()
    assert not hub.host("builder1").ready
    assert hub.task(task)["state_name"] == "OPEN"
    hub.clock.advance(701)
    hub.run_scheduler()
    assert hub.task(task)["state_name"] == "FREE"
    with pytest.raises(koji.ActionNotAllowed):
        builder.host.closeTask(task, value(None))


def test_waiting_for_children(hub: HubStandIn, builder: koji.ClientSession) -> None:
    parent = opened(hub, builder)
    one, two = (builder.host.subtask("sleep", [0], parent, label=str(number)) for number in range(2))
    assert builder.host.subtask("sleep", [5], parent, label="0") == one
    builder.host.taskSetWait(parent, [one, two])
    builder.host.taskSetWait(parent, [two])
    builder.host.openTask(one)
    builder.host.closeTask(one, value("first"))
    assert builder.host.taskWait(parent) == [[], [two]]
    (row,) = builder.host.getHostTasks()
    assert (row["waiting"], row.get("alert")) == (True, None)
    builder.host.openTask(two)
    builder.host.failTask(two, dumps(Fault(1005, "second")))
    (row,) = builder.host.getHostTasks()
    assert row["alert"]
    assert builder.host.taskWait(parent) == [[two], []]
    assert builder.host.taskWait(parent) == [[], []]
    with pytest.raises(koji.BuildError, match="second"):
        builder.host.taskWaitResults(parent, None)
    assert hub.task(parent)["waiting"]
    results = dict(builder.host.taskWaitResults(parent, [one, two], canfail=[two]))
    assert results == {one: "first", two: {"faultCode": 1005, "faultString": "second"}}
    assert not hub.task(parent)["waiting"]


def test_results_and_faults(hub: HubStandIn, builder: koji.ClientSession) -> None:
    closed, failed, canceled = (opened(hub, builder) for _ in range(3))
    builder.host.closeTask(closed, value({"rpms": ["a"], "size": 2**40, "none": None}))
    builder.host.failTask(failed, dumps(Fault(1005, "no good")))
    hub.cancel(canceled)
    assert builder.getTaskResult(closed) == {"rpms": ["a"], "size": 2**40, "none": None}
    with pytest.raises(koji.BuildError, match="no good"):
        builder.getTaskResult(failed)
    with pytest.raises(koji.GenericError, match="is canceled"):
        builder.getTaskResult(canceled)
    with pytest.raises(koji.GenericError, match="is not finished"):
        builder.getTaskResult(opened(hub, builder))


def test_unreadable_result_is_the_closers_fault(hub: HubStandIn, builder: koji.ClientSession) -> None:
    task = opened(hub, builder)
    with pytest.raises(Fault):
        builder.host.closeTask(task, "not xml")
    assert hub.task(task)["state_name"] == "OPEN"


def test_multicall_and_wrong_arguments(hub: HubStandIn) -> None:
    admin = hub.session()
    with admin.multicall() as calls:
        good, bad = calls.echo(1), calls.getTag("nosuch", strict=True)
    assert good.result == [1]
    with pytest.raises(koji.GenericError, match="nosuch"):
        _ = bad.result
    with pytest.raises(koji.ParameterError, match="missing 1 required positional argument"):
        admin.getTag()
    with pytest.raises(koji.GenericError, match="Invalid method: no.such"):
        getattr(admin, "no.such")()


def test_adler32_as_koji_spells_it(hub: HubStandIn, builder: koji.ClientSession) -> None:
    task = opened(hub, builder)
    answer = builder.rawUpload(b"abc", 0, koji.pathinfo.taskrelpath(task), "x.log", overwrite=True)
    assert answer["hexdigest"] == f"{zlib.adler32(b'abc'):08x}"
