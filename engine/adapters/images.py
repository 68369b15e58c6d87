"""Images in podman's storage, for the operator: build, list, tag, push, remove. By podman's command line.

`podman build` and `podman push` show progress and read auth.json, credential helpers and registries.conf as the
operator's own commands do. What tasks use is pulled by the manager (`ensure_image_available`), not here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from engine.core.errors import BadInput, ContainerError, Problem, did_you_mean
from engine.core.image_contents import ImageConfig
from engine.core.images import IMAGE_LABEL
from engine.core.registry import judge_transfer, lost_race

ENVIRONMENT = "ADJUTANT_IMAGE_DIRECTORIES"
_RACES = 8
OPERATOR = Path("/etc/koji-adjutant/images")


@frozen(kw_only=True)
class StoredImage:
    """An image as podman has it. `created` is ISO text, `size` bytes."""

    id: str
    names: tuple[str, ...] = ()
    digest: str = ""
    created: str = ""
    size: int = 0
    labels: Mapping[str, str] = field(factory=dict)


@frozen
class Output:
    """What a podman command said."""

    code: int
    out: str
    err: str


class InUse(ContainerError):
    """A container uses the image, so it is not removed."""


class PodmanImages:
    """Commands on images of one podman storage. Failures are `ContainerError`.

    `environ` is the process's environment (CONTAINERS_CONF, REGISTRY_AUTH_FILE and the like reach podman).
    """

    def __init__(self, environ: Mapping[str, str] | None = None, podman: str = "podman") -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._podman = podman

    def build(
        self,
        directory: Path,
        tag: str,
        *,
        base: str | None = None,
        labels: Mapping[str, str] | None = None,
        volumes: Iterable[str] = (),
        network: str | None = None,
        cache: bool = True,
        pull: bool = True,
    ) -> None:
        """Build `directory`/Containerfile as `tag`; the output goes to standard error as it comes.

        `base` is the build argument BASE, `volumes` ``HOST:CONTAINER:ro`` for its package manager, `network`
        podman's word for the build's network.
        """
        words = ["build", "--tag", tag, f"--pull={'missing' if pull else 'never'}"]
        words += ["--build-arg", f"BASE={base}"] if base else []
        words += [word for key, value in (labels or {}).items() for word in ("--label", f"{key}={value}")]
        words += [word for volume in volumes for word in ("--volume", volume)]
        words += [f"--network={network}"] if network else []
        words += [] if cache else ["--no-cache"]
        containerfile = directory / "Containerfile"
        self._loud(
            [*words, "--file", str(containerfile), str(directory)],
            "build",
            str(containerfile),
            "read the last lines of its output",
        )

    def images(self, label: str = f"{IMAGE_LABEL}=task") -> list[StoredImage]:
        """Every image with `label`, newest first."""
        words = ["images", "--no-trunc", "--format", "json", "--filter", f"label={label}"]
        done = self._run(words)
        for _again in range(_RACES):  # an image that goes while podman lists fails the whole list
            if not done.code or not lost_race(done.err):
                break
            done = self._run(words)
        if done.code:
            raise ContainerError("list", "images", _reason(done))
        text = done.out
        found = {image["Id"]: image for image in json.loads(text or "[]")}
        return sorted((_stored(image) for image in found.values()), key=lambda image: image.created, reverse=True)

    def inspect(self, image: str) -> tuple[StoredImage, ImageConfig] | None:
        """What podman knows of `image`; None when it does not have it."""
        done = self._run(["image", "inspect", "--format", "json", image])
        if done.code:
            if "no such" in done.err or "not known" in done.err:
                return None
            raise ContainerError("inspect", image, _reason(done))
        data = json.loads(done.out)[0]
        return _inspected(data), _config(data)

    def tag(self, image: str, name: str) -> None:
        """Give `image` another name, taking it from another image if need be."""
        self._checked(["tag", image, name], "tag", image)

    def remove(self, image: str) -> None:
        """Remove a name, and the image with its last one. An image in use is `InUse`, it is never forced."""
        done = self._run(["rmi", image])
        if done.code:
            kind = InUse if "in use" in done.err or "used by" in done.err else ContainerError
            cure = "remove the containers that use it first: engine gc"
            raise kind("remove", image, _reason(done), cure=cure if kind is InUse else "")

    def push(self, image: str, destination: str, options: Sequence[str] = ()) -> None:
        """Copy `image` to the registry; `options` are podman's (``--tls-verify=false``, ``--authfile=…``)."""
        done = self._run(["push", *options, image, f"docker://{destination}"])
        if done.code:
            fault = judge_transfer(done.err)
            raise ContainerError("push", destination, fault.why, cure=fault.cure, retry=fault.retry)

    def _checked(self, words: Sequence[str], what: str, where: str, cure: str = "") -> str:
        done = self._run(words)
        if done.code:
            raise ContainerError(what, where, _reason(done), cure=cure)
        return done.out

    def _loud(self, words: Sequence[str], what: str, where: str, cure: str) -> None:
        """Run with both outputs on our standard error, so that standard output stays for results."""
        try:
            code = subprocess.call(
                [self._podman, *words], env=self._environ, stdin=subprocess.DEVNULL, stdout=2, stderr=2
            )
        except OSError as error:
            raise _absent(error) from None
        if code:
            raise ContainerError(what, where, f"podman ended with status {code}", cure=cure)

    def _run(self, words: Sequence[str]) -> Output:
        try:
            done = subprocess.run(
                [self._podman, *words],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise _absent(error) from None
        return Output(done.returncode, done.stdout, done.stderr)


def image_directories(option: Iterable[str | Path] = (), environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Directories with one directory per image: the option, the environment, or ./images and the installed ones."""
    if named := [Path(path) for path in option]:
        return tuple(named)
    said = (os.environ if environ is None else environ).get(ENVIRONMENT, "")
    if named := [Path(path) for path in said.split(os.pathsep) if path]:
        return tuple(named)
    installed = Path(sysconfig.get_path("data")) / "share/koji-adjutant/images"
    source_tree = Path(__file__).parents[2] / "images"
    return tuple(path for path in (Path("images"), OPERATOR, source_tree, installed) if os.path.isdir(path))


def find_image(name: str, directories: Sequence[Path]) -> Path:
    """The directory of image `name`. BadInput naming the nearest one when there is none."""
    known: list[str] = []
    for directory in directories:
        if "/" not in name and (directory / name / "Containerfile").is_file():
            return directory / name
        known += [path.parent.name for path in directory.glob("*/Containerfile")]
    where = ", ".join(map(str, directories)) or "any images directory (see --images)"
    cure = did_you_mean(name, sorted(set(known)))
    raise BadInput([Problem(where, "", f"no directory '{name}' with a Containerfile", cure)])


def _absent(error: OSError) -> ContainerError:
    return ContainerError("run", "podman", str(error), cure="install podman (Debian, Fedora: package podman)")


def _reason(done: Output) -> str:
    lines = [line for line in done.err.strip().splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ") if lines else f"podman ended with status {done.code}"


def _stored(image: Mapping[str, Any]) -> StoredImage:
    return StoredImage(
        id=str(image["Id"]).removeprefix("sha256:"),
        names=tuple(sorted(image.get("Names") or ())),
        digest=str(image.get("Digest") or ""),
        created=str(image.get("CreatedAt") or image.get("Created") or ""),
        size=int(image.get("Size") or 0),
        labels=dict(image.get("Labels") or {}),
    )


def _inspected(data: Mapping[str, Any]) -> StoredImage:
    return StoredImage(
        id=str(data["Id"]).removeprefix("sha256:"),
        names=tuple(sorted(data.get("RepoTags") or ())),
        digest=str(data.get("Digest") or ""),
        created=str(data.get("Created") or ""),
        size=int(data.get("Size") or 0),
        labels=dict(data.get("Labels") or {}),
    )


def _config(data: Mapping[str, Any]) -> ImageConfig:
    config = data.get("Config") or {}
    env = dict(text.partition("=")[::2] for text in config.get("Env") or ())
    entrypoint = config.get("Entrypoint") or ()
    return ImageConfig(
        architecture=str(data.get("Architecture") or ""),
        os=str(data.get("Os") or ""),
        user=str(config.get("User") or ""),
        entrypoint=(entrypoint,) if isinstance(entrypoint, str) else tuple(entrypoint),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        on_build=tuple(config.get("OnBuild") or ()),
        env=env,
        labels=dict(data.get("Labels") or {}),
    )
