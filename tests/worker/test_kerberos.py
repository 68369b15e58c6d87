"""Logins with a keytab, at a real KDC; what is said when they fail, and what is waited for (contract 1.3, 1.4)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Authority, HubStandIn, Realm, Settings, why_no_realm
from tests.worker.conftest import StartWorker
from tests.worker.test_trouble import running
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = [pytest.mark.podman, pytest.mark.skipif(bool(why_no_realm()), reason=why_no_realm() or "-")]

HOST = f"compile/{socket.getfqdn()}"


@pytest.fixture(autouse=True)
def no_kerberos_of_ours() -> Iterator[None]:
    """The realm is known to the programs that are given it, never to this process or the next test."""
    before = {name: value for name, value in os.environ.items() if name.startswith("KRB5")}
    yield
    assert {name: value for name, value in os.environ.items() if name.startswith("KRB5")} == before


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def realm(tmp_path: Path) -> Iterator[Realm]:
    """A realm with the principals compile/<this host> and compile/other."""
    with Realm(tmp_path / "realm") as made:
        made.add(HOST)
        made.add("compile/other")
        yield made


@pytest.fixture
def hub(tmp_path: Path, authority: Authority, realm: Realm) -> Iterator[HubStandIn]:
    """A hub of the realm, at https://localhost; this host's principal is its builder1."""
    settings = Settings(soft_refusal_timeout=3.0)
    with HubStandIn(tmp_path / "koji", settings=settings, tls=authority, realm=realm) as standin:
        standin.add_host("builder1", arches="x86_64", capacity=4)
        standin.add_principal(f"{HOST}@{realm.name}", "builder1")
        yield standin


@pytest.fixture
def worker(
    make_worker: StartWorker, hub: HubStandIn, authority: Authority, realm: Realm, tmp_path: Path
) -> WorkerProcess:
    """A worker (not started) with the keytab of this host's principal."""
    made = make_worker(
        serverca=str(authority.bundle),
        host_principal_format=f"compile/%s@{realm.name}",
        keytab=str(realm.keytab(tmp_path / "worker.keytab", HOST)),
        ccache=str(tmp_path / "worker.ccache"),
    )
    del made.settings["hub"]["user"], made.settings["hub"]["password"]
    made.environment = dict(realm.environ)
    return made


def refused(worker: WorkerProcess, hub: HubStandIn, code: int = 4) -> str:
    """What a worker that cannot log in says; it ends by itself and without a traceback."""
    worker.start(ready=False)
    assert worker.wait() == code, worker.log.read_text()
    text = worker.log.read_text()
    assert "Traceback" not in text
    assert hub.calls("exclusiveSession") == []
    assert not any("READY=1" in words for words in worker.listen())
    return text


def test_a_keytab_logs_in(hub: HubStandIn, worker: WorkerProcess) -> None:
    worker.start()
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "said.txt").read_text() == "hello"
    assert len(hub.calls("sslLogin")) == 1
    # The task's own session did the work, without a login of its own.
    assert [call.who for call in hub.calls("host.closeTask")] == ["builder1/sub"]
    assert hub.calls("rawUpload", who="builder1/sub")
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_an_expired_session_and_an_expired_ticket(hub: HubStandIn, worker: WorkerProcess, realm: Realm) -> None:
    """The daemon's session and that of a running task are renewed from the keytab, long after the first ticket."""
    realm.admin("modprinc", "-maxlife", "2 seconds", HOST)
    worker.start()
    began = time.monotonic()
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)  # its process has a session of its own by then
    wait_for(lambda: time.monotonic() > began + 2.5)
    hub.expire_session("builder1")
    worker.end_waiting()
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    again = hub.make_task("toy", ["again"])  # taken by the daemon's session
    assert hub.wait_task(again)["state_name"] == "CLOSED", worker.log.read_text()
    renewals = [call.who for call in hub.calls("sslLogin") if call.kwargs.get("renew")]
    assert sorted(set(map(str, renewals))) == ["builder1", "builder1/sub"]
    # Each renewal has fetched a ticket: the one of the start had run out.
    assert realm.log.read_text().count("ISSUE: authtime") > 2
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_an_explicit_principal(hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path) -> None:
    hub.add_principal(realm.add("builders/one"), "builder1")
    keytab = realm.keytab(tmp_path / "one.keytab", "builders/one")
    worker.settings["hub"] |= {"krb_principal": f"builders/one@{realm.name}", "keytab": f"FILE:{keytab}"}
    worker.start()
    assert worker.terminate() == 0


