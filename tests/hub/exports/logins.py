"""Session calls (contract 1.3-1.5) and those that need none of the tables."""

from __future__ import annotations

from typing import Any

import koji
from koji.xmlrpcplus import Fault

from .. import sessions
from ..caller import Exports
from ..clock import as_text
from ..faults import as_fault
from ..records import Session, User

HUB_VERSION = "1.35.3"


def _handed_out(session: Session) -> dict[str, Any]:
    return {"session-id": session.id, "session-key": session.key, "header-auth": True}


class RootExports(Exports):
    def login(
        self,
        user: str,
        password: str,
        opts: dict[str, Any] | None = None,
        renew: bool = False,
        exclusive: bool = False,
    ) -> dict[str, Any]:
        del opts
        return self._log_in(sessions.by_password(self._db, user, password), renew, exclusive)

    def sslLogin(
        self,
        proxyuser: str | None = None,
        proxyauthtype: int | None = None,
        renew: bool = False,
        exclusive: bool = False,
    ) -> dict[str, Any]:
        """For POSTs to /ssllogin: the web server has checked the client's certificate or ticket."""
        if proxyuser is not None or proxyauthtype is not None:
            msg = "this stand-in proxies nobody"
            raise koji.AuthError(msg)
        return self._log_in(sessions.by_web_server(self._db, self._caller.remote_user), renew, exclusive)

    def _log_in(self, user: User, renew: bool, exclusive: bool) -> dict[str, Any]:
        if not renew:
            return _handed_out(sessions.login(self._db, user))
        session = sessions.renew(self._db, user, self._caller.session)
        if exclusive:
            sessions.take_lock(self._db, session, force=True)
        return _handed_out(session)

    def logout(self, session_id: int | None = None) -> None:
        session = self._caller.open_session()
        if session_id is not None:
            other = self._db.sessions.get(session_id)
            if other is None or other.user_id != session.user_id:
                msg = "only admins or owner may logout other session"
                raise koji.ActionNotAllowed(msg)
            session = other
        sessions.close(self._db, session)

    def logoutChild(self, session_id: int) -> None:
        mine = self._caller.open_session()
        child = self._db.sessions.get(session_id)
        if child is not None and child.master == mine.id:
            sessions.close(self._db, child)

    def subsession(self) -> dict[str, Any]:
        return _handed_out(sessions.subsession(self._db, self._caller.open_session()))

    def exclusiveSession(self, force: bool = False) -> None:
        sessions.take_lock(self._db, self._caller.open_session(), force=force)

    def sharedSession(self) -> None:
        self._caller.open_session().exclusive = False
        self._db.touch()

    def getSessionInfo(self, details: bool = False, user_id: int | None = None) -> dict[str, Any] | None:
        del details, user_id
        session = self._caller.session
        if session is None:
            return None
        return {
            "authtype": 0,
            "callnum": session.callnum,
            "exclusive": session.exclusive or None,
            "expired": session.expired,
            "master": session.master,
            "renew_time": as_text(session.renew_ts),
            "renew_ts": session.renew_ts,
            "start_time": as_text(session.start_ts),
            "start_ts": session.start_ts,
            "update_time": as_text(session.update_ts),
            "update_ts": session.update_ts,
            "user_id": session.user_id,
        }

    def showSession(self) -> str:
        return repr(self._caller.session)

    def getLoggedInUser(self) -> dict[str, Any] | None:
        user = self._caller.user
        if user is None:
            return None
        return {
            "id": user.id,
            "name": user.name,
            "status": user.status,
            "usertype": user.usertype,
            "krb_principals": [],
            "authtype": 0,
            "krb_principal": None,
        }

    def echo(self, *args: Any) -> list[Any]:
        return list(args)

    def getAPIVersion(self) -> int:
        return 1

    def getKojiVersion(self) -> str:
        return HUB_VERSION

    def hello(self, *args: Any) -> str:
        del args
        return "Hello World"

    def getPerms(self) -> list[str]:
        return sorted(self._caller.login().permissions)

    def hasPerm(self, perm: str, strict: bool = False) -> bool:
        del strict
        return bool(self._caller.login().permissions & {perm, "admin"})

    def multiCall(self, calls: list[dict[str, Any]]) -> list[Any]:
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append([self._caller.nested(self._caller, call["methodName"], call["params"])])
            except Exception as error:  # noqa: BLE001 (each call of a multiCall fails alone)
                fault: Fault = as_fault(error)
                answers.append(
                    {
                        "faultCode": fault.faultCode,
                        "faultString": fault.faultString,
                        "traceback": fault.faultString.splitlines(),
                    }
                )
        return answers
