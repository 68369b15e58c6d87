"""Buildroots: INIT, BUILDING, EXPIRED and the rpms in them (contract 5.1, 5.4, as observed)."""

from __future__ import annotations

from typing import Any

import koji

from .clock import as_text
from .database import Database
from .faults import ForeignKeyViolation, UniqueViolation
from .records import Buildroot, Host, Rpm, Task

INIT, WAITING, BUILDING, EXPIRED = range(4)
_EXTERNAL_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (str,),
    "release": (str,),
    "epoch": (int, type(None)),
    "arch": (str,),
    "payloadhash": (str,),
    "size": (int,),
    "buildtime": (int,),
}


def row(db: Database, root: Buildroot) -> dict[str, Any]:
    """What getBuildroot and listBuildroots say."""
    repo = db.repos[root.repo_id]
    created, retired = db.event_ts(root.create_event), db.event_ts(root.retire_event)
    repo_ts = db.event_ts(repo.create_event)
    return {
        "arch": root.arch,
        "br_type": 0,
        "cg_id": None,
        "cg_name": None,
        "cg_version": None,
        "container_arch": root.arch,
        "container_type": "chroot",
        "create_event_id": root.create_event,
        "create_event_time": as_text(created),
        "create_ts": created,
        "extra": None,
        "host_arch": None,
        "host_id": root.host_id,
        "host_name": db.hosts[root.host_id].name,
        "host_os": None,
        "id": root.id,
        "repo_create_event_id": repo.create_event,
        "repo_create_event_time": as_text(repo_ts),
        "repo_id": repo.id,
        "repo_state": repo.state,
        "retire_event_id": root.retire_event,
        "retire_event_time": as_text(retired),
        "retire_ts": retired,
        "state": root.state,
        "tag_id": repo.tag_id,
        "tag_name": db.tags[repo.tag_id].name,
        "task_id": root.task_id,
    }


def new(db: Database, host: Host, repo_id: int, arch: str, task: Task | None) -> Buildroot:
    if not arch.replace("_", "").replace("-", "").isalnum():
        msg = f"Invalid arch: {arch!r}"
        raise koji.GenericError(msg)
    if repo_id not in db.repos:
        raise ForeignKeyViolation("standard_buildroot", "standard_buildroot_repo_id_fkey", "repo_id", repo_id, "repo")
    event = db.new_event(host.user_id)
    root = Buildroot(db.next_id("buildroots"), host.id, repo_id, None if task is None else task.id, arch, event.id)
    return db.add("buildroots", root)


def find(db: Database, host: Host, root_id: int, task_id: int | None = None) -> Buildroot:
    """The host's own buildroot (of that task, if given)."""
    root = db.buildroots.get(root_id)
    if root is None:
        msg = f"no buildroot with ID: {root_id}"
        raise koji.GenericError(msg)
    if root.host_id != host.id:
        msg = f"Host {host.id} not owner of buildroot {root_id}"
        raise koji.ActionNotAllowed(msg)
    if task_id is not None and root.task_id != task_id:
        msg = f"Buildroot {root_id} has the wrong task id: {root.task_id}"
        raise koji.ActionNotAllowed(msg)
    return root


def state_number(state: int | str) -> int:
    """The number of a state given as number or name; KeyError as on a hub for an unknown name."""
    if isinstance(state, int):
        return state
    number: int = koji.BR_STATES[state]
    return number


def set_state(db: Database, root: Buildroot, state: int, user_id: int) -> None:
    if root.state == EXPIRED:
        if state == EXPIRED:
            return
        msg = f"buildroot {root.id} is EXPIRED"
        raise koji.GenericError(msg)
    if state == EXPIRED:
        root.retire_event = db.new_event(user_id).id
    root.state = state
    db.touch()


def set_list(db: Database, root: Buildroot, rpmlist: list[dict[str, Any]]) -> None:
    """The rpms after initialisation; a second list with a rpm of the first is the database's error."""
    _must_be(root, INIT)
    rpms = [_rpm(db, entry) for entry in rpmlist]
    for rpm in rpms:
        if rpm.id in root.components:
            raise UniqueViolation(
                "buildroot_listing_buildroot_id_rpm_id_key", "buildroot_id, rpm_id", f"{root.id}, {rpm.id}"
            )
    _store(db, rpms)
    root.components |= dict.fromkeys((rpm.id for rpm in rpms), False)


def update_list(db: Database, root: Buildroot, rpmlist: list[dict[str, Any]]) -> None:
    """Add what is not listed yet; nothing is ever removed."""
    _must_be(root, BUILDING)
    rpms = [_rpm(db, entry) for entry in rpmlist]
    _store(db, rpms)
    for rpm in rpms:
        root.components.setdefault(rpm.id, True)


def _must_be(root: Buildroot, state: int) -> None:
    if root.state != state:
        msg = f"buildroot {root.id} in wrong state {root.state}"
        raise koji.GenericError(msg)


def _store(db: Database, rpms: list[Rpm]) -> None:
    for rpm in rpms:
        if rpm.id == 0:
            rpm.id = db.next_id("rpms")
            db.add("rpms", rpm)
    db.touch()


def _rpm(db: Database, entry: dict[str, Any]) -> Rpm:
    """The rpm of a list's entry; for a new external one a row with id 0 that is not stored yet."""
    if entry.get("location"):
        return _external(db, entry)
    if "id" in entry:
        if entry["id"] in db.rpms:
            return db.rpms[entry["id"]]
    else:
        names = ("name", "version", "release", "arch")
        found = [rpm for rpm in db.rpms.values() if all(getattr(rpm, n) == entry[n] for n in names)]
        if found:
            return min(found, key=lambda rpm: (rpm.external_repo_id, rpm.id))
    msg = f"No such rpm: {entry}"
    raise koji.GenericError(msg)


def _external(db: Database, entry: dict[str, Any]) -> Rpm:
    for name, kinds in _EXTERNAL_FIELDS.items():
        if name not in entry:
            msg = f"Missing {name} value for external rpm: {entry}"
            raise koji.GenericError(msg)
        if not isinstance(entry[name], kinds):
            msg = f"Invalid type for {name}: {type(entry[name])}"
            raise koji.ParameterError(msg)
    repo = db.external_repo(entry["location"])
    names = ("name", "version", "release", "arch")
    for rpm in db.rpms.values():
        if rpm.external_repo_id == repo.id and all(getattr(rpm, n) == entry[n] for n in names):
            if rpm.payloadhash != entry["payloadhash"]:
                msg = (
                    f"hash changed for external rpm {rpm.nvra}@{repo.name}: {rpm.payloadhash} -> {entry['payloadhash']}"
                )
                raise koji.GenericError(msg)
            return rpm
    return Rpm(id=0, external_repo_id=repo.id, **{name: entry[name] for name in _EXTERNAL_FIELDS})
