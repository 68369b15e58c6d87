"""A bare root of the world: what a distribution's base image holds, installed by this host's dnf."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tools.miniworld.commands import run

# Where containers of the world see its repository; the packages epel-release and the bare root name it.
REPO_IN_CONTAINER = "/mnt/standin"

BASE_PACKAGES = (
    "base-files", "bash", "ca-certificates", "coreutils", "curl", "dnf", "filesystem", "findutils", "gawk",
    "grep", "gzip", "less", "libc-bin", "login", "rpm-common", "sed", "standin-rpm-config", "tar", "tzdata",
    "util-linux",
)  # fmt: skip

# As on AlmaLinux, mock-core-configs is only to be had once epel-release is installed.
REPO_FILE = f"""\
[standin]
name=Stand-in world
baseurl=file://{REPO_IN_CONTAINER}
gpgcheck=0
excludepkgs=mock-core-configs
"""


def dnf(root: Path, repo: Path, scratch: Path, words: Sequence[str]) -> str:
    """Run the host's dnf on the RPM root `root` with the world's repository only.

    Debian's rpm keeps its database under HOME; the HOME made in `scratch` says where an RPM root has it.
    """
    home = scratch / "home"
    home.mkdir(parents=True, exist_ok=True)
    (scratch / "log").mkdir(exist_ok=True)
    (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
    return run(
        [
            "dnf", "-y", "-q", f"--installroot={root}", "--releasever=10", "--disableplugin=*",
            f"--setopt=reposdir={scratch}/none", f"--setopt=cachedir={scratch}/dnf",
            f"--setopt=logdir={scratch}/log", "--setopt=install_weak_deps=False", "--setopt=gpgcheck=False",
            f"--repofrompath=standin,file://{repo}", "--repo=standin", *words,
        ],
        env={"HOME": str(home)},
    )  # fmt: skip


def make_bare_root(root: Path, repo: Path, scratch: Path) -> None:
    """Install the base packages into the new directory `root` and leave nothing that only this host knows."""
    dnf(root, repo, scratch, ["install", *BASE_PACKAGES])
    (root / "etc/yum.repos.d/standin.repo").write_text(REPO_FILE)
    # A scriptlet may have left a regular file /dev/null; podman brings its own devices.
    for name in ("dev", "tmp", "var/tmp", "var/log"):
        _empty(root / name)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
