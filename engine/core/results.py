"""From files found to artifacts and the task's result value. Pure: facts about files in, values out.

Rules (design.md sections 3 and 8; field study 3.2 no. 8): regular files only, chosen by glob; counts and sizes
bounded; a name that could hurt whoever reads a list of files is a failure, not something to leave out in silence.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import frozen

from engine.core import templates
from engine.core.errors import BadInput, Problem
from engine.core.outcome import ArtifactFile, ArtifactSet, Failure, LogFile
from engine.core.recipe import Artifact
from engine.core.verdict import size_words

MAX_FILES = 10_000
MAX_BYTES = 20 * 1024**3
"""Bounds of one task's artifacts; the bytes count as written in the files *and* as they lie on the disk."""
MAX_NAME = 255
MAX_ENTRIES = 200_000
"""A walk that meets more entries than this is given up: the task's directory was made to be endless."""
MAX_DEPTH = 64

FileKind = Literal["file", "directory", "link", "other"]


@frozen(kw_only=True)
class FoundFile:
    """A directory entry below the workspace: `path` relative to it, `bytes` apparent, `allocated` on disk.

    `readable` False: this user may not read it (rootless, a file of another container user without mode r).
    """

    path: str
    kind: FileKind = "file"
    bytes: int = 0
    allocated: int = 0
    readable: bool = True


@frozen(kw_only=True)
class Selection:
    """What `select` chose: the sets, sentences about what was passed over, and the failure, if any."""

    sets: tuple[ArtifactSet, ...] = ()
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


def select(artifacts: Sequence[Artifact], found: Iterable[FoundFile], logs: Iterable[str] = ()) -> Selection:
    """Choose each artifact set's files from everything `found`; the first broken rule is the failure.

    `logs` are names of the task's logs: artifacts lie beside them on the hub and may not share a name.
    """
    entries = sorted(found, key=lambda entry: entry.path)
    sets: list[ArtifactSet] = []
    notes: list[str] = []
    failures: list[Failure] = []
    for artifact in artifacts:
        matching = [entry for entry in entries if entry.kind != "directory" and matches(artifact, entry.path)]
        notes += [
            f"{_quoted(entry.path)} was not collected: it is {'a link' if entry.kind == 'link' else 'no file'}"
            for entry in matching
            if entry.kind != "file"
        ]
        files = [entry for entry in matching if entry.kind == "file"]
        if words := _wrong(artifact, files):
            failures.append(Failure(fault=artifact.fails, message=f"artifacts {artifact.name}: {words}"))
            continue
        sets.append(
            ArtifactSet(
                name=artifact.name,
                upload=artifact.upload,
                files=tuple(
                    ArtifactFile(
                        name=entry.path.rsplit("/", 1)[-1],
                        source=entry.path,
                        path=_below_result(entry.path),
                        bytes=entry.bytes,
                    )
                    for entry in files
                ),
            )
        )
    if not failures and (failure := _too_much(sets, entries, artifacts) or _clash(sets, artifacts, logs)):
        failures.append(failure)
    return Selection(sets=tuple(sets), notes=tuple(notes), failure=failures[0] if failures else None)


def matches(artifact: Artifact, path: str) -> bool:
    """True when a glob of `artifact` fits `path` and no exclusion does.

    ``*`` and ``?`` stay within one directory, ``**`` spans any number of them, and a leading dot must be
    written out. An exclusion without ``/`` is held against the base name.
    """
    name = path.rsplit("/", 1)[-1]
    return any(_fits(glob, path) for glob in artifact.glob) and not any(
        _fits(glob, path if "/" in glob else name) for glob in artifact.exclude
    )


def may_hold(artifacts: Iterable[Artifact], directory: str) -> bool:
    """True when a file below `directory` could match a glob, so that the walk need not enter any other."""
    parts = directory.split("/")
    return any(_may_go_on(glob.split("/"), parts) for artifact in artifacts for glob in artifact.glob)


def _may_go_on(globs: Sequence[str], parts: Sequence[str]) -> bool:
    *rows, last = _rows(globs, parts)
    if globs[-1] == "**":
        rows.append(last)
    return any(len(parts) in row for row in rows)


def _fits(glob: str, path: str) -> bool:
    *_, last = _rows(glob.split("/"), parts := path.split("/"))
    return len(parts) in last


