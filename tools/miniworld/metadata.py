"""Repository metadata: comps groups and the createrepo_c call."""

from __future__ import annotations

import os
from pathlib import Path
from xml.sax.saxutils import escape

from tools.miniworld.commands import run
from tools.miniworld.rpms import EPOCH_SECONDS


def comps_xml(groups: dict[str, list[str]]) -> str:
    """A comps file with these groups, every package mandatory."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<comps>"]
    for group, names in groups.items():
        lines += ["<group>", f"<id>{group}</id>", f"<name>{group}</name>", f"<description>{group}</description>"]
        lines += ["<default>false</default>", "<uservisible>true</uservisible>", "<packagelist>"]
        lines += [f'<packagereq type="mandatory">{escape(name)}</packagereq>' for name in names]
        lines += ["</packagelist>", "</group>"]
    return "\n".join([*lines, "</comps>"]) + "\n"


def index(repo: Path, comps: Path, jobs: int) -> None:
    """Write the repository metadata, the same bytes for the same packages (it tells their file times)."""
    for package in repo.glob("*.rpm"):
        os.utime(package, (int(EPOCH_SECONDS), int(EPOCH_SECONDS)))
    run(
        ["createrepo_c", "-q", "--workers", str(jobs), "--revision", EPOCH_SECONDS,
         "--set-timestamp-to-revision", "-g", comps, repo]
    )  # fmt: skip