@pytest.mark.parametrize("what", ["missing", "a directory", "damaged", "of others"])
def test_a_keytab_that_does_not_serve(
    hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path, what: str
) -> None:
    keytab = tmp_path / "bad.keytab"
    if what == "a directory":
        keytab.mkdir()
    elif what == "damaged":
        keytab.write_bytes(b"damaged")
    elif what == "of others":
        realm.keytab(keytab, "compile/other")
    worker.settings["hub"]["keytab"] = str(keytab)
    text = refused(worker, hub, code=3)
    words = {
        "missing": f"cannot read {keytab}: No such file or directory (put the keytab there, readable for uid ",
        "a directory": f"cannot read {keytab}: Is a directory (put the keytab there",
        "damaged": f"{keytab}: Unsupported key table format version number (`klist -k {keytab}` lists",
        "of others": f"{keytab}: No key table entry found for {HOST}@{realm.name} (`klist -k {keytab}` lists what it "
        "holds; set hub.krb_principal or hub.host_principal_format)",
    }
    assert f"settings: hub.keytab: {words[what]}" in text


@pytest.mark.parametrize("what", ["empty", "damaged", "of others"])
def test_a_credential_cache_that_does_not_serve(
    hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path, what: str
) -> None:
    """The keytab is right, so what stands in its way goes; kojid does so for an empty file."""
    ccache = tmp_path / "worker.ccache"
    if what == "of others":
        fetch_ticket(realm, "compile/other", tmp_path / "other.keytab", ccache)
    else:
        ccache.write_bytes(b"damaged" if what == "damaged" else b"")
    worker.start()
    assert (f"removed the credential cache {ccache}: " in worker.log.read_text()) == (what != "empty")
    assert worker.terminate() == 0


def test_a_credential_cache_of_somebody_else(hub: HubStandIn, worker: WorkerProcess, tmp_path: Path) -> None:
    """Where everybody may make files, a file that waits for our ticket is not written to."""
    if os.geteuid():
        pytest.skip("only root can give a file away")
    ccache = tmp_path / "worker.ccache"
    ccache.write_bytes(b"")
    os.chown(ccache, 4711, 4711)
    worker.start()
    assert ccache.stat().st_uid == 0
    assert worker.terminate() == 0


def test_the_hubs_service_is_not_in_the_kdc(hub: HubStandIn, worker: WorkerProcess, realm: Realm) -> None:
    realm.admin("delprinc", "-force", "HTTP/localhost")
    text = refused(worker, hub)
    assert f"hub {hub.url}: cannot log in: Server HTTP/localhost@{realm.name} not found in Kerberos database (" in text


@pytest.mark.parametrize("what", ["another key", "another clock"])
def test_the_hub_does_not_take_the_ticket(
    hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path, what: str
) -> None:
    tickets = hub.server.tickets
    assert tickets is not None
    if what == "another key":
        realm.keytab(tmp_path / "elsewhere", "HTTP/localhost", new_key=True)
    elif shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    else:
        tickets.before = ["faketime", "-f", "+2d"]
    text = refused(worker, hub)
    assert f"cannot log in: the hub does not accept the ticket of {HOST}@{realm.name} for HTTP/localhost (" in text


