"""A hub session that survives what hubs do: renewal, lost answers, outages. The rest is koji.ClientSession's.

What the library lacks (contract/observed.md): it counts calls from zero after a renewal, which the hub refuses;
it reports a call as failed whose answer alone was lost; one session may be used by one caller at a time, and a
task's log uploader is a second one; a Kerberos login neither waits for a KDC or a hub that is away, nor says why it
failed.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import koji

from engine.adapters.hub import NO_ANSWER, no_hub
from engine.core.errors import BadInput, InfrastructureError, Problem, root_cause
from engine.worker import kerberos
from engine.worker.options import CAPS, MAX_INTERVAL, HubOptions

logger = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.silent")
_silent.disabled = True

_ENDS = {
    "host.closeTask": frozenset({"CLOSED"}),
    "host.failTask": frozenset({"FAILED"}),
    "host.refuseTask": frozenset({"FREE", "ASSIGNED"}),
}
"""Calls that end a task, and the states that say they did."""
UNAUTHORIZED = 401
_GSSAPI_FAILURE = re.compile(r"\(gssapi auth failed: (.*?)\)\n", re.DOTALL)
_ANSWERLESS = frozenset({"host.freeTasks", "host.setTaskWeight", "host.setBuildRootList", "host.updateBuildRootList"})
"""Calls whose answer says nothing: committed is done."""


class WorkerSession(koji.ClientSession):  # type: ignore[misc]  # koji has no types
    """koji's session with the gaps above closed. `away_since`: time of the first failed try, while the hub is away."""

    logger: logging.Logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.lock = threading.RLock()
        self.away_since: float | None = None
        self.heartbeat: Callable[[], None] | None = None
        self.noted_away: Callable[[], None] | None = None
        self._last_error: Exception | None = None
        super().__init__(*args, **kwargs)

    def setSession(self, sinfo: Mapping[str, Any] | None) -> None:  # noqa: N802 - koji's name
        """Renewing keeps the session's id, and the hub its call counter: go on counting."""
        before, callnum = self.__dict__.get("sinfo"), self.__dict__.get("callnum")
        super().setSession(sinfo)
        if before and sinfo and before["session-id"] == sinfo["session-id"] and callnum is not None:
            self.callnum = callnum

    def _renew_session(self) -> None:
        """As koji's, which without a login tries once: a hub that is away for a moment would end worker or task."""
        self.opts["anon_retry"] = True
        try:
            super()._renew_session()
        finally:
            self.opts["anon_retry"] = False

    def _callMethod(  # noqa: N802 - koji's name
        self, name: str, args: Any, kwargs: Any = None, retry: bool = True
    ) -> Any:
        with self.lock:
            try:
                return super()._callMethod(name, args, kwargs, retry)
            except koji.RetryError:
                return self._lost_answer(name, args, kwargs)

    def _lost_answer(self, name: str, args: Any, kwargs: Any) -> Any:
        """RetryError: an earlier try of this call was committed and only its answer got lost (contract trap 4)."""
        logger.warning("the answer to %s was lost; asking what became of it", name)
        if name in _ANSWERLESS:
            return None
        if name == "rawUpload":  # overwriting at an offset can be repeated
            return super()._callMethod(name, args, kwargs)
        if name in _ENDS:
            task = super()._callMethod("getTaskInfo", [args[0]])
            if task is not None and koji.TASK_STATES[task["state"]] in _ENDS[name]:
                return None
        raise koji.RetryError(f"the answer to {name} was lost")

    def _sendCall(self, handler: Any, headers: Any, request: Any) -> Any:  # noqa: N802 - koji's name
        if self.heartbeat is not None:
            self.heartbeat()
        try:
            answer = super()._sendCall(handler, headers, request)
        except koji.xmlrpcplus.Fault as fault:
            self._note_away(fault.faultCode == koji.ServerOffline.faultCode, fault.faultString)
            raise
        except Exception as error:
            self._last_error = error
            if _status(error) != UNAUTHORIZED:  # that is an answer
                self._note_away(True, root_cause(error))
            raise
        self._note_away(False, None)
        return answer

    def _note_away(self, away: bool, why: object, who: str = "the hub") -> None:
        if away and self.away_since is None:
            self.away_since = time.time()
            logger.warning("%s does not answer: %s", who, why)
        elif not away and self.away_since is not None:
            logger.warning("the hub answers again after %.0f s", time.time() - self.away_since)
            self.away_since = None
        else:
            return
        if self.noted_away is not None:
            self.noted_away()

    # Kerberos

    def gssapi_login(
        self, principal: str, keytab: str, ccache: str, proxyuser: None = None, proxyauthtype: None = None, **how: Any
    ) -> bool:
        """As koji's; while the KDC or the hub is away it is tried again as often as any call. Renewals come here, too.

        Raises KerberosError with the reason.
        """
        tries = 0
        while True:
            tries += 1
            kerberos.prepare(ccache)
            self._last_error = None
            try:
                with self._tried_once():
                    return bool(super().gssapi_login(principal, keytab, ccache, proxyuser, proxyauthtype, **how))
            except koji.GSSAPIAuthError as error:
                trouble = self._why_no_login(error, principal, keytab, ccache)
            if not trouble.passing or tries > max(1, self.opts.get("max_retries", 0)):
                failed = kerberos.KerberosError(trouble.text)
                failed.problem = trouble.problem
                raise failed
            if trouble.healed:
                logger.warning("%s", trouble.text)
                continue
            self._note_away(True, trouble.text, "the KDC")
            if self.heartbeat is not None:
                self.heartbeat()
            time.sleep(self.opts.get("retry_interval", 0))

    @contextmanager
    def _tried_once(self) -> Iterator[None]:
        """koji's gssapi_login tries `max_retries` times, so not at all for 0, waits without a heartbeat, and logs each
        failure as an error with a page to read; what led to it comes from here, in one sentence."""
        before = {name: self.opts[name] for name in ("max_retries", "retry_interval") if name in self.opts}
        loud = self.logger
        self.opts.update(max_retries=1, retry_interval=0)
        if not loud.isEnabledFor(logging.DEBUG):
            self.logger = _silent
        try:
            yield
        finally:
            self.opts.update(before)
            self.logger = loud

    def _why_no_login(self, error: Exception, principal: str, keytab: str, ccache: str) -> kerberos.Trouble:
        """What the hub says; if that is "401", what Kerberos says."""
        status = _status(self._last_error)
        if status == UNAUTHORIZED:
            return kerberos.diagnose(urlsplit(self.baseurl).hostname or "", principal, keytab, ccache)
        fault = self._last_error is None or (status is not None and status < 500)
        words = _GSSAPI_FAILURE.search(str(error))
        text = words[1] if words else str(error)
        return kerberos.Trouble(text, passing=not fault and not koji.is_requests_cert_error(self._last_error))

    def give_up_retrying(self) -> None:
        """From now on every call is tried once only: for shutting down while the hub is away."""
        self.opts.update(max_retries=0, retry_interval=0, offline_retry=False, timeout=10)


