"""Calls about tags, targets and external repositories."""

from __future__ import annotations

from typing import Any

import koji

from .. import build_rules, tag_rules
from ..caller import Exports
from ..records import ExternalRepo, Tag, TagConfig, Target
from .queries import page


class RootExports(Exports):
    def getTag(
        self, tagInfo: Any, strict: bool = False, event: int | None = None, blocked: bool = False
    ) -> dict[str, Any] | None:
        del blocked
        tag = self._db.tag(tagInfo) if strict else self._db.find_tag(tagInfo)
        return None if tag is None else tag_rules.row(tag, event)

    def getBuildConfig(self, tag: Any, event: int | None = None) -> dict[str, Any]:
        return tag_rules.build_config(self._db, self._tag(tag), event)

    def listTags(
        self,
        build: Any = None,
        package: Any = None,
        perms: bool = True,
        queryOpts: dict[str, Any] | None = None,
        pattern: str | None = None,
    ) -> Any:
        del package, perms, pattern
        tags = list(self._db.tags.values())
        if build is not None:
            found = self._db.build(build)
            tags = [tag for tag in tags if any(found.id == each for _at, each in tag.builds)]
        rows = [tag_rules.row(tag) for tag in tags]
        return page([{name: row[name] for name in row if name != "extra"} for row in rows], queryOpts)

    def getInheritanceData(self, tag: Any, event: int | None = None) -> list[dict[str, Any]]:
        return [row for row in self._inheritance(tag, event) if row.pop("currdepth") == 1]

    def getFullInheritance(
        self, tag: Any, event: int | None = None, reverse: bool = False, strict: bool = True
    ) -> list[dict[str, Any]]:
        del reverse, strict
        return self._inheritance(tag, event)

    def _inheritance(self, tag: Any, event: int | None) -> list[dict[str, Any]]:
        found = tag_rules.inheritance(self._db, self._tag(tag), event)
        return [
            {
                "intransitive": False,
                "maxdepth": None,
                "name": parent.name,
                "noconfig": False,
                "parent_id": parent.id,
                "pkg_filter": "",
                "priority": place,
                "child_id": child,
                "nextdepth": None,
                "currdepth": depth,
                "filter": [],
            }
            for place, (depth, child, parent) in enumerate(found)
        ]

    def getTagGroups(
        self, tag: Any, event: int | None = None, inherit: bool = True, **more: Any
    ) -> list[dict[str, Any]]:
        del inherit, more
        found = self._tag(tag)
        rows = []
        for number, (name, packages) in enumerate(sorted(tag_rules.groups_of(self._db, found, event).items()), start=1):
            ids = {"group_id": number, "tag_id": found.id}
            listed = [
                {"basearchonly": None, "blocked": False, "package": package, "requires": None}
                | {"type": "mandatory"}
                | ids
                for package in sorted(packages)
            ]
            rows.append(
                ids
                | {
                    "biarchonly": False,
                    "blocked": False,
                    "description": None,
                    "display_name": name,
                    "exported": True,
                    "is_default": None,
                    "langonly": None,
                    "name": name,
                    "uservisible": True,
                    "packagelist": listed,
                    "grouplist": [],
                }
            )
        return rows

    def groupPackageListAdd(self, taginfo: Any, grpinfo: str, pkg_name: str, **more: Any) -> None:
        del more
        user = self._caller.require("admin")
        tag = self._tag(taginfo)
        groups = dict(tag_rules.config_at(tag).groups)
        groups[grpinfo] = tuple(dict.fromkeys((*groups.get(grpinfo, ()), pkg_name)))
        tag_rules.change(self._db, tag, user.id, groups=groups)

    def createTag(self, name: str, parent: Any = None, arches: str | None = None, **more: Any) -> int:
        user = self._caller.require("admin")
        if self._db.find_tag(name) is not None:
            msg = f"A tag with the name '{name}' already exists"
            raise koji.GenericError(msg)
        parents = () if parent is None else (self._tag(parent).id,)
        event = self._db.new_event(user.id)
        config = TagConfig(event.id, arches, dict(more.get("extra") or {}), parents)
        tag: Tag = self._db.add("tags", Tag(self._db.next_id("tags"), name, [config]))
        return tag.id

    def editTag2(self, tagInfo: Any, **new: Any) -> None:
        user = self._caller.require("admin")
        tag = self._tag(tagInfo)
        config = tag_rules.config_at(tag)
        extra = {k: v for k, v in config.extra.items() if k not in new.get("remove_extra", [])}
        extra |= new.get("extra") or {}
        tag_rules.change(self._db, tag, user.id, arches=new.get("arches", config.arches), extra=extra)

    def packageListAdd(self, taginfo: Any, pkginfo: str, owner: Any = None, **more: Any) -> None:
        del more
        user = self._caller.require("admin")
        listed = user if owner is None else self._db.user(owner)
        package = build_rules.package(self._db, pkginfo)
        self._tag(taginfo).packages[package.id] = listed.id
        self._db.touch()

    # -- targets

    def getBuildTarget(self, info: Any, event: int | None = None, strict: bool = False) -> dict[str, Any] | None:
        del event
        target = self._db.target(info) if strict else self._db.find_target(info)
        return None if target is None else self._target_row(target)

    def getBuildTargets(
        self,
        info: Any = None,
        event: int | None = None,
        buildTagID: Any = None,
        destTagID: Any = None,
        queryOpts: dict[str, Any] | None = None,
    ) -> Any:
        del event
        rows = []
        for target in self._db.targets.values():
            wanted = ((buildTagID, target.build_tag), (destTagID, target.dest_tag))
            fits = all(want is None or self._tag(want).id == have for want, have in wanted)
            if fits and info in (None, target.id, target.name):
                rows.append(self._target_row(target))
        return page(rows, queryOpts)

    def createBuildTarget(self, name: str, build_tag: Any, dest_tag: Any) -> None:
        self._caller.require("admin")
        build, dest = self._tag(build_tag).id, self._tag(dest_tag).id
        self._db.new_event()
        self._db.add("targets", Target(self._db.next_id("targets"), name, build, dest))

    def _target_row(self, target: Target) -> dict[str, Any]:
        build, dest = self._db.tags[target.build_tag], self._db.tags[target.dest_tag]
        return {
            "build_tag": build.id,
            "build_tag_name": build.name,
            "dest_tag": dest.id,
            "dest_tag_name": dest.name,
            "id": target.id,
            "name": target.name,
        }

    # -- external repositories

    def getExternalRepoList(self, tag_info: Any, event: int | None = None) -> list[dict[str, Any]]:
        tag = self._tag(tag_info)
        rows: list[dict[str, Any]] = []
        for each in tag_rules.lineage(self._db, tag, event):
            known = {row["external_repo_id"] for row in rows}
            found = tag_rules.external_repos(self._db, each, event)
            rows += [row for row in found if row["external_repo_id"] not in known]
        return rows

    def getTagExternalRepos(
        self, tag_info: Any = None, repo_info: Any = None, event: int | None = None
    ) -> list[dict[str, Any]]:
        tags = list(self._db.tags.values()) if tag_info is None else [self._tag(tag_info)]
        rows = [row for tag in tags for row in tag_rules.external_repos(self._db, tag, event)]
        wanted = None if repo_info is None else self._db.external_repo(repo_info)
        return [row for row in rows if wanted is None or row["external_repo_id"] == wanted.id]

    def listExternalRepos(self, info: Any = None, url: str | None = None, **more: Any) -> Any:
        del more
        return [
            {"id": repo.id, "name": repo.name, "url": repo.url}
            for repo in self._db.external_repos.values()
            if info in (None, repo.id, repo.name) and url in (None, repo.url)
        ]

    def createExternalRepo(self, name: str, url: str) -> dict[str, Any]:
        self._caller.require("admin")
        repo = ExternalRepo(self._db.next_id("external_repos"), name, url)
        self._db.new_event()
        self._db.add("external_repos", repo)
        return {"id": repo.id, "name": name, "url": url}

    def addExternalRepoToTag(
        self,
        tag_info: Any,
        repo_info: Any,
        priority: int,
        merge_mode: str = "koji",
        arches: str | None = None,
    ) -> None:
        user = self._caller.require("admin")
        tag, repo = self._tag(tag_info), self._db.external_repo(repo_info)
        entry = {"external_repo_id": repo.id, "priority": priority, "merge_mode": merge_mode}
        entry["arches"] = arches
        externals = (*tag_rules.config_at(tag).externals, entry)
        tag_rules.change(self._db, tag, user.id, externals=externals)

    # -- events

    def getLastEvent(self, before: float | None = None, strict: bool = True) -> dict[str, Any] | None:
        for event in reversed(self._db.events):
            if before is None or event.ts < before:
                return {"id": event.id, "ts": event.ts}
        if strict:
            msg = "query returned no rows"
            raise koji.GenericError(msg)
        return None

    def getEvent(self, id: int) -> dict[str, Any] | None:
        ts = self._db.event_ts(id)
        return None if ts is None else {"id": id, "ts": ts}

    def tagLastChangeEvent(self, tag: Any, before: int | None = None, inherit: bool = True) -> int | None:
        del inherit
        return tag_rules.last_change(self._db, self._tag(tag), before)

    def tagFirstChangeEvent(self, tag: Any, after: int = 0, inherit: bool = True) -> int | None:
        del inherit
        return tag_rules.first_change(self._db, self._tag(tag), after)

    def _tag(self, tag: Any) -> Tag:
        return self._db.tag(tag)
