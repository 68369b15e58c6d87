"""A repository's directory below topdir/repos: what repoInit lays out, what createrepo reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.sax.saxutils import escape

import koji

from . import tag_rules
from .database import Database
from .records import Repo, Rpm, Tag

__all__ = ["arches_of", "comps", "lay_out", "link_prebuilt", "move_in", "repo_dir", "run_createrepo"]


def repo_dir(db: Database, repo: Repo) -> Path:
    return Path(db.paths.repo(repo.id, db.tags[repo.tag_id].name))


def arches_of(db: Database, tag: Tag, event: int | None = None) -> list[str]:
    """Canonical arches of the tag, each once."""
    text = tag_rules.build_config(db, tag, event)["arches"] or ""
    return list(dict.fromkeys(koji.canonArch(arch) for arch in text.split()))


def comps(groups: dict[str, tuple[str, ...]]) -> str:
    """comps.xml of a tag's install groups."""
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<comps>"]
    for name, packages in sorted(groups.items()):
        lines += [f" <group><id>{escape(name)}</id><name>{escape(name)}</name>"]
        lines += ["  <description/><default>false</default><uservisible>true</uservisible><packagelist>"]
        lines += [f'   <packagereq type="mandatory">{escape(each)}</packagereq>' for each in packages]
        lines += ["  </packagelist></group>"]
    return "\n".join([*lines, "</comps>", ""])


def lay_out(db: Database, repo: Repo) -> Path:
    """groups/comps.xml, repo.json and per arch pkglist, blocklist, rpmlist.jsonl, toplink (contract 4.5)."""
    tag = db.tags[repo.tag_id]
    event = repo.create_event
    top = repo_dir(db, repo)
    (top / "groups").mkdir(parents=True)
    (top / "groups" / "comps.xml").write_text(comps(tag_rules.groups_of(db, tag, event)))
    about = {"id": repo.id, "tag": tag.name, "tag_id": tag.id, "task_id": repo.task_id, "event_id": event}
    about |= {"with_src": repo.opts["src"], "with_separate_src": repo.opts["separate_src"]}
    about |= {"with_debuginfo": repo.opts["debuginfo"]}
    (top / "repo.json").write_text(json.dumps(about, indent=2))
    arches = arches_of(db, tag, event) + (["src"] if repo.opts["separate_src"] else [])
    rpms = _rpms_in(db, tag, event)
    blocked = sorted(tag_rules.config_at(tag, event).blocked)
    for arch in arches:
        folder = top / arch
        folder.mkdir()
        mine = [rpm for rpm in rpms if _belongs(rpm, arch, repo)]
        lines = [f"toplink/{os.path.relpath(_path(db, rpm), db.topdir)}\n" for rpm in mine]
        (folder / "pkglist").write_text("".join(lines))
        (folder / "blocklist").write_text("".join(f"{name}\n" for name in blocked))
        (folder / "rpmlist.jsonl").write_text("".join(json.dumps(_entry(rpm)) + "\n" for rpm in mine))
        (folder / "toplink").symlink_to(os.path.relpath(db.topdir, folder))
    return top


def _rpms_in(db: Database, tag: Tag, event: int) -> list[Rpm]:
    latest = tag_rules.builds_in(db, tag, event, inherit=True, latest=True)
    builds = {build.id for _tag, _event, build in latest}
    return [rpm for rpm in db.rpms.values() if rpm.build_id in builds]


def _belongs(rpm: Rpm, arch: str, repo: Repo) -> bool:
    if rpm.arch in {"src", "nosrc"}:
        return arch == "src" if repo.opts["separate_src"] else repo.opts["src"]
    if not repo.opts["debuginfo"] and "-debuginfo" in rpm.name:
        return False
    return rpm.arch == "noarch" or koji.canonArch(rpm.arch) == arch


def _path(db: Database, rpm: Rpm) -> Path:
    """Where a rpm of a build lies below packages/."""
    if rpm.build_id is None:
        msg = f"{rpm.nvra} belongs to no build"
        raise ValueError(msg)
    build = db.builds[rpm.build_id]
    names = {"name": build.name, "version": build.version, "release": build.release}
    fields = {"name": rpm.name, "version": rpm.version, "release": rpm.release, "arch": rpm.arch}
    return Path(db.paths.build(names), db.paths.rpm(fields))


#: fields of a rpm in rpmlist.jsonl
_LISTED: tuple[str, ...] = ("id", "name", "version", "release", "arch", "epoch", "payloadhash")
_LISTED += ("size", "buildtime", "buildroot_id", "build_id")


def _entry(rpm: Rpm) -> dict[str, object]:
    return {name: getattr(rpm, name) for name in _LISTED} | {"draft": False, "metadata_only": False}


def move_in(db: Database, repo: Repo, arch: str, uploadpath: str, files: list[str]) -> None:
    """Move a createrepo task's files to <repo>/<arch>/repodata; raises before it moves any."""
    source = Path(db.paths.work()) / uploadpath
    target = repo_dir(db, repo) / koji.canonArch(arch) / "repodata"
    for name in files:
        if not (source / name).is_file():
            msg = f"uploaded file missing: {source / name}"
            raise koji.GenericError(msg)
        if (target / name).exists():
            msg = f"destination already exists: {target / name}"
            raise koji.GenericError(msg)
    target.mkdir(parents=True, exist_ok=True)
    for name in files:
        shutil.move(source / name, target / name)


def run_createrepo(db: Database, repo: Repo) -> None:
    """Make repodata of every arch with createrepo_c, as createrepo tasks would have.

    RuntimeError names the way out where createrepo_c is missing.
    """
    if shutil.which("createrepo_c") is None:
        msg = "createrepo_c is not installed; give add_repo a directory that already has repodata/"
        raise RuntimeError(msg)
    top = repo_dir(db, repo)
    for arch in arches_of(db, db.tags[repo.tag_id], repo.create_event):
        folder = top / arch
        command = ["createrepo_c", "--quiet", "-g", str(top / "groups" / "comps.xml"), "-o", str(folder)]
        if (folder / "pkglist").stat().st_size:
            command += ["-i", str(folder / "pkglist"), str(folder)]
        else:
            empty = folder / ".empty"
            empty.mkdir(exist_ok=True)
            command.append(str(empty))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def link_prebuilt(db: Database, repo: Repo, source: Path, rpms: list[Rpm]) -> None:
    """Let <repo>/<arch> show what `source` (which has repodata/) holds; `rpms` become rpmlist.jsonl."""
    top = repo_dir(db, repo)
    for arch in arches_of(db, db.tags[repo.tag_id], repo.create_event):
        folder = top / arch
        for entry in source.iterdir():
            if not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry.resolve())
        (folder / "rpmlist.jsonl").write_text("".join(json.dumps(_entry(rpm)) + "\n" for rpm in rpms))
