"""Who calls, and what every namespace shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import koji
from attrs import define

from .database import Database
from .records import Host, Session, User

__all__ = ["Caller", "Exports"]


@define
class Caller:
    db: Database
    session: Session | None
    nested: Callable[[Caller, str, list[Any]], Any]  #: runs one call of a multiCall
    host: Host | None = None  #: set for `host.*` calls
    remote_user: str | None = None  #: who the web server says it is: by certificate or Kerberos, at the login

    @property
    def user(self) -> User | None:
        return None if self.session is None else self.db.users[self.session.user_id]

    def open_session(self) -> Session:
        """The session of a logged-in caller, or AuthError."""
        if self.session is None:
            msg = "Not logged-in"
            raise koji.AuthError(msg)
        return self.session

    def login(self) -> User:
        """The logged-in user, or AuthError."""
        return self.db.users[self.open_session().user_id]

    def require(self, permission: str) -> User:
        """The logged-in user, who must have `permission` or be an admin."""
        user = self.login()
        if not user.permissions & {permission, "admin"}:
            msg = f"{permission} permission required (logged in as {user.name})"
            raise koji.ActionNotAllowed(msg)
        return user


class Exports:
    """Base of the namespaces; a public method is a call a client can make."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._db = caller.db

    @property
    def _host(self) -> Host:
        if self._caller.host is None:
            msg = "not a host call"
            raise RuntimeError(msg)
        return self._caller.host
