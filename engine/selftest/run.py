"""Running the self-test: bait on the host, one probe container per kind of sandbox, then judge and clean up."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engine.adapters.this_host import this_host
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.core.errors import EngineError
from engine.core.facts import Settings
from engine.core.health import CheckResult, problem
from engine.core.manager import ContainerManager
from engine.core.plan import Plan
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, ContainerHandle
from engine.doctor import Podman
from engine.selftest import probe
from engine.selftest.judge import judge
from engine.selftest.plan import Bait, selftest_plan, workdir

_NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
_FIRST = 10**10
_SOCKETS = ("/run/podman/podman.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket")


def run_self_test(
    settings: Settings,
    manager: Podman,
    *,
    image: str | None = None,
    private: Iterable[str] = (),
    memory_binds: bool = True,
) -> list[CheckResult]:
    """Try what must fail in containers made like those of tasks; nothing is left behind.

    `private` are host files that no task may see (keytab, certificate, password file), `image` the task image. A
    worker must not report ready when one result is fatal. Never raises for what podman does: that is a result.
    """
    try:
        base = Workdir(workdir(settings))
        for dead in base.abandoned():  # an earlier self-test that was killed
            dead.remove()
        with contextlib.ExitStack() as stack:
            other = stack.enter_context(_claimed(base))
            # No task of a hub has such a number: their labels must not meet.
            task = base.claim(_FIRST + secrets.randbelow(_FIRST))
            return _in_workspace(settings, manager, image, private, memory_binds, task, other, stack)
    except EngineError as error:
        return [problem("selftest", f"could not be run: {error}", "see the error; then run the self-test again")]


def _in_workspace(
    settings: Settings,
    manager: Podman,
    image: str | None,
    private: Iterable[str],
    memory_binds: bool,
    task: TaskDirectory,
    other: TaskDirectory,
    stack: contextlib.ExitStack,
) -> list[CheckResult]:
    token = f"bait-{secrets.token_hex(16)}"
    other.prepare(["in", "result"])
    other.write("in/keytab", [token.encode()], 0o644)
    other.write("result/open", [token.encode()], 0o666)
    baits = [f"{other.path}/in/keytab", f"{other.path}/result/open"]
    bait = Bait(
        token=token,
        baits=baits,
        forbidden=[*_forbidden(settings, private, manager.service.url), other.path, task.path],
        addresses=stack.enter_context(_listening()),
        abstract=stack.enter_context(_abstract(token)),
        namespaces=_namespaces(),
        pid=os.getpid(),
    )
    name = image or settings.adjutant_task_image_default
    plan = None
    try:
        program = Path(probe.__file__).read_text(encoding="utf-8")
        plan = selftest_plan(settings, name, program, bait, task.task_id, this_host())
        results = list(_run(plan, manager, task, memory_binds))
        results += _untouched(other, token)
        return results
    finally:
        _clean_up(plan, manager, task)


def _run(plan: Plan, manager: ContainerManager, task: TaskDirectory, memory_binds: bool) -> Iterator[CheckResult]:
    task.prepare(plan.directories)
    for file in plan.files:
        task.write(file.path, [file.content.encode()], int(file.mode, 8))
    if plan.anchor is not None:
        manager.ensure_image_available(plan.anchor.image)
        manager.create_anchor(plan.anchor)
    for step in plan.steps:
        output: list[bytes] = []
        ended = ""
        try:
            outcome = manager.run(step.container, timeout=step.timeout, log=output.append)
            if not outcome.ok:
                ended = "the container ran out of time" if outcome.timed_out else f"exit code {outcome.exit_code}"
        except EngineError as error:
            ended = str(error)
        text = b"".join(output).decode(errors="replace")
        yield from judge(step.name, text, ended, memory_binds=memory_binds)


def _untouched(other: TaskDirectory, token: str) -> Iterator[CheckResult]:
    """The other task's files are what they were: nothing written outside the workspace."""
    found = sorted(str(path.relative_to(other.path)) for path in Path(other.path).rglob("*") if path.is_file())
    same = all(Path(other.path, name).read_text() == token for name in ("in/keytab", "result/open"))
    if not same or set(found) - {"lock", "in/keytab", "result/open"}:
        yield problem("selftest.outside", f"another workspace was changed: {found}", "do not run tasks on this host")


def _clean_up(plan: Plan | None, manager: ContainerManager, task: TaskDirectory) -> None:
    if plan is not None:
        labels = {LABEL_TASK_ID: str(plan.task_id), LABEL_WORKER_ID: plan.worker_id}
        anchor = plan.anchor.name if plan.anchor else ""
        for info in sorted(manager.containers(labels), key=lambda info: info.name == anchor):
            manager.remove(ContainerHandle(id=info.id, name=info.name), force=True)
    task.remove()


@contextlib.contextmanager
def _claimed(base: Workdir) -> Iterator[TaskDirectory]:
    directory = base.claim(_FIRST + secrets.randbelow(_FIRST))
    try:
        yield directory
    finally:
        directory.remove()


def _forbidden(settings: Settings, private: Iterable[str], service: str) -> list[str]:
    """Host paths that must not be seen at all: files of the engine, sockets of services; of podman's the one in use."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    used = [service.removeprefix("unix://")] if service.startswith("unix://") else []
    sockets = [*_SOCKETS, *used, *([f"{runtime}/podman/podman.sock"] if runtime else [])]
    return [*dict.fromkeys([*sockets, *(os.path.abspath(path) for path in private if path), settings.workdir])]


def _namespaces() -> Mapping[str, str]:
    names = _NAMESPACES if os.geteuid() == 0 else (*_NAMESPACES, "user")
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in names}


@contextlib.contextmanager
def _listening() -> Iterator[list[tuple[str, int]]]:
    """A listener on every address of the host; no container without network may reach it."""
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - says nothing, closed within the minute
        port = server.getsockname()[1]
        yield [(address, port) for address in ("127.0.0.1", *_own_addresses())]


def _own_addresses() -> list[str]:
    """The address that traffic to elsewhere would leave from; no packet is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe_socket:
        probe_socket.connect(("192.0.2.1", 9))
        return [str(probe_socket.getsockname()[0])]
    return []


@contextlib.contextmanager
def _abstract(token: str) -> Iterator[str]:
    name = f"adjutant-{token}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        yield name
