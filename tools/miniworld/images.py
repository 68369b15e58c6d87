"""The project's task image: the Containerfile on AlmaLinux, or on the bare root of the stand-in world.

An image carries the digest of what it was made from in the label KEY_LABEL; it is made again when that differs.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.cache import cache_dir, locked, podman_env
from tools.miniworld import roots, world
from tools.miniworld.commands import CommandError, run

ALMALINUX_IMAGE = "localhost/koji-adjutant-task:almalinux10"
STANDIN_IMAGE = "localhost/koji-adjutant-task:standin"
STANDIN_BASE = "localhost/koji-adjutant-base:standin"
KEY_LABEL = "io.koji.adjutant.made-from"
CONTAINERFILE = Path(__file__).parents[2] / "images" / "almalinux10" / "Containerfile"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def base_key() -> str:
    """What the bare root is made of: the world, and the code that installs it."""
    code = [ast.dump(ast.parse(Path(name).read_text())) for name in (roots.__file__, __file__)]
    return _digest(world.key(), *code)


def standin_key() -> str:
    """What the stand-in task image is made of."""
    return _digest(base_key(), CONTAINERFILE.read_text())


def almalinux_key() -> str:
    """What the AlmaLinux task image is made of, as far as this tree decides it."""
    return _digest(CONTAINERFILE.read_text(), os.environ.get("KOJI_ADJUTANT_BASE", ""))


def image_key(image: str) -> str:
    """The key label of an image; empty where the image is not there or has none."""
    form = f'{{{{index .Labels "{KEY_LABEL}"}}}}'
    try:
        return run(["podman", "image", "inspect", "--format", form, image], env=podman_env()).strip()
    except CommandError:
        return ""


def ensure_standin() -> str:
    """Return the name of the task image on the stand-in world, made first where it must be. Needs root."""
    with locked("images"):
        if image_key(STANDIN_IMAGE) != standin_key():
            if os.geteuid() != 0:
                raise CommandError(
                    f"only root can make {STANDIN_IMAGE}: run `make setup` as root, then, as this user, "
                    f"`sudo podman save {STANDIN_IMAGE} | podman load`"
                )
            repo = world.ensure() / "repo"
            _ensure_base(repo)
            _say("task image: building images/almalinux10/Containerfile on the stand-in world")
            volume = f"{repo}:{roots.REPO_IN_CONTAINER}:ro"
            build(
                STANDIN_IMAGE, standin_key(),
                ["--network=none", "--pull=never", f"--build-arg=BASE={STANDIN_BASE}", f"--volume={volume}"],
            )  # fmt: skip
    return STANDIN_IMAGE


def ensure_almalinux() -> str:
    """Return the name of the task image on AlmaLinux (or KOJI_ADJUTANT_BASE), built first where it must be."""
    with locked("images"):
        if image_key(ALMALINUX_IMAGE) != almalinux_key():
            _say("task image: building images/almalinux10/Containerfile")
            base = os.environ.get("KOJI_ADJUTANT_BASE")
            build(ALMALINUX_IMAGE, almalinux_key(), [f"--build-arg=BASE={base}"] if base else [])
    return ALMALINUX_IMAGE


def build(tag: str, key: str, options: Sequence[str]) -> None:
    """`podman build` of the Containerfile in one layer; `options` come before ours."""
    run(
        ["podman", "build", "--quiet", "--layers=false", *options, f"--label={KEY_LABEL}={key}",
         f"--tag={tag}", f"--file={CONTAINERFILE}", CONTAINERFILE.parent],
        env=podman_env(),
    )  # fmt: skip
    _forget_untagged()


def _forget_untagged() -> None:
    """Remove our images that lost their tag to a newer one; one that a container still uses stays for now."""
    filters = [f"--filter=label={KEY_LABEL}", "--filter=dangling=true"]
    for image in run(["podman", "images", "--quiet", "--no-trunc", *filters], env=podman_env()).split():
        with contextlib.suppress(CommandError):
            run(["podman", "image", "rm", image], env=podman_env())


def _ensure_base(repo: Path) -> None:
    if image_key(STANDIN_BASE) == base_key():
        return
    _say("task image: installing the bare root of the stand-in world")
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="root-") as folder:
        root = Path(folder) / "root"
        roots.make_bare_root(root, repo, Path(folder) / "scratch")
        archive = Path(folder) / "root.tar"
        run(["tar", "--create", "--xattrs", "--numeric-owner", "--file", archive, "--directory", root, "."])
        shutil.rmtree(root)
        run(
            ["podman", "import", "--quiet", "--change", 'CMD ["/bin/bash"]',
             "--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
             "--change", f"LABEL {KEY_LABEL}={base_key()}", archive, STANDIN_BASE],
            env=podman_env(),
        )  # fmt: skip
    _forget_untagged()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
