"""Filling the stand-in: users, hosts, tags, builds, repositories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import koji

from . import build_rules, repo_files, repo_rules, tag_rules
from .database import Database
from .records import HOST_USER, Channel, ExternalRepo, Host, Tag, TagConfig, Target, User

__all__ = ["Contents"]


class Contents:
    """Methods that add to a hub what no client call, or only an admin's, would."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def add_user(
        self, name: str, password: str | None = None, *, admin: bool = False, permissions: Iterable[str] = ()
    ) -> int:
        """A user id; the password defaults to the name."""
        with self.db.lock:
            rights = set(permissions) | ({"admin"} if admin else set())
            user = User(self.db.next_id("users"), name, password or name, permissions=rights)
            return self.db.add("users", user).id

    def add_channel(self, name: str) -> int:
        with self.db.lock:
            return self.db.add("channels", Channel(self.db.next_id("channels"), name)).id

    def add_host(
        self,
        name: str,
        password: str | None = None,
        *,
        arches: str = "x86_64",
        capacity: float = 2.0,
        channels: Iterable[str] = ("default", "createrepo"),
    ) -> int:
        """A builder's host id; its user has the same name, the password defaults to it."""
        with self.db.lock:
            user_id = self.add_user(name, password)
            self.db.users[user_id].usertype = HOST_USER
            host = Host(self.db.next_id("hosts"), user_id, name, arches, float(capacity))
            for each in channels:
                host.channels.add(self.db.channel(each).id)
            return self.db.add("hosts", host).id

    def host(self, name: str) -> Host:
        """The host's row itself: `enabled`, `capacity`, `arches` may be set."""
        with self.db.lock:
            return self.db.host(name)

    # -- tags

    def add_tag(
        self,
        name: str,
        arches: str | None = None,
        extra: Mapping[str, Any] | None = None,
        *,
        parents: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> int:
        """A tag id. `groups`: install groups for comps.xml, e.g. {"build": ["bash"]}."""
        with self.db.lock:
            event = self.db.new_event()
            config = TagConfig(
                event=event.id,
                arches=arches,
                extra=dict(extra or {}),
                parents=tuple(self._tag(each).id for each in parents),
                groups={group: tuple(names) for group, names in (groups or {}).items()},
            )
            return self.db.add("tags", Tag(self.db.next_id("tags"), name, [config])).id

    def edit_tag(self, name: str, **new: Any) -> None:
        """Change arches, extra, groups or blocked from now on; earlier events keep what was."""
        with self.db.lock:
            tag_rules.change(self.db, self._tag(name), **new)

    def add_target(self, name: str, build_tag: str, dest_tag: str) -> int:
        with self.db.lock:
            build, dest = self._tag(build_tag).id, self._tag(dest_tag).id
            return self.db.add("targets", Target(self.db.next_id("targets"), name, build, dest)).id

    def add_package(self, tag: str, package: str, owner: str = "admin") -> None:
        """List a package in a tag, so that its builds may be tagged."""
        with self.db.lock:
            user = self.db.user(owner)
            entry = build_rules.package(self.db, package)
            self._tag(tag).packages[entry.id] = user.id

    def add_external_repo(
        self,
        name: str,
        url: str,
        tag: str,
        *,
        priority: int = 5,
        merge_mode: str = "koji",
        arches: str | None = None,
    ) -> int:
        """An external repository's id, added to `tag`; `$arch` in the url stands for the repo's arch."""
        with self.db.lock:
            repo = ExternalRepo(self.db.next_id("external_repos"), name, url)
            self.db.add("external_repos", repo)
            entry = {"external_repo_id": repo.id, "priority": priority, "merge_mode": merge_mode}
            entry["arches"] = arches
            found = self._tag(tag)
            externals = (*tag_rules.config_at(found).externals, entry)
            tag_rules.change(self.db, found, externals=externals)
            return repo.id

    # -- builds and repositories

    def add_builds(self, rpms: Path | Iterable[Path], tag: str | None = None, owner: str = "admin") -> list[int]:
        """Import real rpm files (or a directory's) as complete builds, copied below packages/, and tag them."""
        return self._import(_rpm_files(rpms), tag, owner, copy=True)

    def add_repo(
        self,
        tag: str,
        source: Path | Iterable[Path] | None = None,
        state: str = "READY",
        *,
        opts: Mapping[str, bool] | None = None,
    ) -> int:
        """A repository id of `tag` in `state`.

        source None: what is tagged, indexed with createrepo_c. A directory with repodata/: shown as it
        is (by symlink) under every arch, its rpms known to the hub. Another directory, or files: imported
        and tagged first, then as for None. With state INIT nothing is indexed.
        """
        with self.db.lock:
            ready_made = isinstance(source, Path) and (source / "repodata").is_dir()
            known: set[int] = set(self.db.rpms)
            if source is not None:
                self._import(_rpm_files(source), None if ready_made else tag, "admin", copy=not ready_made)
            repo = repo_rules.init(self.db, self._tag(tag), opts=dict(opts or {}))
            if state == "INIT":
                return repo.id
            if ready_made and isinstance(source, Path):
                rpms = [rpm for number, rpm in self.db.rpms.items() if number not in known]
                repo_files.link_prebuilt(self.db, repo, source, rpms)
            else:
                repo_files.run_createrepo(self.db, repo)
            repo_rules.done(self.db, repo)
            repo_rules.set_state(self.db, repo, koji.REPO_STATES[state])
            return repo.id

    def set_repo_state(self, repo_id: int, state: str) -> None:
        with self.db.lock:
            repo_rules.set_state(self.db, self.db.repos[repo_id], koji.REPO_STATES[state])

    def repo_dir(self, repo_id: int) -> Path:
        """topdir/repos/<tag>/<id>."""
        with self.db.lock:
            return repo_files.repo_dir(self.db, self.db.repos[repo_id])

    def serve_repo_queue(self) -> None:
        """Make newRepo tasks for open repo requests, as kojira would."""
        with self.db.lock:
            repo_rules.serve_queue(self.db)

    def _import(self, files: list[Path], tag: str | None, owner: str, *, copy: bool) -> list[int]:
        with self.db.lock:
            user = self.db.user(owner)
            user_id = user.id
            builds = build_rules.add_finished(self.db, files, user_id, copy=copy)
            for build in builds if tag is not None else []:
                found = self._tag(tag or "")
                found.packages.setdefault(build.package_id, user_id)
                if all(number != build.id for _event, number in found.builds):
                    tag_rules.add_build(self.db, found, build, user_id)
            return [build.id for build in builds]

    def _tag(self, name: str) -> Tag:
        return self.db.tag(name)


def _rpm_files(source: Path | Iterable[Path]) -> list[Path]:
    if isinstance(source, Path) and source.is_dir():
        return sorted(source.rglob("*.rpm"))
    return [source] if isinstance(source, Path) else list(source)
