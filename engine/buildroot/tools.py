"""The scripts of `tool/`, each run in a container of the task image; their answers and errors as ours.

dnf and rpm are those of the task image: a root of the tag's packages need not hold any.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen

from engine.buildroot.state import Job, State
from engine.core.errors import ContainerError, EngineError, InfrastructureError, Interrupted, TaskFailed
from engine.core.facts import Facts
from engine.core.manager import Cancelled, ContainerManager
from engine.core.recipe import CAPABILITY_PROFILES
from engine.core.rendering import labels, selinux_level
from engine.core.roots import RootRequest
from engine.core.snapshots import digest
from engine.core.spec import ContainerSpec, ResourceLimits, VolumeMount
from engine.core.steps import within_host
from engine.core.verdict import problem_words

FINISH = 2
"""Version of tool/finish.py: what every root gets besides its packages."""
TOOLS = Path(__file__).parent / "tool"
TIMEOUT = 7200.0
PHASES = {
    "resolve": "resolving the packages of the root",
    "apply": "installing the packages of the root",
    "archive": "writing the root's snapshot",
}
ROLE = "tool"
LABEL_JOB = "io.koji.adjutant.buildroot.job"
LABEL_JOB_STATE = "io.koji.adjutant.buildroot.of"
"""Labels of containers in which a root is made: the job whose lock its process holds, and whose job it is."""
INIT_FAILED = "could not init mock buildroot"
"""The words people and programs look for (contract appendix G)."""
ROOT_LOG, DNF_FAILED = "root.log", 30
"""The log in which whoever prepares a root writes what the tools say; mock's exit status when dnf fails."""


class ToolFailed(InfrastructureError):
    """A tool said what went wrong; `kind` is one of tool/common.py."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)

    def verdict(self) -> EngineError:
        """Whose fault it is: a group is the tag's, everything else this host's or the repo's."""
        why = problem_words(str(self))
        error: EngineError
        if self.kind in ("group", "dependencies", "script"):
            status = f"mock exited with status {DNF_FAILED}; see {ROOT_LOG} for more information"
            error = TaskFailed("BuildrootError", f"{INIT_FAILED}, {status}: {why}")
        else:
            words = {"repo": "a repository cannot be read", "package": "a package cannot be installed"}
            words["disk"] = "disk full"
            what = words.get(self.kind, "the root is not as resolved")
            error = InfrastructureError(f"{INIT_FAILED}: {what}: {why}; see {ROOT_LOG} for more information")
        error.log = ROOT_LOG
        return error


