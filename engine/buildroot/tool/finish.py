"""What every build root gets besides its packages: the build user, its home, a clean and closed rpmdb.

The names are mock's, for packages look at them (`id -un`, %_topdir). FINISH in engine.buildroot.tools counts the
versions of this file: roots of another version are not used.
"""

import os
import shutil
import sqlite3

USER, GROUP, UID, GID = "mockbuild", "mock", 1000, 1000
HOME = "/builddir"
WRITTEN = {"etc/resolv.conf": "", "etc/machine-id": "6d6f636b6275696c646d6f636b627569\n"}
"""D-Bus does not start without a machine-id; its value is the same for all, so that no package can depend on it."""
LINKS = {"etc/mtab": "../proc/self/mounts", "var/lib/dbus/machine-id": "../../../etc/machine-id"}
BUILD_DIRECTORIES = ("BUILD", "BUILDROOT", "RPMS", "SOURCES", "SPECS", "SRPMS")
EMPTIED = ("dev", "tmp", "var/tmp", "var/cache/dnf", "var/cache/yum")
DATABASES = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")


def finish(root):
    _empty(root)
    _files(root)
    _user(root)
    _home(root)
    close_rpmdb(root)


def _empty(root):
    """Scriptlets leave regular files in /dev, tools their droppings in /tmp and /run; directories in /run stay."""
    for name in EMPTIED:
        path = os.path.join(root, name)
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    run = os.path.join(root, "run")
    for folder, _names, files in os.walk(run) if not os.path.islink(run) else ():
        for name in files:
            os.unlink(os.path.join(folder, name))
    for name in ("dev", "proc", "sys", "run", "tmp", "var/tmp", "etc"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.chmod(os.path.join(root, name), 0o1777)  # noqa: S103 - as every /tmp


def _files(root):
    """What mock gives every root, whatever its packages."""
    for name, content in WRITTEN.items():
        path = os.path.join(root, name)
        if os.path.lexists(path):
            os.unlink(path)  # often a link into /run, where nobody writes
        with open(path, "w", encoding="ascii") as file:
            file.write(content)
    fstab = os.path.join(root, "etc/fstab")
    if not os.path.lexists(fstab):
        open(fstab, "w", encoding="ascii").close()
    for name, target in LINKS.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(target, path)


def _user(root):
    _line(os.path.join(root, "etc/passwd"), USER, UID, f"{USER}:x:{UID}:{GID}::{HOME}:/bin/bash")
    _line(os.path.join(root, "etc/group"), GROUP, GID, f"{GROUP}:x:{GID}:")


def _line(path, name, number, line):
    """Give `number` to `name` alone."""
    lines = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    kept = [old for old in lines if old.split(":")[0] != name and old.split(":")[2:3] != [str(number)]]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*kept, line]) + "\n")


def _home(root):
    home = os.path.join(root, HOME.lstrip("/"))
    paths = [home, os.path.join(home, "build")]
    paths += [os.path.join(home, "build", name) for name in BUILD_DIRECTORIES]
    for path in paths:
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)  # noqa: S103 - as every home
        os.chown(path, UID, GID)


def close_rpmdb(root):
    """Fold the write-ahead log in: each clone would copy it up, and nobody but root could read the database."""
    for name in DATABASES:
        path = os.path.join(root, name)
        if os.path.islink(path) or not os.path.exists(path):
            continue
        database = sqlite3.connect(path)
        try:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            mode = database.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        finally:
            database.close()
        if mode != "delete":
            raise OSError(f"{path}: the journal stays in mode {mode}")
