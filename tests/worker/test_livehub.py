"""LiveHub and its gateway, with the stand-in as the live hub: the same names, the same call log, the same trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import koji
import pytest
import requests
import tomli_w

from engine.worker.session import WorkerSession
from tests.hub import CallRecord, HubStandIn
from tests.worker.livehub import LiveHub
from tests.worker.workshop import fault_of, wait_for

OF_A_LIVE_ONE = {"new_repo", "ready_repo", "tag"}


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[HubStandIn]:
    """What plays the hub of somebody else. Its scheduler runs when it is asked to."""
    with HubStandIn(tmp_path / "koji") as standin:
        standin.add_host("somebody", "secret", arches="x86_64")
        standin.settings.run_interval = 3600
        yield standin


@pytest.fixture
def config(behind: HubStandIn, tmp_path: Path) -> Path:
    file = tmp_path / "hub.toml"
    keys = {"url": behind.url, "topurl": behind.topurl, "topdir": str(behind.topdir), "builder": "somebody"}
    file.write_text(tomli_w.dumps({**keys, "builder_password": "secret", "user": "admin", "password": "admin"}))
    return file


@pytest.fixture
def live(config: Path) -> Iterator[LiveHub]:
    with LiveHub(config) as hub:
        yield hub


@pytest.fixture
def builder(live: LiveHub) -> Iterator[WorkerSession]:
    """The host's session, as a worker has it."""
    options = {"user": live.builder, "password": live.password(live.builder), "use_fast_upload": True}
    session = WorkerSession(live.url, options | {"max_retries": 50, "retry_interval": 0.1})
    session.login()
    session.exclusiveSession()
    session.host.updateHost(0.0, True, data={"methods": ["toy"], "maxjobs": 4})
    yield session
    session.logout()


def test_the_names_are_the_stand_ins(live: LiveHub) -> None:
    names = {name for name in dir(live) if not name.startswith("_")} - OF_A_LIVE_ONE
    own = {"arches", "config", "host_id"}
    assert names - own <= set(dir(HubStandIn))


def seen(log: list[CallRecord]) -> list[tuple[object, ...]]:
    """The calls of the host and of its tasks, as either wrote them down."""
    return [
        (call.who, call.callnum, call.method, call.args, call.kwargs, call.result, call.fault_code, call.fault_text)
        for call in log
        if call.who is not None and call.who.startswith("somebody")
    ]


@pytest.mark.filterwarnings("ignore:.*said.txt:pytest.PytestUnraisableExceptionWarning")  # koji leaves it open
def test_the_log_is_the_stand_ins(live: LiveHub, behind: HubStandIn, tmp_path: Path) -> None:
    behind.forget_calls()
    session = WorkerSession(live.url, {"user": "somebody", "password": "secret", "use_fast_upload": True})
    session.login()
    session.exclusiveSession()
    task = live.make_task("toy", ["x"], kwargs=None)
    assert session.host.openTask(task) is not None
    child = session.subsession()
    (tmp_path / "said.txt").write_text("hello")
    child.uploadWrapper(str(tmp_path / "said.txt"), koji.pathinfo.taskrelpath(task))
    with pytest.raises(koji.GenericError):
        child.host.closeTask(99999, "no such task")
    child.host.failTask(task, koji.xmlrpcplus.dumps(koji.xmlrpcplus.Fault(1005, "bad")))
    child.logout()
    session.logout()
    assert fault_of(live, task) == (1005, "bad")
    assert (live.task_dir(task) / "said.txt").read_text() == "hello"
    mine = seen(live.call_log)
    assert mine == seen(behind.call_log)
    assert {"exclusiveSession", "host.openTask", "rawUpload", "host.failTask"} <= {call[2] for call in mine}
    assert {call[0] for call in mine} == {"somebody", "somebody/sub"}


def test_trouble_on_the_line(live: LiveHub, behind: HubStandIn, builder: WorkerSession) -> None:
    task = live.make_task("toy", ["x"])
    live.lose_answers("host.openTask")
    with pytest.raises(koji.RetryError):  # the hub has done it, and the repetition is refused
        builder.host.openTask(task)
    assert live.task(task)["state_name"] == "OPEN"
    with live.network_outage(), pytest.raises(requests.exceptions.ConnectionError):
        koji.ClientSession(live.url).echo(1)
    before = len(behind.calls("echo"))
    live.offline()
    with pytest.raises(koji.ServerOffline, match="planned outage"):
        koji.ClientSession(live.url, {"offline_retry": False}).echo(2)
    live.offline(False)
    assert len(behind.calls("echo")) == before
    live.free(task)
    wait_for(lambda: live.task(task)["state_name"] == "ASSIGNED")  # by the scheduler that LiveHub keeps running


def test_every_task_ends(config: Path, behind: HubStandIn) -> None:
    with LiveHub(config) as hub:
        task = hub.make_task("toy", ["x"])
        assert (behind.task(task)["state_name"], behind.task(task)["host_id"]) == ("ASSIGNED", hub.host_id)
    assert behind.task(task)["state_name"] == "CANCELED"


def test_a_configuration_without_a_key(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('url = "http://127.0.0.1:9/kojihub"\n')
    with pytest.raises(
        pytest.UsageError, match="hub.toml: builder, builder_password, password, topdir, topurl, user: "
    ):
        LiveHub(file)
