"""Logins, session locks and call numbers (contract 1.3, 1.4; renewal as observed)."""

from __future__ import annotations

import secrets

import koji

from .database import Database
from .records import HOST_USER, Host, Session, User

__all__ = [
    "by_password",
    "by_web_server",
    "check_call",
    "close",
    "exclusive_holder",
    "expire",
    "holds_lock",
    "host_of",
    "login",
    "note_call",
    "renew",
    "subsession",
    "take_lock",
]

#: methods a locked-out session may still call
_UNLOCKED = {"exclusiveSession", "login", "logout", "sslLogin"}
#: methods whose repetition with the same call number is accepted (contract 1.4)
_REPEATABLE = {
    "host.taskWait",
    "host.taskUnwait",
    "host.taskSetWait",
    "host.updateHost",
    "host.setBuildRootState",
    "repoExpire",
    "repoDelete",
    "repoProblem",
}


def _new(db: Database, user_id: int, master: int | None = None) -> Session:
    now = db.clock.now()
    session = Session(
        id=db.next_id("sessions"),
        key=f"{user_id}-{secrets.token_hex(10)}",
        user_id=user_id,
        start_ts=now,
        update_ts=now,
        master=master,
    )
    db.add("sessions", session)
    return session


def by_password(db: Database, name: str, password: str) -> User:
    """The user, or AuthError."""
    user = db.find_user(str(name))
    if user is None or user.password != password or user.status:
        msg = "invalid username or password"
        raise koji.AuthError(msg)
    return user


def by_web_server(db: Database, name: str | None) -> User:
    """The user that the web server vouches for: a certificate's CN, or a Kerberos principal; or AuthError."""
    user = db.find_user(db.principals.get(name, name)) if name else None
    if user is None or user.status:
        msg = (
            f"no user for the certificate or principal: {name}" if name else "neither certificate nor ticket was shown"
        )
        raise koji.AuthError(msg)
    return user


def login(db: Database, user: User) -> Session:
    """A new session."""
    return _new(db, user.id)


def renew(db: Database, user: User, session: Session | None) -> Session:
    """The same session with a new key; its stored call number stays (that is the observed trap)."""
    if session is None or session.closed or session.user_id != user.id:
        msg = "Invalid session or bad credentials"
        raise koji.AuthError(msg)
    if session.master is not None and db.sessions[session.master].closed:
        msg = "Invalid session or bad credentials"
        raise koji.AuthError(msg)
    session.key = f"{user.id}-{secrets.token_hex(10)}"
    session.expired = False
    session.renew_ts = db.clock.now()
    return session


def subsession(db: Database, session: Session) -> Session:
    master = session.id if session.master is None else session.master
    return _new(db, session.user_id, master)


def exclusive_holder(db: Database, user_id: int) -> Session | None:
    for session in db.sessions.values():
        if session.user_id == user_id and session.exclusive and not session.closed and not session.expired:
            return session
    return None


def holds_lock(db: Database, session: Session) -> bool:
    """Whether `session`, or the master it belongs to, is exclusive."""
    if session.master is not None:
        return db.sessions[session.master].exclusive
    return session.exclusive


def take_lock(db: Database, session: Session, *, force: bool) -> None:
    """Make `session` exclusive; the previous holder is closed when forced, else AuthLockError."""
    if session.master is not None:
        msg = "subsessions cannot become exclusive"
        raise koji.GenericError(msg)
    holder = exclusive_holder(db, session.user_id)
    if holder is not None and holder is not session:
        if not force:
            msg = "Cannot get exclusive session"
            raise koji.AuthLockError(msg)
        close(db, holder)
    session.exclusive = True
    db.touch()


def close(db: Database, session: Session) -> None:
    """Log `session` out, and its subsessions."""
    for each in db.sessions.values():
        if each is session or each.master == session.id:
            each.closed = True
            each.exclusive = False
    db.touch()


def expire(db: Database, session: Session) -> None:
    """Mark `session` and its subsessions as too old; the next call of each gets AuthExpired."""
    for each in db.sessions.values():
        if each is session or each.master == session.id:
            each.expired = True


def check_call(
    db: Database, session_id: int | None, key: str | None, callnum: int | None, method: str
) -> Session | None:
    """The session a request names, or None for a request without one; raises what a hub raises."""
    if session_id is None:
        return None
    session = db.sessions.get(session_id)
    if session is None or session.closed or session.key != key:
        msg = "Invalid session or bad credentials"
        raise koji.AuthError(msg)
    _expire_if_old(db, session)
    if session.expired and method not in {"login", "sslLogin"}:
        msg = f'session "{session.id}" has expired'
        raise koji.AuthExpired(msg)
    if callnum is not None and session.callnum is not None:
        if session.callnum > callnum:
            msg = f"{session.callnum} > {callnum} (session {session.id})"
            raise koji.SequenceError(msg)
        if session.callnum == callnum and method not in _REPEATABLE:
            msg = f"unable to retry call {callnum} (method {method}) for session {session.id}"
            raise koji.RetryError(msg)
    if method not in _UNLOCKED:
        holder = exclusive_holder(db, session.user_id)
        mine = session.id if session.master is None else session.master
        if holder is not None and holder.id != mine:
            msg = "User locked by another session"
            raise koji.AuthLockError(msg)
    session.update_ts = db.clock.now()
    return session


def note_call(session: Session, callnum: int | None) -> None:
    """Remember the number of a call that wrote something."""
    if callnum is not None:
        session.callnum = callnum


def host_of(db: Database, session: Session | None) -> Host:
    """The host behind a `host.*` call: a host's user with an exclusive session, else AuthError."""
    if session is None:
        msg = "Not logged-in"
        raise koji.AuthError(msg)
    user: User = db.users[session.user_id]
    host = db.host_of_user(user.id)
    if user.usertype != HOST_USER or host is None:
        msg = f"User {user.id} is not a host"
        raise koji.AuthError(msg)
    if not holds_lock(db, session):
        msg = "This method requires an exclusive session"
        raise koji.AuthError(msg)
    return host


def _expire_if_old(db: Database, session: Session) -> None:
    """By its own age only: a hub does not look at the master when a subsession calls."""
    limit = db.settings.session_renewal_timeout
    born = session.start_ts if session.renew_ts is None else session.renew_ts
    if limit and db.clock.now() - born > limit:
        expire(db, session)
