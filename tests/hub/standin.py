"""`HubStandIn`: the stand-in with the handles tests hold it by. See the package's docstring."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import koji

from . import scheduler, sessions, task_rules
from .certificates import Authority
from .clock import Clock
from .contents import Contents
from .database import Database
from .dispatch import CallRecord, Dispatcher
from .realm import Realm
from .server import FILES_PATH, HUB_PATH, HubServer
from .settings import Settings
from .tickets import TicketCheck

__all__ = ["HubStandIn"]


class HubStandIn(Contents):
    """A Koji hub on 127.0.0.1 with its files in `topdir` and everything else in memory.

    A context manager; `start` and `stop` do the same by hand. It begins with the users admin (password
    admin) and kojira (password kojira) and the channels default and createrepo, unless `empty`.
    With `tls` it speaks https only and lets in who shows a certificate of that authority, by its CN; with
    `realm` also who has a ticket of that realm for HTTP/localhost, by `add_principal`.
    """

    live = False  #: tests/worker/livehub.py has the same names for a real hub

    def __init__(
        self,
        topdir: Path,
        *,
        clock: Clock | None = None,
        settings: Settings | None = None,
        port: int = 0,
        empty: bool = False,
        tls: Authority | None = None,
        realm: Realm | None = None,
    ) -> None:
        topdir = Path(topdir).absolute()
        for name in ("work", "packages", "repos", "scratch"):
            (topdir / name).mkdir(parents=True, exist_ok=True)
        super().__init__(Database(topdir, clock or Clock(), settings or Settings()))
        self.dispatcher = Dispatcher(self.db)
        context = tls.server_context() if tls else None
        self.server = HubServer(self.dispatcher, port, context, _ticket_check(realm) if realm else None)
        if not empty:
            self.add_user("admin", "admin", admin=True)
            self.add_user("kojira", "kojira", permissions=("repo",))
            self.add_channel("default")
            self.add_channel("createrepo")

    # -- life

    def start(self) -> Self:
        self.server.open()
        return self

    def stop(self) -> None:
        self.server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def topdir(self) -> Path:
        return self.db.topdir

    @property
    def clock(self) -> Clock:
        return self.db.clock

    @property
    def settings(self) -> Settings:
        return self.db.settings

    @property
    def url(self) -> str:
        """Where clients call, for `server` options and koji.ClientSession."""
        return f"{self._site}{HUB_PATH}"

    @property
    def topurl(self) -> str:
        """Where `topdir` can be read over HTTP."""
        return f"{self._site}{FILES_PATH}"

    @property
    def _site(self) -> str:
        if self.server.tls is None:
            return f"http://127.0.0.1:{self.server.port}"
        name = "localhost" if self.server.tickets else "127.0.0.1"  # tickets are for a host's name
        return f"https://{name}:{self.server.port}"

    def add_principal(self, principal: str, user: str) -> None:
        """Let a Kerberos principal log in as `user`."""
        with self.db.lock:
            self.db.principals[principal] = user

    # -- what happens to hubs

    def network_down(self) -> None:
        """Refuse connections and cut the open ones, as when the hub's machine goes down."""
        self.server.close()

    def network_up(self) -> None:
        """Listen again on the same port; sessions and tasks are what they were."""
        self.server.open()

    @contextlib.contextmanager
    def network_outage(self) -> Iterator[None]:
        self.network_down()
        try:
            yield
        finally:
            self.network_up()

    def restart(self) -> None:
        """Down and up at once: clients lose their connections, never their sessions."""
        self.network_down()
        self.network_up()

    def offline(self, on: bool = True, text: str = "planned outage") -> None:
        """Answer every call with ServerOffline [1014], or stop doing so."""
        with self.db.lock:
            self.db.offline = text if on else None

    def lose_answers(self, method: str | None = None, count: int = 1) -> None:
        """Carry out the next `count` calls (of `method`) but cut the connection instead of answering.

        A raw upload's method is "rawUpload". The client's repetition then meets RetryError or success.
        """
        self.server.lost.add(method, count)

    def answer_instead(self, method: str, answer: Any, count: int = 1) -> None:
        """Answer the next `count` calls of `method` with a value, a Fault or a HTTPStatus, and do nothing.

        They are not in the call log. A raw upload's method is "rawUpload".
        """
        self.server.wrong.add(method, answer, count)

    def slow_answers(self, seconds: float, since: str = "") -> None:
        """Let every answer wait `seconds`, with `since` only from the next call of that method on; 0 ends that."""
        self.server.slow_since = (since, seconds) if since else None
        if not since:
            self.server.delay = seconds

    def expire_session(self, who: int | str) -> None:
        """Let the sessions of a user name, or one session id, be too old: the next call gets AuthExpired."""
        with self.db.lock:
            for session in self._sessions(who):
                sessions.expire(self.db, session)

    def close_session(self, who: int | str) -> None:
        """Log the sessions of a user name, or one session id, out: the next call gets AuthError."""
        with self.db.lock:
            for session in self._sessions(who):
                sessions.close(self.db, session)

    def _sessions(self, who: int | str) -> list[Any]:
        if isinstance(who, int):
            return [self.db.sessions[who]]
        user = self.db.user(who)
        return [each for each in self.db.sessions.values() if each.user_id == user.id]

    admin = "admin"  #: who makes tasks
    channel = None  #: the channel of tasks, where it is not the hub's choice

    @property
    def builder(self) -> str:
        """Name of the first host."""
        with self.db.lock:
            host = self.db.hosts[min(self.db.hosts)]
            return self.db.users[host.user_id].name

    def upload(self, file: Path, folder: str) -> str:
        """Put a file below work/, as a client's upload does; its path there."""
        place = self.topdir / "work" / folder
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        return f"{folder}/{file.name}"

    def password(self, user: str) -> str:
        with self.db.lock:
            return str(self.db.user(user).password)

    # -- tasks

    def make_task(self, method: str, args: Sequence[Any] = (), *, owner: str = "admin", **opts: Any) -> int:
        """A new task's id. opts: arch, channel, priority, kwargs, parent, label, assign, weight."""
        with self.db.lock:
            user = self.db.user(owner)
            return task_rules.make(self.db, user.id, method, list(args), **opts).id

    def cancel(self, task_id: int) -> bool:
        """Cancel with all children; False when it had already ended."""
        with self.db.lock:
            return task_rules.cancel(self.db, self.db.task(task_id))

    def free(self, task_id: int) -> None:
        with self.db.lock:
            task_rules.free(self.db, self.db.task(task_id))

    def assign(self, task_id: int, host: str, *, force: bool = False) -> bool:
        with self.db.lock:
            return task_rules.assign(self.db, self.db.task(task_id), self.db.host(host), force=force)

    def run_scheduler(self) -> None:
        """One run now, whatever the interval."""
        with self.db.lock:
            scheduler.run(self.db, force=True)

    def task(self, task_id: int) -> dict[str, Any]:
        """A copy of the task as getTaskInfo(request=True) shows it, with `state_name` and `result` (XML)."""
        with self.db.lock:
            task = self.db.task(task_id)
            name = koji.TASK_STATES[task.state]
            more = {"request": task_rules.request_of(task), "state_name": name, "result": task.result}
            return task_rules.as_row(task) | more

    def tasks(self, **wanted: Any) -> list[dict[str, Any]]:
        """Copies of the tasks whose fields are as wanted, e.g. tasks(method="createrepo", state_name="OPEN")."""
        with self.db.lock:
            every = [self.task(task_id) for task_id in sorted(self.db.tasks)]
        return [task for task in every if all(task[name] == value for name, value in wanted.items())]

    def result(self, task_id: int) -> Any:
        """The value a task was closed with; raises its Fault, or GenericError for one that has none."""
        with self.db.lock:
            return task_rules.result_of(self.db.task(task_id))

    def wait_task(
        self,
        task_id: int,
        timeout: float = 60.0,
        states: Iterable[str] = ("CLOSED", "CANCELED", "FAILED"),
    ) -> dict[str, Any]:
        """The task once it is in one of `states`; TimeoutError after `timeout` seconds of real time."""
        wanted = set(states)
        deadline = time.monotonic() + timeout
        while (task := self.task(task_id))["state_name"] not in wanted:
            if time.monotonic() > deadline:
                msg = f"task {task_id} ({task['method']}) is {task['state_name']} after {timeout} s"
                raise TimeoutError(msg)
            time.sleep(0.02)
        return task

    def task_dir(self, task_id: int) -> Path:
        """Where the task's uploads are; may not exist yet."""
        return Path(self.db.paths.task(task_id))

    # -- clients and what they did

    def session(self, user: str = "admin", password: str | None = None, **opts: Any) -> koji.ClientSession:
        """A logged-in client; the password defaults to the user's. opts as for koji.ClientSession."""
        with self.db.lock:
            found = self.db.user(user)
        secret = password if password is not None else found.password
        options = {"max_retries": 0, "use_fast_upload": True} | opts
        client = koji.ClientSession(self.url, {"user": user, "password": secret} | options)
        client.login()
        return client

    @property
    def call_log(self) -> list[CallRecord]:
        """Every call so far, oldest first (a copy)."""
        with self.db.lock:
            return list(self.dispatcher.log)

    def calls(self, method: str | None = None, who: str | None = None) -> list[CallRecord]:
        """The calls of a method, of a user ("builder1", "builder1/sub"), or of both."""
        return [each for each in self.call_log if method in (None, each.method) and who in (None, each.who)]

    def forget_calls(self) -> None:
        with self.db.lock:
            self.dispatcher.log.clear()


def _ticket_check(realm: Realm) -> TicketCheck:
    """The hub's web server as a service of the realm."""
    realm.add("HTTP/localhost")
    return TicketCheck(realm.keytab(realm.folder / "hub.keytab", "HTTP/localhost"), realm.environ)
