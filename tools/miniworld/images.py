"""Container images of the world: the bare root, and the project's task image built on it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.miniworld import roots, world
from tools.miniworld.catalog import CATALOG_FILE
from tools.miniworld.commands import run

TASK_IMAGE = "localhost/koji-adjutant-task:standin"
BASE_IMAGE = "localhost/koji-adjutant-base:standin"
KEY_LABEL = "io.koji.adjutant.standin"
CONTAINERFILE = Path(__file__).parents[2] / "images" / "almalinux10" / "Containerfile"


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def base_key() -> str:
    """What the bare root is made of."""
    return _digest(world.key().encode(), Path(roots.__file__).read_bytes(), CATALOG_FILE.read_bytes())


def task_key() -> str:
    """What the task image is made of."""
    return _digest(base_key().encode(), CONTAINERFILE.read_bytes())


def image_key(image: str) -> str:
    """The key label of an image; empty where the image is not there or has none."""
    done = subprocess.run(
        ["podman", "image", "inspect", "--format", f'{{{{index .Labels "{KEY_LABEL}"}}}}', image],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else ""


def ensure_task_image() -> str:
    """Return the name of the task image on the stand-in world, making what is missing. Needs root."""
    with world.locked("images"):
        if image_key(TASK_IMAGE) != task_key():
            repo = world.ensure() / "repo"
            _ensure_base(repo)
            _say("task image: building images/almalinux10/Containerfile on the stand-in world")
            build_task_image(repo)
    return TASK_IMAGE


def build_task_image(repo: Path) -> None:
    """Build the Containerfile on the bare root; its dnf reads the repository from a read-only volume."""
    run(
        [
            "podman", "build", "--quiet", "--network=none", "--pull=never", "--no-cache",
            "--build-arg", f"BASE={BASE_IMAGE}", "--volume", f"{repo}:{roots.REPO_IN_CONTAINER}:ro",
            "--label", f"{KEY_LABEL}={task_key()}", "--tag", TASK_IMAGE, "--file", CONTAINERFILE,
            CONTAINERFILE.parent,
        ]
    )  # fmt: skip


def _ensure_base(repo: Path) -> None:
    if image_key(BASE_IMAGE) == base_key():
        return
    _say("task image: installing the bare root of the stand-in world")
    with tempfile.TemporaryDirectory(dir=world.cache_dir()) as folder:
        root = Path(folder) / "root"
        roots.make_bare_root(root, repo, Path(folder) / "scratch")
        archive = Path(folder) / "root.tar"
        run(["tar", "--create", "--xattrs", "--numeric-owner", "--file", archive, "--directory", root, "."])
        shutil.rmtree(root)
        run(
            [
                "podman", "import", "--quiet", "--change", 'CMD ["/bin/bash"]',
                "--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                "--change", f"LABEL {KEY_LABEL}={base_key()}", archive, BASE_IMAGE,
            ]
        )  # fmt: skip


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
