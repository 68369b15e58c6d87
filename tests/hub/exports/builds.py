"""Calls that ask about packages, builds, rpms and buildroots."""

from __future__ import annotations

from typing import Any

import koji

from .. import build_rules, buildroot_rules, tag_rules
from ..caller import Exports
from ..records import Buildroot, Rpm, Tag
from .queries import page


class RootExports(Exports):
    def getBuild(self, buildInfo: Any, strict: bool = False) -> dict[str, Any] | None:
        build = self._db.build(buildInfo) if strict else self._db.find_build(buildInfo)
        return None if build is None else build_rules.full_row(self._db, build)

    def listBuilds(
        self,
        packageID: Any = None,
        userID: Any = None,
        taskID: int | None = None,
        queryOpts: dict[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        state = more.get("state")
        package = None if packageID is None else self._db.package(packageID)
        user = None if userID is None else self._db.user(userID)
        rows = []
        for build in self._db.builds.values():
            wanted = (
                (taskID, build.task_id),
                (package and package.id, build.package_id),
                (user and user.id, build.owner),
                (state, build.state),
            )
            if all(want is None or want == have for want, have in wanted):
                rows.append(build_rules.row(self._db, build))
        return page(rows, queryOpts)

    def getPackage(self, info: Any, strict: bool = False, create: bool = False) -> dict[str, Any] | None:
        del create
        package = self._db.package(info) if strict else self._db.find_package(info)
        return None if package is None else {"id": package.id, "name": package.name}

    def getPackageID(self, name: str, strict: bool = False) -> int | None:
        package = self._db.package(name) if strict else self._db.find_package(name)
        return None if package is None else package.id

    def listPackages(
        self, tagID: Any = None, userID: Any = None, pkgID: Any = None, **more: Any
    ) -> list[dict[str, Any]]:
        del more
        user = None if userID is None else self._db.user(userID)
        if tagID is None and user is None:
            every = self._db.packages.values()
            return [{"package_id": each.id, "package_name": each.name} for each in every]
        rows = []
        for tag in self._db.tags.values() if tagID is None else [self._tag_of(tagID)]:
            for package_id, owner in tag.packages.items():
                package = self._db.packages[package_id]
                row = tag_rules.package_of(self._db, tag, package.name)
                if row and pkgID in (None, package.id, package.name) and user in (None, self._db.users[owner]):
                    rows.append(row)
        return rows

    def getPackageConfig(self, tag: Any, pkg: str, event: int | None = None) -> dict[str, Any] | None:
        del event
        return tag_rules.package_of(self._db, self._tag_of(tag), pkg)

    def getAverageBuildDuration(self, package: Any, age: int | None = None) -> float | None:
        del age
        found = self._db.find_package(package)
        return None if found is None else build_rules.average_duration(self._db, found.name)

    def getMavenBuild(self, buildInfo: Any, strict: bool = False) -> None:
        self._db.build(buildInfo) if strict else self._db.find_build(buildInfo)

    def getWinBuild(self, buildInfo: Any, strict: bool = False) -> None:
        self._db.build(buildInfo) if strict else self._db.find_build(buildInfo)

    def getImageBuild(self, buildInfo: Any, strict: bool = False) -> None:
        self._db.build(buildInfo) if strict else self._db.find_build(buildInfo)

    def mavenEnabled(self) -> bool:
        return False

    def winEnabled(self) -> bool:
        return False

    def getBuildType(self, buildInfo: Any, strict: bool = False) -> dict[str, Any]:
        self._db.build(buildInfo) if strict else self._db.find_build(buildInfo)
        return {"rpm": None}

    def listArchives(self, buildID: int | None = None, **more: Any) -> list[Any]:
        """No archives here: maven, win and image builds are not part of the stand-in."""
        del more
        if buildID is not None:
            self._db.build(buildID)
        return []

    def getChangelogEntries(self, *args: Any, **opts: Any) -> list[Any]:
        del args, opts
        return []

    def getBuildLogs(self, build: Any) -> list[Any]:
        self._db.build(build)
        return []

    # -- rpms

    def getRPM(self, rpminfo: Any, strict: bool = False, multi: bool = False) -> Any:
        if isinstance(rpminfo, str):
            rpminfo = koji.parse_NVRA(rpminfo.removesuffix(".rpm"))
        found = [rpm for rpm in self._db.rpms.values() if self._is(rpm, rpminfo)]
        if not found and strict:
            msg = f"No such rpm: {rpminfo!r}"
            raise koji.GenericError(msg)
        rows = [build_rules.rpm_row(self._db, rpm) for rpm in found]
        if multi:
            return rows
        return rows[0] if rows else None

    @staticmethod
    def _is(rpm: Rpm, info: Any) -> bool:
        if isinstance(info, int):
            return rpm.id == info
        return all(getattr(rpm, name) == info[name] for name in ("name", "version", "release", "arch"))

    def listRPMs(
        self,
        buildID: int | None = None,
        buildrootID: int | None = None,
        componentBuildrootID: int | None = None,
        queryOpts: dict[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        arches = more.get("arches")
        wanted = {arches} if isinstance(arches, str) else set(arches or [])
        root = None if componentBuildrootID is None else self._root(componentBuildrootID)
        rows = []
        for rpm in self._db.rpms.values():
            fits = buildID in (None, rpm.build_id) and buildrootID in (None, rpm.buildroot_id)
            if not fits or (wanted and rpm.arch not in wanted):
                continue
            if root is not None and rpm.id not in root.components:
                continue
            row = build_rules.rpm_row(self._db, rpm)
            if root is not None:
                row |= {"component_buildroot_id": root.id, "is_update": root.components[rpm.id]}
            rows.append(row)
        return page(rows, queryOpts)

    def queryRPMSigs(self, rpm_id: int | None = None, **more: Any) -> list[dict[str, Any]]:
        del more
        rpms = [rpm for rpm in self._db.rpms.values() if rpm_id in (None, rpm.id) and rpm.sighash]
        return [{"rpm_id": rpm.id, "sighash": rpm.sighash, "sigkey": ""} for rpm in rpms]

    # -- what is in a tag

    def listTagged(
        self,
        tag: Any,
        event: int | None = None,
        inherit: bool = False,
        prefix: str | None = None,
        latest: bool = False,
        package: str | None = None,
        **more: Any,
    ) -> list[dict[str, Any]]:
        del more
        found = tag_rules.builds_in(self._db, self._tag_of(tag), event, inherit=bool(inherit), latest=bool(latest))
        rows = []
        for place, at, build in found:
            if package in (None, build.name) and build.name.startswith(prefix or ""):
                row = build_rules.row(self._db, build) | {"id": build.id}
                drop = {name for name in row if name.endswith("_ts") or name in {"cg_id", "extra", "source"}}
                row = {name: value for name, value in row.items() if name not in drop}
                rows.append(row | {"create_event": at, "tag_id": place.id, "tag_name": place.name})
        return rows

    def getLatestBuilds(
        self, tag: Any, event: int | None = None, package: str | None = None, **more: Any
    ) -> list[dict[str, Any]]:
        del more
        return self.listTagged(tag, event, inherit=True, latest=True, package=package)

    def listTaggedRPMS(
        self, tag: Any, event: int | None = None, inherit: bool = False, latest: bool = False, **more: Any
    ) -> list[list[dict[str, Any]]]:
        builds = self.listTagged(tag, event, bool(inherit), None, bool(latest), more.get("package"))
        ids = {row["build_id"] for row in builds}
        arch = more.get("arch")
        rpms = [
            build_rules.rpm_row(self._db, rpm)
            for rpm in self._db.rpms.values()
            if rpm.build_id in ids and arch in (None, rpm.arch)
        ]
        return [rpms, builds]

    # -- buildroots

    def getBuildroot(self, buildrootID: int, strict: bool = False) -> dict[str, Any] | None:
        if buildrootID not in self._db.buildroots and not strict:
            return None
        return buildroot_rules.row(self._db, self._root(buildrootID))

    def _root(self, root_id: int) -> Buildroot:
        root = self._db.buildroots.get(root_id)
        if root is None:
            msg = f"No such buildroot: {root_id}"
            raise koji.GenericError(msg)
        return root

    def listBuildroots(
        self,
        hostID: Any = None,
        tagID: int | None = None,
        state: Any = None,
        rpmID: int | None = None,
        archiveID: int | None = None,
        taskID: int | None = None,
        buildrootID: Any = None,
        repoID: int | None = None,
        queryOpts: dict[str, Any] | None = None,
    ) -> Any:
        del archiveID
        rows = []
        for root in self._db.buildroots.values():
            row = buildroot_rules.row(self._db, root)
            wanted = (
                (hostID, row["host_id"]),
                (tagID, row["tag_id"]),
                (state, row["state"]),
                (taskID, row["task_id"]),
                (buildrootID, row["id"]),
                (repoID, row["repo_id"]),
            )
            if rpmID is not None and rpmID not in root.components:
                continue
            if all(have in want if isinstance(want, list) else want in (None, have) for want, have in wanted):
                rows.append(row)
        return page(rows, queryOpts)

    def _tag_of(self, tag: Any) -> Tag:
        return self._db.tag(tag)
