"""A tree to package: Debian's files with /bin, /sbin and /lib* merged into /usr, owners kept as data.

Owners and modes go into the spec file as text, so the tree can be made by any user.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.miniworld.catalog import Catalog, OwnPackage

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Entry:
    """One path of a package. `mode` holds permission bits; it means nothing for a link."""

    kind: Literal["dir", "file", "link"]
    mode: int
    user: str = "root"
    group: str = "root"


class Tree:
    """Files under `root` on this host, and what each of them is in the package (absolute path -> Entry)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, Entry] = {}
        root.mkdir(parents=True)

    def place(self, path: str, entry: Entry) -> Path:
        """Enter `path` and return where its content goes; parents exist, an earlier file is gone."""
        where = self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind != "dir" and (where.is_symlink() or where.exists()):
            where.unlink()
        self.entries[path] = entry
        return where

    def add_dir(self, path: str, mode: int = 0o755, user: str = "root", group: str = "root") -> None:
        """Enter a directory."""
        self.place(path, Entry("dir", mode, user, group)).mkdir(exist_ok=True)

    def add_file(self, path: str, text: str, mode: int = 0o644) -> None:
        """Enter a file of root with this text."""
        self.place(path, Entry("file", mode)).write_text(text)

    def add_link(self, path: str, target: str) -> None:
        """Enter a symbolic link."""
        self.place(path, Entry("link", 0o777)).symlink_to(target)

    def drop(self, path: str) -> None:
        """Take out `path` if it is there; a directory only when it is empty by then."""
        if self.entries.pop(path, None) is None:
            return
        where = self.root / path.lstrip("/")
        if where.is_dir() and not where.is_symlink():
            if not any(where.iterdir()):
                where.rmdir()
        else:
            where.unlink()


def merged(path: str) -> str:
    """`/lib/x` -> `/usr/lib/x`; other paths, and /lib itself, stay."""
    first, _, rest = path.lstrip("/").partition("/")
    return f"/usr/{first}/{rest}" if first in MERGED and rest else path


def _link_target(path: str, target: str) -> str:
    """The target that a link, moved by the merge, needs to mean the same file."""
    if target.startswith("/") or merged(path) == path:
        return target
    meant = merged(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)))
    return posixpath.relpath(meant, posixpath.dirname(merged(path)))


def unpack(deb: Path, tree: Tree) -> None:
    """Unpack a Debian package into `tree`."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as source,
        tarfile.open(fileobj=source.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = posixpath.normpath("/" + member.name)
            if path.lstrip("/") not in ("", *MERGED):  # those are links of the package `filesystem`
                unpack_member(archive, member, path, tree)
    if source.returncode:
        raise RuntimeError(f"{deb.name}: dpkg-deb could not read it")


def unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, tree: Tree) -> None:
    """Enter one member of a Debian package, known there by the absolute `path`, where the merge puts it."""
    owner = (member.uname or "root", member.gname or "root")
    if member.isdir():
        tree.add_dir(merged(path), member.mode, *owner)
    elif member.issym():
        tree.add_link(merged(path), _link_target(path, member.linkname))
    elif member.islnk():
        linked = merged(posixpath.normpath("/" + member.linkname))
        where = tree.place(merged(path), tree.entries[linked])
        os.link(tree.root / linked.lstrip("/"), where)
    elif (content := archive.extractfile(member)) is not None:
        where = tree.place(merged(path), Entry("file", member.mode, *owner))
        with where.open("wb") as out:
            shutil.copyfileobj(content, out)
        os.utime(where, (member.mtime, member.mtime))
    else:
        raise RuntimeError(f"{path}: neither file, directory nor link")


def adapt(name: str, tree: Tree, catalog: Catalog, alternatives: dict[str, str]) -> None:
    """Do to `tree` what the catalog, and the maintainer scripts we do not run, would do."""
    for path in catalog.drop.get(name, ()):
        tree.drop(path)
    for path, target in alternatives.items():
        if merged(target) in tree.entries:
            where = merged(path)
            tree.add_link(where, posixpath.relpath(merged(target), posixpath.dirname(where)))
    for path, target in catalog.links.get(name, {}).items():
        tree.add_link(path, target)
    for path, text in catalog.files.get(name, {}).items():
        tree.add_file(path, text)
    for path, pattern in catalog.concatenated.get(name, {}).items():
        parts = sorted(tree.root.glob(pattern))
        if not parts:
            raise RuntimeError(f"catalog: concatenated.{name}: {pattern} matches nothing")
        tree.add_file(path, "".join(part.read_text() for part in parts))
    for path, (old, new) in catalog.replaced.get(name, {}).items():
        edited = tree.root / path.lstrip("/")
        text = edited.read_text()
        if old not in text:
            raise RuntimeError(f"catalog: replaced.{name}: {path} does not hold {old!r}")
        edited.write_text(text.replace(old, new))
    compile_python(tree)


def compile_python(tree: Tree) -> None:
    """Add byte code for modules under /usr/lib/python3*, as RPM distributions ship it.

    Debian compiles when a package is installed. Without byte code `import dnf` takes 0.75 s, with it 0.15 s.
    """
    tops = [p for p in tree.root.glob("usr/lib/python3*") if p.is_dir() and not p.is_symlink()]
    if not any(path.endswith(".py") and path.startswith("/usr/lib/python3") for path in tree.entries):
        return
    # Modules kept as Python 2 test data do not compile; the rest does, so the status says nothing.
    subprocess.run(
        ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
         "-s", tree.root, "-p", "/", *tops],
        check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for top in tops:
        for compiled in top.rglob("__pycache__/*.pyc"):
            path = "/" + str(compiled.relative_to(tree.root))
            tree.entries[posixpath.dirname(path)] = Entry("dir", 0o755)
            tree.entries[path] = Entry("file", 0o644)


def stage_own(package: OwnPackage, tree: Tree) -> None:
    """Fill `tree` with a package of the catalog."""
    for path in package.dirs:
        tree.add_dir(path)
    for path, text in package.files.items():
        tree.add_file(path, text.lstrip("\n"), package.modes.get(path, 0o644))
    for path, target in package.links.items():
        tree.add_link(path, target)
    for path in set(package.modes) - set(package.files):
        tree.add_dir(path, package.modes[path])
