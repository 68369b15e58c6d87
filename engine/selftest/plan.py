"""The self-test as a recipe: rendered by the same code, so its containers get what the steps of tasks get. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from engine.core.facts import Facts, HostFacts, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.plan import Plan
from engine.core.recipe import CAPABILITY_PROFILES
from engine.core.render import render

METHOD = "selftest"
WORKDIR = "selftest"
"""Below the worker's work directory: where self-tests have their workspaces."""
MEMORY = 128 * 1024**2
PIDS = 64
PRIVILEGED = (("/builddir/setuid-python", 0o4755), ("/builddir/capable-python", 0o755))
"""What the install step leaves in the root, and the build step runs: setuid root; every file capability."""

CAPABILITY_BITS: Mapping[str, int] = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "SETGID": 6,
    "SETUID": 7,
    "SYS_CHROOT": 18,
    "SETFCAP": 31,
}
"""Numbers of capability(7)."""

_IN = "{{ workspace.path }}/in"
_COMMAND = f'"python3", "-I", "{_IN}/probe.py", "{_IN}/expect.json"'

RECIPE = f"""
recipe  = 1
method  = "{METHOD}"
summary = "Try what must fail, once per kind of sandbox"

params = [
  {{ name = "program", type = "str", summary = "the probe program" }},
  {{ name = "expect", type = "str", summary = "what it may and may not find, as JSON" }},
]

[buildroot]
tracked = false

[container]
env = {{ HOME = "/tmp", LANG = "C.UTF-8" }}

[[container.mounts]]
source = "{{{{ workspace.host }}}}/in"
target = "{{{{ workspace.path }}}}/in"

[[container.mounts]]
source = "{{{{ workspace.host }}}}/result"
target = "{{{{ workspace.path }}}}/result"
mode   = "rw"

[[files]]
path    = "probe.py"
content = "{{{{ params.program }}}}"

[[files]]
path    = "expect.json"
content = "{{{{ params.expect }}}}"

[[steps]]
name    = "install"
summary = "an installing step: root, capabilities, network, the root file system of another step"
user    = "root"
caps    = "install"
network = "default"
target  = true
timeout = 300
argv    = [{_COMMAND}, "install"]

[[steps]]
name    = "build"
summary = "a build step on the root that was installed"
root    = "buildroot"
network = "none"
timeout = 300
limits  = {{ memory = "{MEMORY // 1024**2}m", pids = {PIDS} }}
argv    = [{_COMMAND}, "build"]

[[steps]]
name    = "tool"
summary = "a step that runs a tool of the image, without network"
network = "none"
timeout = 300
argv    = [{_COMMAND}, "tool"]
"""


@frozen(kw_only=True)
class Bait:
    """What the probes must not find. `token` is a secret of this run; `baits` are host files that hold it.

    `forbidden` are host paths that must not exist in a container, `addresses` (host, port) that something listens
    at, `abstract` the name of an abstract socket, `namespaces` the engine's own by name, `pid` the engine's.
    """

    token: str
    baits: Sequence[str]
    forbidden: Sequence[str]
    addresses: Sequence[tuple[str, int]]
    abstract: str
    namespaces: Mapping[str, str]
    pid: int


def selftest_plan(  # noqa: PLR0913 - each comes from elsewhere
    settings: Settings, image: str, program: str, bait: Bait, task_id: int, host: HostFacts | None = None
) -> Plan:
    """The plan. Its workspace is below ``<workdir>/selftest``, so it never meets a task's."""
    workspace = f"/work/{task_id}"
    network = settings.adjutant_network_enabled
    common: dict[str, Any] = {
        "token": bait.token,
        "baits": list(bait.baits),
        "forbidden": list(bait.forbidden),
        "addresses": [list(address) for address in bait.addresses],
        "abstract": bait.abstract,
        "namespaces": dict(bait.namespaces),
        "host_pid": bait.pid,
        "read_only": [f"{workspace}/in"],
        "writable": f"{workspace}/result",
        "caps": [],
        "uid": 1000,
        "network": False,
        "privileged_files": [],
    }
    install = {
        "uid": 0,
        "network": network,
        "caps": [CAPABILITY_BITS[name] for name in CAPABILITY_PROFILES["install"]],
        "make_privileged": [[f"/target{path}", mode] for path, mode in PRIVILEGED],
    }
    build = {"privileged_files": [path for path, _mode in PRIVILEGED], "memory": MEMORY, "pids": PIDS}
    expect = {"all": common, "steps": {"install": install, "build": build, "tool": {}}}
    limits = settings.limits
    enough = evolve(limits, memory=max(limits.memory, MEMORY) if limits.memory else None, pids=max(limits.pids, PIDS))
    settings = evolve(settings, workdir=workdir(settings), limits=enough)
    facts = Facts(settings=settings, image=image, host=host or HostFacts())
    params = {"program": program, "expect": json.dumps(expect)}
    recipe = load_recipe(RECIPE, "self-test")
    return render(recipe, TaskRequest(method=METHOD, task_id=task_id, params=params), facts, where="self-test")


def workdir(settings: Settings) -> str:
    """Where self-tests have their workspaces."""
    return f"{settings.workdir}/{WORKDIR}"
