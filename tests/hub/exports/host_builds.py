"""A host's calls about buildroots, builds, tags and repositories (contract 4, 5, appendix B)."""

from __future__ import annotations

from typing import Any

import koji

from .. import build_rules, buildroot_rules, repo_files, repo_rules, tag_rules, task_rules
from ..caller import Exports


class HostExports(Exports):
    # -- buildroots

    def newBuildRoot(self, repo: int, arch: str, task_id: int | None = None) -> int:
        task = None if task_id is None else task_rules.owned(self._db, task_id, self._host)
        return buildroot_rules.new(self._db, self._host, repo, arch, task).id

    def setBuildRootState(self, rootid: int, state: int | str, task_id: int | None = None) -> None:
        if task_id is not None:
            task_rules.owned(self._db, task_id, self._host)
        number = buildroot_rules.state_number(state)
        if number == buildroot_rules.INIT:
            msg = "Cannot change buildroot state to INIT"
            raise koji.GenericError(msg)
        root = buildroot_rules.find(self._db, self._host, rootid, task_id)
        buildroot_rules.set_state(self._db, root, number, self._host.user_id)

    def setBuildRootList(self, rootid: int, rpmlist: list[dict[str, Any]], task_id: int | None = None) -> None:
        root = buildroot_rules.find(self._db, self._host, rootid, task_id)
        buildroot_rules.set_list(self._db, root, rpmlist)

    def updateBuildRootList(self, rootid: int, rpmlist: list[dict[str, Any]], task_id: int | None = None) -> None:
        root = buildroot_rules.find(self._db, self._host, rootid, task_id)
        buildroot_rules.update_list(self._db, root, rpmlist)

    # -- builds

    def initBuild(self, data: dict[str, Any]) -> int:
        task = task_rules.owned(self._db, data["task_id"], self._host)
        return build_rules.begin(self._db, task, data).id

    def completeBuild(
        self,
        task_id: int,
        build_id: int,
        srpm: str,
        rpms: list[str],
        brmap: dict[str, int] | None = None,
        logs: dict[str, list[str]] | None = None,
    ) -> dict[str, Any]:
        task_rules.owned(self._db, task_id, self._host)
        build = self._db.build(build_id)
        build_rules.complete(self._db, build, srpm, rpms, brmap or {}, logs or {})
        return build_rules.full_row(self._db, build)

    def failBuild(self, task_id: int, build_id: int) -> None:
        task_rules.owned(self._db, task_id, self._host)
        build_rules.fail(self._db, self._db.build(build_id))

    def moveBuildToScratch(
        self, task_id: int, srpm: str, rpms: list[str], logs: dict[str, list[str]] | None = None
    ) -> None:
        task = task_rules.owned(self._db, task_id, self._host)
        build_rules.to_scratch(self._db, task, srpm, rpms, logs or {})

    # -- tags

    def tagBuild(self, task_id: int, tag: Any, build: Any, force: bool = False, fromtag: Any = None) -> None:
        task = task_rules.owned(self._db, task_id, self._host)
        target, found = self._db.tag(tag), self._db.build(build)
        if found.state != build_rules.COMPLETE:
            msg = f"{found.nvr} is not complete"
            raise koji.TagError(msg)
        listed = tag_rules.package_of(self._db, target, found.name)
        if not force and (listed is None or listed["blocked"]):
            msg = f"Package {found.name} is not in the list for {target.name} or is blocked"
            raise koji.TagError(msg)
        tag_rules.add_build(self._db, target, found, task.owner)
        if fromtag is not None:
            source = self._db.tag(fromtag)
            source.builds = [entry for entry in source.builds if entry[1] != found.id]

    def tagNotification(
        self,
        is_successful: bool,
        tag_id: int,
        from_id: int | None,
        build_id: int,
        user_id: int,
        ignore_success: bool = False,
        failure_msg: str = "",
    ) -> None:
        """Accepted; the stand-in sends no mail."""

    # -- policies

    def assertPolicy(self, name: str, data: dict[str, Any], default: str = "deny") -> None:
        allowed, reason = self.checkPolicy(name, data, default)
        if not allowed:
            msg = f"policy violation ({name})" + (f": {reason}" if reason else "")
            raise koji.ActionNotAllowed(msg)

    def checkPolicy(self, name: str, data: dict[str, Any], default: str = "deny", strict: bool = False) -> list[Any]:
        del default, strict
        policy = self._db.settings.policies.get(name)
        if policy is None:
            return [True, ""]
        user = self._db.users.get(data.get("user_id", self._host.user_id))
        return list(policy(data, set() if user is None else user.permissions))

    def evalPolicy(self, name: str, data: dict[str, Any]) -> str:
        allowed, reason = self.checkPolicy(name, data)
        return f"{'allow' if allowed else 'deny'} {reason}".strip()

    # -- repositories

    def repoInit(
        self,
        tag: Any,
        task_id: int | None = None,
        event: int | None = None,
        opts: dict[str, Any] | None = None,
    ) -> list[int]:
        if task_id is not None:
            task_rules.owned(self._db, task_id, self._host)
        found = self._db.tag(tag)
        repo = repo_rules.init(self._db, found, task_id=task_id, event=event, opts=opts, user_id=self._host.user_id)
        return [repo.id, repo.create_event]

    def repoDone(
        self,
        repo_id: int,
        data: dict[str, list[Any]],
        expire: bool = False,
        repo_json_updates: dict[str, Any] | None = None,
    ) -> None:
        del repo_json_updates
        repo = repo_rules.find(self._db, repo_id)
        if repo.state != repo_rules.INIT:
            msg = f"Repo {repo.id} not in INIT state (got {koji.REPO_STATES[repo.state]})"
            raise koji.GenericError(msg)
        for arch, (uploadpath, files) in data.items():
            repo_files.move_in(self._db, repo, arch, uploadpath, files)
        if expire:
            repo_rules.set_state(self._db, repo, koji.REPO_STATES["EXPIRED"])
        else:
            repo_rules.done(self._db, repo)
