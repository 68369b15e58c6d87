"""Debian packages: the closure of the seeds, fetched with apt, and what their control files say."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.miniworld.commands import run


@dataclass(frozen=True)
class Alternative:
    """One `update-alternatives --install`: every link it makes, with its target."""

    name: str
    priority: int
    links: dict[str, str]


@dataclass(frozen=True)
class Deb:
    """One package file and its control data. `depends` is a list of alternatives, names only."""

    path: Path
    name: str
    version: str
    noarch: bool
    summary: str
    description: str
    size: int
    provides: tuple[str, ...]
    depends: tuple[tuple[str, ...], ...]
    conffiles: frozenset[str]
    alternatives: tuple[Alternative, ...]


def _apt(options: Sequence[str], words: Sequence[str], status: Path, archives: Path) -> str:
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    return run(
        [
            "apt-get", "-qq", "-y",
            "-o", f"Dir::State::status={status}",
            "-o", f"Dir::Cache::archives={archives}",
            "-o", "APT::Install-Recommends=false",
            "-o", "APT::Sandbox::User=root",
            "-o", "Acquire::Retries=3",
            "-o", "Debug::NoLocking=1",
            *options, "install", *words,
        ],
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip


def fetch(seeds: Sequence[str], store: Path) -> list[Path]:
    """Download the closure of `seeds` into `store` and return its files, sorted.

    apt is shown a machine with nothing installed, so the closure is complete whatever this host has.
    """
    with tempfile.TemporaryDirectory() as scratch:
        status = Path(scratch) / "status"
        status.touch()
        listing = _apt(["--print-uris"], seeds, status, Path(scratch) / "nothing")
        names = sorted(shlex.split(line)[1] for line in listing.splitlines() if line.startswith("'"))
        if any(not (store / name).exists() for name in names):
            _apt(["--download-only"], seeds, status, store)
    return [store / name for name in names]


def read(path: Path) -> Deb:
    """Read the control data of one package file."""
    with tempfile.TemporaryDirectory() as scratch:
        run(["dpkg-deb", "-e", path, scratch])
        control = _fields((Path(scratch) / "control").read_text())
        conffiles = _lines(Path(scratch) / "conffiles")
        postinst = "\n".join(_lines(Path(scratch) / "postinst"))
    summary, _, description = control.get("Description", control["Package"]).partition("\n")
    depends = f"{control.get('Pre-Depends', '')},{control.get('Depends', '')}"
    return Deb(
        path=path,
        name=control["Package"],
        version=control["Version"],
        noarch=control["Architecture"] == "all",
        summary=summary,
        description=description or summary,
        size=int(control.get("Installed-Size", "0")),
        provides=tuple(names[0] for names in _relations(control.get("Provides", ""))),
        depends=tuple(_relations(depends)),
        conffiles=frozenset(line for line in conffiles if line.startswith("/")),
        alternatives=tuple(alternatives(postinst)),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            found[key] += "\n" + line.strip()
        elif ":" in line:
            key, _, value = line.partition(":")
            found[key] = value.strip()
    return found


def _relations(text: str) -> Iterable[tuple[str, ...]]:
    """`a (>= 1) | b:any, c` -> ('a', 'b'), ('c',)"""
    for group in text.split(","):
        names = [re.split(r"[\s(\[<:]", part.strip(), maxsplit=1)[0] for part in group.split("|")]
        if any(names):
            yield tuple(name for name in names if name)


def alternatives(script: str) -> Iterable[Alternative]:
    """The alternatives a postinst registers. Plain `name=value` lines are substituted, no other shell."""
    values = dict(re.findall(r"^\s*(\w+)=([\w./-]+)\s*$", script, re.MULTILINE))
    joined = re.sub(r"\\\n", " ", script)
    joined = re.sub(r"\$\{?(\w+)\}?", lambda m: values.get(m[1], m[0]), joined)
    for call in re.findall(r"update-alternatives\b[^\n;|&]*--install\s+([^\n;|&]*)", joined):
        words = call.replace('"', "").replace("'", "").split()
        if len(words) < 4 or "$" in call or not words[3].isdigit():
            continue
        link, name, target, priority = words[:4]
        links = {link: target}
        for at, word in enumerate(words[:-3]):
            if word == "--slave":
                links[words[at + 1]] = words[at + 3]
        yield Alternative(name=name, priority=int(priority), links=links)


def chosen_alternatives(debs: Iterable[Deb]) -> dict[str, dict[str, str]]:
    """Package name -> links to make: of each alternative the one of highest priority."""
    best: dict[str, tuple[int, str, Alternative]] = {}
    for deb in debs:
        for item in deb.alternatives:
            rank = (item.priority, deb.name, item)
            if item.name not in best or rank[:2] > best[item.name][:2]:
                best[item.name] = rank
    chosen: dict[str, dict[str, str]] = {}
    for _, package, item in best.values():
        chosen.setdefault(package, {}).update(item.links)
    return chosen
