"""What no recipe and no task may do (design.md section 8, ADR "Security Boundaries"), as pure functions.

Each function returns the complaint (message, cure) or None; the loader asks them about literals, the render
about every resolved value. What holds for all containers without exception is written by the podman form itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from engine.core.facts import MountRule

Complaint = tuple[str, str]

MAX_WORD = 100_000  # the kernel refuses one argument of 128 KiB and more
CONTROL = re.compile(r"[\x00\n\r]")
_NO_TEXT = re.compile("[\ud800-\udfff]")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
FILE_NAME = re.compile(r"[A-Za-z0-9_+~^][A-Za-z0-9._+~^:@=,-]*\Z")
CONTAINER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
SELINUX_TYPE = re.compile(r"[A-Za-z0-9_]+\Z")
SELINUX_LEVEL = re.compile(r"[A-Za-z0-9:.,-]+\Z")
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})\Z")

_SOURCE_TREES = ("/usr", "/etc", "/proc", "/sys", "/dev", "/boot", "/bin", "/sbin", "/lib", "/lib64")
_RUN_TREES = ("/run", "/var/run")
_STATE_TREES = ("/var/lib/containers", "/var/spool", "/var/log")
_HOMES = ("/root", "/home", "/var/root")
_SYSTEM_DIRS = ("/", "/var", "/var/lib", "/var/tmp", "/opt", "/srv", "/tmp", "/mnt")  # noqa: S108
_DATA_TREES, _MEDIA = ("/mnt", "/srv"), "/run/media"
_TARGET_TREES = (
    "/proc",
    "/sys",
    "/dev",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/var/run",
    "/run/podman",
)
_TARGET_EXACT = ("/", "/etc", "/run", "/var", "/var/lib", "/home", "/root", "/tmp", "/target")  # noqa: S108


def text_complaint(text: str) -> Complaint | None:
    """A word of the command line whose bytes are no text: podman's API and the hub cannot be told it."""
    if _NO_TEXT.search(text):
        return f"is not UTF-8: {_short(text)}", "write it in UTF-8"
    return None


def word_complaint(word: str, template: str) -> Complaint | None:
    """An argv word: no NUL or newline, not over-long, and no value may turn into an option.

    `template` is the recipe's text: only what the recipe itself wrote may begin with ``-``.
    """
    if CONTROL.search(word):
        return (
            f"a value has a NUL, newline or carriage return: {_short(word)}",
            "such a value cannot be an argument",
        )
    if complaint := text_complaint(word):
        return complaint
    if len(word.encode()) > MAX_WORD:
        return f"a value is {len(word)} characters long", f"an argument may have {MAX_WORD} bytes"
    if word.startswith("-") and not template.startswith("-"):
        return f"the value {_short(word)} would be read as an option", "values may not begin with '-'"
    return None


def path_complaint(path: str, *, absolute: bool = True) -> Complaint | None:
    """A path after rendering: absolute (or relative) as asked, normalised, without ``..``."""
    if not path:
        return "the path is empty", ""
    if CONTROL.search(path):
        return f"the path has a NUL or newline: {_short(path)}", ""
    if complaint := text_complaint(path):
        return complaint
    if absolute and not path.startswith("/"):
        return f"must be an absolute path, got {_short(path)}", ""
    if not absolute and (path.startswith(("/", "-"))):
        return f"must be a relative path that does not begin with '/' or '-', got {_short(path)}", ""
    if ".." in path.split("/"):
        return f"'..' is not allowed in {_short(path)}", ""
    normal = posixpath.normpath(path)
    if path.startswith("//"):  # normpath keeps two slashes at the beginning, to the kernel they are one
        normal = "/" + normal.lstrip("/")
    if normal != path.removesuffix("/") and path != "/":
        return f"must be written without '.', '//' or a trailing part: {_short(path)}", normal
    return None


def file_name_complaint(name: str) -> Complaint | None:
    """A file name made from a task's value: nothing hidden, no option, no separator."""
    if not FILE_NAME.match(name) or len(name) > 255:
        return (
            f"{_short(name)} cannot be a file name",
            "letters, digits and . _ + ~ ^ : @ = , - only, no leading dot",
        )
    return None


