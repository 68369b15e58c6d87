"""The whole world in the cache: made once, whole or not at all.

`<cache>/world/<key>/` holds `repo/` (RPMs and metadata), `comps.xml` and `made.json`. The key is the digest of
the catalog, of the code that converts, and of the host's distribution release.
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from tools.cache import cache_dir, locked
from tools.miniworld import debs, rpms
from tools.miniworld.catalog import load
from tools.miniworld.metadata import comps_xml, index

_HERE = Path(__file__).parent
_CONVERTING = ("catalog.py", "debs.py", "metadata.py", "provides.py", "rpms.py", "staging.py")
KEPT_WORLDS = 3
MAKING = ".making-"
PR_SET_PDEATHSIG = 1


def key() -> str:
    """Names the world that this code makes on this host: 16 hex digits. Comments and layout do not count."""
    content = replace(load(), real_groups={}, real_packages=[])
    parts = [repr(content), _release()]
    parts += [ast.dump(ast.parse((_HERE / name).read_text())) for name in _CONVERTING]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return "".join(line for line in sorted(lines) if line.startswith(("ID=", "VERSION_ID=")))


def path() -> Path:
    """Where this world is or would be."""
    return cache_dir() / "world" / key()


def ensure() -> Path:
    """Return the directory of the stand-in world, making it first where it is not there."""
    return ensure_at(path(), _make)


def ensure_at(target: Path, make: Callable[[Path], None]) -> Path:
    """Return `target`; where it is not there, let `make` fill a directory that becomes it when it is complete."""
    if target.is_dir():
        return target
    with locked("world"):
        if not target.is_dir():
            for left_by_a_crash in target.parent.glob(f"{MAKING}*"):
                shutil.rmtree(left_by_a_crash, ignore_errors=True)
            # A name of its own: an rpmbuild of a killed run may go on for a moment.
            making = target.parent / f"{MAKING}{target.name}-{os.getpid()}"
            making.mkdir(parents=True)
            make(making)
            making.rename(target)
            _forget_old(target)
    return target


def _forget_old(newest: Path) -> None:
    """Remove all but the last KEPT_WORLDS; an earlier checkout may still use the one before."""
    worlds = sorted(newest.parent.glob("[!.]*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in [world for world in worlds if world != newest][KEPT_WORLDS - 1 :]:
        shutil.rmtree(old)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _end_with_parent() -> None:
    """A converting process whose parent is killed must not go on: it would hold the cache's lock for ever."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _make(target: Path) -> None:
    catalog = load()
    jobs = os.cpu_count() or 1
    repo, work = target / "repo", target / "work"
    repo.mkdir()
    started = time.monotonic()
    _say("stand-in world: converting Debian packages, once; this takes minutes")
    paths = debs.fetch(catalog.seeds, cache_dir() / "debs")
    with ThreadPoolExecutor(jobs) as pool:
        packages = list(pool.map(debs.read, paths))
    fetched = time.monotonic()
    for own in catalog.own:
        rpms.build_own(own, catalog, work, repo)
    conversions = rpms.plan(catalog, packages, work, repo)
    with ProcessPoolExecutor(jobs, initializer=_end_with_parent) as processes:
        running = [processes.submit(rpms.convert, job) for job in conversions]
        for done, future in enumerate(as_completed(running), start=1):
            future.result()
            if done % 50 == 0 or done == len(running):
                _say(f"stand-in world: {done} of {len(running)} packages converted")
    shutil.rmtree(work)
    comps = target / "comps.xml"
    comps.write_text(comps_xml(catalog.groups))
    index(repo, comps, jobs)
    facts = {
        "packages": len(list(repo.glob("*.rpm"))),
        "bytes": sum(p.stat().st_size for p in repo.glob("*.rpm")),
        "seconds_fetch": round(fetched - started, 1),
        "seconds_convert": round(time.monotonic() - fetched, 1),
    }
    (target / "made.json").write_text(json.dumps(facts, indent=1) + "\n")
    _say(f"stand-in world: {facts}")
