"""Pull policies and registry faults, by a real registry: the right outcome, and nothing stored on a fault."""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.adapters import podman_images
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.cli.image import image as image_commands
from engine.core.errors import ContainerError
from engine.core.manager import ContainerTimeouts, PullPolicy
from tests.podmanhost import import_tiny, podman
from tests.registry.server import Registry, environment, proxy, registries_conf

pytestmark = pytest.mark.podman
LOGIN = ("worker", "right-password")
MARK = f"io.koji.adjutant.test.registry={os.getpid()}"  # other sessions have images of 127.0.0.1 too


class Pulling:
    """A registry, a manager that talks to it, and images pushed on demand."""

    def __init__(self, folder: Path, tiny: str, registry: Registry, *insecure: str, **env: str) -> None:
        self.folder, self.tiny, self.registry = folder, tiny, registry
        self.env = environment(CONTAINERS_REGISTRIES_CONF=str(registries_conf(folder, *insecure)), **env)
        self.stack: list[PodmanManager] = []

    def manager(
        self, policy: PullPolicy = "if-not-present", pull: int = 30, pauses: tuple[float, ...] = (0.05, 0.1)
    ) -> PodmanManager:
        config = PodmanConfig(
            worker_id=f"registrytest-{os.getpid()}",
            pull_policy=policy,
            timeouts=ContainerTimeouts(pull=pull),
            retry_pauses=pauses,
        )
        made = PodmanManager(config, environ=self.env)
        self.stack.append(made)
        return made

    def push(self, name: str, content: str = "one", *words: str) -> str:
        """Push an image with the file /content and forget it locally; its reference."""
        name_here = f"localhost/adjutant-test-push-{os.getpid()}:1"
        local = import_tiny(name_here, self.folder, f"LABEL {MARK}", extra={"content": content})
        target = f"{self.registry.address}/{name}"
        podman("push", "--quiet", "--tls-verify=false", *words, local, f"docker://{target}")
        podman("rmi", "--force", local)
        return target

    def close(self) -> None:
        for made in self.stack:
            made.close()
        for name in podman("images", "--filter", f"label={MARK}", "--format", "{{.Repository}}:{{.Tag}}").split():
            if name.startswith("127.0.0.1:"):
                podman("rmi", "--force", name, check=False)


@pytest.fixture
def pulling(tmp_path: Path, tiny_image: str) -> Iterator[Pulling]:
    registry = Registry(tmp_path / "registry")
    registry.start()
    made = Pulling(tmp_path, tiny_image, registry, registry.address)
    yield made
    try:
        made.close()
    finally:
        registry.stop()