def require_credentials(hub: HubOptions) -> None:
    """BadInput for what keeps from logging in and is known without asking anyone."""
    if not hub.server:
        raise BadInput([Problem("settings", "hub.server", "is missing", "name the hub's address")])
    if problems := [*unreadable("hub.cert", hub.cert), *unreadable("hub.serverca", hub.serverca)]:
        raise BadInput(problems)


def connect(hub: HubOptions, *, force_lock: bool) -> WorkerSession:
    """Log in and take the exclusive session, in kojid's order (contract 1.3).

    Raises BadInput for missing or unusable credentials, InfrastructureError when the hub refuses or does not answer.
    """
    require_credentials(hub)
    options = koji.grab_session_options(capped(attrs.asdict(hub)))
    session = WorkerSession(hub.server, options)
    try:
        _login(session, hub)
        session.exclusiveSession(force=force_lock)
        if session.echo("OK") != ["OK"]:
            raise InfrastructureError(f"hub {hub.server}: does not echo")
    except kerberos.KerberosError as error:
        if error.problem is not None:
            raise BadInput([error.problem]) from None
        raise InfrastructureError(f"hub {hub.server}: cannot log in: {_plain(error)}") from None
    except koji.AuthLockError as error:
        cure = "stop that one, or take over with --force-lock"
        raise InfrastructureError(f"hub {hub.server}: another daemon works as this user: {error} ({cure})") from None
    except (koji.GenericError, *NO_ANSWER) as error:
        why = no_hub(error) or (_plain(error) if isinstance(error, koji.GenericError) else root_cause(error))
        if "CERTIFICATE_VERIFY_FAILED" in why:  # koji hands on its text only
            why = f"its certificate is not trusted (name its authority's certificate in hub.serverca): {why}"
        raise InfrastructureError(f"hub {hub.server}: cannot log in: {why}") from None
    return session


def capped(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `[hub]` with `CAPS`; of shorter intervals there are more, so that an outage may last as long."""
    tries, interval = options["max_retries"], options["retry_interval"]
    least = {name: min(options[name], most) for name, most in CAPS.items()}
    more = tries if interval <= MAX_INTERVAL else tries * interval // MAX_INTERVAL
    return {**options, **least, "max_retries": more}


def unreadable(key: str, path: str | None) -> Iterator[Problem]:
    """What the library would report as an OSError from somewhere, or log in otherwise for."""
    if not path or (os.path.isfile(path) and os.access(path, os.R_OK)):
        return
    found = "cannot be read by this user" if os.path.isfile(path) else "is no file"
    cure = (
        "or take the key out, to log in otherwise" if key == "hub.cert" else "or take the key out, for the system's own"
    )
    yield Problem("settings", key, f"{path} {found}", f"put the certificate there, {cure}")


def _login(session: WorkerSession, hub: HubOptions) -> None:
    if hub.cert:
        session.ssl_login(hub.cert, None, hub.serverca)
    elif hub.user:
        session.login()
    elif koji.reqgssapi:
        if not logger.isEnabledFor(logging.DEBUG):
            logging.getLogger("requests_gssapi").setLevel(logging.CRITICAL)  # it logs tracebacks
        session.gssapi_login(kerberos.principal(hub), hub.keytab, hub.ccache)
    else:
        cure = "set hub.cert, or hub.user and hub.password; or install python requests-gssapi"
        raise BadInput([Problem("settings", "hub", "no way to log in is set", cure)])


def _status(error: Exception | None) -> int | None:
    """The HTTP status of an answer that is an error."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())
