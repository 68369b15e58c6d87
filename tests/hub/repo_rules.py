"""Repositories and requests for them (contract 4.5, 4.9)."""

from __future__ import annotations

from typing import Any

import koji

from . import repo_files, tag_rules, task_rules
from .clock import as_text
from .database import Database
from .records import Repo, RepoRequest, Tag, User

INIT, READY = koji.REPO_STATES["INIT"], koji.REPO_STATES["READY"]
_OPTIONS = ("src", "maven", "debuginfo", "separate_src")


def row(db: Database, repo: Repo) -> dict[str, Any]:
    """What repoInfo says."""
    task = None if repo.task_id is None else db.tasks.get(repo.task_id)
    return {
        "begin_event": repo.begin_event,
        "begin_ts": db.event_ts(repo.begin_event),
        "create_event": repo.create_event,
        "create_ts": db.event_ts(repo.create_event),
        "creation_time": as_text(repo.creation_ts),
        "creation_ts": repo.creation_ts,
        "custom_opts": dict(repo.custom_opts),
        "dist": repo.dist,
        "end_event": repo.end_event,
        "end_ts": db.event_ts(repo.end_event),
        "id": repo.id,
        "opts": dict(repo.opts),
        "state": repo.state,
        "state_time": as_text(repo.state_ts),
        "state_ts": repo.state_ts,
        "tag_id": repo.tag_id,
        "tag_name": db.tags[repo.tag_id].name,
        "task_id": repo.task_id,
        "task_state": None if task is None else task.state,
    }


def find(db: Database, repo_id: int) -> Repo:
    repo = db.repos.get(repo_id)
    if repo is None:
        msg = "query returned no rows"
        raise koji.GenericError(msg)
    return repo


def init(
    db: Database,
    tag: Tag,
    *,
    task_id: int | None = None,
    event: int | None = None,
    opts: dict[str, bool] | None = None,
    user_id: int | None = None,
) -> Repo:
    """A new repository in INIT with its directory laid out."""
    if event is not None and db.event_ts(event) is None:
        msg = f"No such event: {event}"
        raise koji.GenericError(msg)
    event = db.new_event(user_id).id if event is None else event
    custom = {name: bool(value) for name, value in (opts or {}).items() if name in _OPTIONS}
    defaults = dict.fromkeys(_OPTIONS, False)
    wanted = tag_rules.config_at(tag, event).extra.get("repo.opts", {})
    defaults |= {name: bool(value) for name, value in wanted.items() if name in _OPTIONS}
    now = db.clock.now()
    repo = Repo(
        id=db.next_id("repos"),
        tag_id=tag.id,
        create_event=event,
        begin_event=tag_rules.last_change(db, tag, before=event + 1) or event,
        creation_ts=now,
        state_ts=now,
        task_id=task_id,
        opts=defaults | custom,
        custom_opts=custom,
    )
    db.add("repos", repo)
    repo_files.lay_out(db, repo)
    return repo


def set_state(db: Database, repo: Repo, state: int) -> None:
    repo.state, repo.state_ts = state, db.clock.now()
    db.touch()


def done(db: Database, repo: Repo) -> None:
    """READY: requests it satisfies end, `latest` points at it."""
    set_state(db, repo, READY)
    for request in db.repo_requests.values():
        if request.active and _satisfies(repo, request.tag_id, request.min_event, request.opts):
            request.repo_id, request.active = repo.id, False
            request.update_ts = db.clock.now()
    latest = repo_files.repo_dir(db, repo).parent / "latest"
    if not repo.custom_opts:
        latest.unlink(missing_ok=True)
        latest.symlink_to(str(repo.id))


def newest(
    db: Database, tag: Tag, *, state: int = READY, dist: bool = False, min_event: int | None = None
) -> Repo | None:
    """The newest repository of the tag in `state`, not older than `min_event`."""
    found = [
        repo
        for repo in db.repos.values()
        if repo.tag_id == tag.id
        and repo.state == state
        and repo.dist == dist
        and (min_event is None or repo.create_event >= min_event)
    ]
    return max(found, key=lambda repo: (repo.create_event, repo.id), default=None)


