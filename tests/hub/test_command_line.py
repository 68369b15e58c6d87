"""The real `koji` command line client works on the stand-in: what builders' admins and packagers type."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from . import HubStandIn, minimal_rpm
from .command_line import CommandLine
from .test_upstream_builder import builder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubStandIn]:
    top = tmp_path_factory.mktemp("cli")
    with HubStandIn(top / "koji") as running:
        running.add_host("builder1", capacity=4)
        running.add_tag("dist", "x86_64")
        groups = {"build": ["bash"]}
        running.add_tag("dist-build", "x86_64", {"rpm.macro.dist": ".t1"}, parents=["dist"], groups=groups)
        running.add_target("dist", "dist-build", "dist")
        rpms = [top / f"foo-1-1.{arch}.rpm" for arch in ("src", "x86_64")]
        for file in rpms:
            file.write_bytes(minimal_rpm("foo", "1", "1", file.suffixes[-2].lstrip(".")))
        running.add_builds(rpms, "dist")
        running.add_repo("dist-build", state="INIT")
        yield running


@pytest.fixture(scope="module")
def koji_cli(hub: HubStandIn, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(hub, tmp_path_factory.mktemp("home"))


#: a command line -> a piece of what it must say
ANSWERS = {
    "hello": "You are using the hub at",
    "list-hosts": "builder1",
    "hostinfo builder1": "Channels: default createrepo",
    "list-channels": "createrepo",
    "taginfo dist-build": "rpm.macro.dist",
    "list-tags": "dist-build",
    "list-targets": "dist-build",
    "list-groups dist-build": "bash: None, mandatory",
    "list-tagged dist": "foo-1-1",
    "buildinfo foo-1-1": "packages/foo/1/1/x86_64/foo-1-1.x86_64.rpm",
    "repoinfo 1": "Tag name: dist-build",
    "scheduler-info": "Task",
    "scheduler-logs": "Task",
    "call getAPIVersion": "1",
}


@pytest.fixture(scope="module")
def said(koji_cli: CommandLine) -> dict[str, subprocess.CompletedProcess[str]]:
    """All of them, a few at a time: starting the client is what takes long."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(ANSWERS, pool.map(lambda line: koji_cli(*line.split()), ANSWERS), strict=True))


@pytest.mark.parametrize("line", ANSWERS)
def test_command(said: dict[str, subprocess.CompletedProcess[str]], line: str) -> None:
    done = said[line]
    assert (done.returncode, done.stderr) == (0, "")
    assert ANSWERS[line] in done.stdout


def test_admin_commands(hub: HubStandIn, koji_cli: CommandLine) -> None:
    assert koji_cli("disable-host", "builder1").returncode == 0
    assert not hub.host("builder1").enabled
    assert koji_cli("enable-host", "builder1").returncode == 0
    assert hub.host("builder1").enabled
    assert koji_cli("edit-tag", "dist", "--extra=mock.new_chroot=0").returncode == 0
    assert hub.session().getTag("dist")["extra"] == {"mock.new_chroot": 0}


def test_life_of_a_task(hub: HubStandIn, koji_cli: CommandLine, tmp_path: Path) -> None:
    with builder(hub, "builder1", tmp_path / "work"):
        made = koji_cli("make-task", "sleep", "0")
        assert made.returncode == 0, made.stderr
        task = int(made.stdout.split()[-1])
        watched = koji_cli("watch-task", str(task))
        assert watched.returncode == 0
        assert f"{task} sleep (noarch) completed successfully" in watched.stdout
        hub.task_dir(task).mkdir(parents=True)
        (hub.task_dir(task) / "build.log").write_text("a line\n")
        assert "build.log" in koji_cli("taskinfo", "-v", str(task)).stdout
        assert koji_cli("download-logs", f"--dir={tmp_path / 'logs'}", str(task)).returncode == 0
        assert (tmp_path / "logs" / f"noarch-{task}" / "build.log").read_text() == "a line\n"
        assert "a line" in koji_cli("watch-logs", str(task)).stdout
    waiting = hub.make_task("sleep", [300])
    assert "FREE" in koji_cli("list-tasks").stdout
    assert koji_cli("cancel", str(waiting)).returncode == 0
    assert hub.task(waiting)["state_name"] == "CANCELED"


def test_failed_task_is_told(hub: HubStandIn, koji_cli: CommandLine, tmp_path: Path) -> None:
    task = hub.make_task("sleep", ["BAD"])
    with builder(hub, "builder1", tmp_path / "work"):
        watched = koji_cli("watch-task", str(task))
    assert watched.returncode != 0
    assert "TypeError" in watched.stdout + watched.stderr


def test_upload_and_free(hub: HubStandIn, koji_cli: CommandLine, tmp_path: Path) -> None:
    srpm = tmp_path / "bar-1-1.src.rpm"
    srpm.write_bytes(minimal_rpm("bar", "1", "1", "src"))
    built = koji_cli("build", "--scratch", "--nowait", "dist", str(srpm))
    assert built.returncode == 0, built.stderr
    (task,) = hub.tasks(method="build")
    assert (hub.topdir / "work" / task["request"][0]).read_bytes() == srpm.read_bytes()
    assert hub.assign(task["id"], "builder1")
    assert koji_cli("free-task", str(task["id"])).returncode == 0
    assert hub.task(task["id"])["state_name"] == "FREE"
