"""Calls about repositories (contract 4.5, 4.6, 4.9)."""

from __future__ import annotations

from typing import Any

import koji

from .. import repo_rules
from ..caller import Exports
from ..repo_rules import READY
from .queries import matching, page

_QUEUE_FIELDS = (
    "active",
    "at_event",
    "create_ts",
    "id",
    "min_event",
    "opts",
    "repo_id",
    "tag_id",
    "task_id",
    "tries",
    "update_ts",
)


class RootExports(Exports):
    def repoInfo(self, repo_id: int | str, strict: bool = False) -> dict[str, Any] | None:
        repo_id = int(repo_id)
        if repo_id not in self._db.repos and not strict:
            return None
        return repo_rules.row(self._db, repo_rules.find(self._db, repo_id))

    def getRepo(
        self,
        tag: Any,
        state: int | None = None,
        event: int | None = None,
        dist: bool = False,
        min_event: int | None = None,
    ) -> dict[str, Any] | None:
        del event
        found = self._db.tag(tag)
        repo = repo_rules.newest(
            self._db, found, state=READY if state is None else state, dist=dist, min_event=min_event
        )
        return None if repo is None else repo_rules.row(self._db, repo)

    def repoExpire(self, repo_id: int) -> None:
        self._set_state(repo_id, "EXPIRED")

    def repoDelete(self, repo_id: int) -> None:
        self._set_state(repo_id, "DELETED")

    def repoProblem(self, repo_id: int) -> None:
        self._set_state(repo_id, "PROBLEM")

    def _set_state(self, repo_id: int, state: str) -> None:
        self._caller.require("repo")
        repo = repo_rules.find(self._db, repo_id)
        repo_rules.set_state(self._db, repo, koji.REPO_STATES[state])


class RepoExports(Exports):
    def request(
        self,
        tag: Any,
        min_event: Any = None,
        at_event: int | None = None,
        opts: dict[str, Any] | None = None,
        priority: int | None = None,
        force: bool = False,
    ) -> dict[str, Any]:
        user = self._caller.login()
        found = self._db.tag(tag)
        return repo_rules.ask(
            self._db,
            user,
            found,
            min_event=min_event,
            at_event=at_event,
            opts=opts,
            priority=priority,
            force=force,
        )

    def checkRequest(self, req_id: int) -> dict[str, Any]:
        return repo_rules.check(self._db, req_id)

    def checkQueue(self) -> None:
        repo_rules.serve_queue(self._db, self._caller.require("repo"))

    def queryQueue(self, clauses: Any = None, fields: Any = None, opts: dict[str, Any] | None = None) -> Any:
        rows = [repo_rules.request_fields(each) for each in self._db.repo_requests.values()]
        rows = matching(rows, clauses)
        if fields != "*":
            wanted = _QUEUE_FIELDS if fields is None else fields
            rows = [{name: row[name] for name in wanted} for row in rows]
        return page(rows, opts)

    def get(
        self, tag: Any, min_event: int | None = None, at_event: int | None = None, opts: Any = None
    ) -> dict[str, Any] | None:
        del at_event, opts
        found = self._db.tag(tag)
        repo = repo_rules.newest(self._db, found, min_event=min_event)
        return None if repo is None else repo_rules.row(self._db, repo)
