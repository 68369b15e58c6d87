"""The worker's own credentials and lent secrets: in nothing that a task, the hub or the host gets to see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.security.searching import holding, processes_holding
from tests.worker.conftest import StartWorker
from tests.worker.workshop import wait_for

pytestmark = pytest.mark.podman
PASSWORD, KEY = (f"{words}-{os.getpid()}-sentinel" for words in ("hub-password-71c4", "signing-key-9e02"))
RECIPE = """
recipe = 1
method = "signing"
params = []

[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "{{ workspace.path }}/result"
mode   = "rw"

[[steps]]
name    = "sign"
network = "none"
secrets = ["signing_key"]
argv    = ["sh", "-c", "env; wc -c < /run/secrets/signing_key; while ! test -e $0/result/go; do sleep 0.1; done; echo signed > $0/result/signature", "{{ workspace.path }}"]

[[artifacts]]
name = "signature"
glob = ["result/signature"]
min  = 1

[result]
files = "{{ artifacts.signature.paths }}"
"""  # noqa: E501


def test_secrets_of_worker_and_operator_are_found_nowhere(
    hub: HubStandIn, make_worker: StartWorker, toy_recipes: Path, tmp_path: Path
) -> None:
    (toy_recipes / "signing.toml").write_text(RECIPE)
    key = tmp_path / "operator" / "key"
    key.parent.mkdir()
    key.write_text(KEY)
    with hub.db.lock:
        hub.db.user("builder1").password = PASSWORD
    worker = make_worker(password=PASSWORD)
    worker.settings["adjutant_secrets"] = {"signing_key": str(key)}
    worker.start()
    task = hub.make_task("signing", [])
    log = hub.task_dir(task) / "sign.log"
    wait_for(lambda: log.is_file() and f"{len(KEY)}\n" in log.read_text(), words="the step never had its secret")
    graph, run = podman("info", "--format", "{{.Store.GraphRoot}} {{.Store.RunRoot}}").split()
    assert holding(KEY, f"{graph}/secrets"), "the search does not find the key even while podman keeps it"
    for secret in (PASSWORD, KEY):
        assert processes_holding(secret) == []
    names = worker.containers()
    assert names
    inspected = podman("inspect", *names)
    (worker.workdir / str(task) / "result" / "go").touch()
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert worker.terminate() == 0
    assert (PASSWORD in inspected, KEY in inspected) == (False, False)
    assert holding(PASSWORD, tmp_path) == [worker.config]
    assert holding(KEY, tmp_path) == [key]
    for secret in (PASSWORD, KEY):
        assert holding(secret, f"{graph}/secrets", f"{graph}/overlay-containers", run) == []
