"""Logins without a password: by client certificate; and what is said when they fail (contract 1.3)."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.worker import worker as worker_command
from tests.hub import Authority, HubStandIn, Settings
from tests.worker.conftest import StartWorker
from tests.worker.workshop import WorkerProcess

pytestmark = pytest.mark.podman


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def hub(tmp_path: Path, authority: Authority) -> Iterator[HubStandIn]:
    """A hub that speaks https only; the certificate of its authority lets in."""
    settings = Settings(soft_refusal_timeout=3.0)
    with HubStandIn(tmp_path / "koji", settings=settings, tls=authority) as standin:
        standin.add_host("builder1", arches="x86_64", capacity=4)
        yield standin


def with_certificate(make_worker: StartWorker, cert: Path, serverca: Path) -> WorkerProcess:
    worker = make_worker(cert=str(cert), serverca=str(serverca))
    del worker.settings["hub"]["user"], worker.settings["hub"]["password"]
    return worker


def refused(worker: WorkerProcess, hub: HubStandIn) -> str:
    """What a worker that cannot log in says; it ends by itself, with exit code 4, and without a traceback."""
    worker.start(ready=False)
    assert worker.wait() == 4
    text = worker.log.read_text()
    assert "Traceback" not in text
    assert hub.calls("exclusiveSession") == []
    assert not any("READY=1" in words for words in worker.listen())
    return text


def test_a_client_certificate_logs_in(hub: HubStandIn, make_worker: StartWorker, authority: Authority) -> None:
    worker = with_certificate(make_worker, authority.user("builder1"), authority.bundle).start()
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "said.txt").read_text() == "hello"
    assert hub.calls("login") == []
    assert len(hub.calls("sslLogin")) == 1
    # An expired session is renewed with the certificate, though the hub is away for a moment just then.
    hub.expire_session("builder1")
    hub.answer_instead("sslLogin", HTTPStatus.SERVICE_UNAVAILABLE, 2)
    again = hub.make_task("toy", ["again"])
    assert hub.wait_task(again)["state_name"] == "CLOSED", worker.log.read_text()
    assert [call.kwargs.get("renew", False) for call in hub.calls("sslLogin")] == [False, True]
    assert worker.terminate() == 0
    worker.assert_nothing_left()
    # A dry run shows no certificate, but checks the hub's.
    shown = CliRunner().invoke(worker_command, ["--config", str(worker.config), "--dry-run", "--host", "builder1"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("host builder1: enabled")


def test_a_hub_of_another_authority(
    hub: HubStandIn, make_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "Another authority")
    text = refused(with_certificate(make_worker, authority.user("builder1"), other.bundle), hub)
    assert f"hub {hub.url}: cannot log in: its certificate is not trusted (name " in text
    assert "certificate verify failed" in text


def test_a_certificate_of_nobody(hub: HubStandIn, make_worker: StartWorker, authority: Authority) -> None:
    text = refused(with_certificate(make_worker, authority.user("stranger"), authority.bundle), hub)
    assert "cannot log in" in text
    assert "no user for the certificate or principal: stranger" in text


@pytest.mark.parametrize("key", ["cert", "serverca"])
def test_a_certificate_that_is_not_there(
    hub: HubStandIn, make_worker: StartWorker, authority: Authority, tmp_path: Path, key: str
) -> None:
    worker = with_certificate(make_worker, authority.user("builder1"), authority.bundle)
    worker.settings["hub"][key] = str(tmp_path / "none.pem")
    worker.start(ready=False)
    assert worker.wait() == 3
    last = worker.log.read_text().splitlines()[-1]
    assert last.startswith(f"settings: hub.{key}: {tmp_path}/none.pem is no file (put the certificate there, or take ")
    assert not hub.call_log
