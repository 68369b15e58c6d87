"""What only the real manager can show: podman's own traps, each met by the manager."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from engine.adapters.podman import PodmanConfig, PodmanManager, _to_its_end
from engine.adapters.podman_service import answers
from engine.core.errors import ContainerError
from engine.core.manager import ContainerTimeouts
from engine.core.spec import AnchorSpec, ContainerHandle, ContainerSpec, ResourceLimits, VolumeMount
from tests.contract.commands import sh
from tests.contract.stumbling import RefusingService, StumblingService
from tests.podman_fixtures import LABELS, WORKER, podman, private_manager

pytestmark = pytest.mark.podman


def spec(image: str, script: str, **fields: object) -> ContainerSpec:
    limits = ResourceLimits(pids=100, nofile=1024)
    base = ContainerSpec(
        name=f"{WORKER}-only", image=image, argv=sh(script), labels=LABELS, network_disabled=True, limits=limits
    )
    return attrs.evolve(base, **fields)


def test_a_burst_of_200_mb_that_ends_in_exit_is_complete(manager: PodmanManager, tiny_image: str) -> None:
    line = b"x" * 61 + b"\n"
    lines = 3_225_807  # 200 MB
    digest = hashlib.sha256()
    outcome = manager.run(spec(tiny_image, f"/bin/busybox yes {'x' * 61} | head -n {lines}; exit 4"), log=digest.update)
    wanted = hashlib.sha256()
    for _ in range(lines // 1000):
        wanted.update(line * 1000)
    wanted.update(line * (lines % 1000))
    assert (outcome.exit_code, outcome.log_bytes) == (4, lines * 62)
    assert digest.digest() == wanted.digest()


WAIT = "while ! test -e /gate/open; do sleep 0.1; done"


class Gate:
    """A log sink: a script that says `word` and then `WAIT`s goes on when the manager has seen it say so."""

    def __init__(self, folder: Path, word: bytes) -> None:
        self.folder, self.word = folder / "gate", word
        self.folder.mkdir(mode=0o755)
        folder.chmod(0o755)

    def spec(self, image: str, script: str, **fields: object) -> ContainerSpec:
        return spec(image, script, mounts=(VolumeMount(source=str(self.folder), target="/gate"),), **fields)

    def __call__(self, chunk: bytes) -> None:
        if self.word in chunk:
            (self.folder / "open").touch()


def test_output_arrives_while_the_container_runs(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    gate, output = Gate(tmp_path, b"a\n"), bytearray()

    def log(chunk: bytes) -> None:
        output.extend(chunk)
        gate(chunk)

    # Were `a` kept until the end, there would be none.
    outcome = manager.run(gate.spec(tiny_image, f"echo a; {WAIT}; echo b"), log=log, timeout=60)
    assert (outcome.ok, bytes(output)) == (True, b"a\nb\n")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 5", 5)])
def test_oom_of_a_child_is_seen_whatever_the_exit_code(
    manager: PodmanManager, tiny_image: str, tmp_path: Path, script: str, code: int
) -> None:
    gate = Gate(tmp_path, b"up")  # what dies before the manager looks at its cgroup is killed by signal 9 and no more
    limits = ResourceLimits(memory=20_000_000, pids=100, nofile=1024)
    # tail keeps everything: there is no newline
    eater = f"echo up; {WAIT}; head -c 100000000 /dev/zero | /bin/busybox tail; {script}"
    outcome = manager.run(gate.spec(tiny_image, eater, limits=limits), log=gate)
    assert (outcome.oom, outcome.ok) == (True, False)
    assert outcome.exit_code in (code, 137)  # rarely, the kernel takes the shell as well
    assert not manager.run(spec(tiny_image, "exit 5", limits=limits)).oom


def test_oom_of_the_command_itself(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path, b"up")
    limits = ResourceLimits(memory=20_000_000, pids=100, nofile=1024)
    eater = f"echo up; {WAIT}; exec /bin/busybox tail /dev/zero"
    outcome = manager.run(gate.spec(tiny_image, eater, limits=limits), log=gate)
    assert (outcome.oom, outcome.signal) == (True, 9)


@pytest.fixture
def own() -> Iterator[PodmanManager]:
    """A manager whose service may be killed."""
    with private_manager() as made:
        if not made.service.private:
            pytest.skip("this user has a podman service, which a test must not kill")
        made.version()
        yield made


def kill_service(own: PodmanManager) -> None:
    pid = own.service.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_service_killed_in_the_middle_of_a_step(own: PodmanManager, tiny_image: str) -> None:
    killed = []

    def sink(chunk: bytes) -> None:
        if b"half" in chunk:
            killed.append(own.service.pid())
            kill_service(own)

    out = bytearray()

    def both(chunk: bytes) -> None:
        out.extend(chunk)
        sink(chunk)

    outcome = own.run(spec(tiny_image, "echo half; sleep 1; echo whole; exit 6"), log=both)
    assert (outcome.exit_code, bytes(out)) == (6, b"half\nwhole\n")
    assert own.service.pid() not in (None, *killed)
    assert not own.containers(LABELS)


def test_container_that_ended_while_the_service_was_away(own: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    gate = Gate(tmp_path, b"")
    handle = own.create(gate.spec(tiny_image, f"{WAIT}; exit 6"))
    own.start(handle)
    process = Path("/proc", podman("inspect", "--format", "{{.State.Pid}}", handle.id).strip())
    assert process.name != "0"
    kill_service(own)
    gate(b"")
    end = time.monotonic() + 30
    while process.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert own.wait(handle).exit_code == 6
    own.remove(handle)


def test_create_survives_a_dead_connection(own: PodmanManager, tiny_image: str) -> None:
    kill_service(own)
    assert own.run(spec(tiny_image, "exit 3")).exit_code == 3
    assert not own.containers(LABELS)


def test_private_service_ends_with_its_manager(tiny_image: str) -> None:
    with private_manager() as made:
        if not made.service.private:
            pytest.skip("this user has a podman service")
        made.version()
        pid = made.service.pid()
        folder = Path(made.service.url.removeprefix("unix://")).parent
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


def test_an_idle_service_ends_once_it_was_let_go(tmp_path: Path, tiny_image: str) -> None:
    address = f"unix://{tmp_path}/podman.sock"
    with subprocess.Popen(["podman", "system", "service", "--time=2", address], stderr=subprocess.DEVNULL) as service:
        try:
            end = time.monotonic() + 30
            while not answers(tmp_path / "podman.sock"):
                assert time.monotonic() < end
                time.sleep(0.05)
            with PodmanManager(PodmanConfig(worker_id=WORKER, socket=address)) as manager:
                manager.version()
                time.sleep(5)
                assert service.poll() is None  # the open connection holds it
                manager.let_go()
                assert service.wait(20) == 0
        finally:
            service.kill()


def test_a_forked_child_may_use_and_close_the_manager(own: PodmanManager, tiny_image: str) -> None:
    child = os.fork()
    if child == 0:  # as a worker runs each task
        code = 99
        try:
            code = own.run(spec(tiny_image, "exit 7")).exit_code
            own.close()
        except BaseException:
            traceback.print_exc()  # the exit code alone would not say why
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert own.run(spec(tiny_image, "exit 8")).exit_code == 8


def test_unreachable_socket_says_what_to_do(tmp_path: Path) -> None:
    from engine.adapters import podman_api
    from engine.adapters.podman import PodmanConfig

    config = PodmanConfig(worker_id=WORKER, socket=str(tmp_path / "none.sock"))
    with PodmanManager(config) as made, pytest.raises(podman_api.ServiceGone, match=r"none\.sock") as error:
        made.version()
    assert error.value.retry
    assert "podman.socket" in error.value.cure


RACES = {  # what podman 4.3.1 answered while another process removed images
    "image": "runtime error: invalid memory address or nil pointer dereference",
    "parent": 'retrieving parent of image "6b50": you may need to remove the image to resolve the error',
    "list": 'reading image "2fdc": locating image with ID "2fdc": image not known',
}


@pytest.mark.parametrize(("stumbles", "words"), [(1, RACES["image"]), (3, RACES["parent"]), (1, RACES["list"])])
def test_an_image_is_read_again_where_podman_stumbled(tmp_path: Path, stumbles: int, words: str) -> None:
    with StumblingService(tmp_path / "podman.sock", stumbles, words) as service:
        with PodmanManager(PodmanConfig(worker_id=WORKER, socket=service.url)) as made:
            assert made.ensure_image_available("localhost/x:1").id == "2fdc"
        assert service.asked == stumbles + 1


def test_an_image_that_podman_never_can_read_may_be_damaged(tmp_path: Path) -> None:
    with (
        StumblingService(tmp_path / "podman.sock", 1000, RACES["image"]) as service,
        PodmanManager(PodmanConfig(worker_id=WORKER, socket=service.url)) as made,
        pytest.raises(ContainerError, match="nil pointer") as error,
    ):
        made.ensure_image_available("localhost/x:1")
    assert "may be damaged" in error.value.cure


def _refused(manager: PodmanManager, handle: ContainerHandle) -> ContainerError | None:
    try:
        manager.start(handle)
    except ContainerError as error:
        return error
    return None


def test_why_it_cannot_start_is_not_hidden_by_a_removal_that_fails(tmp_path: Path) -> None:
    words = {"POST": "OCI runtime error: the cause", "DELETE": "cannot remove it"}
    with RefusingService(tmp_path / "podman.sock", words) as service:
        config = PodmanConfig(worker_id=WORKER, socket=service.url)
        with PodmanManager(config) as manager:
            with pytest.raises(ContainerError, match="start container a: OCI runtime error: the cause"):
                manager.start(ContainerHandle(id="2fdc", name="a"))
            with pytest.raises(ContainerError, match="mount the root of anchor a: OCI runtime error: the cause"):
                manager.create_anchor(AnchorSpec(name="a", image="i", labels=LABELS))


def test_start_that_takes_too_long_leaves_it_running_or_gone(own: PodmanManager, tiny_image: str) -> None:
    """podman goes on with what it was asked after the answer came too late, so both are right."""
    config = attrs.evolve(own.config, socket=own.service.url, timeouts=ContainerTimeouts(start=1, stop_grace=1))
    with PodmanManager(config) as hasty:
        handle = hasty.create(spec(tiny_image, "sleep 60"))
        pid = own.service.pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(1.5, os.kill, (pid, signal.SIGCONT))
        timer.start()
        refused = _refused(hasty, handle)
        states = [info.state for info in own.containers(LABELS)]
        assert states == ([] if refused else ["running"])
        assert refused is None or refused.retry
        timer.join()
        hasty.remove(handle)


def test_nothing_of_host_or_image_leaks_in(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    out = bytearray()
    tmp_path.chmod(0o777)
    mount = VolumeMount(source=str(tmp_path), target="/m")
    wanted = spec(
        tiny_image,
        "env; id -u; id -g; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; touch /m/x; hostname",
        env={"A": "b c"},
        mounts=(mount,),
    )
    manager.run(wanted, log=out.extend)
    text = out.decode()
    keys = {line.split("=")[0] for line in text.splitlines() if "=" in line}
    assert keys <= {"A", "PATH", "HOME", "HOSTNAME", "PWD", "SHLVL"}
    assert "A=b c" in text
    assert "CapEff:\t0000000000000000" in text
    assert "CapBnd:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    assert "Read-only file system" in text
    assert "1000\n1000\n" in text


def test_a_container_with_network_asks_the_hosts_name_servers(manager: PodmanManager, tiny_image: str) -> None:
    """ADR 0002 "Network Namespace": a namespace of its own, and names are resolved as on the host."""
    found = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.M)
    servers = [address for address in found if not address.startswith("127.") and address != "::1"]
    if not servers:
        pytest.skip("this host's only name server is its own, which containers cannot reach")
    out = bytearray()
    asked = spec(tiny_image, "cat /etc/resolv.conf; readlink /proc/self/ns/net", network_disabled=False)
    assert manager.run(asked, log=out.extend).ok
    text = out.decode()
    assert set(servers) <= set(re.findall(r"^nameserver\s+(\S+)", text, re.M))
    assert text.splitlines()[-1].startswith("net:[")
    assert text.splitlines()[-1] != os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize("stubborn", [True, False])
def test_a_container_that_had_to_be_killed_is_warned_of(
    own: PodmanManager, tiny_image: str, stubborn: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """ADR 0002 "Timeout Handling"."""
    script, log = f"{'trap : TERM; ' if stubborn else ''}echo up; while :; do sleep 0.1; done", tmp_path / "log"
    handle = own.create(spec(tiny_image, script, log_path=str(log)))
    own.start(handle)
    end = time.monotonic() + 60
    while not (log.exists() and b"up" in log.read_bytes()):  # the shell has set its trap
        assert time.monotonic() < end
        time.sleep(0.05)
    assert own.remove(handle, force=True) is stubborn
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    grace = own.config.timeouts.stop_grace
    assert warned == ([f"container {handle.name} ignored SIGTERM for {grace} s and was killed"] if stubborn else [])


def test_many_at_once_are_not_mixed_up(manager: PodmanManager, tiny_image: str) -> None:
    outputs: dict[int, bytes] = {}

    def one(number: int) -> None:
        out = bytearray()
        outcome = manager.run(
            spec(tiny_image, f"echo {number}; exit {number}", name=f"{WORKER}-many-{number}"), log=out.extend
        )
        outputs[number] = bytes(out) + str(outcome.exit_code).encode()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: f"{number}\n{number}".encode() for number in range(20)}
    assert not manager.containers(LABELS)


def test_a_container_whose_layer_is_gone_is_removed(manager: PodmanManager, tiny_image: str) -> None:
    """As after a crash in the middle of a removal; one such must not be in the way of everything else."""
    handle = manager.create(spec(tiny_image, "true"))
    upper = podman("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", handle.id).strip()
    shutil.rmtree(Path(upper).parent)
    manager.remove(handle, force=True)
    assert handle.name not in [info.name for info in manager.containers(LABELS)]


def test_a_container_killed_with_its_conmon_is_removed(manager: PodmanManager, tiny_image: str) -> None:
    """As systemd does to what is left of a rootless unit: podman goes on calling the container running."""
    handle = manager.create(spec(tiny_image, "sleep 600"))
    manager.start(handle)
    form = "{{.State.ConmonPid}} {{.State.Pid}}"
    for pid in podman("inspect", "--format", form, handle.id).split():
        os.kill(int(pid), signal.SIGKILL)
    began = time.monotonic()
    assert manager.remove(handle, force=True)
    assert time.monotonic() - began < 40
    assert handle.name not in [info.name for info in manager.containers(LABELS)]


def test_a_call_that_is_interrupted_comes_to_its_end_first() -> None:
    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    made = []

    def make() -> None:  # in a thread; by then the main one waits for it, or is about to
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(0.5)
        made.append("container")  # podman makes it although nobody waits for the answer: only now it can be removed

    earlier = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop):
            _to_its_end(make)
        assert made == ["container"]
    finally:
        signal.signal(signal.SIGALRM, earlier)
