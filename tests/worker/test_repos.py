"""Repositories through a worker: with external repos, without packages, from an older one, and without a tree."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.hub import HubStandIn
from tests.podmanhost import task_image
from tests.worker.conftest import StartWorker
from tests.worker.test_builds import RECIPES, TAG, _words, builder, file_server, offer_build, offer_repo
from tests.worker.test_control import shown
from tests.worker.workshop import WorkerProcess, fault_of, wait_for
from tools import standin

__all__ = ["builder", "file_server", "task_image"]
pytestmark = pytest.mark.podman

SMALL = "dist-small"


@pytest.fixture
def world_rpms() -> Path:
    """The packages a build needs, with their metadata."""
    try:
        return standin.world_repo()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))


def done(hub: HubStandIn, task: int, worker: WorkerProcess) -> Any:
    """The result of a task that closes."""
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, worker)
    return hub.result(task)


def finished_repo(hub: HubStandIn, repo: int, result: Any) -> Path:
    """What newRepo does with the result of createrepo; the repodata."""
    hub.add_host("other", arches="none")
    session = hub.session("other")
    session.exclusiveSession()
    session.host.repoDone(repo, {"x86_64": result})
    return hub.repo_dir(repo) / "x86_64" / "repodata"


def test_a_build_in_a_repo_with_an_external_one(
    hub: HubStandIn, make_worker: StartWorker, task_image: str, world_rpms: Path, file_server: str
) -> None:
    worker = make_worker(image=task_image, recipes=RECIPES, topurl=file_server).start()
    shutil.copytree(world_rpms, hub.topdir / "elsewhere" / "x86_64", copy_function=os.link)
    (comps,) = world_rpms.glob("repodata/*comps.xml")
    group = ElementTree.parse(comps).find("group")
    assert group is not None
    needed = [entry.text or "" for entry in group.iter("packagereq")]
    hub.add_tag(TAG, "x86_64", {"rpm.macro.dist": ".t1"}, groups={"build": needed})
    own = sorted(world_rpms.rglob("bash-[0-9]*.rpm"))
    assert own
    hub.add_builds(own, TAG)
    external = hub.add_external_repo("elsewhere", f"{file_server}/elsewhere/$arch/", TAG)
    repo = hub.add_repo(TAG, state="INIT")
    result = done(hub, hub.make_task("createrepo", [repo, "x86_64", None], arch="noarch"), worker)
    repodata = finished_repo(hub, repo, result)
    (listed,) = [path for path in repodata.iterdir() if "pkgorigins" in path.name or "origin" in path.name]
    origins = dict(line.split() for line in gzip.decompress(listed.read_bytes()).decode().splitlines())
    assert {origin.rpartition("/x86_64/")[0] or origin for origin in origins.values()} == {
        f"{file_server}/elsewhere",
        *(origin for origin in origins.values() if origin.endswith(f"/repo_{repo}_premerge/")),
    }
    task = offer_build(hub, repo, "hz")
    done(hub, task, worker)
    packages = hub.calls("host.setBuildRootList")[0].args[1]
    found = {package["name"]: package for package in packages}
    assert found["bash"]["id"]
    assert "location" not in found["bash"]
    others = [package for package in packages if package["name"] != "bash"]
    assert len(others) > 3
    assert {package.get("location") for package in others} == {external}
    assert not [package for package in others if "id" in package]
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_an_empty_repo(hub: HubStandIn, builder: WorkerProcess) -> None:
    hub.add_tag(SMALL, "x86_64", groups={"build": ["bash"]})
    repo = hub.add_repo(SMALL, state="INIT")
    result = done(hub, hub.make_task("createrepo", [repo, "x86_64", None], arch="noarch"), builder)
    repodata = finished_repo(hub, repo, result)
    assert "no packages" in (repodata / "EMPTY_REPO").read_text()
    (primary,) = repodata.glob("*primary.xml.*")
    assert b'packages="0"' in gzip.decompress(primary.read_bytes())


def test_a_repo_from_an_older_one(hub: HubStandIn, builder: WorkerProcess, world_rpms: Path) -> None:
    hub.add_tag(SMALL, "x86_64", groups={"build": ["bash"]})
    task = offer_repo(hub)
    first = hub.task(task)["request"][0]
    finished_repo(hub, first, done(hub, task, builder))
    second = hub.add_repo(SMALL, state="INIT")
    again = hub.make_task("createrepo", [second, "x86_64", {"id": first}], arch="noarch")
    done(hub, again, builder)
    text = (hub.task_dir(again) / "createrepo.log").read_text()
    assert str(hub.repo_dir(first) / "x86_64") in text
    # One that has no directory of this arch, e.g. because the arch is new.
    shutil.rmtree(hub.repo_dir(first) / "x86_64")
    third = hub.add_repo(SMALL, state="INIT")
    done(hub, hub.make_task("createrepo", [third, "x86_64", {"id": first}], arch="noarch"), builder)


def test_a_repo_where_the_hubs_tree_is_not(hub: HubStandIn, make_worker: StartWorker, task_image: str) -> None:
    worker = make_worker(image=task_image, recipes=RECIPES, topurl=hub.topurl, topdir="/nonexistent")
    worker.settings["worker"]["failures"] = 1
    worker.start()
    hub.add_tag(SMALL, "x86_64", groups={"build": ["bash"]})
    repo = hub.add_repo(SMALL, state="INIT")
    task = hub.make_task("createrepo", [repo, "x86_64", None], arch="noarch")
    call = wait_for(lambda: hub.calls("host.refuseTask"), 60)[0]
    words = "the hub's file tree is not mounted at /nonexistent"
    assert (call.args[0], call.kwargs) == (task, {"msg": words})
    hub.cancel(task)
    # Builds need no tree: that is no reason to take none.
    wait_for(lambda: shown(worker)["tasks"] == {})
    assert shown(worker)["failures"] == []
    assert worker.terminate() == 0


def test_a_repo_without_the_architecture(hub: HubStandIn, builder: WorkerProcess) -> None:
    hub.add_tag(SMALL, "x86_64", groups={"build": ["bash"]})
    repo = hub.add_repo(SMALL, state="INIT")
    shutil.rmtree(hub.repo_dir(repo) / "x86_64")
    task = hub.make_task("createrepo", [repo, "x86_64", None], arch="noarch")
    assert hub.wait_task(task, 60)["state_name"] == "FAILED"
    assert fault_of(hub, task) == (1000, f"Repo directory missing: {hub.repo_dir(repo)}/x86_64")
