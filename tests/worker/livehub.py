"""A live hub with the stand-in's names, for the tests that make sense on both (marker `any_hub`).

`pytest -m hub --hub-config FILE tests/worker`. FILE is TOML:

    url = "https://koji.example.org/kojihub"    # the hub
    topurl = "https://koji.example.org/kojifiles"
    topdir = "/mnt/koji"                        # its file tree, as a builder has it mounted
    builder = "builder1"                        # a host of the hub that no other daemon works as meanwhile
    builder_password = "…"
    user = "…"                                  # an admin: makes tasks for that host, frees, assigns, cancels
    password = "…"
    tag = "dist-build"                          # a build tag with a READY repo; or `target`, whose build tag is meant
    kojid = "builder2"                          # optional: a host of the hub that a kojid with mock works as
    serverca = "/etc/pki/…/ca.pem"              # optional: the authority of an https hub
    channel = "adjutant"                        # optional: one that only this host is in, so that its tasks stay here;
                                                # needs `has_req_channel :: req` in the hub's channel policy

Every task that is made here ends; a repository of the tag that a test of createrepo makes stays, as kojira's do.
"""

from __future__ import annotations

import threading
import time
import tomllib
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import koji
import pytest

from tests.hub import CallRecord, HubStandIn
from tests.worker.gateway import Gateway

_NEEDED = {"url", "topurl", "topdir", "builder", "builder_password", "user", "password"}
_FINAL = ("CLOSED", "CANCELED", "FAILED")
_TURN = 0.3
"""Seconds between two runs of the hub's scheduler that we ask for; its own pause is a minute."""
_REFUSED = 3.0
"""Seconds that a soft refusal counts."""