def below(path: str, tree: str) -> bool:
    """`path` is `tree` or inside it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def source_complaint(source: str) -> Complaint | None:
    """A host path that no container may ever see, whoever asks."""
    if complaint := path_complaint(source):
        return complaint
    source = source.rstrip("/") or "/"
    cure = "mount a directory made for tasks"
    if source in _SYSTEM_DIRS or any(below(source, tree) for tree in (*_SOURCE_TREES, *_STATE_TREES)):
        return f"{source} of the host may never be mounted", cure
    if any(below(source, tree) for tree in _RUN_TREES):
        return f"{source}: run-time files and sockets of the host may never be mounted", cure
    parts = source.split("/")
    if source in _HOMES or (parts[1] == "home" and len(parts) <= 3):
        return f"{source}: a home directory may never be mounted", cure
    if any(part in {".ssh", ".gnupg", ".koji", ".docker", ".aws"} for part in parts):
        return f"{source}: a directory of credentials may never be mounted", cure
    return None


def given_complaint(source: str) -> Complaint | None:
    """A host directory that a user names to be read: as any source, but a whole data tree or a medium will do."""
    if (complaint := path_complaint(source)) or source in _DATA_TREES or below(source, _MEDIA):
        return complaint
    if complaint := source_complaint(source):
        return complaint[0], "name a directory that holds nothing else"
    return None


def workdir_complaint(workdir: str) -> Complaint | None:
    """The directory of the tasks' workspaces: what lies in it is mounted."""
    if complaint := path_complaint(workdir):
        return complaint
    if source_complaint(posixpath.join(workdir, "task")):
        return f"{workdir}: no container may see what lies there", "name another directory"
    return None


def target_complaint(target: str) -> Complaint | None:
    """A place inside the container that no mount may cover. Single files below /etc are fine."""
    if complaint := path_complaint(target):
        return complaint
    target = target.rstrip("/") or "/"
    if target in _TARGET_EXACT or any(below(target, tree) for tree in _TARGET_TREES):
        return f"nothing may be mounted at {target}", "use a path such as /work, /repos or /mnt"
    return None


def label_complaint(key: str) -> Complaint | None:
    """A label's key: podman's command line ends it at the first ``=``."""
    if not key or "=" in key or CONTROL.search(key):
        return f"{_short(key)} cannot be a label's key", "some characters, no '=' among them"
    return None


def selinux_complaint(value: str | None, *, level: bool) -> Complaint | None:
    """SELinux type or level of a container; none is podman's own."""
    pattern, example = (SELINUX_LEVEL, "s0:c1,c2") if level else (SELINUX_TYPE, "container_t")
    if value and not pattern.match(value):
        return f"{_short(value)} is no SELinux label", f"as in {example}"
    return None


def glob_complaint(glob: str) -> Complaint | None:
    """A glob of images that a tag may name: its registry stands there as it is, or whoever edits tags chooses one."""
    registry, slash, _rest = glob.partition("/")
    if glob != "*" and (not slash or re.search(r"[*?\[]", registry)):
        return f"{_short(glob)} also matches images of other registries", "registry.example.org/builders/*"
    return None


def rule_for(source: str, rules: Iterable[MountRule]) -> MountRule | None:
    """The operator's closest rule that covers `source` (`adjutant_container_mounts`)."""
    matching = [rule for rule in rules if below(source, rule.source.rstrip("/") or "/")]
    return max(matching, key=lambda rule: len(rule.source), default=None)


def workspace_complaint(source: str, workspace: str, *, writable: bool) -> Complaint | None:
    """`source` lies in the workspace: only a part of it, never logs/, and in/ read-only."""
    relative = source[len(workspace) :].strip("/")
    part = relative.split("/", 1)[0]
    if not relative:
        return (
            "the whole workspace may not be mounted: it holds the logs",
            "mount a part, e.g. {{ workspace.host }}/result",
        )
    if part == "logs":
        return "logs/ may never be mounted: a link in it would be followed by the host", ""
    if part == "in" and writable:
        return "in/ is read-only for containers", 'say mode = "ro"'
    return None


def _short(value: str) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:60] + "…" + text[-15:]
