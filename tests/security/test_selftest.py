"""The self-test holds on this host, and every one of its probes notices when the wall it tries is not there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.podman import PodmanManager
from engine.core.facts import Settings
from engine.core.health import worst
from engine.selftest import probe
from engine.selftest.judge import judge
from engine.selftest.plan import CAPABILITY_BITS, MEMORY, PIDS, Bait, selftest_plan
from engine.selftest.run import _abstract, _listening, run_self_test
from tests.podmanhost import podman

NAMES = {function.__name__ for function in probe.PROBES} - {"make_privileged_files"}
LIMITS = {"limit_pids", "limit_memory"}


@pytest.mark.podman
def test_everything_that_must_fail_fails(task_image: str, manager: PodmanManager, tmp_path: Path) -> None:
    keytab = tmp_path / "keytab"
    keytab.write_text("secret")
    settings = Settings(
        worker_id=manager.config.worker_id, workdir=str(tmp_path / "work"), adjutant_task_image_default=task_image
    )
    results = run_self_test(settings, manager, private=[str(keytab)])
    tries = {
        "install": NAMES - {"become_root", "write_system", "interfaces", "reach_host", "setuid_file", *LIMITS},
        "build": NAMES,
        "tool": NAMES - {"setuid_file", *LIMITS},
    }
    assert {result.name for result in results} == {f"selftest.{s}.{name}" for s in tries for name in tries[s]}
    assert [str(result) for result in results if result.level not in {"ok", "warning"}] == []
    assert {result.name.split(".")[2] for result in results if result.level == "warning"} <= {"user_namespace"}
    assert list((tmp_path / "work/selftest").glob("[0-9]*")) == []


@pytest.mark.podman
def test_an_image_without_python_is_a_problem_and_leaves_nothing(
    tiny_image: str, manager: PodmanManager, tmp_path: Path
) -> None:
    settings = Settings(
        worker_id=manager.config.worker_id, workdir=str(tmp_path / "work"), adjutant_task_image_default=tiny_image
    )
    results = run_self_test(settings, manager)
    assert [result.name for result in results if result.fatal] == [
        f"selftest.{s}" for s in ("install", "build", "tool")
    ]
    assert list((tmp_path / "work/selftest").glob("[0-9]*")) == []


class Open:
    """Containers without walls: what the probes must notice."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder, self.image = folder, image
        self.token = f"bait-{os.urandom(8).hex()}"
        self.bystander = subprocess.Popen(["sleep", "600", *[]], env={"PATH": os.environ["PATH"]})
        self.marked = subprocess.Popen(["sh", "-c", "sleep 600; :", self.token])
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        (folder / "out").chmod(0o777)
        (folder / "bait").write_text(self.token)
        (folder / "in/probe.py").write_text(Path(probe.__file__).read_text())

    def expect(self, **more: object) -> None:
        steps = {"tool": more}
        common = {
            "token": self.token,
            "baits": [str(self.folder / "bait")],
            "forbidden": [],
            "addresses": [],
            "abstract": "none",
            "namespaces": {},
            "host_pid": self.bystander.pid,
            "read_only": ["/in"],
            "writable": "/out",
            "caps": [],
            "uid": 1000,
            "network": False,
            "privileged_files": [],
        }
        (self.folder / "in/expect.json").write_text(json.dumps({"all": common, "steps": steps}))

    def run(self, *options: str) -> dict[str, tuple[str, str]]:
        """Verdict and detail by probe."""
        mounts = (f"--volume={self.folder}/in:/in", f"--volume={self.folder}/out:/out")
        command = ("python3", "-I", "/in/probe.py", "/in/expect.json", "tool")
        text = podman("run", "--rm", *mounts, *options, self.image, *command)
        lines = [line.split(" ", 3) for line in text.splitlines()]
        return {words[1]: (words[2], words[3] if len(words) > 3 else "") for words in lines if words[0] == "probe"}

    def close(self) -> None:
        for child in (self.bystander, self.marked):
            child.kill()
            child.wait()


@pytest.fixture
def open_wide(tmp_path: Path, task_image: str) -> Iterator[Open]:
    made = Open(tmp_path, task_image)
    yield made
    made.close()


