"""A world of real packages, for hosts that reach an RPM distribution: downloaded by the task image's own dnf.

Same shape as the stand-in world: `<cache>/world/real-<key>/repo` with comps groups build and srpm-build, so demo
and tests use the one like the other.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.cache import cache_dir, podman_env
from tools.miniworld.catalog import Catalog, load
from tools.miniworld.commands import run
from tools.miniworld.metadata import comps_xml
from tools.miniworld.world import ensure_at


def path(image_key: str) -> Path:
    """Where the world downloaded by the task image with this key is or would be."""
    catalog = load()
    text = repr((image_key, catalog.real_groups, catalog.real_packages))
    return cache_dir() / "world" / f"real-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def ensure(image: str, image_key: str) -> Path:
    """Return the directory of the downloaded world, downloading it first where it is not there."""

    def make(target: Path) -> None:
        print("RPM world: downloading packages with the task image's dnf", file=sys.stderr, flush=True)
        download(image, target, load())

    return ensure_at(path(image_key), make)


def download(image: str, target: Path, catalog: Catalog, podman_options: Sequence[str] = ()) -> None:
    """Fill `target` with `repo/` and `comps.xml`: the closure of the catalog's real packages and groups."""
    wanted = sorted({*catalog.real_packages, *(name for names in catalog.real_groups.values() for name in names)})
    (target / "comps.xml").write_text(comps_xml(catalog.real_groups))
    inside = [
        "podman", "run", "--rm", "--label=io.koji.adjutant.tool=mirror", f"--volume={target}:/world:z",
        *podman_options, image,
    ]  # fmt: skip
    run(
        [*inside, "dnf", "-y", "-q", "--setopt=install_weak_deps=False", "download", "--resolve", "--alldeps",
         "--arch=x86_64", "--arch=noarch", "--destdir=/world/repo", *wanted],
        env=podman_env(),
    )  # fmt: skip
    run([*inside, "createrepo_c", "-q", "-g", "/world/comps.xml", "/world/repo"], env=podman_env())
