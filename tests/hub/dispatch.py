"""From a request to an answer: session, lock, call, log.

The tables' lock is held for the length of a call, so a call is a transaction: it raises before it
writes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import koji
import koji.util
from attrs import define, field, frozen
from koji.xmlrpcplus import Fault

from . import sessions
from .caller import Caller
from .database import Database
from .exports import NAMESPACES
from .faults import as_fault
from .records import Session

__all__ = ["CallRecord", "Credentials", "Dispatcher"]


@frozen
class Credentials:
    """What the Koji-Session-* headers (or query parameters) said."""

    session_id: int | None = None
    key: str | None = None
    callnum: int | None = None
    remote_user: str | None = None  #: what the web server found out at /ssllogin


@frozen
class CallRecord:
    """One call as the hub saw it, in the order of their ends."""

    time: float  #: hub clock, seconds since the epoch, at its end
    seconds: float  #: how long it took
    who: str | None  #: user name, with "/sub" for a subsession; None without a session
    session_id: int | None
    callnum: int | None
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    fault_code: int | None = None
    fault_text: str | None = None

    def __str__(self) -> str:
        outcome = f"!! {self.fault_code} {self.fault_text}" if self.fault_code is not None else self.result
        return f"{self.who} {self.method}{self.args}{self.kwargs or ''} -> {outcome}"


@define
class Dispatcher:
    db: Database
    log: list[CallRecord] = field(factory=list)

    def call(self, credentials: Credentials, method: str, params: tuple[Any, ...]) -> Any:
        """The answer to a request, or a Fault raised."""
        args, kwargs = koji.decode_args(*params)
        return self.run(
            credentials, method, tuple(args), kwargs, lambda caller: self._invoke(caller, method, tuple(args), kwargs)
        )

    def run(
        self,
        credentials: Credentials,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        work: Callable[[Caller], Any],
    ) -> Any:
        """Do `work` as the caller that `credentials` name, and log it as a call of `method`."""
        started = time.monotonic()
        with self.db.lock:
            session: Session | None = None
            result: Any = None
            fault: Fault | None = None
            try:
                if self.db.offline is not None:
                    raise koji.ServerOffline(self.db.offline)  # noqa: TRY301 (answered like any other)
                session = sessions.check_call(
                    self.db, credentials.session_id, credentials.key, credentials.callnum, method
                )
                self.db.changed = False
                result = work(Caller(self.db, session, self._one_of_many, remote_user=credentials.remote_user))
                if self.db.changed and session is not None and method not in {"login", "sslLogin", "logout"}:
                    sessions.note_call(session, credentials.callnum)
            except Exception as error:  # noqa: BLE001 (a hub answers every error with a fault)
                fault = as_fault(error)
            self.log.append(
                CallRecord(
                    time=self.db.clock.now(),
                    seconds=time.monotonic() - started,
                    who=self._name(session),
                    session_id=credentials.session_id,
                    callnum=credentials.callnum,
                    method=method,
                    args=args,
                    kwargs=kwargs,
                    result=result,
                    fault_code=fault.faultCode if fault else None,
                    fault_text=fault.faultString if fault else None,
                )
            )
        if fault is not None:
            raise fault
        return result

    def _invoke(self, caller: Caller, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        prefix, _, name = method.rpartition(".")
        exports = NAMESPACES.get(prefix)
        function = None
        if exports is not None and not name.startswith("_"):
            if prefix == "host":
                caller.host = sessions.host_of(self.db, caller.session)
            function = getattr(exports(caller), name, None)
        if not callable(function):
            msg = f"Invalid method: {method}"
            raise koji.GenericError(msg)
        return koji.util.call_with_argcheck(function, args, kwargs)

    def _one_of_many(self, caller: Caller, method: str, params: list[Any]) -> Any:
        args, kwargs = koji.decode_args(*params)
        return self._invoke(caller, method, tuple(args), kwargs)

    def _name(self, session: Session | None) -> str | None:
        if session is None:
            return None
        name = self.db.users[session.user_id].name
        return name if session.master is None else f"{name}/sub"
