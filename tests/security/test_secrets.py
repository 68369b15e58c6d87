"""A secret reaches its step and nothing else: everything the system wrote is searched for it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.core.errors import BadInput, InfrastructureError
from engine.core.facts import Facts, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.manager import ContainerTimeouts
from engine.core.plan import Plan
from engine.core.podman_form import body, shell_text
from engine.core.render import render
from engine.core.spec import ContainerSpec
from tests.podmanhost import podman
from tests.security.searching import holding, needles

SECRET = "hunter2-a3f1-sentinel"

RECIPE = '''
recipe = 1
method = "signing"

[[container.mounts]]
source  = "{{ workspace.host }}/result"
target  = "{{ workspace.path }}/result"
mode    = "rw"

[[steps]]
name    = "sign"
network = "none"
secrets = ["signing_key"]
argv    = ["/bin/sh", "-c", """
set -e; cd /run/secrets; ls -ln; test $(head -c 7 signing_key) = hunter2; test ! -w signing_key; env"""]

[[steps]]
name    = "other"
network = "none"
argv    = ["/bin/sh", "-c", "test ! -e /run/secrets/signing_key && echo absent"]
'''


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "operator" / "key"
    path.parent.mkdir(mode=0o700)
    path.write_text(SECRET)
    path.chmod(0o600)
    return {"signing_key": str(path)}


@pytest.fixture
def lending(podman_host: None, files: dict[str, str]) -> Iterator[PodmanManager]:
    config = PodmanConfig(worker_id=f"secrets-{os.getpid()}", secrets=files, timeouts=ContainerTimeouts(stop_grace=1))
    with PodmanManager(config) as made:
        yield made
        assert made.secrets.stored(config.worker_id) == []


def plan(settings: Settings, recipe: str = RECIPE) -> Plan:
    return render(
        load_recipe(recipe, "signing.toml"), TaskRequest(method="signing", task_id=7), Facts(settings=settings)
    )


def settings_of(manager: PodmanManager, files: dict[str, str], tmp_path: Path, image: str) -> Settings:
    return Settings(
        worker_id=manager.config.worker_id,
        workdir=str(tmp_path / "work"),
        adjutant_task_image_default=image,
        adjutant_secrets=files,
    )


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_the_search_sees_through_base64(before: bytes) -> None:
    encoded = base64.b64encode(before + SECRET.encode() + b"more")
    assert any(needle in encoded for needle in needles(SECRET))
    assert not any(needle in base64.b64encode(b"another text altogether") for needle in needles(SECRET))


@pytest.mark.podman
def test_a_secret_reaches_its_step_and_is_found_nowhere_else(
    lending: PodmanManager, files: dict[str, str], tmp_path: Path, tiny_image: str
) -> None:
    settings = settings_of(lending, files, tmp_path, tiny_image)
    made = plan(settings)
    for directory in made.directories:
        os.makedirs(tmp_path / "work/7" / directory, mode=0o777)
    said: dict[str, bytes] = {}
    inspected, stored = "", []
    info = lending.info()["store"]
    root, run = info["graphRoot"], info["runRoot"]
    for step in made.steps:
        output: list[bytes] = []

        def look(data: bytes, output: list[bytes] = output, name: str = step.container.name) -> None:
            nonlocal inspected, stored
            output.append(data)
            if not inspected:  # while it runs
                stored = holding(SECRET, f"{root}/secrets")
                inspected = podman("inspect", name, check=False) + podman("secret", "inspect", *_names())

        outcome = lending.run(step.container, log=look)
        said[step.name] = b"".join(output)
        assert outcome.exit_code == 0, said
    assert b"-r--------" in said["sign"]
    assert b" 1000 " in said["sign"]
    assert b"absent" in said["other"]
    assert "signing_key" in inspected
    # Plan, printed command, posted body, inspect, logs.
    texts = [json.dumps(made.data()), inspected, *(text.decode() for text in said.values())]
    texts += [shell_text(step.container) + json.dumps(body(step.container, {})) for step in made.steps]
    assert [text for text in texts if any(needle.decode() in text for needle in needles(SECRET))] == []
    # Everything written below the work directory; podman's storage and state, now that the step is over.
    assert stored, "the search does not find the secret even while podman keeps it"
    written = [f"{root}/secrets", f"{root}/overlay-containers", run, tmp_path / "work"]
    assert holding(SECRET, *written) == []


def _names() -> list[str]:
    return [
        name
        for name in podman("secret", "ls", "--format", "{{.Name}}").split()
        if name.startswith(f"adjutant-secrets-{os.getpid()}-")
    ]


@pytest.mark.podman
@pytest.mark.parametrize("end", ["fails", "cannot start", "cancelled"])
def test_it_is_gone_however_the_step_ends(
    lending: PodmanManager, files: dict[str, str], tmp_path: Path, tiny_image: str, end: str
) -> None:
    made = plan(settings_of(lending, files, tmp_path, tiny_image))
    argv = {"fails": ("false",), "cannot start": ("/no/such/program",), "cancelled": ("sleep", "60")}[end]
    spec = _evolved(made.steps[0].container, argv)
    try:
        lending.run(spec, cancelled=lambda: end == "cancelled")
    except InfrastructureError:
        assert end == "cannot start"
    assert _names() == []


def _evolved(spec: ContainerSpec, argv: tuple[str, ...]) -> ContainerSpec:
    import attrs

    return attrs.evolve(spec, argv=argv, mounts=(), log_path=None)


@pytest.mark.podman
@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read"), ("", "1 to 512000 bytes"), ("x" * 512_001, "1 to 512000 bytes")]
)
def test_a_file_that_is_no_secret(
    lending: PodmanManager,
    files: dict[str, str],
    tmp_path: Path,
    tiny_image: str,
    content: str | None,
    said: str,
) -> None:
    path = Path(files["signing_key"])
    path.unlink() if content is None else path.write_text(content)
    made = plan(settings_of(lending, files, tmp_path, tiny_image))
    with pytest.raises(InfrastructureError, match=said) as caught:
        lending.run(_evolved(made.steps[0].container, ("true",)))
    assert "signing_key" in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.podman
def test_a_fifo_does_not_hang(lending: PodmanManager, files: dict[str, str], tmp_path: Path, tiny_image: str) -> None:
    path = Path(files["signing_key"])
    path.unlink()
    os.mkfifo(path)
    made = plan(settings_of(lending, files, tmp_path, tiny_image))
    with pytest.raises(InfrastructureError, match="not a regular file"):
        lending.run(_evolved(made.steps[0].container, ("true",)))


def test_a_recipe_may_only_name_what_the_operator_gave() -> None:
    with pytest.raises(BadInput, match=r"steps\[0\].secrets\[0\]: there is no secret 'signing_key' here .*adjutant_s"):
        plan(Settings())


def test_a_name_too_long_for_podman_is_refused_at_render() -> None:
    with pytest.raises(BadInput, match="64 is the most"):
        plan(Settings(worker_id="w" * 60, adjutant_secrets={"signing_key": "/x"}))


KILLED = """
import sys
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.core.spec import *
worker, path, image = sys.argv[1:]
manager = PodmanManager(PodmanConfig(worker_id=worker, secrets={"signing_key": path}))
spec = ContainerSpec(
    name=f"adjutant-{worker}-7-1-sign", image=image, argv=("sleep", "60"), network_disabled=True,
    secrets=(SecretMount(name=f"adjutant-{worker}-7-signing_key", target="/run/secrets/signing_key"),),
    labels={LABEL_WORKER_ID: worker, LABEL_TASK_ID: "7"},
)
manager.run(spec, log=lambda _data: None, cancelled=lambda: print("up", flush=True))
"""


@pytest.mark.podman
def test_after_a_crash_it_is_found_by_its_label(files: dict[str, str], tiny_image: str) -> None:
    worker = f"crash-{os.getpid()}"
    words = [sys.executable, "-c", KILLED, worker, files["signing_key"], tiny_image]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "up"
        child.kill()
    with PodmanManager(PodmanConfig(worker_id=worker, timeouts=ContainerTimeouts(stop_grace=0))) as manager:
        from engine.gc import collect

        assert [(secret.task_id, secret.worker_id) for secret in manager.secrets.stored(worker)] == [("7", worker)]
        assert manager.secrets.stored("another") == []
        report = collect(manager, worker_id=worker, workdir=None)
        assert f"adjutant-{worker}-7-signing_key" in report.secrets
        assert manager.secrets.stored(worker) == []
        assert manager.containers({"io.koji.adjutant.worker_id": worker}) == []