def _rows(globs: Sequence[str], parts: Sequence[str]) -> Iterator[set[int]]:
    """After no, one, two … of `globs`: how many of `parts` they can have consumed.

    Row by row, so that several ``**`` cost the product of the lengths and not a power of it.
    """
    reached = {0}
    yield reached
    for glob in globs:
        if glob == "**":
            reached = set(range(min(reached), len(parts) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(parts) and _part_fits(glob, parts[at])}
        yield reached


def _part_fits(glob: str, part: str) -> bool:
    if part.startswith(".") and not glob.startswith("."):
        return False
    return fnmatch.fnmatchcase(part, glob)


def _wrong(artifact: Artifact, files: Sequence[FoundFile]) -> str:
    """What is wrong with the files of one set, or ""."""
    globs = ", ".join(artifact.glob)
    for entry in files:
        name = entry.path.rsplit("/", 1)[-1]
        if not _safe_name(name):
            return f"the file name {_quoted(entry.path)} is refused: control characters, a leading '-', or no text"
        if not entry.readable:
            return f"{_quoted(entry.path)} cannot be read by others: its mode forbids it"
    if len(files) < artifact.min:
        return f"{len(files)} files match {globs}, at least {artifact.min} are needed"
    if artifact.max is not None and len(files) > artifact.max:
        listed = ", ".join(_quoted(entry.path) for entry in files[:5])
        return f"{len(files)} files match {globs}, at most {artifact.max} are allowed: {listed}"
    return ""


def _too_much(
    sets: Sequence[ArtifactSet], entries: Sequence[FoundFile], artifacts: Sequence[Artifact]
) -> Failure | None:
    chosen = {file.source for group in sets for file in group.files}
    words = ""
    if len(chosen) > MAX_FILES:
        words = f"{len(chosen)} files, the limit is {MAX_FILES}"
    else:
        total = sum(max(entry.bytes, entry.allocated) for entry in entries if entry.path in chosen)
        if total > MAX_BYTES:
            words = f"{size_words(total)}, the limit is {size_words(MAX_BYTES)}"
    if not words:
        return None
    return Failure(fault=artifacts[0].fails, message=f"too much to collect: {words}")


def _safe_name(name: str) -> bool:
    if name.startswith("-") or len(name.encode(errors="replace")) > MAX_NAME:
        return False
    return name.isprintable() and not any("\ud800" <= char <= "\udfff" for char in name)


def _clash(sets: Sequence[ArtifactSet], artifacts: Sequence[Artifact], logs: Iterable[str]) -> Failure | None:
    seen: dict[str, str] = {name: f"the log {name}" for name in logs}
    seen |= {name: f"the engine's {name}" for name in ("result.json", "replay.sh")}
    faults = {artifact.name: artifact.fails for artifact in artifacts}
    for group in sets:
        if not group.upload:
            continue
        for file in group.files:
            earlier = seen.get(file.path.split("/", 1)[0]) or seen.setdefault(file.name, file.source)
            if earlier != file.source:
                return Failure(
                    fault=faults[group.name],
                    message=f"artifacts {group.name}: {file.source} and {earlier} share one name; "
                    "results lie in one directory",
                )
    return None


def _below_result(path: str) -> str:
    return path.removeprefix("result/")


def _quoted(path: str) -> str:
    text = ascii(path)
    return text if len(text) <= 120 else text[:117] + "..."


def result_variables(
    sets: Iterable[ArtifactSet], logs: Iterable[LogFile], *, task_id: int, declared: Iterable[str] = ()
) -> dict[str, Any]:
    """What a recipe's `result` knows besides what the steps know.

    ``artifacts.NAME.names`` base names, ``.paths`` the same below the hub's work directory; ``logs.names`` and
    ``logs.paths`` alike, without empty logs (contract 4.2: never list a log of which no byte was uploaded);
    ``upload_path`` the task's directory on the hub (contract 3.4). `declared` are the recipe's artifact names:
    a set that its `when` left out is empty, not unknown.
    """
    upload_path = f"tasks/{task_id % 10000}/{task_id}"

    def listed(names: Iterable[str]) -> dict[str, list[str]]:
        known = list(names)
        return {"names": known, "paths": [f"{upload_path}/{name}" for name in known]}

    return {
        "artifacts": {name: listed(()) for name in declared}
        | {group.name: listed(file.name for file in group.files) for group in sets},
        "logs": listed(log.name for log in logs if log.bytes),
        "upload_path": upload_path,
    }


def result_value(template: Any, variables: Mapping[str, Any], where: str) -> Any:
    """The value of a recipe's `result`; BadInput naming the key path when a template cannot be rendered."""
    try:
        return templates.value(template, templates.variables(variables))
    except templates.TemplateProblem as problem:
        raise BadInput([Problem(where, "result", problem.message, problem.cure)]) from None
