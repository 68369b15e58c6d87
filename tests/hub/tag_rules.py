"""Tags with their history: configuration, inheritance, packages and builds at an event."""

from __future__ import annotations

from typing import Any

import koji
from attrs import evolve

from .database import Database
from .records import Build, Tag, TagConfig

__all__ = [
    "add_build",
    "builds_in",
    "change",
    "config_at",
    "build_config",
    "external_repos",
    "groups_of",
    "inheritance",
    "last_change",
    "first_change",
    "package_of",
    "row",
]


def config_at(tag: Tag, event: int | None = None) -> TagConfig:
    """The tag's own configuration at `event` (None: now); the oldest for an event before it."""
    for version in reversed(tag.versions):
        if event is None or version.event <= event:
            return version
    return tag.versions[0]


def change(db: Database, tag: Tag, user_id: int | None = None, **new: Any) -> None:
    """A new version of the tag, from a new event on."""
    event = db.new_event(user_id)
    tag.versions.append(evolve(config_at(tag), event=event.id, **new))


def inheritance(db: Database, tag: Tag, event: int | None = None) -> list[tuple[int, int, Tag]]:
    """(depth, child's id, tag) of every parent, nearest first."""
    found: list[tuple[int, int, Tag]] = []
    todo = [(1, tag)]
    while todo:
        depth, child = todo.pop(0)
        for parent_id in config_at(child, event).parents:
            parent = db.tags[parent_id]
            found.append((depth, child.id, parent))
            todo.append((depth + 1, parent))
    return found


def lineage(db: Database, tag: Tag, event: int | None = None) -> list[Tag]:
    """The tag and its parents, nearest first."""
    return [tag, *(each for _depth, _child, each in inheritance(db, tag, event))]


def row(tag: Tag, event: int | None = None) -> dict[str, Any]:
    """What getTag says: own values only."""
    config = config_at(tag, event)
    fields: dict[str, Any] = {
        "arches": config.arches,
        "id": tag.id,
        "locked": False,
        "maven_include_all": False,
        "maven_support": False,
        "name": tag.name,
        "perm": None,
        "perm_id": None,
        "extra": dict(config.extra),
    }
    return fields if event is None else fields | {"query_event": event}


def build_config(db: Database, tag: Tag, event: int | None = None) -> dict[str, Any]:
    """What getBuildConfig says: arches and extra inherited, with where they came from."""
    answer = row(tag, event)
    origin: dict[str, Any] = {"extra": {}, "arches": None}
    for parent in lineage(db, tag, event)[1:]:
        config = config_at(parent, event)
        source = {"id": parent.id, "name": parent.name}
        if answer["arches"] is None and config.arches is not None:
            answer["arches"], origin["arches"] = config.arches, source
        for key, value in config.extra.items():
            if key not in answer["extra"]:
                answer["extra"][key], origin["extra"][key] = value, source
    return answer | {"config_inheritance": origin}


def external_repos(db: Database, tag: Tag, event: int | None = None) -> list[dict[str, Any]]:
    """The tag's own external repositories, by priority."""
    rows = []
    for entry in config_at(tag, event).externals:
        repo = db.external_repos[entry["external_repo_id"]]
        rows.append(entry | {"external_repo_name": repo.name, "url": repo.url, "tag_id": tag.id, "tag_name": tag.name})
    return sorted(rows, key=lambda entry: entry["priority"])


def groups_of(db: Database, tag: Tag, event: int | None = None) -> dict[str, tuple[str, ...]]:
    """Install groups with those of the parents; a nearer group hides the farther."""
    groups: dict[str, tuple[str, ...]] = {}
    for each in lineage(db, tag, event):
        for name, packages in config_at(each, event).groups.items():
            groups.setdefault(name, packages)
    return groups


def package_of(db: Database, tag: Tag, name: str) -> dict[str, Any] | None:
    """What getPackageConfig says, own or inherited; None for a package the tag does not list."""
    for each in lineage(db, tag):
        for package_id, owner in each.packages.items():
            package = db.packages[package_id]
            if package.name == name:
                return {
                    "blocked": name in config_at(tag).blocked,
                    "extra_arches": None,
                    "owner_id": owner,
                    "owner_name": db.users[owner].name,
                    "package_id": package_id,
                    "package_name": name,
                    "tag_id": each.id,
                    "tag_name": each.name,
                }
    return None


def add_build(db: Database, tag: Tag, build: Build, user_id: int) -> None:
    """Tag a complete build; TagError when it already is there."""
    if any(build_id == build.id for _event, build_id in tag.builds):
        msg = f"build {build.nvr} already tagged ({tag.name})"
        raise koji.TagError(msg)
    event = db.new_event(user_id)
    tag.builds.append((event.id, build.id))


def builds_in(
    db: Database, tag: Tag, event: int | None = None, *, inherit: bool = False, latest: bool = False
) -> list[tuple[Tag, int, Build]]:
    """(tag, event, build): newest first per tag, nearest tag first; `latest`: one per package."""
    found: list[tuple[Tag, int, Build]] = []
    for each in lineage(db, tag, event) if inherit else [tag]:
        for at, build_id in reversed(each.builds):
            if event is None or at <= event:
                found.append((each, at, db.builds[build_id]))
    if not latest:
        return found
    first: dict[int, tuple[Tag, int, Build]] = {}
    for entry in found:
        first.setdefault(entry[2].package_id, entry)
    return list(first.values())


def _changes(db: Database, tag: Tag) -> list[int]:
    events: list[int] = []
    for each in lineage(db, tag):
        events += [version.event for version in each.versions]
        events += [event for event, _build in each.builds]
    return sorted(events)


def last_change(db: Database, tag: Tag, before: int | None = None) -> int | None:
    """The last event (before `before`) that changed the tag or a parent."""
    events = [event for event in _changes(db, tag) if before is None or event < before]
    return events[-1] if events else None


def first_change(db: Database, tag: Tag, after: int) -> int | None:
    return next((event for event in _changes(db, tag) if event > after), None)
