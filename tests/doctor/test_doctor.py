"""`engine doctor` on this host, and on hosts made wrong in one point."""

from __future__ import annotations

import gc
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from engine.adapters import rootless
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.cli.doctor import doctor
from engine.core.facts import Settings
from engine.core.health import CheckResult
from engine.core.images import ImageRule
from engine.core.manager import ContainerTimeouts
from engine.doctor import run_checks
from engine.doctor.credentials import check_credentials
from engine.doctor.host import check_secrets
from engine.doctor.remote import check_hub, check_registry
from engine.worker.options import HubOptions
from tests.podmanhost import import_tiny, podman
from tests.registry.server import Registry, environment, registries_conf


class Hub(BaseHTTPRequestHandler):
    body = b"<?xml version='1.0'?><methodResponse><params/></methodResponse>"
    date = ""

    def do_POST(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", self.date or self.date_time_string())
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    class Handler(Hub):
        pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/kojihub", Handler
    server.shutdown()
    server.server_close()
    thread.join()


def levels(results: list[CheckResult]) -> dict[str, str]:
    return {result.name: result.level for result in results}


def test_the_hub_and_its_clock(hub: tuple[str, type[Hub]]) -> None:
    address, handler = hub
    assert levels(check_hub(HubOptions(server=address))) == {"hub": "ok", "clock": "ok"}
    handler.date = "Mon, 01 Jan 2024 00:00:00 GMT"
    assert levels(check_hub(HubOptions(server=address))) == {"hub": "ok", "clock": "problem"}
    handler.body = b"<html>It works!</html>"
    assert levels(check_hub(HubOptions(server=address))) == {"hub": "problem", "clock": "unknown"}
    for nowhere in ("http://127.0.0.1:9/kojihub", "ftp//nonsense"):
        assert levels(check_hub(HubOptions(server=nowhere))) == {"hub": "problem", "clock": "unknown"}
    assert levels(check_hub(HubOptions())) == {"hub": "warning", "clock": "unknown"}


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 10000 00:00:00 GMT"])
def test_a_date_that_is_none(hub: tuple[str, type[Hub]], date: str) -> None:
    address, handler = hub
    handler.date = date
    assert levels(check_hub(HubOptions(server=address))) == {"hub": "ok", "clock": "unknown"}


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nshort", b""]
)
def test_a_port_that_does_not_speak_http(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _address = server.accept()
            with peer:
                asked = b""
                while b"</methodCall>" not in asked:  # all of it: closing with a rest unread would reset
                    asked += peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found = check_hub(HubOptions(server=f"http://127.0.0.1:{server.getsockname()[1]}/kojihub"))
        thread.join()
    assert levels(found) == {"hub": "problem", "clock": "unknown"}
    assert found[0].cure


def test_a_ca_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path in ("absent.pem", "empty.pem"):
        found = check_hub(HubOptions(server="https://127.0.0.1:9/kojihub", serverca=str(tmp_path / path)))
        assert levels(found) == {"hub.serverca": "problem", "hub": "unknown", "clock": "unknown"}
        assert path in found[0].found


@pytest.mark.podman
def test_the_registry(tmp_path: Path, tiny_image: str) -> None:
    registry = Registry(tmp_path / "registry")
    registry.start()
    image = f"{registry.address}/x:1"
    env = environment(CONTAINERS_REGISTRIES_CONF=str(registries_conf(tmp_path, registry.address)))
    try:
        podman("push", "--quiet", "--tls-verify=false", tiny_image, f"docker://{image}")
        assert check_registry(image, present=False, policy="if-not-present", environ=env).level == "ok"
        assert check_registry(f"{image}1", present=False, policy="if-not-present", environ=env).level == "problem"
    finally:
        registry.stop()
    down = check_registry(image, present=True, policy="if-not-present", environ=env)
    assert down.level == "warning"
    assert "does not answer" in down.cure
    assert check_registry(image, present=True, policy="always", environ=env).level == "problem"
    assert check_registry(image, present=True, policy="never", environ=env).level == "ok"
    assert check_registry("almalinux:10", present=True, policy="always", environ=env).level == "problem"
    assert check_registry("UPPER", present=True, policy="always", environ=env).level == "problem"


def test_subordinate_ids(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("root:1:2\n4242:100000:65536\n4242:200000:10\nbroken\n")
    assert rootless.id_ranges(4242, tmp_path) == {"subuid": 65546, "subgid": 0}


def test_ids_are_what_podman_maps() -> None:
    mapped = [{"container_id": 0, "host_id": 4242, "size": 1}, {"container_id": 1, "host_id": 100000, "size": 65536}]
    info = {"host": {"idMappings": {"uidmap": mapped, "gidmap": mapped[:1]}}}
    assert rootless.mapped_ids(info) == {"uid": 65537, "gid": 1}
    for silent in ({}, {"host": {"idMappings": {"uidmap": None, "gidmap": None}}}):
        assert rootless.mapped_ids(silent) is None


def test_what_logs_in(tmp_path: Path) -> None:
    good, shared, absent = (str(tmp_path / name) for name in ("good", "shared", "absent"))
    for path, mode in ((good, 0o400), (shared, 0o644)):
        Path(path).write_text("x")
        Path(path).chmod(mode)

    def level(**options: str) -> dict[str, str]:
        return levels(check_credentials(HubOptions(server="https://hub.example.org", **options)))

    assert level(keytab=good) == level(keytab=f"FILE:{good}") == level(keytab="KEYRING:x") == {"hub.keytab": "ok"}
    assert level(keytab=shared) == {"hub.keytab": "warning"}
    assert level(keytab=absent) == level(keytab=str(tmp_path)) == {"hub.keytab": "problem"}
    assert level(keytab=absent, cert=good) == {"hub.cert": "ok"}
    assert level(keytab=good, cert=absent) == {"hub.cert": "problem"}
    assert level(keytab=absent, user="kojibuilder") == {"hub.user": "ok"}
    assert check_credentials(HubOptions(keytab=absent)) == []


def test_secret_files(tmp_path: Path) -> None:
    for name, mode in (("good", 0o400), ("open", 0o444)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    files = {name: str(tmp_path / name) for name in ("good", "open", "absent", ".")}
    assert levels(check_secrets(files)) == {
        "secrets.good": "ok",
        "secrets.open": "warning",
        "secrets.absent": "problem",
        "secrets..": "problem",
    }


@pytest.fixture
def settings(manager: PodmanManager, tmp_path: Path, task_image: str) -> Settings:
    return Settings(
        worker_id=manager.config.worker_id, workdir=str(tmp_path / "work"), adjutant_task_image_default=task_image
    )


@pytest.mark.podman
def test_a_good_host_has_no_problem(settings: Settings, manager: PodmanManager, tmp_path: Path) -> None:
    topdir = tmp_path / "koji"
    topdir.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    results = run_checks(evolve(settings, topdir=str(topdir)), manager)
    assert [str(result) for result in results if result.fatal] == []
    seen = levels(results)
    assert seen["limits"] == seen["containers"] == seen["topdir"] == seen["image.koji"] == seen["network"] == "ok"
    topdir.chmod(0o700)
    assert levels(run_checks(evolve(settings, topdir=str(topdir)), manager))["topdir"] == "problem"


@pytest.mark.podman
def test_no_image(settings: Settings, manager: PodmanManager) -> None:
    absent = evolve(settings, adjutant_task_image_default="localhost/no-such-image:1")
    results = run_checks(absent, manager)
    assert levels(results)["image.present"] == "problem"
    for name in ("containers", "limits", "topdir", "network"):
        assert [(one.level, one.found) for one in results if one.name == name] == [
            ("unknown", "localhost/no-such-image:1 is not on this host")
        ]
    elsewhere = evolve(settings, adjutant_task_image_default="127.0.0.1:9/no-such-image:1")
    assert levels(run_checks(elsewhere, manager))["image.present"] == "warning"
    never = evolve(elsewhere, adjutant_image_pull_policy="never")
    assert levels(run_checks(never, manager))["image.present"] == "problem"


@pytest.mark.podman
def test_every_image_is_looked_at(settings: Settings, manager: PodmanManager, tmp_path: Path) -> None:
    odd, ruled = f"localhost/adjutant-test-odd:{os.getpid()}", "localhost/no-such-image:1"
    import_tiny(odd, tmp_path, 'ENTRYPOINT ["/bin/true"]')
    try:
        several = evolve(settings, adjutant_images=(ImageRule(image=ruled), ImageRule(image=odd)))
        results = levels(run_checks(several, manager, images=["localhost/no-such-image:2", ruled]))
    finally:
        podman("rmi", "--force", odd)
    assert results["image.present"] == "ok"
    assert results[f"image.present.{odd}"] == results[f"image.arch.{odd}"] == "ok"
    assert results[f"image.entrypoint.{odd}"] == "problem"
    assert results[f"image.present.{ruled}"] == results["image.present.localhost/no-such-image:2"] == "problem"


# podman-py leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_podman(tmp_path: Path) -> None:
    config = PodmanConfig(worker_id="none", socket=str(tmp_path / "no.sock"), timeouts=ContainerTimeouts())
    settings = Settings(worker_id="none", workdir=str(tmp_path))
    with PodmanManager(config) as manager:
        results = levels(run_checks(settings, manager))
    assert results["podman.service"] == "problem"
    silent = ["podman.version", "podman.runtime", "podman.storage", "podman.seccomp", "registry", "image.present"]
    for name in (*silent, "containers", "limits", "topdir", "network", "hub", "clock"):
        assert results[name] == "unknown"
    assert "user" in results  # the rest was looked at all the same
    assert f"disk.{tmp_path}" in results
    gc.collect()


# podman-py leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_hub_takes_nothing_but_the_hub(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(f"""
adjutant_container_mounts = [{{ source = "{tmp_path}/koji", target = "/mnt/koji", selinux_label = "Z" }}]
[hub]
server = "http://127.0.0.1:9/kojihub"
workdir = "{tmp_path}/work"
topdir = "{tmp_path}/koji"
minspace = 999999999
[worker]
podman = "{tmp_path}/no.sock"
""")
    done = CliRunner().invoke(doctor, ["--config", str(config), "--no-hub", "--json"], catch_exceptions=False)
    results = {result["name"]: result for result in json.loads(done.stdout)}
    assert f"mounts.{tmp_path}/koji" in results  # more than one task at once
    assert "999999999 MiB are required" in results[f"disk.{tmp_path}"]["cure"]
    assert results["hub"]["level"] == results["clock"]["level"] == "unknown"
    gc.collect()


@pytest.mark.podman
def test_the_command(tmp_path: Path, task_image: str, podman_host: None) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(
        f'adjutant_task_image_default = "{task_image}"\n[hub]\nworkdir = "{tmp_path}/work"\nminspace = 512\n'
    )
    words = ["--config", str(config), "--no-hub", "--self-test", "--json"]
    done = CliRunner().invoke(doctor, words, catch_exceptions=False)
    results = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert set(results[0]) == {"name", "level", "found", "cure"}
    assert any(result["name"] == "selftest.build.mount" for result in results)
    broken = import_tiny(f"localhost/adjutant-test-noimage:{os.getpid()}", tmp_path)
    try:
        done = CliRunner().invoke(
            doctor, ["--config", str(config), "--no-hub", "--image", broken], catch_exceptions=False
        )
    finally:
        podman("rmi", "--force", broken)
    assert done.exit_code == 4
    assert "problem" in done.stderr
