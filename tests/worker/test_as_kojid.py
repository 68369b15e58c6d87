"""One build by a kojid with mock and by this worker, on one live hub: what the hub then knows is the same.

The hub's configuration names the kojid's host as `kojid`. test_beside.py compares the calls, without builds.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import koji
import pytest

from tests.podmanhost import task_image
from tests.worker.livehub import AnyHub, LiveHub
from tests.worker.test_builds import builder, offer_build, world
from tests.worker.workshop import WorkerProcess, fault_of

__all__ = ["builder", "task_image", "world"]
pytestmark = [pytest.mark.podman, pytest.mark.any_hub]

OF_ONE_ROOT = {"id", "task_id", "host_id", "host_name", "create_event_id", "create_event_time", "create_ts",
               "retire_event_id", "retire_event_time", "retire_ts"}  # fmt: skip


@pytest.fixture
def kojid(hub: AnyHub) -> str:
    """The host that a kojid works as."""
    if not isinstance(hub, LiveHub) or "kojid" not in hub.config:
        pytest.skip("needs a live hub (--hub-config) where a kojid builds, as the host that `kojid` names")
    return str(hub.config["kojid"])


def known(hub: AnyHub, task: int) -> dict[str, Any]:
    """What the hub knows of a finished build, without what differs between any two."""
    session, result = hub.session(), hub.result(task)
    packages = session.listRPMs(componentBuildrootID=result["brootid"])
    root = session.getBuildroot(result["brootid"])
    hashes = hub.task_dir(task) / "noarch_rpmdiff.json"
    return {
        "state": session.getTaskInfo(task)["state"],
        "result": {key: sorted(Path(path).name for path in result[key]) for key in ("rpms", "srpms")},
        "root": {key: value for key, value in root.items() if key not in OF_ONE_ROOT},
        "packages": {
            f"{row['nvr']}.{row['arch']}": (row["is_update"], row["external_repo_name"], row["payloadhash"])
            for row in packages
        },
        "noarch": json.loads(hashes.read_text())[str(task)] if hashes.exists() else None,
    }


def on_both(hub: AnyHub, kojid: str, repo: int, sample: str) -> list[int]:
    """The ended tasks of the same build: by this worker, and by the kojid."""
    tasks = [offer_build(hub, repo, sample)]
    tasks.append(offer_build(hub, repo, sample, assign=hub.session().getHost(kojid, strict=True)["id"]))
    for task in tasks:
        hub.wait_task(task, 500)
    return tasks


@pytest.mark.parametrize("sample", ["hz", "hello-noarch"])
def test_the_hub_knows_the_same_of_a_build(
    hub: AnyHub, kojid: str, builder: WorkerProcess, world: int, sample: str
) -> None:
    tasks = on_both(hub, kojid, world, sample)
    assert {hub.task(task)["host_id"] for task in tasks} == {
        hub.session().getHost(n)["id"] for n in (hub.builder, kojid)
    }
    ours, theirs = (known(hub, task) for task in tasks)
    assert theirs["state"] == koji.TASK_STATES["CLOSED"]
    assert len(theirs["packages"]) > 10
    assert ours == theirs
    output = [{path.name for path in hub.task_dir(task).iterdir()} for task in tasks]
    assert not [name for name in output[1] - output[0] if not name.startswith("dnf")]  # mock's logs of dnf


@pytest.mark.parametrize("sample", ["fails-in-build", "fails-in-check", "needs-unknown"])
def test_a_build_that_fails_has_the_same_words(
    hub: AnyHub, kojid: str, builder: WorkerProcess, world: int, sample: str
) -> None:
    tasks = on_both(hub, kojid, world, sample)
    faults = [fault_of(hub, task) for task in tasks]
    assert faults[0] == faults[1]
    assert faults[0][0] == koji.BuildError.faultCode
    session = hub.session()
    roots = [[row["id"] for row in session.listBuildroots(taskID=task)] for task in tasks]
    assert [[session.getBuildroot(root)["state"] for root in each] for each in roots] == 2 * [
        [koji.BR_STATES["EXPIRED"]]
    ]
    output = [{path.name for path in hub.task_dir(task).iterdir()} for task in tasks]
    # Where nothing was built, mock still leaves a build.log: of its attempt to write the source package.
    missing = {name for name in output[1] - output[0] if not name.startswith("dnf")}
    assert missing <= ({"build.log"} if sample == "needs-unknown" else set())


@pytest.fixture
def two_repos(hub: AnyHub, kojid: str) -> Iterator[list[int]]:
    """Two repos of the tag as newRepo begins them, asked for before a worker runs; given up at the end."""
    assert isinstance(hub, LiveHub)
    repos = [hub.new_repo(), hub.new_repo()]
    yield repos
    for repo in repos:
        hub.session().repoProblem(repo)


def indexed(hub: AnyHub, task: int) -> dict[str, Any]:
    """What a createrepo task gave the hub; without the names of its own work directory."""
    folder = hub.task_dir(task)
    records = ElementTree.parse(folder / "repomd.xml").getroot().findall("{*}data")
    files = {record.get("type"): record.find("{*}location").get("href") for record in records}  # type: ignore[union-attr]
    text = {
        kind: gzip.decompress((folder / Path(files[kind] or "").name).read_bytes()) for kind in ("primary", "origin")
    }
    packages = ElementTree.fromstring(text["primary"]).findall("{*}package")
    origins = (line.split() for line in text["origin"].decode().splitlines())
    return {
        "kinds": sorted(kind or "" for kind in files),
        "packages": sorted(
            (package.findtext("{*}name"), package.findtext("{*}checksum"), package.find("{*}location").attrib["href"])  # type: ignore[union-attr]
            for package in packages
        ),
        "origins": {name: re.sub(r"^file:///.*/repo_\d+_premerge/$", "own", origin) for name, origin in origins},
        "result": hub.result(task)[0] == koji.pathinfo.taskrelpath(task),
        "named": {re.sub(r"^[0-9a-f]{64}-", "", name) for name in hub.result(task)[1]},
    }


def test_the_hub_gets_the_same_repository(
    hub: AnyHub, kojid: str, two_repos: list[int], builder: WorkerProcess
) -> None:
    host = hub.session().getHost(kojid, strict=True)["id"]
    tasks = [
        hub.make_task("createrepo", [repo, "x86_64", None], arch="noarch", **options)
        for repo, options in zip(two_repos, ({}, {"assign": host}), strict=True)
    ]
    assert [hub.wait_task(task, 300)["state_name"] for task in tasks] == ["CLOSED", "CLOSED"]
    ours, theirs = (indexed(hub, task) for task in tasks)
    assert len(theirs["packages"]) > 10
    assert ours == theirs