@pytest.mark.parametrize("what", ["unknown", "another key"])
def test_the_kdc_does_not_know_the_key(
    hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path, what: str
) -> None:
    if what == "unknown":
        realm.admin("delprinc", "-force", HOST)
        words = f"Client '{HOST}@{realm.name}' not found in Kerberos database (make {HOST}@{realm.name} in the KDC"
    else:
        realm.keytab(tmp_path / "elsewhere", HOST, new_key=True)
        words = f"Preauthentication failed (the key in {tmp_path}/worker.keytab is not the KDC's any more"
    assert f"hub {hub.url}: cannot log in: {words}" in refused(worker, hub)


def test_a_principal_of_nobody(hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path) -> None:
    worker.settings["hub"] |= {
        "krb_principal": f"compile/other@{realm.name}",
        "keytab": str(realm.keytab(tmp_path / "other.keytab", "compile/other")),
    }
    words = f"cannot log in: koji.AuthError: no user for the certificate or principal: compile/other@{realm.name}\n"
    assert words in refused(worker, hub)


def test_the_kdc_is_down_at_the_start(hub: HubStandIn, worker: WorkerProcess, realm: Realm) -> None:
    realm.stop()
    worker.start(ready=False)
    words = f"the KDC does not answer: Cannot contact any KDC for realm '{realm.name}'"
    wait_for(lambda: words in worker.log.read_text())
    realm.start()
    wait_for(worker.is_ready, 60, worker.log.read_text())
    assert worker.log.read_text().count("gssapi") == 0  # neither koji's advice nor the library's traceback at each try
    assert worker.terminate() == 0


def test_the_kdc_stays_down(hub: HubStandIn, worker: WorkerProcess, realm: Realm) -> None:
    realm.stop()
    worker.settings["hub"] |= {"max_retries": 0, "retry_interval": 0}
    text = refused(worker, hub)
    assert f"hub {hub.url}: cannot log in: Cannot contact any KDC for realm '{realm.name}'" in text


def test_the_hub_is_down_at_the_start(hub: HubStandIn, worker: WorkerProcess) -> None:
    """koji's gssapi_login alone would give up at once, unlike its other calls."""
    hub.network_down()
    worker.start(ready=False)
    wait_for(lambda: "the hub does not answer" in worker.log.read_text())
    hub.network_up()
    wait_for(worker.is_ready, 60, worker.log.read_text())
    assert worker.terminate() == 0


def test_the_kdc_is_down_at_a_renewal(hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path) -> None:
    """Neither the daemon nor a running task gives up while no ticket is to be had."""
    realm.admin("modprinc", "-maxlife", "2 seconds", HOST)
    worker.start()
    task = hub.make_task("toy", ["patient", 600])
    running(worker, hub, task)  # its process has a session of its own by then
    realm.stop()
    (tmp_path / "worker.ccache").unlink()
    hub.expire_session("builder1")
    worker.end_waiting()
    away = "the KDC does not answer: Cannot contact any KDC"
    wait_for(lambda: worker.log.read_text().count(away) > 1, 60, worker.log.read_text())
    time.sleep(3)
    assert hub.task(task)["state_name"] == "OPEN"
    realm.start()
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "said.txt").read_text() == "patient"
    again = hub.make_task("toy", ["again"])
    assert hub.wait_task(again)["state_name"] == "CLOSED", worker.log.read_text()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_stopping_while_the_kdc_is_down(hub: HubStandIn, worker: WorkerProcess, realm: Realm, tmp_path: Path) -> None:
    worker.start()
    realm.stop()
    (tmp_path / "worker.ccache").unlink()
    hub.expire_session("builder1")
    wait_for(lambda: "the KDC does not answer" in worker.log.read_text())
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert time.monotonic() - began < 50
    worker.assert_nothing_left()


def fetch_ticket(realm: Realm, principal: str, keytab: Path, ccache: Path) -> None:
    """As kinit does."""
    realm.keytab(keytab, principal)
    words = "import gssapi; gssapi.Credentials(usage='initiate').inquire()"
    environ = {**realm.environ, "KRB5_CLIENT_KTNAME": str(keytab), "KRB5CCNAME": str(ccache)}
    subprocess.run([sys.executable, "-c", words], env={**os.environ, **environ}, check=True)
    assert ccache.stat().st_size
