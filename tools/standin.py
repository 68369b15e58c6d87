"""What tests and demo stand on: an RPM repository, the task image, samples, podman's configuration.

As a module these functions only look; `python -m tools.standin make` makes what is missing (`make setup`), and
`python -m tools.standin repo|image|srpm NAME` prints where it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from tools import cache, samples
from tools.miniworld import images, mirror, world
from tools.miniworld.commands import CommandError


class NotSetUp(RuntimeError):
    """Something that `make setup` makes is not there."""


def converts() -> bool:
    """Whether this host uses the stand-in world: a Debian or Ubuntu, unless KOJI_ADJUTANT_STANDIN=0."""
    chosen = os.environ.get("KOJI_ADJUTANT_STANDIN")
    if chosen in ("0", "1"):
        return chosen == "1"
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def world_repo() -> Path:
    """The repository directory: RPMs, repodata, comps groups `build` and `srpm-build`."""
    made = world.path() if converts() else mirror.path(images.almalinux_key())
    if not made.is_dir():
        raise NotSetUp(f"there is no RPM world at {made}: run `make setup`")
    return made / "repo"


def task_image() -> str:
    """The name of the task image in podman's storage."""
    image = images.STANDIN_IMAGE if converts() else images.ALMALINUX_IMAGE
    wanted = images.standin_key() if converts() else images.almalinux_key()
    found = images.image_key(image)
    if found != wanted:
        what = "was made from other sources" if found else "is not in podman's storage"
        raise NotSetUp(f"the task image {image} {what}: run `make setup`")
    return image


def srpm(name: str) -> Path:
    """The source RPM of a sample, packed on demand."""
    digest = hashlib.sha256(Path(samples.__file__).read_bytes())
    for path in sorted(path for path in samples.SAMPLES.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(samples.SAMPLES)).encode() + b"\0" + path.read_bytes())
    folder = cache.cache_dir() / "srpms" / digest.hexdigest()[:16]
    found = sorted(folder.glob(f"{name}-[0-9]*.src.rpm"))
    return found[0] if found else samples.build(name, folder)


def containers_conf() -> Path | None:
    """The file CONTAINERS_CONF has to name for podman on this host, or None."""
    return cache.containers_conf()


def make() -> None:
    """Make the world and the task image, quickly when they are there."""
    if converts():
        images.ensure_standin()
        world.ensure()
    else:
        mirror.ensure(images.ensure_almalinux(), images.almalinux_key())


def main(argv: list[str]) -> int:
    """Exit status 0, or 1 with one message on standard error."""
    try:
        match argv:
            case ["make"]:
                make()
            case ["repo"]:
                print(world_repo())
            case ["image"]:
                print(task_image())
            case ["srpm", name]:
                print(srpm(name))
            case _:
                print("usage: python -m tools.standin make | repo | image | srpm NAME", file=sys.stderr)
                return 2
    except (NotSetUp, CommandError, samples.SampleError) as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