class Retries(logging.Handler):
    """Counts the attempts to pull again, as the log tells of them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "trying again" in record.getMessage() and isinstance(record.args, tuple):
            self.pauses.append(float(str(record.args[1])))


@pytest.fixture(autouse=True)
def retries() -> Iterator[Retries]:
    """Nothing but a fault of the transport is tried again, and such a one with all pauses: held in every test."""
    handler = Retries()
    podman_images.logger.addHandler(handler)
    yield handler
    podman_images.logger.removeHandler(handler)


def content(image: str) -> str:
    return podman("run", "--rm", "--network=none", image, "cat", "/content").strip()


def here(image: str) -> bool:
    return podman("images", "--quiet", image) != ""


def refused(manager: PodmanManager, image: str, policy: PullPolicy | None = None) -> ContainerError:
    with pytest.raises(ContainerError) as caught:
        manager.ensure_image_available(image, policy)
    error = caught.value
    assert error.where == image
    assert error.what
    assert error.why
    assert error.cure, error
    return error


def test_the_pauses_grow() -> None:
    shipped = PodmanConfig(worker_id="x").retry_pauses
    assert shipped
    assert list(shipped) == sorted(set(shipped))


def test_absent_is_pulled_present_is_kept_and_always_asks_again(pulling: Pulling) -> None:
    image = pulling.push("a:1", "one")
    manager = pulling.manager()
    first = manager.ensure_image_available(image)
    assert first.digest.startswith("sha256:")
    assert content(image) == "one"
    pulling.push("a:1", "two")  # the tag moves
    pulling.registry.blobs()
    podman("rmi", "--force", image, check=False)
    again = manager.ensure_image_available(image)
    assert content(image) == "two"
    assert again.digest != first.digest
    # Local content and another content in the registry under the same tag.
    pulling.push("b:1", "new")
    podman("tag", image, f"{pulling.registry.address}/b:1")
    target = f"{pulling.registry.address}/b:1"
    assert manager.ensure_image_available(target, "if-not-present").id == again.id
    assert manager.ensure_image_available(target, "never").id == again.id
    assert content(target) == "two"
    moved = manager.ensure_image_available(target, "always")
    assert moved.id != again.id
    assert content(target) == "new"


def test_never_does_not_ask_the_registry(pulling: Pulling, retries: Retries) -> None:
    image = pulling.push("a:1")
    error = refused(pulling.manager(), image, "never")
    assert not error.retry
    assert "never" in error.why
    assert not here(image)
    assert retries.pauses == []


def test_what_the_registry_does_not_have(pulling: Pulling, retries: Retries) -> None:
    pulling.push("a:1")
    manager = pulling.manager()
    for name in ("a:2", "nothing:1"):
        error = refused(manager, f"{pulling.registry.address}/{name}")
        assert not error.retry
        assert "correct the name" in error.cure
    assert retries.pauses == []


def test_registry_down(pulling: Pulling, retries: Retries) -> None:
    image = pulling.push("a:1")
    manager = pulling.manager(pauses=(0.05,))
    pulling.registry.stop()
    error = refused(manager, image)
    assert retries.pauses == [0.05]
    assert error.retry
    assert "refused" in error.why
    assert "does not answer" in error.cure
    # What is here needs no registry, unless the policy says so.
    pulling.registry.start()
    manager.ensure_image_available(image)
    pulling.registry.stop()
    assert manager.ensure_image_available(image).digest
    assert refused(pulling.manager(pauses=()), image, "always").retry


def test_a_registry_that_comes_back_between_two_attempts(pulling: Pulling) -> None:
    image = pulling.push("a:1")

    def behaviour(number: int, _data: bytes) -> bool:
        return number > 2

    with proxy(pulling.registry.port, behaviour) as (address, seen):
        registries_conf(pulling.folder, address)
        target = image.replace(pulling.registry.address, address)
        pulling.manager().ensure_image_available(target)
        assert len(seen) > 2
        assert content(target) == "one"


def test_a_connection_cut_in_the_middle_of_a_layer(pulling: Pulling) -> None:
    image = pulling.push("a:1")
    sent = {"bytes": 0, "cuts": 0}

    def behaviour(_number: int, data: bytes) -> bool:
        sent["bytes"] += len(data)
        if sent["cuts"] == 0 and sent["bytes"] > 400_000:
            sent["cuts"] += 1
            return False
        return True

    with proxy(pulling.registry.port, behaviour) as (address, _seen):
        registries_conf(pulling.folder, address)
        target = image.replace(pulling.registry.address, address)
        pulling.manager().ensure_image_available(target)
        assert sent["cuts"] == 1
        assert content(target) == "one"


def test_slower_than_the_pull_timeout(pulling: Pulling) -> None:
    image = pulling.push("a:1")

    def behaviour(_number: int, data: bytes) -> bool:
        time.sleep(2 if len(data) > 1000 else 0)
        return True

    with proxy(pulling.registry.port, behaviour) as (address, _seen):
        registries_conf(pulling.folder, address)
        target = image.replace(pulling.registry.address, address)
        start = time.monotonic()
        error = refused(pulling.manager(pull=3), target)
        assert time.monotonic() - start < 20
        assert error.retry
        assert "3 s" in error.why
        assert "timeout" in error.cure
    assert not here(target)


@pytest.mark.parametrize("how", ["corrupt", "truncated"])
def test_a_damaged_blob(pulling: Pulling, how: str, retries: Retries) -> None:
    image = pulling.push("a:1")
    blob = pulling.registry.blobs()[0]
    good = blob.read_bytes()
    middle = len(good) // 2
    blob.write_bytes(good[:middle] + (b"" if how == "truncated" else bytes([good[middle] ^ 0xFF]) + good[middle + 1 :]))
    manager = pulling.manager()
    error = refused(manager, image)
    assert error.retry
    assert "damaged" in error.cure, error
    assert not here(image)
    blob.write_bytes(good)  # repaired: the next task works
    manager.ensure_image_available(image)
    assert content(image) == "one"
    assert retries.pauses == [0.05, 0.1]


def test_a_manifest_of_another_architecture_is_refused_and_not_kept(pulling: Pulling, retries: Retries) -> None:
    local = f"localhost/adjutant-test-push-{os.getpid()}:arm"
    containerfile = pulling.folder / "Containerfile"
    containerfile.write_text("FROM scratch\nCOPY Containerfile /x\n")
    podman("build", "--quiet", "--arch=arm64", "--pull=never", "-t", local, "-f", containerfile, pulling.folder)
    target = f"{pulling.registry.address}/arm:1"
    podman("push", "--quiet", "--tls-verify=false", local, f"docker://{target}")
    podman("rmi", "--force", local)
    error = refused(pulling.manager(), target)
    assert not error.retry
    assert "arm64" in error.why
    assert "architecture" in error.cure
    assert not here(target)
    assert retries.pauses == []


def test_a_list_of_manifests_without_ours(pulling: Pulling, retries: Retries) -> None:
    image = pulling.push("a:1")
    name = f"localhost/adjutant-test-list-{os.getpid()}"
    podman("manifest", "create", name)
    try:
        podman("manifest", "add", "--tls-verify=false", "--arch=s390x", name, f"docker://{image}")
        target = f"{pulling.registry.address}/list:1"
        podman("manifest", "push", "--all", "--tls-verify=false", name, f"docker://{target}")
    finally:
        podman("manifest", "rm", name)
    error = refused(pulling.manager(), target)
    assert not error.retry
    assert "architecture" in error.cure
    assert retries.pauses == []


@pytest.fixture
def guarded(tmp_path: Path, tiny_image: str) -> Iterator[Pulling]:
    registry = Registry(tmp_path / "registry", login=LOGIN)
    registry.start()
    runtime = tmp_path / "run"
    (runtime / "containers").mkdir(parents=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    made = Pulling(
        tmp_path,
        tiny_image,
        registry,
        registry.address,
        XDG_RUNTIME_DIR=str(runtime),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        PATH=f"{tools}:{os.environ['PATH']}",
    )
    yield made
    try:
        made.close()
    finally:
        registry.stop()


def write_auth(pulling: Pulling, data: object, folder: str = "run") -> None:
    (pulling.folder / folder / "containers/auth.json").write_text(json.dumps(data))


def test_a_lasting_login(guarded: Pulling) -> None:
    """ADR 0002 "Image Registry": ~/.config/containers/auth.json."""
    image = guarded.push("a:1", "one", "--creds", ":".join(LOGIN))
    assert not refused(guarded.manager(), image).retry
    (guarded.folder / "config/containers").mkdir(parents=True)
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    write_auth(guarded, {"auths": {guarded.registry.address: {"auth": login}}}, "config")
    guarded.manager().ensure_image_available(image)
    assert content(image) == "one"


def test_logins(guarded: Pulling, retries: Retries) -> None:
    image = guarded.push("a:1", "one", "--creds", ":".join(LOGIN))
    manager = guarded.manager()
    for words in (None, "worker:wrong-password"):
        write_auth(
            guarded,
            {}
            if words is None
            else {"auths": {guarded.registry.address: {"auth": base64.b64encode(words.encode()).decode()}}},
        )
        error = refused(manager, image)
        assert not error.retry
        assert "podman login" in error.cure
        assert "wrong-password" not in str(error)
        assert not here(image)
    good = base64.b64encode(":".join(LOGIN).encode()).decode()
    write_auth(guarded, {"auths": {guarded.registry.address: {"auth": good}}})
    manager.ensure_image_available(image)
    assert content(image) == "one"
    assert retries.pauses == []


def test_a_credential_helper(guarded: Pulling) -> None:
    image = guarded.push("a:1", "one", "--creds", ":".join(LOGIN))
    helper = guarded.folder / "bin/docker-credential-adjutant-test"
    answer = json.dumps({"ServerURL": guarded.registry.address, "Username": LOGIN[0], "Secret": LOGIN[1]})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    write_auth(guarded, {"credHelpers": {guarded.registry.address: "adjutant-test"}})
    guarded.manager().ensure_image_available(image)
    assert content(image) == "one"


def test_tls(tmp_path: Path, tiny_image: str, retries: Retries) -> None:
    registry = Registry(tmp_path / "registry", tls=True)
    registry.start()
    pulling = Pulling(tmp_path, tiny_image, registry)  # nothing is insecure
    certs = Path("/etc/containers/certs.d") / registry.address
    try:
        image = pulling.push("a:1")
        manager = pulling.manager()
        error = refused(manager, image)
        assert not error.retry
        assert retries.pauses == []
        assert "x509" in error.why
        assert "certs.d" in error.cure
        assert not here(image)
        certs.mkdir(parents=True)
        (certs / "ca.crt").write_bytes((tmp_path / "registry/ca.crt").read_bytes())
        manager.ensure_image_available(image)
        assert content(image) == "one"
    finally:
        (certs / "ca.crt").unlink(missing_ok=True)
        if certs.is_dir():
            certs.rmdir()
        try:
            pulling.close()
        finally:
            registry.stop()


def test_plain_http_without_leave(pulling: Pulling, retries: Retries) -> None:
    image = pulling.push("a:1")
    registries_conf(pulling.folder)  # not insecure any more
    error = refused(pulling.manager(), image)
    assert not error.retry
    assert "insecure" in error.cure
    assert retries.pauses == []


def test_the_operators_push_and_pull(pulling: Pulling, monkeypatch: pytest.MonkeyPatch) -> None:
    """`engine image push` and `pull`: what the one sends, the other fetches and tells the digest of."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", pulling.env["CONTAINERS_REGISTRIES_CONF"])
    name_here = f"localhost/adjutant-test-push-{os.getpid()}:2"
    local = import_tiny(name_here, pulling.folder, f"LABEL {MARK}", extra={"content": "pushed"})
    target = f"{pulling.registry.address}/team/task:1"
    said = CliRunner().invoke(image_commands, ["push", local, target, "--", "--tls-verify=false"])
    assert (said.exit_code, said.stdout) == (0, f"{target}\n"), said.output
    podman("rmi", "--force", local)
    assert not here(target)
    got = CliRunner().invoke(image_commands, ["pull", target])
    assert got.exit_code == 0, got.output
    digest = podman("image", "inspect", "--format", "{{.Digest}}", target).strip()
    assert got.stdout.split()[0] == digest
    assert content(target) == "pushed"