@frozen(kw_only=True)
class Tools:
    """Runs tools for one task. `say` gets what they print, `phase` that one starts or ends.

    `job` is a directory that lives as long as its process.
    """

    state: State
    job: Job
    manager: ContainerManager
    facts: Facts
    task_id: int
    image: str
    request: RootRequest
    cache: Path
    cancelled: Cancelled
    say: Callable[[bytes], None]
    phase: Callable[[str], None]

    def resolve(self) -> dict[str, Any]:
        """The packages of the request. `ToolFailed`."""
        job = {"config": self.request.config(), "group": self.request.group, "packages": list(self.request.packages)}
        mounts = (_bind(str(self.cache), "/cache", read_only=False, label="z"), *self._repos())
        return self._run("resolve", job, caps=(), mounts=mounts)

    def apply(self, anchor: str, packages: list[dict[str, Any]], reinstall: list[str]) -> dict[str, Any]:
        """Make the anchor's root hold exactly `packages`, finished. `ToolFailed`."""
        job = {"config": self.request.config(), "packages": packages, "reinstall": reinstall}
        # A view of its own: dnf's locks know a process by its number, and in containers all have the same.
        cache = VolumeMount(source=str(self.cache), target="/cache", overlay=True)
        return self._run("apply", job, mounts=(_root(anchor, read_only=False), cache, *self._repos()))

    def archive(self, anchor: str, job: Mapping[str, Any]) -> Path:
        """Write the anchor's root as an image archive; its path, which is there until the job is closed."""
        answer = self._run("archive", job, mounts=(_root(anchor, read_only=True),), network=False)
        return self.job.path / "archive" / "out" / str(answer["path"])

    def labels(self) -> dict[str, str]:
        """Labels of what is made for the job."""
        return {LABEL_JOB: self.job.path.name, LABEL_JOB_STATE: digest(str(self.state.path))}

    def _run(
        self,
        tool: str,
        job: Mapping[str, Any],
        *,
        mounts: tuple[VolumeMount, ...],
        caps: tuple[str, ...] = CAPABILITY_PROFILES["install"],
        network: bool | None = None,
    ) -> dict[str, Any]:
        settings = self.facts.settings
        online = any(not repo.path for repo in self.request.repos) if network is None else network
        if online and not settings.adjutant_network_enabled:
            raise InfrastructureError(
                f"{INIT_FAILED}: a repository is only to be had over the network, and adjutant_network_enabled is false"
            )
        tail = bytearray()

        def log(data: bytes) -> None:
            tail.extend(data)
            del tail[:-4000]
            self.say(data)

        directory = self.job.path / tool
        for part in ("in", "out"):
            (directory / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "in" / "job.json").write_text(json.dumps(job), encoding="utf-8")
        output = directory / "out"
        spec = ContainerSpec(
            name=f"adjutant-{settings.worker_id}-{self.task_id}-{tool}-{self.job.path.name}",
            image=self.image,
            argv=("/usr/bin/python3", "-B", f"/tools/{tool}.py", "/job/job.json", "/out"),
            env={"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},  # noqa: S108
            user_id=None,
            group_id=None,
            own_ids=self.facts.host.own_ids or None,
            network_disabled=not online,
            mounts=(
                _bind(str(install_tools(self.state)), "/tools", label="z"),
                _bind(str(directory / "in"), "/job", label="Z"),
                _bind(str(output), "/out", read_only=False, label="Z"),
                *mounts,
            ),
            capabilities=caps,
            limits=within_host(
                ResourceLimits(memory=settings.limits.memory, pids=settings.limits.pids), self.facts.host
            ),
            labels={**labels(self.facts, self.task_id, ROLE), **self.labels()},
            log_path=str(directory / "log"),
            stop_timeout=settings.adjutant_container_timeouts.stop_grace,
            selinux_type=settings.selinux_type,
            selinux_level=selinux_level(self.facts, self.task_id),
        )
        self.phase(f"Start: {PHASES[tool]}")
        outcome = self.manager.run(spec, timeout=TIMEOUT, log=log, cancelled=self.cancelled)
        self.phase(f"Finish: {PHASES[tool]}" + ("" if outcome.ok else ", failed"))
        if self.cancelled() or outcome.cancelled:
            raise Interrupted(f"stopped while making the root ({tool})")
        return _answer(tool, output / "answer.json", outcome.ok, bytes(tail))

    def _repos(self) -> tuple[VolumeMount, ...]:
        return tuple(_bind(repo.path, f"/repos/{repo.name}") for repo in self.request.repos if repo.path)


def _answer(tool: str, path: Path, ok: bool, tail: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        error = answer.get("error")
    except (OSError, ValueError, AttributeError):
        error, answer = None, None
    if error:
        raise ToolFailed(str(error.get("kind")), str(error.get("message")))
    if not ok or answer is None:
        words = tail.decode(errors="replace").strip()[-1000:] or "it said nothing"
        raise ContainerError("run", f"the tool {tool}", words, retry=True)
    return dict(answer)


def install_tools(state: State) -> Path:
    """The scripts in a directory that containers may be shown: where the engine is installed may be below /usr.

    Below `library` the files of Koji that need rpm's Python module, which the image has and the engine need not have.
    """
    files = {path.name: path.read_bytes() for path in sorted(TOOLS.glob("*.py"))}
    files |= {f"library/{path.name}": path.read_bytes() for path in _library()}
    name = digest({key: hashlib.sha256(content).hexdigest() for key, content in files.items()})
    target = state.path / "tools" / name
    if not target.exists():
        arriving = target.with_name(f".{name}.{secrets.token_hex(4)}")
        (arriving / "library").mkdir(mode=0o755, parents=True)
        for key, content in files.items():
            (arriving / key).write_bytes(content)
        try:
            arriving.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(arriving, ignore_errors=True)
    return target


def _library() -> list[Path]:
    """koji.rpmdiff and what it imports, as they are installed."""
    koji, six = (Path(getattr(find_spec(name), "origin", None) or "") for name in ("koji", "six"))
    return [koji.with_name("rpmdiff.py"), six]


def _root(anchor: str, *, read_only: bool) -> VolumeMount:
    return VolumeMount(source=f"root:{anchor}", target="/target", read_only=read_only)


def _bind(source: str, target: str, *, read_only: bool = True, label: str | None = None) -> VolumeMount:
    return VolumeMount(
        source=source,
        target=target,
        read_only=read_only,
        selinux_label="Z" if label == "Z" else "z" if label == "z" else None,
    )
