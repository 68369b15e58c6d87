"""Tags at an event, repositories on disk, buildroots and imports: what a worker reads and reports."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import koji
import pytest
from koji.xmlrpcplus import dumps

from . import HubStandIn, minimal_rpm
from .rpm_files import read_header

needs_createrepo = pytest.mark.skipif(shutil.which("createrepo_c") is None, reason="createrepo_c is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    with HubStandIn(tmp_path / "koji") as running:
        running.add_host("builder1")
        running.add_tag("dist", "x86_64", {"rpm.macro.dist": ".t1", "mock.new_chroot": 0})
        running.add_tag("dist-build", None, {"rpm.env.LANG": "C"}, parents=["dist"], groups={"build": ["bash"]})
        yield running


@pytest.fixture
def session(hub: HubStandIn) -> koji.ClientSession:
    client = hub.session("builder1")
    client.exclusiveSession()
    return client


@pytest.fixture
def rpms(tmp_path: Path) -> Path:
    folder = tmp_path / "rpms"
    folder.mkdir()
    for name, arch in (("foo", "src"), ("foo", "x86_64"), ("foo-data", "noarch")):
        package = minimal_rpm(name, "1.0", "1", arch, sourcerpm="foo-1.0-1.src.rpm")
        (folder / f"{name}-1.0-1.{arch}.rpm").write_bytes(package)
    return folder


def opened(hub: HubStandIn, session: koji.ClientSession, method: str = "sleep", **opts: Any) -> int:
    task = hub.make_task(method, [0], **opts)
    session.host.openTask(task)
    return task


def test_minimal_rpm_is_read_by_rpm(rpms: Path) -> None:
    if shutil.which("rpm") is None:
        pytest.skip("rpm is not installed")
    asked = ["rpm", "-qp", "--nosignature", "--qf", "%{nevra} %{sourcerpm} %{vendor}"]
    said = subprocess.run([*asked, str(rpms / "foo-data-1.0-1.noarch.rpm")], capture_output=True, text=True, check=True)
    assert said.stdout == "foo-data-1.0-1.noarch foo-1.0-1.src.rpm Koji"
    assert read_header(rpms / "foo-1.0-1.src.rpm")["arch"] == "src"


def test_configuration_at_an_event(hub: HubStandIn, session: koji.ClientSession) -> None:
    before = session.getLastEvent()["id"]
    hub.edit_tag("dist", extra={"rpm.macro.dist": ".t2"}, arches="x86_64 aarch64")
    then, now = session.getBuildConfig("dist-build", event=before), session.getBuildConfig("dist-build")
    assert then["extra"] == {"rpm.env.LANG": "C", "rpm.macro.dist": ".t1", "mock.new_chroot": 0}
    assert (then["arches"], then["query_event"]) == ("x86_64", before)
    assert now["extra"] == {"rpm.env.LANG": "C", "rpm.macro.dist": ".t2"}
    assert now["config_inheritance"]["arches"]["name"] == "dist"
    assert session.getTag("dist-build")["arches"] is None


@needs_createrepo
def test_repo_of_tagged_rpms(hub: HubStandIn, session: koji.ClientSession, rpms: Path) -> None:
    hub.add_builds(rpms, "dist")
    repo = hub.add_repo("dist-build")
    info = session.repoInfo(repo, strict=True)
    assert (info["state"], info["tag_name"]) == (koji.REPO_STATES["READY"], "dist-build")
    assert session.getRepo("dist-build")["id"] == repo
    base = f"{hub.topurl}/repos/dist-build/{repo}/x86_64"
    assert b"primary" in urllib.request.urlopen(f"{base}/repodata/repomd.xml").read()
    listed = [json.loads(line) for line in urllib.request.urlopen(f"{base}/rpmlist.jsonl")]
    assert {(rpm["name"], rpm["arch"]) for rpm in listed} == {("foo", "x86_64"), ("foo-data", "noarch")}
    for rpm in listed:
        assert session.getRPM(rpm["id"])["payloadhash"] == rpm["payloadhash"] != ""
    pkglist = (hub.repo_dir(repo) / "x86_64" / "pkglist").read_text().split()
    assert pkglist
    assert all((hub.repo_dir(repo) / "x86_64" / line).is_file() for line in pkglist)
    assert (hub.repo_dir(repo).parent / "latest").resolve() == hub.repo_dir(repo)


@needs_createrepo
def test_repo_made_elsewhere(hub: HubStandIn, session: koji.ClientSession, rpms: Path) -> None:
    subprocess.run(["createrepo_c", "--quiet", str(rpms)], check=True)
    repo = hub.add_repo("dist-build", rpms)
    base = f"{hub.topurl}/repos/dist-build/{repo}/x86_64"
    assert urllib.request.urlopen(f"{base}/foo-1.0-1.x86_64.rpm").read() == (rpms / "foo-1.0-1.x86_64.rpm").read_bytes()
    listed = [json.loads(line) for line in urllib.request.urlopen(f"{base}/rpmlist.jsonl")]
    assert len(listed) == 3
    task = opened(hub, session)
    root = session.host.newBuildRoot(repo, "x86_64", task_id=task)
    session.host.setBuildRootList(root, [{"id": rpm["id"]} for rpm in listed])
    assert len(session.listRPMs(componentBuildrootID=root)) == 3


def test_repo_by_hand_as_newrepo_and_createrepo_do(
    hub: HubStandIn, session: koji.ClientSession, rpms: Path, tmp_path: Path
) -> None:
    hub.add_builds(rpms, "dist")
    asked = session.repo.request("dist-build")
    assert asked["repo"] is None
    hub.serve_repo_queue()
    (task,) = hub.tasks(method="newRepo")
    assert task["request"] == [{"id": 2, "name": "dist-build"}, {"opts": {}, "__starstar": True}]
    session.host.openTask(task["id"])
    repo, event = session.host.repoInit("dist-build", task_id=task["id"], opts={})
    assert session.getBuildConfig("dist-build", event=event)["arches"] == "x86_64"
    child = session.host.subtask("createrepo", [repo, "x86_64", None], task["id"], label="x86_64", arch="noarch")
    session.host.openTask(child)
    file = tmp_path / "repomd.xml"
    file.write_text("<repomd/>")
    path = koji.pathinfo.taskrelpath(child)
    session.uploadWrapper(str(file), path)
    with pytest.raises(koji.GenericError, match="missing"):
        session.host.repoDone(repo, {"x86_64": [path, ["repomd.xml", "primary.xml"]]})
    session.host.repoDone(repo, {"x86_64": [path, ["repomd.xml"]]})
    assert (hub.repo_dir(repo) / "x86_64" / "repodata" / "repomd.xml").read_text() == "<repomd/>"
    answer = session.repo.checkRequest(asked["request"]["id"])
    assert (answer["repo"]["id"], answer["request"]["active"]) == (repo, False)
    with pytest.raises(koji.GenericError, match="not in INIT"):
        session.host.repoDone(repo, {})


def test_failed_repo_task_is_tried_again_and_given_up(hub: HubStandIn, session: koji.ClientSession) -> None:
    asked = session.repo.request("dist-build")["request"]["id"]
    for _ in range(5):
        hub.serve_repo_queue()
        for task in hub.tasks(method="newRepo", state_name="FREE"):
            hub.cancel(task["id"])
    answer = session.repo.checkRequest(asked)["request"]
    assert (answer["tries"], answer["active"]) == (3, False)


def external(digest: str, location: int) -> dict[str, Any]:
    names = {"name": "bash", "version": "5", "release": "1", "epoch": None, "arch": "x86_64"}
    return names | {"size": 7, "buildtime": 1, "payloadhash": digest, "location": location}


def test_external_rpms_keep_their_hash(hub: HubStandIn, session: koji.ClientSession) -> None:
    number = hub.add_external_repo("ext", "http://files.test/$arch/", "dist", merge_mode="bare")
    (listed,) = session.getExternalRepoList("dist-build")
    assert (listed["external_repo_id"], listed["merge_mode"], listed["tag_name"]) == (number, "bare", "dist")
    repo = hub.add_repo("dist-build", state="INIT")
    roots = [session.host.newBuildRoot(repo, "x86_64", task_id=opened(hub, session)) for _ in range(2)]
    session.host.setBuildRootList(roots[0], [external("aa", number)])
    session.host.setBuildRootList(roots[1], [external("aa", number)])
    session.host.setBuildRootState(roots[1], "BUILDING")
    with pytest.raises(koji.GenericError, match="hash changed for external rpm"):
        session.host.updateBuildRootList(roots[1], [external("bb", number)])
    entry = external("aa", number)
    del entry["size"]
    with pytest.raises(koji.GenericError, match="size"):
        session.host.updateBuildRootList(roots[1], [entry])


def test_import_of_a_build(hub: HubStandIn, session: koji.ClientSession, rpms: Path) -> None:
    hub.add_package("dist", "foo")
    task = opened(hub, session, "build")
    child = session.host.subtask("buildArch", ["x"], task, label="x86_64", arch="x86_64")
    session.host.openTask(child)
    path = koji.pathinfo.taskrelpath(child)
    for file in rpms.iterdir():
        session.uploadWrapper(str(file), path)
    (hub.task_dir(child) / "build.log").write_text("log")
    data = {"name": "foo", "version": "1.0", "release": "1", "epoch": None, "task_id": task}
    build = session.host.initBuild(data)
    binaries = [f"{path}/foo-1.0-1.x86_64.rpm", f"{path}/foo-data-1.0-1.noarch.rpm"]
    srpm = f"{path}/foo-1.0-1.src.rpm"
    with pytest.raises(koji.GenericError, match="No such file"):
        session.host.completeBuild(task, build, srpm, [*binaries, f"{path}/no.rpm"])
    done = session.host.completeBuild(task, build, srpm, binaries, {}, logs={"x86_64": [f"{path}/build.log"]})
    assert (done["nvr"], done["state"]) == ("foo-1.0-1", koji.BUILD_STATES["COMPLETE"])
    top = hub.topdir / "packages" / "foo" / "1.0" / "1"
    assert (top / "x86_64" / "foo-1.0-1.x86_64.rpm").is_file()
    assert (top / "data" / "logs" / "x86_64" / "build.log").read_text() == "log"
    assert (hub.task_dir(child) / "build.log").is_symlink()
    session.host.tagBuild(task, "dist", build)
    assert [row["nvr"] for row in session.listTagged("dist-build", inherit=True)] == ["foo-1.0-1"]
    with pytest.raises(koji.TagError, match="already tagged"):
        session.host.tagBuild(task, "dist", build)
    session.host.closeTask(task, dumps((None,), methodresponse=1))
    with pytest.raises(koji.ActionNotAllowed):
        session.host.failBuild(task, build)


def test_wrong_sourcerpm_is_not_imported(hub: HubStandIn, session: koji.ClientSession, tmp_path: Path) -> None:
    task = opened(hub, session, "build")
    path = koji.pathinfo.taskrelpath(task)
    for arch in ("src", "x86_64"):
        file = tmp_path / f"foo-1.0-1.{arch}.rpm"
        file.write_bytes(minimal_rpm("foo", "1.0", "1", arch, sourcerpm="bar-2-2.src.rpm"))
        session.uploadWrapper(str(file), path)
    data = {"name": "foo", "version": "1.0", "release": "1", "epoch": None, "task_id": task}
    build = session.host.initBuild(data)
    with pytest.raises(koji.GenericError, match="Sourcerpm mismatch"):
        session.host.completeBuild(task, build, f"{path}/foo-1.0-1.src.rpm", [f"{path}/foo-1.0-1.x86_64.rpm"])
    assert session.getBuild(build)["state"] == koji.BUILD_STATES["BUILDING"]
    hub.cancel(task)
    assert session.getBuild(build)["state"] == koji.BUILD_STATES["CANCELED"]
