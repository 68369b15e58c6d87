"""Capabilities that rpm's generators would find: sonames, pkg-config modules, Perl and Python modules."""

from __future__ import annotations

import re
from pathlib import Path

from tools.miniworld.commands import run
from tools.miniworld.staging import Tree

ELFDEPS = Path("/usr/lib/rpm/elfdeps")
_VERSION = re.compile(r"[A-Za-z0-9._+~^]+")
_PERL_ROOTS = re.compile(r"/usr/(?:share|lib/x86_64-linux-gnu)/perl(?:5|-base)?/(?:[\d.]+/)?(.+)\.pm")
_PYTHON_DIST = re.compile(r"/usr/lib/python3[\d.]*/(?:dist|site)-packages/([\w.]+)-([\w.]+)\.(?:dist|egg)-info")


def of_tree(tree: Tree) -> set[str]:
    """Every capability the files of `tree` provide, as rpm writes it."""
    found: set[str] = set()
    libraries: list[Path] = []
    for path, entry in tree.entries.items():
        python = _PYTHON_DIST.fullmatch(path)
        if python:
            name = python[1].lower().replace("_", "-").replace(".", "-")
            found.add(f"python3dist({name}) = {python[2]}")
        if entry.kind != "file":
            continue
        where = tree.root / path.lstrip("/")
        perl = _PERL_ROOTS.fullmatch(path)
        if perl:
            found.add(f"perl({perl[1].replace('/', '::')})")
        elif path.endswith(".pc"):
            found.add(_pkgconfig(where))
        elif ".so" in path and _is_elf(where):
            libraries.append(where)
    if libraries:
        found |= _sonames(libraries)
    return found


def _is_elf(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _sonames(libraries: list[Path]) -> set[str]:
    names = "\n".join(map(str, libraries)) + "\n"
    return {line for line in run([ELFDEPS, "--provides"], stdin=names).splitlines() if line.strip()}


def _pkgconfig(path: Path) -> str:
    version = re.search(r"^Version:\s*(\S+)", path.read_text(errors="replace"), re.MULTILINE)
    capability = f"pkgconfig({path.stem})"
    return f"{capability} = {version[1]}" if version and _VERSION.fullmatch(version[1]) else capability
