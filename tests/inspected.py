"""`podman inspect` of a container made by pasting the printed command, and of the one the API made."""

from __future__ import annotations

import difflib
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

from attrs import evolve

from engine.adapters.podman import PodmanManager
from engine.core.podman_form import shell_text
from engine.core.spec import ContainerSpec
from tests.podmanhost import podman

# What differs between any two containers, apart from the id, which is masked wherever it occurs:
# the time, the directories of the container's own layer, and (podman 5) the first lock that was free.
DIFFERS_ALWAYS = {"Created", "UpperDir", "WorkDir", "MergedDir", "lockNumber"}

# podman keeps these in Go maps and lists them in any order; the order has no effect.
UNORDERED = {"Env", "Binds", "Mounts", "CapAdd", "CapDrop", "EffectiveCaps", "BoundingCaps", "Ulimits"}


@functools.cache
def command_line_adds() -> dict[str, str]:
    """Annotations that podman's own command line adds and its API does not; no runtime reads them."""
    major = int(podman("version", "--format", "{{.Client.Version}}").split(".")[0])
    return {"io.kubernetes.cri-o.TTY": "false"} if major < 5 else {}  # seen with 4.3.1, not with 5.4.2


def here(spec: ContainerSpec, folder: Path, image: str) -> ContainerSpec:
    """The spec with its host paths below `folder`, made, and an image that exists: nothing else is changed."""

    def moved(source: str, *, file: bool = False) -> str:
        if source.startswith("root:"):
            return source
        path = folder / source.lstrip("/")
        (path.parent if file else path).mkdir(parents=True, exist_ok=True)
        return str(path)

    return evolve(
        spec,
        image=image,
        mounts=tuple(evolve(mount, source=moved(mount.source)) for mount in spec.mounts),
        log_path=None if spec.log_path is None else moved(spec.log_path, file=True),
    )


def assert_same_inspect(spec: ContainerSpec, manager: PodmanManager) -> None:
    """Make the container both ways, one after the other under the same name, and compare."""
    done = subprocess.run(["sh", "-c", shell_text(spec, verb="create")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{shell_text(spec, verb='create')}"
    try:
        printed = inspect(spec.name)
    finally:
        podman("rm", "--force", spec.name)
    handle = manager.create(spec)
    try:
        posted = as_by_command_line(inspect(spec.name))
    finally:
        manager.remove(handle)
    diff = list(difflib.unified_diff(_lines(printed), _lines(posted), "printed", "posted", n=1, lineterm=""))
    assert not diff, "\n".join(diff)


def as_by_command_line(posted: Any) -> Any:
    """What inspect shows of a container of the API, with what the command line would have added."""
    if added := command_line_adds():
        posted["Config"].setdefault("Annotations", {}).update(added)
    return posted


def inspect(name: str) -> Any:
    """What podman knows of a container, without what differs between any two."""
    text = podman("container", "inspect", name)
    number = json.loads(text)[0]["Id"]
    (found,) = json.loads(text.replace(number, "ID").replace(number[:12], "SHORT-ID"))
    return _without(found)


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True).splitlines()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without(item) for key, item in value.items() if key not in DIFFERS_ALWAYS}
        for key in UNORDERED & {key for key in kept if isinstance(kept[key], list)}:
            kept[key].sort(key=json.dumps)
        return kept
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value
