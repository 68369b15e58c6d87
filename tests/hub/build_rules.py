"""Builds and their rpms: begun, completed, failed, moved to scratch, imported (contract 4.1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import koji

from . import rpm_files
from .clock import as_text
from .database import Database
from .records import Build, Package, Rpm, Task

BUILDING, COMPLETE, DELETED, FAILED, CANCELED = range(5)

# -- rows


def row(db: Database, build: Build) -> dict[str, Any]:
    """What listBuilds says."""
    return {
        "build_id": build.id,
        "completion_time": as_text(build.completion_ts),
        "completion_ts": build.completion_ts,
        "creation_event_id": build.creation_event,
        "creation_time": as_text(build.creation_ts),
        "creation_ts": build.creation_ts,
        "draft": build.draft,
        "epoch": build.epoch,
        "extra": build.extra,
        "name": build.name,
        "nvr": build.nvr,
        "owner_id": build.owner,
        "owner_name": db.users[build.owner].name,
        "package_id": build.package_id,
        "package_name": build.name,
        "promoter_id": None,
        "promoter_name": None,
        "promotion_time": None,
        "promotion_ts": None,
        "release": build.release,
        "source": build.source,
        "start_time": as_text(build.start_ts),
        "start_ts": build.start_ts,
        "state": build.state,
        "task_id": build.task_id,
        "version": build.version,
        "volume_id": 0,
        "volume_name": "DEFAULT",
    }


def full_row(db: Database, build: Build) -> dict[str, Any]:
    """What getBuild says."""
    return row(db, build) | {"id": build.id, "cg_id": None, "cg_name": None}


def rpm_row(db: Database, rpm: Rpm) -> dict[str, Any]:
    """What listRPMs and getRPM say."""
    internal = rpm.external_repo_id == 0
    return {
        "arch": rpm.arch,
        "build_id": rpm.build_id,
        "buildroot_id": rpm.buildroot_id,
        "buildtime": rpm.buildtime,
        "draft": False if internal else None,
        "epoch": rpm.epoch,
        "external_repo_id": rpm.external_repo_id,
        "external_repo_name": "INTERNAL" if internal else db.external_repos[rpm.external_repo_id].name,
        "extra": None,
        "id": rpm.id,
        "metadata_only": False,
        "name": rpm.name,
        "nvr": rpm.nvr,
        "payloadhash": rpm.payloadhash,
        "release": rpm.release,
        "size": rpm.size,
        "version": rpm.version,
    }


# -- life


def package(db: Database, name: str) -> Package:
    found = db.find_package(name)
    return found or db.add("packages", Package(db.next_id("packages"), name))


def begin(db: Database, task: Task, data: dict[str, Any]) -> Build:
    """host.initBuild: a BUILDING build of the task; the same one when asked again."""
    missing = [name for name in ("name", "version", "release", "epoch") if name not in data]
    if missing:
        msg = f"No {missing[0]} value for build"
        raise koji.GenericError(msg)
    found = db.find_build("{name}-{version}-{release}".format(**data))
    now = db.clock.now()
    if found is not None:
        if found.state == BUILDING and found.task_id == task.id:
            return found
        if found.state not in (FAILED, CANCELED):
            raise koji.GenericError(_exists(db, found, task, data))
        found.state, found.task_id, found.start_ts, found.completion_ts = BUILDING, task.id, now, None
        found.owner, found.source, found.extra = task.owner, data.get("source"), data.get("extra")
        db.touch()
        return found
    event = db.new_event(task.owner)
    build = Build(
        id=db.next_id("builds"),
        package_id=package(db, data["name"]).id,
        name=data["name"],
        version=data["version"],
        release=data["release"],
        epoch=data["epoch"],
        owner=task.owner,
        creation_ts=now,
        creation_event=event.id,
        start_ts=now,
        task_id=task.id,
        source=data.get("source"),
        extra=data.get("extra"),
        draft=bool(data.get("draft")),
    )
    return db.add("builds", build)


def _exists(db: Database, found: Build, task: Task, data: dict[str, Any]) -> str:
    """The text of the fault for a build that is there: it quotes the row that was to be inserted."""
    wanted = dict(data) | {
        "owner": task.owner,
        "state": BUILDING,
        "completion_time": None,
        "pkg_id": package(db, data["name"]).id,
        "extra": data.get("extra"),
        "start_time": "NOW",
        "source": data.get("source"),
        "volume_id": 0,
        "draft": False,
    }
    return f"Build already exists (id={found.id}, state={koji.BUILD_STATES[found.state]}): {wanted}"


def fail(db: Database, build: Build) -> None:
    """host.failBuild; GenericError for one that is not being built."""
    _must_build(build)
    build.state, build.completion_ts = FAILED, db.clock.now()
    db.touch()


def _must_build(build: Build) -> None:
    if build.state != BUILDING:
        msg = f"cannot update build {build.id}, state: {koji.BUILD_STATES[build.state]}"
        raise koji.GenericError(msg)


def complete(
    db: Database,
    build: Build,
    srpm: str,
    rpms: list[str],
    brmap: dict[str, int],
    logs: dict[str, list[str]],
) -> Build:
    """host.completeBuild: check every file, move them below packages/, leave symlinks behind."""
    every = [srpm, *rpms]
    paths = check_files(db, every, logs)
    for number in brmap.values():
        if number not in db.buildroots:
            msg = f"No such buildroot: {number}"
            raise koji.GenericError(msg)
    _must_build(build)
    headers = {name: rpm_files.read_header(paths[name]) for name in every}
    _check_headers(build, srpm, headers)
    top = Path(db.paths.build({"name": build.name, "version": build.version, "release": build.release}))
    for name, header in headers.items():
        rpm = _add_rpm(db, header, paths[name], build, brmap.get(name))
        _move(paths[name], top / db.paths.rpm(_nvra(rpm)))
    for folder, names in logs.items():
        for name in names:
            _move(paths[name], top / "data" / "logs" / folder / Path(name).name)
    build.state, build.completion_ts = COMPLETE, db.clock.now()
    return build


def check_files(db: Database, rpms: Iterable[str], logs: dict[str, list[str]]) -> dict[str, Path]:
    """The real path of every work path; GenericError for the first that is not there."""
    work = Path(db.paths.work())
    found: dict[str, Path] = {}
    for name in [*rpms, *(each for names in logs.values() for each in names)]:
        found[name] = work / name
        if not found[name].exists():
            msg = f"No such file: {work / name}"
            raise koji.GenericError(msg)
        if found[name].is_symlink() or not found[name].is_file():
            msg = f"Not a regular file: {work / name}"
            raise koji.GenericError(msg)
    return found


def _check_headers(build: Build, srpm: str, headers: dict[str, dict[str, Any]]) -> None:
    if headers[srpm]["arch"] != "src":
        msg = f"not a source package: {srpm}"
        raise koji.GenericError(msg)
    for name, header in headers.items():
        expected = "{name}-{version}-{release}.{arch}.rpm".format(**header)
        if Path(name).name != expected:
            msg = f"bad filename: {Path(name).name} (expected {expected})"
            raise koji.GenericError(msg)
        if header["sourcerpm"] not in (None, f"{build.nvr}.src.rpm"):
            msg = f"Sourcerpm mismatch for {name}: {header['sourcerpm']} != {build.nvr}.src.rpm"
            raise koji.GenericError(msg)
    if "{name}-{version}-{release}".format(**headers[srpm]) != build.nvr:
        msg = f"srpm mismatch for {srpm}: expected {build.nvr}"
        raise koji.BuildError(msg)


def _nvra(rpm: Rpm) -> dict[str, str]:
    return {"name": rpm.name, "version": rpm.version, "release": rpm.release, "arch": rpm.arch}


def _add_rpm(
    db: Database, header: dict[str, Any], path: Path, build: Build | None, buildroot: int | None = None
) -> Rpm:
    fields = ("name", "version", "release", "epoch", "arch", "size", "buildtime", "payloadhash")
    rpm = Rpm(id=db.next_id("rpms"), **{name: header[name] for name in fields})
    rpm.build_id = None if build is None else build.id
    rpm.buildroot_id = buildroot
    rpm.sighash = rpm_files.sighdr_hash(path)
    return db.add("rpms", rpm)


def _move(source: Path, target: Path) -> None:
    """Move an uploaded file and leave a symlink, as an import does."""
    if target.exists():
        msg = f"destination already exists: {target}"
        raise koji.GenericError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
    source.symlink_to(target)


def to_scratch(db: Database, task: Task, srpm: str, rpms: list[str], logs: dict[str, list[str]]) -> None:
    """host.moveBuildToScratch: files below scratch/<owner>/task_<id>."""
    paths = check_files(db, [srpm, *rpms], logs)
    top = Path(db.paths.scratch()) / db.users[task.owner].name / f"task_{task.id}"
    for name in [srpm, *rpms]:
        _move(paths[name], top / Path(name).name)
    for folder, names in logs.items():
        for name in names:
            _move(paths[name], top / "logs" / folder / Path(name).name)
    db.touch()


def add_finished(db: Database, files: list[Path], owner: int, *, copy: bool = True) -> list[Build]:
    """Import real rpm files as COMPLETE builds, one per source package; `copy` puts them below packages/."""
    groups: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for file in sorted(files):
        header = rpm_files.read_header(file)
        source = header["sourcerpm"] or "{name}-{version}-{release}.src.rpm".format(**header)
        groups.setdefault(source, []).append((file, header))
    builds = []
    for source, members in groups.items():
        parts = koji.parse_NVR(source.removesuffix(".src.rpm").removesuffix(".nosrc.rpm"))
        build = db.find_build(parts) or _finished(db, parts, owner)
        top = Path(db.paths.build(parts))
        for file, header in members:
            rpm = _add_rpm(db, header, file, build)
            target = top / db.paths.rpm(_nvra(rpm))
            if copy and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        builds.append(build)
    return builds


def _finished(db: Database, parts: dict[str, Any], owner: int) -> Build:
    now = db.clock.now()
    event = db.new_event(owner)
    build = Build(
        id=db.next_id("builds"),
        package_id=package(db, parts["name"]).id,
        name=parts["name"],
        version=parts["version"],
        release=parts["release"],
        epoch=None,
        owner=owner,
        creation_ts=now,
        creation_event=event.id,
        start_ts=now,
        completion_ts=now,
        state=COMPLETE,
    )
    return db.add("builds", build)


def average_duration(db: Database, name: str) -> float | None:
    """Seconds the package's builds took; None before the first."""
    spans = [
        build.completion_ts - build.creation_ts
        for build in db.builds.values()
        if build.name == name and build.state == COMPLETE and build.task_id and build.completion_ts
    ]
    return sum(spans) / len(spans) if spans else None
