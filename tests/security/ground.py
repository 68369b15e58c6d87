"""A place to run hostile scripts in: as this process's user, or as a plain user by a process of hers.

As a program (`python -m tests.security.ground WORKER`) it takes one JSON line for each script and answers with
one: the plain user's side, with one manager and podman service for all.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import attrs
from attrs import evolve

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.recipes import RecipeDirectory
from engine.adapters.results_dir import ResultsDirectory
from engine.adapters.this_host import this_host
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages
from engine.cli.local import LocalRuns
from engine.cli.progress import NotesOnly, make_progress
from engine.core.errors import ContainerError
from engine.core.facts import Limit, Settings
from engine.core.local import LocalCall
from engine.core.manager import ContainerTimeouts
from engine.core.plan import Plan
from engine.core.spec import LABEL_WORKER_ID
from tests.rootless.cage import Cage
from tests.rootless.person import Person

LIMITS = Limit(memory=96 * 1024**2, cpus=2.0, pids=64, seconds=30, log_bytes=2 * 1024**2)

TOY = """
recipe = 1
method = "toy"
params = [ { name = "script", type = "str" } ]
result = "{{ artifacts.out.names }}"
[container]
network = "none"
env = { HOME = "/tmp" }
[[container.mounts]]
source = "{{ workspace.host }}/in"
target = "/task/in"
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "/task/result"
mode = "rw"
[[files]]
path = "x"
content = "input"
[[steps]]
name = "one"
log = "one.log"
fails = "BuildError"
argv = ["/bin/sh", "-c", "cd /task/result; eval \\"$1\\"", "sh", "{{ params.script }}"]
[[artifacts]]
name = "out"
glob = ["result/*.txt", "result/d/**"]
"""


class Ended(NamedTuple):
    """How a task ended: `fault` and `message` of its failure or "", `names` of what was collected.

    `left` are workspaces and containers of the worker that are still there.
    """

    status: str
    fault: str
    message: str
    names: list[str]
    left: list[str]


class Ground(Protocol):
    """Where scripts run; `folder` has `outside/` with what is precious, and `results/`."""

    folder: Path
    worker: str

    @property
    def memory_binds(self) -> bool:
        """Whether a limit on a container's memory holds."""

    def run(self, script: str, *, image: str, limits: Limit = LIMITS, recipe: str = TOY) -> Ended:
        """Run `script` in the recipe's step; the variable OUT in it is the path of `outside/`."""


class OwnGround:
    """As this process's user."""

    memory_binds = True

    def __init__(self, folder: Path, manager: PodmanManager) -> None:
        self.folder, self.manager = folder, manager
        self.worker = manager.config.worker_id

    def run(self, script: str, *, image: str, limits: Limit = LIMITS, recipe: str = TOY) -> Ended:
        script = f"export OUT={shlex.quote(str(self.folder / 'outside'))}; {script}"
        (self.folder / "recipes").mkdir(exist_ok=True)
        (self.folder / "recipes/toy.toml").write_text(recipe)
        settings = Settings(
            limits=limits,
            workdir=str(self.folder / "work"),
            worker_id=self.worker,
            adjutant_task_image_default=image,
            adjutant_image_pull_policy="never",
            adjutant_container_timeouts=ContainerTimeouts(stop_grace=1),
        )
        runs = LocalRuns(
            recipes=RecipeDirectory([self.folder / "recipes"]),
            settings=settings,
            workdir=Workdir(settings.workdir),
            manager=self.manager,
            images=PodmanSnapshotImages(self.manager.service),
        )

        def display(plan: Plan) -> NotesOnly:
            return make_progress(plan, io.StringIO(), quiet=True)

        outcome = runs.run(
            LocalCall(method="toy", params={"script": script}),
            delivery=lambda _plan: ResultsDirectory(str(self.folder / "results"), force=True),
            display=display,
        )
        fault, message = (outcome.failure.fault, outcome.failure.message) if outcome.failure else ("", "")
        names = [file.name for artifact in outcome.artifacts for file in artifact.files]
        left = [str(number) for number in Workdir(settings.workdir).ids()]
        left += self._containers()
        return Ended(outcome.status, fault, message, names, left)

    def _containers(self) -> list[str]:
        """Asked again for a while: after a bomb that filled the account no podman can be started at once."""
        end = time.monotonic() + 60
        while True:
            try:
                return [info.name for info in self.manager.containers({LABEL_WORKER_ID: self.worker})]
            except ContainerError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


class Plain:
    """The plain user's process: in the cage, with the account's own limit on processes as a second net."""

    def __init__(self, person: Person, cage: Cage, most_processes: int, name: str = "plain") -> None:
        self.person, self.cage = person, cage
        self.worker = f"{name}-{os.getpid()}"
        # A file made for root's own limits would ask for more than hers; the engine writes one that fits.
        environ = {name: value for name, value in person.environ.items() if name != "CONTAINERS_CONF"}
        words = person.command(person.python, "-m", "tests.security.ground", self.worker)
        self.process = subprocess.Popen(
            cage.command("prlimit", f"--nproc={most_processes}:{most_processes}", "--", *words),
            cwd=person.home, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"the plain user's process ended: {self.process.wait(10)}"
        return dict(json.loads(line))

    def close(self) -> None:
        try:
            self.process.communicate(timeout=60)
        finally:
            self.process.kill()


class PlainGround:
    """As a plain user."""

    def __init__(self, folder: Path, plain: Plain) -> None:
        self.folder, self.plain, self.worker = folder, plain, plain.worker

    @property
    def memory_binds(self) -> bool:
        return not self.plain.ask({"host": True})["own_ids"]

    def run(self, script: str, *, image: str, limits: Limit = LIMITS, recipe: str = TOY) -> Ended:
        asked = {
            "folder": str(self.folder), "script": script, "image": image, "limits": attrs.asdict(limits),
            "recipe": recipe,
        }  # fmt: skip
        return Ended(**self.plain.ask(asked))


def main(worker: str) -> None:
    config = PodmanConfig(worker_id=worker, timeouts=ContainerTimeouts(start=60, stop_grace=1))
    with PodmanManager(config) as manager:
        for line in sys.stdin:
            asked = json.loads(line)
            if "host" in asked:
                answer = attrs.asdict(this_host())
            else:
                ground = OwnGround(Path(asked.pop("folder")), manager)
                asked["limits"] = evolve(LIMITS, **asked["limits"])
                answer = ground.run(asked.pop("script"), **asked)._asdict()
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
