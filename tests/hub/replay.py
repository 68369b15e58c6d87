"""Sending recorded calls to the stand-in and comparing its answers with those of the real hub.

A transcript is one JSON object a line: who, session, callnum, method, params (or query and body length of
a raw upload), result or fault. The recordings are one hub's life in the order of their file names, so they
are replayed on one stand-in. Ids a database burnt in between are skipped, sessions keep their numbers,
keys and passwords are the stand-in's own.
"""

from __future__ import annotations

import http.client
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import koji
from attrs import define, field
from koji.xmlrpcplus import Fault, dumps, loads

from . import HubStandIn, minimal_rpm

__all__ = ["Difference", "RecordedCall", "Replay", "differences", "read_transcript"]

RECORDED_TOPDIR = "/mnt/koji"
#: answers whose value is of the moment or of the file system; only their type is compared
_OF_THE_MOMENT = {"mtime", "st_atime", "st_ctime", "st_mtime", "ts", "session-key"}
#: values that come from the bytes of files the recordings do not hold
_OF_THE_FILE = {"hexdigest", "payloadhash", "sighash"}
#: numbers of events and log lines, which count things no call shows
_COUNTERS = {"create_event", "begin_event", "creation_event_id", "create_event_id", "retire_event_id", "min_event"}
_COUNTERS |= {"repo_create_event_id", "query_event", "end_event"}
#: list calls without an order of their own
_UNORDERED = {"getTaskChildren", "listBuildroots", "host.getHostTasks"}
#: answers that measure the recorded hub's speed
_MEASURED = {"getAverageBuildDuration"}
#: the table whose next id a call's answer is
_MAKES = {
    "makeTask": "tasks",
    "build": "tasks",
    "newRepo": "tasks",
    "host.subtask": "tasks",
    "host.newBuildRoot": "buildroots",
    "host.initBuild": "builds",
    "createTag": "tags",
}


@define
class RecordedCall:
    """One line of a transcript."""

    file: str
    line: int
    who: str | None
    session: int | None
    callnum: int | None
    method: str | None
    params: list[Any]
    query: str | None
    body_length: int
    result: Any
    fault: dict[str, Any] | None

    @property
    def place(self) -> str:
        return f"{self.file[:2]}:{self.line} {self.method}"


@define
class Difference:
    call: RecordedCall
    where: str  #: path into the answer, e.g. "[0].state"
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.call.place} {self.where or 'answer'}: recorded {self.expected!r}, got {self.actual!r}"


def read_transcript(path: Path) -> Iterator[RecordedCall]:
    with path.open() as lines:
        for number, text in enumerate(lines, start=1):
            entry = json.loads(text)
            if "scenario" in entry:
                continue
            session, callnum = entry["session"], entry["callnum"]
            yield RecordedCall(
                file=path.name,
                line=number,
                who=entry["who"],
                session=None if session is None else int(session),
                callnum=None if callnum is None else int(callnum),
                method=entry["method"],
                params=entry.get("params") or [],
                query=entry.get("query"),
                body_length=entry.get("body_len", 0),
                result=entry.get("result"),
                fault=entry.get("fault"),
            )


def differences(call: RecordedCall, actual: Any) -> list[Difference]:
    """Where `actual`, an answer or a Fault, is not what was recorded."""
    if call.fault is not None:
        if not isinstance(actual, Fault):
            return [Difference(call, "", f"fault {call.fault['faultCode']}", actual)]
        found = []
        if actual.faultCode != call.fault["faultCode"]:
            found.append(Difference(call, "faultCode", call.fault["faultCode"], actual.faultCode))
        expected, got = _stable(call.fault["faultString"]), _stable(actual.faultString)
        if expected != got:
            found.append(Difference(call, "faultString", expected, got))
        return found
    if isinstance(actual, Fault):
        return [Difference(call, "", call.result, f"fault {actual.faultCode}: {actual.faultString}")]
    expected = call.result
    if call.method in _UNORDERED:
        expected, actual = _by_id(expected), _by_id(actual)
    found = [Difference(call, *each) for each in _compare(expected, actual, "", "")]
    if call.method in _MEASURED:
        found = [each for each in found if type(each.expected) is not type(each.actual)]
    if (call.method or "").startswith("scheduler."):  # its rows count lines no call shows
        found = [each for each in found if not each.where.endswith(".id")]
    return found


def _stable(text: str) -> str:
    """A fault's text; of a traceback only what follows the stack."""
    lines = text.rstrip().splitlines()
    if not text.startswith("Traceback"):
        return text
    last = max(number for number, line in enumerate(lines) if line.startswith(" "))
    return "\n".join(lines[last + 1 :])


def _by_id(rows: Any) -> Any:
    """Rows in the order of their ids where the real hub's order was its database's whim."""
    if isinstance(rows, list) and all(isinstance(row, dict) and "id" in row for row in rows):
        return sorted(rows, key=lambda row: row["id"])
    return rows