@pytest.mark.podman
def test_every_probe_notices_an_open_door(open_wide: Open) -> None:
    bait = str(open_wide.folder / "bait")
    with _listening() as addresses, _abstract(open_wide.token) as abstract:
        spaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("net", "pid", "ipc", "uts")}
        open_wide.expect(
            addresses=addresses[:1], abstract=abstract, namespaces=spaces, uid=0, forbidden=["/run"], pids=PIDS,
            memory=MEMORY,
        )  # fmt: skip
        seen = open_wide.run(
            "--privileged", "--network=host", "--pid=host", "--ipc=host", "--uts=host", f"--volume={bait}:{bait}",
            f"--env=LEAK={open_wide.token}", "--cgroupns=host",
        )  # fmt: skip
    broke = {name for name, (verdict, _detail) in seen.items() if verdict == "broke"}
    again = open_wide.run("--privileged")
    broke |= {"enter_init"} if again["enter_init"][0] == "broke" else set()
    wanted = {
        "capabilities", "no_new_privileges", "seccomp", "namespaces", "host_processes",
        "signal_host", "trace_host", "new_namespaces", "host_files", "write_read_only", "write_kernel_files",
        "read_masked", "environment", "open_by_handle", "mount", "mount_new_calls", "devices", "make_device",
        "kernel_calls", "raw_socket", "interfaces", "reach_host", "abstract_socket", "limit_pids", "limit_memory",
        "enter_init", "write_cgroups", "link_out_of_the_workspace",
    }  # fmt: skip
    missed = {name: seen[name] for name in wanted - broke}
    assert not missed


@pytest.mark.podman
def test_probes_of_an_unprivileged_user_notice_too(open_wide: Open) -> None:
    out = open_wide.folder / "out"
    podman(
        "run", "--rm", f"--volume={out}:/out", open_wide.image, "sh", "-c",
        "cp $(readlink -f /usr/bin/python3) /out/suid && chmod 4755 /out/suid",
    )  # fmt: skip
    open_wide.expect(uid=999, privileged_files=["/out/suid"])
    seen = open_wide.run("--user=1000:1000", "--group-add=0", "--cap-add=SETUID", "--cap-add=SYS_CHROOT")
    for name in ("identity", "setuid_file", "become_root", "capabilities", "no_new_privileges"):
        assert seen[name][0] == "broke", (name, seen[name])
    open_wide.expect()
    writable = open_wide.folder / "etc"
    writable.mkdir()
    (writable / "passwd").write_text("koji:x:1000:1000::/:/bin/sh\n")
    (writable / "passwd").chmod(0o666)
    writable.chmod(0o777)
    seen = open_wide.run("--user=1000:1000", f"--volume={writable}:/etc")
    assert seen["write_system"][0] == "broke"


def _bait(**more: object) -> Bait:
    values: dict[str, object] = {
        "token": "t", "baits": [], "forbidden": [], "addresses": [], "abstract": "a", "namespaces": {}, "pid": 1,
    }  # fmt: skip
    return Bait(**{**values, **more})  # type: ignore[arg-type]


def test_the_probe_containers_are_what_steps_of_tasks_are() -> None:
    settings = Settings(selinux_type="container_t", worker_id="w", adjutant_network_enabled=False)
    plan = selftest_plan(settings, "image", "program", _bait(), 7)
    install, build, tool = (step.container for step in plan.steps)
    assert (install.user_id, build.user_id, tool.user_id) == (None, 1000, 1000)
    assert set(install.capabilities) == set(CAPABILITY_BITS)
    assert build.capabilities == tool.capabilities == ()
    assert install.network_disabled  # the operator's switch holds for the self-test too
    assert build.root == plan.anchor.name if plan.anchor else False
    assert {step.selinux_type for step in (install, build, tool)} == {"container_t"}
    assert plan.workspace.host.startswith(settings.workdir + "/selftest/")


def test_judgement() -> None:
    held = "probe a held fine\nprobe limit_memory broke 65 bytes\nprobe b unsure no libc\nprobe end held 3"
    results = judge("build", held, "")
    assert [(result.name, result.level) for result in results] == [
        ("selftest.build.a", "ok"),
        ("selftest.build.limit_memory", "problem"),
        ("selftest.build.b", "unknown"),
    ]
    assert all(result.cure for result in results if result.level == "problem")
    assert worst(judge("build", held, "", memory_binds=False)) == "warning"
    bomb = held.replace("limit_memory", "limit_pids")
    assert worst(judge("build", bomb, "", memory_binds=False)) == "problem"  # there is no host where that may be
    for cut in ("", held.replace("end held 3", "end held 4"), held.rsplit("\n", 1)[0]):
        assert judge("build", cut, "exit code 137")[-1].level == "problem"