class LiveHub:
    """What the tests ask of a hub, through a client of it. Names and results are those of HubStandIn."""

    live = True

    def __init__(self, config: Path) -> None:
        self.config: dict[str, Any] = tomllib.loads(config.read_text())
        if missing := _NEEDED - self.config.keys():
            msg = f"{config}: {', '.join(sorted(missing))}: not there (see tests/worker/livehub.py)"
            raise pytest.UsageError(msg)
        self.builder: str = self.config["builder"]
        self.topurl: str = self.config["topurl"]
        self.topdir = Path(self.config["topdir"])
        self.admin: str = self.config["user"]
        self.channel: str | None = self.config.get("channel")
        self._passwords = {self.admin: self.config["password"], self.builder: self.config["builder_password"]}
        self._gateway = Gateway(self.config["url"], self.config.get("serverca"))
        self._lock = threading.Lock()
        self._made: list[int] = []
        self._over = threading.Event()
        self._turns = threading.Thread(target=self._keep_scheduling, daemon=True)

    def __enter__(self) -> LiveHub:
        self._gateway.open()
        self._admin = self.session()
        host = self._admin.getHost(self.builder, strict=True)
        self.host_id, self.arches = host["id"], host["arches"].split()
        self._forget_last_daemon()
        self._turns.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._turns.join()
        for task in self._made:
            self.cancel(task)
        self._gateway.close()
        self._admin.logout()

    def _forget_last_daemon(self) -> None:
        """Give up the session that a killed worker of an earlier test left, and its tasks."""
        session = self.session(self.builder)
        session.exclusiveSession(force=True)
        mine = [task["id"] for task in session.host.getHostTasks()]
        if mine:
            session.host.freeTasks(mine)
            for task in mine:
                self.cancel(task)
        session.logout()

    def _keep_scheduling(self) -> None:
        session = self.session()
        while not self._over.wait(_TURN):
            with suppress(koji.GenericError):
                session.scheduler.doRun(force=True)
                self._take_back_refusals(session)
        session.logout()

    def _take_back_refusals(self, session: koji.ClientSession) -> None:
        """Refused softly, a task comes back soon, as on the tests' stand-in; a hub waits for 15 minutes."""
        for refusal in session.scheduler.getTaskRefusals([["host_id", "=", self.host_id], ["soft", "=", True]]):
            task = refusal["task_id"]
            if task in self._made and time.time() - refusal["ts"] > _REFUSED:
                session.assignTask(task, self.builder)  # False unless it is free

    # -- where it is

    @property
    def url(self) -> str:
        """For the worker: through the gateway."""
        return self._gateway.url

    def session(self, user: str | None = None) -> koji.ClientSession:
        """A logged-in client, the admin's unless told otherwise, not through the gateway."""
        name = user or self.admin
        options = {"max_retries": 2, "use_fast_upload": True, "timeout": 60, "serverca": self.config.get("serverca")}
        client = koji.ClientSession(self.config["url"], options | {"user": name, "password": self.password(name)})
        client.login()
        return client

    def password(self, user: str) -> str:
        return str(self._passwords[user])

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return self._admin.callMethod(method, *args, **kwargs)

    # -- tasks

    def make_task(self, method: str, args: Sequence[Any] = (), **opts: Any) -> int:
        """A task for our host; one of an architecture that it has not is anybody's."""
        arch = opts.get("arch") or "noarch"
        if arch in (*self.arches, "noarch"):
            opts.setdefault("assign", self.host_id)
        if self.channel:
            opts.setdefault("channel", self.channel)
        task: int = self._ask("makeTask", method, list(args), **opts)
        self._made.append(task)
        return task

    def task(self, task_id: int) -> dict[str, Any]:
        info: dict[str, Any] = self._ask("getTaskInfo", task_id, request=True, strict=True)
        return info | {"state_name": koji.TASK_STATES[info["state"]]}

    def wait_task(self, task_id: int, timeout: float = 60.0, states: Iterable[str] = _FINAL) -> dict[str, Any]:
        wanted, deadline = set(states), time.monotonic() + timeout
        while (task := self.task(task_id))["state_name"] not in wanted:
            if time.monotonic() > deadline:
                msg = f"task {task_id} ({task['method']}) is {task['state_name']} after {timeout} s"
                raise TimeoutError(msg)
            time.sleep(0.05)
        return task

    def result(self, task_id: int) -> Any:
        """The value, or its Fault raised as the hub has it."""
        value = self._ask("getTaskResult", task_id, raise_fault=False)
        if isinstance(value, dict) and "faultCode" in value:
            raise Fault(value["faultCode"], value["faultString"])
        return value

    def cancel(self, task_id: int) -> bool:
        return self._ask("cancelTask", task_id) is not False

    def free(self, task_id: int) -> None:
        self._ask("freeTask", task_id)

    def assign(self, task_id: int, host: str, *, force: bool = False) -> bool:
        return bool(self._ask("assignTask", task_id, host, force=force))

    def task_dir(self, task_id: int) -> Path:
        return self.topdir / "work" / koji.pathinfo.taskrelpath(task_id)

    def upload(self, file: Path, folder: str) -> str:
        """Put a file below work/; its path there."""
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the library leaves it open
            self._admin.uploadWrapper(str(file), folder, blocksize=2**20)
        return f"{folder}/{file.name}"

    # -- repositories

    @property
    def tag(self) -> str:
        """The build tag that the configuration means."""
        if "tag" in self.config:
            return str(self.config["tag"])
        return str(self._ask("getBuildTarget", self.config["target"], strict=True)["build_tag_name"])

    def ready_repo(self) -> int:
        """The tag's current repository, or skip."""
        repo = self._ask("getRepo", self.tag)
        if repo is None:
            pytest.skip(f"tag {self.tag} of {self.config['url']} has no READY repo")
        return int(repo["id"])

    def new_repo(self) -> int:
        """A repository of the tag in state INIT, as newRepo makes it. No worker may run: the session is its."""
        session = self.session(self.builder)
        session.exclusiveSession(force=True)
        repo, _event = session.host.repoInit(self.tag)
        session.logout()
        return int(repo)

    def repo_dir(self, repo_id: int) -> Path:
        return self.topdir / "repos" / self._ask("repoInfo", repo_id, strict=True)["tag_name"] / str(repo_id)

    # -- the line to it

    @property
    def call_log(self) -> list[CallRecord]:
        return self._gateway.call_log

    def calls(self, method: str | None = None, who: str | None = None) -> list[CallRecord]:
        return self._gateway.calls(method, who)

    def forget_calls(self) -> None:
        self._gateway.forget_calls()

    def slow_answers(self, seconds: float, since: str = "") -> None:
        self._gateway.slow_answers(seconds, since)

    def lose_answers(self, method: str | None = None, count: int = 1) -> None:
        self._gateway.lose_answers(method, count)

    def offline(self, on: bool = True) -> None:
        self._gateway.offline(on)

    def restart(self) -> None:
        self._gateway.restart()

    def network_outage(self) -> Any:
        return self._gateway.network_outage()


AnyHub = HubStandIn | LiveHub
"""What a test that is marked `any_hub` gets."""