def _compare(expected: Any, actual: Any, where: str, key: str) -> Iterator[tuple[str, Any, Any]]:
    if type(expected) is not type(actual):
        yield where, expected, actual
    elif isinstance(expected, dict):
        if expected.keys() != actual.keys():
            missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
            yield f"{where}: keys", sorted(missing), sorted(extra)
        for name in expected.keys() & actual.keys():
            yield from _compare(expected[name], actual[name], f"{where}.{name}", name)
    elif isinstance(expected, list):
        if len(expected) != len(actual):
            yield f"{where}: length", expected, actual
        for number, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from _compare(one, other, f"{where}[{number}]", key)
    elif expected != actual and not _is_volatile(key):
        yield where, expected, actual


def _is_volatile(key: str) -> bool:
    if key in _OF_THE_MOMENT or key in _OF_THE_FILE or key in _COUNTERS:
        return True
    return key.endswith(("_ts", "_time"))


@define
class Replay:
    """Plays calls on `hub`, which must be running with a frozen clock."""

    hub: HubStandIn
    keys: dict[int, str] = field(factory=dict)  #: session id -> key the stand-in gave out
    connection: http.client.HTTPConnection | None = None

    #: hub times of scheduler runs that the recordings do not show, before a line of a file
    unrecorded_runs: dict[str, float] = field(factory=dict)

    def play(self, call: RecordedCall, at: float | None = None) -> Any:
        """The stand-in's answer to `call` made `at` that time, or its Fault; paths as on the recorded hub."""
        self.hub.clock.move_to(at or 0.0)
        if call.place in self.unrecorded_runs:
            self.hub.clock.move_to(self.unrecorded_runs[call.place])
            self.hub.run_scheduler()
        self._prepare(call)
        answer = self._send(call)
        if isinstance(answer, Fault):
            answer.faultString = answer.faultString.replace(str(self.hub.topdir), RECORDED_TOPDIR)
            return answer
        if call.method in {"login", "subsession"}:
            self.keys[answer["session-id"]] = answer["session-key"]
            answer["session-key"] = "SESSION-KEY"
        return answer

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    # -- what the recording implies happened between the calls

    def _prepare(self, call: RecordedCall) -> None:
        db, code = self.hub.db, (call.fault or {}).get("faultCode")
        self.hub.clock.move_to(max(_times(call.result), default=0.0))
        self.hub.offline(code == koji.ServerOffline.faultCode)
        if code == koji.AuthExpired.faultCode and call.session is not None:
            self.hub.expire_session(call.session)
        if call.method == "host.getTasks" and call.result and not self.hub.tasks(state_name="ASSIGNED"):
            # an offer where none was pending means that a scheduler run was due
            self.hub.clock.move_to(db.last_run + db.settings.run_interval)
        self._skip_ids(call)

    def _skip_ids(self, call: RecordedCall) -> None:
        result: Any = call.result
        if call.method in {"login", "subsession"} and result and result["session-id"] not in self.keys:
            self._continue_with("sessions", result["session-id"])
        elif call.method in _MAKES and isinstance(result, int):
            self._continue_with(_MAKES[call.method], result)
        elif call.method == "host.repoInit":
            self._continue_with("repos", result[0])
            self._continue_with("events", result[1])

    def _continue_with(self, table: str, number: int) -> None:
        known = getattr(self.hub.db, table)
        if table == "events" or number not in known:
            self.hub.db.skip_ids(table, number)

    # -- the wire

    def _send(self, call: RecordedCall) -> Any:
        headers = {"Content-Type": "text/xml", "User-Agent": "koji/1"}
        if call.session is not None:
            headers["Koji-Session-Id"] = str(call.session)
            headers["Koji-Session-Key"] = self.keys.get(call.session, "never-given")
            headers["Koji-Session-Callnum"] = str(call.callnum)
        url, body = "/kojihub", b""
        if call.query is not None:
            headers["Content-Type"] = "application/octet-stream"
            url, body = f"/kojihub?{call.query}", self._file(call)
        else:
            body = dumps(tuple(call.params), methodname=call.method, allow_none=1).encode()
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.hub.server.port)
        self.connection.request("POST", url, body, headers)
        try:
            values, _method = loads(self.connection.getresponse().read())
        except Fault as fault:
            return fault
        if call.query is not None and "hexdigest" in values[0] and body:
            assert values[0]["hexdigest"] == f"{zlib.adler32(body):08x}"
        return values[0]

    def _file(self, call: RecordedCall) -> bytes:
        """Bytes of the recorded length; a package of that name for a rpm."""
        fields = dict(part.split("=") for part in (call.query or "").split("&"))
        name = fields["filename"]
        if not name.endswith(".rpm"):
            return b"x" * call.body_length
        info = koji.parse_NVRA(name.removesuffix(".rpm"))
        return minimal_rpm(
            info["name"],
            info["version"],
            info["release"],
            info["arch"],
            sourcerpm=f"foo-{info['version']}-{info['release']}.src.rpm",
            size=call.body_length,
            buildtime=1795439125,
        )


def _times(answer: Any, key: str = "") -> Iterator[float]:
    """Every time in an answer; none of them can be later than the answer itself."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            yield from _times(value, name)
    elif isinstance(answer, list):
        for value in answer:
            yield from _times(value, key)
    elif isinstance(answer, float) and (key.endswith("_ts") or key == "ts"):
        yield answer