def _satisfies(repo: Repo, tag_id: int, min_event: int | None, opts: dict[str, Any]) -> bool:
    return (
        repo.tag_id == tag_id
        and repo.state == READY
        and (min_event is None or repo.create_event >= min_event)
        and repo.custom_opts == opts
    )


# -- requests


def request_row(db: Database, request: RepoRequest) -> dict[str, Any]:
    """A request as repo.request and repo.checkRequest show it."""
    task = None if request.task_id is None else db.tasks[request.task_id]
    return request_fields(request) | {
        "owner_name": db.users[request.owner].name,
        "tag_name": db.tags[request.tag_id].name,
        "task_state": None if task is None else task.state,
    }


def request_fields(request: RepoRequest) -> dict[str, Any]:
    return {
        "active": request.active,
        "at_event": request.at_event,
        "create_time": as_text(request.create_ts),
        "create_ts": request.create_ts,
        "id": request.id,
        "min_event": request.min_event,
        "opts": dict(request.opts),
        "owner": request.owner,
        "priority": request.priority,
        "repo_id": request.repo_id,
        "tag_id": request.tag_id,
        "task_id": request.task_id,
        "tries": request.tries,
        "update_time": as_text(request.update_ts),
        "update_ts": request.update_ts,
    }


def ask(
    db: Database,
    user: User,
    tag: Tag,
    *,
    min_event: int | None,
    at_event: int | None,
    opts: dict[str, Any] | None,
    priority: int | None,
    force: bool,
) -> dict[str, Any]:
    """repo.request: a repository that will do, an active request like this one, or a new request."""
    opts = opts or {}
    repo = None if force else newest(db, tag, min_event=min_event)
    if repo is not None and _satisfies(repo, tag.id, min_event, opts):
        return {"repo": row(db, repo), "request": None, "duplicate": False}
    for each in db.repo_requests.values():
        same = each.tag_id == tag.id and each.opts == opts and each.at_event == at_event
        if each.active and same and (each.min_event or 0) >= (min_event or 0):
            return {"repo": None, "request": request_row(db, each), "duplicate": True}
    if min_event is None and at_event is None:
        min_event = tag_rules.last_change(db, tag)
    now = db.clock.now()
    new = RepoRequest(
        db.next_id("repo_requests"), tag.id, user.id, now, now, min_event=min_event, at_event=at_event, opts=opts
    )
    new.priority = koji.PRIO_DEFAULT + (priority or 0)
    db.add("repo_requests", new)
    return {"repo": None, "request": request_row(db, new), "duplicate": False}


def check(db: Database, request_id: int) -> dict[str, Any]:
    """repo.checkRequest: with the task while there is no repository yet."""
    request = db.repo_requests.get(request_id)
    if request is None:
        msg = f"No such request: {request_id}"
        raise koji.GenericError(msg)
    answer: dict[str, Any] = {
        "repo": None if request.repo_id is None else row(db, db.repos[request.repo_id]),
        "request": request_row(db, request),
    }
    if request.repo_id is None and request.task_id is not None:
        answer["task"] = task_rules.as_row(db.tasks[request.task_id])
    return answer


def serve_queue(db: Database, owner: User | None = None) -> None:
    """Make a newRepo task for every active request without one; what kojira triggers on a real hub."""
    owner = owner or db.find_user(db.settings.repo_owner) or next(iter(db.users.values()))
    for request in db.repo_requests.values():
        if not request.active:
            continue
        if request.task_id is not None:
            task = db.tasks[request.task_id]
            if task.state not in task_rules.FINAL or task.state == task_rules.CLOSED:
                continue
        if request.tries >= db.settings.repo_tries:
            request.active = False
            db.touch()
            continue
        tag = db.tags[request.tag_id]
        kwargs: dict[str, Any] = {"opts": dict(request.opts)}
        if request.at_event is not None:
            kwargs["event"] = request.at_event
        arglist = [{"id": tag.id, "name": tag.name}]
        made = task_rules.make(
            db, owner.id, "newRepo", arglist, kwargs=kwargs, channel="createrepo", priority=request.priority - 5
        )
        request.task_id, request.update_ts = made.id, db.clock.now()
        request.tries += 1
