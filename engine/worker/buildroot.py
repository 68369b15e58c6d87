"""The hub's record of a task's package environment: INIT, packages, BUILDING, packages again, EXPIRED (contract 5).

A recipe with ``[buildroot] tracked = true`` gets one. What was installed is read from two files, `BEFORE` (before
build requirements) and `AFTER`, which its steps leave in the workspace or the warm root already knows: a JSON list of
objects with name, version, release, epoch, arch, size, buildtime and payloadhash, read from the real rpmdb. The files
come out of a container, so nothing in them is believed beyond its type.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import xml.parsers.expat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import koji
import requests

from engine.core.errors import InfrastructureError, TaskFailed
from engine.core.facts import PackageRepo, RepoFacts

logger = logging.getLogger(__name__)

BEFORE, AFTER = "installed_before.json", "installed_after.json"
DIRECTORIES = ("record", "result")
"""Where the steps leave them: ``record/`` only installing steps may write to, so it comes first."""
MAX_BYTES = 64 * 1024 * 1024
NOT_RECORDED = frozenset({"buildsys-build", "gpg-pubkey"})
KEYS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "version": (str,),
    "release": (str,),
    "epoch": (int, type(None)),
    "arch": (str,),
    "size": (int,),
    "buildtime": (int,),
    "payloadhash": (str,),
}
Package = dict[str, Any]


class InstalledPackages(Protocol):
    """What is installed in a task's root, as soon as it is known; None before."""

    def before(self) -> list[Package] | None:
        """Before build requirements were installed."""

    def after(self) -> list[Package] | None:
        """When the steps are over."""


class PackageFiles:
    """`InstalledPackages` from the two files in the workspace.

    `known` is their content by name where it was known before any step ran: no file of a step can replace it.
    """

    def __init__(self, workspace: str, known: Mapping[str, str] | None = None) -> None:
        self.workspace, self.known = workspace, dict(known or {})

    def before(self) -> list[Package] | None:
        return self._read(BEFORE)

    def after(self) -> list[Package] | None:
        return self._read(AFTER)

    def _read(self, name: str) -> list[Package] | None:
        for directory in DIRECTORIES:
            # What installing steps recorded is newer than what was known; what lies in result/ is anybody's.
            if directory == DIRECTORIES[-1] and name in self.known:
                return _packages(self.known[name], name)
            path = os.path.join(directory, name)
            data = self._file(path)
            if data is not None:
                return _packages(data, path)
        return None

    def _file(self, name: str) -> bytes | None:
        try:
            # The workspace's own directories are ours; only the last part may be a link a container made.
            file = os.open(os.path.join(self.workspace, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TaskFailed("BuildrootError", f"{name}: {error.strerror}") from None
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise TaskFailed("BuildrootError", f"{name}: larger than {MAX_BYTES // 2**20} MiB")
        return data


def _packages(data: bytes | str, name: str) -> list[Package]:
    try:
        return list(checked_packages(json.loads(data)))
    except (ValueError, RecursionError) as error:
        raise TaskFailed("BuildrootError", f"{name}: {error}") from None


def checked_packages(rows: Any) -> Iterator[Package]:
    """Rows with exactly the hub's keys and types (contract 5.4). ValueError says which row is wrong."""
    if not isinstance(rows, list):
        raise ValueError("must be a list of packages")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"[{index}]: must be an object")
        if row.get("name") in NOT_RECORDED:
            continue
        package = {}
        for key, types in KEYS.items():
            value = row.get(key)
            if not isinstance(value, types) or isinstance(value, bool):
                raise ValueError(f"[{index}].{key}: must be {types[0].__name__}, got {value!r}")
            package[key] = value
        yield package


class RepoFiles:
    """Files of the repo the root was made from, by its path where there is one, else its address."""

    def __init__(self, repo: PackageRepo) -> None:
        self.repo = repo

    def read(self, name: str) -> bytes | None:
        """Content of a file below the repo; None when it is not there. InfrastructureError otherwise."""
        if self.repo.path:
            try:
                with open(os.path.join(self.repo.path, name), "rb") as file:
                    return file.read()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise InfrastructureError(f"cannot read {name} of {self.repo.path}: {error.strerror}") from None
        try:
            answer = requests.get(f"{self.repo.url}/{name}", timeout=120)
            if answer.status_code == requests.codes.not_found:
                return None
            answer.raise_for_status()
        except requests.exceptions.RequestException as error:
            raise InfrastructureError(f"cannot fetch {name} of {self.repo.url}: {error}") from None
        return answer.content


class TrackedBuildroot:
    """One buildroot of the hub. Calls raise koji's errors as they are."""

    def __init__(self, session: Any, task_id: int, repo: RepoFacts, arch: str) -> None:
        self.session, self.task_id, self.repo, self.arch = session, task_id, repo, arch
        self.id = self._new()
        self.state = "INIT"
        self._listed = False

    @property
    def name(self) -> str:
        """kojid's name of it (contract 5.1)."""
        return f"{self.repo.tag_name}-{self.id}-{self.repo.id}"

    def _new(self) -> int:
        try:
            return int(self.session.host.newBuildRoot(self.repo.id, self.arch, task_id=self.task_id))
        except koji.RetryError:
            # The answer was lost, the buildroot was made (contract trap 4).
            rows = self.session.listBuildroots(taskID=self.task_id, state=(koji.BR_STATES["INIT"],))
            if not rows:
                raise
            return max(int(row["id"]) for row in rows)

    def set_packages(self, packages: Sequence[Package]) -> None:
        """The first list; then the buildroot is BUILDING."""
        self.session.host.setBuildRootList(self.id, list(packages))
        self._listed = True
        self.set_building()

    def set_building(self) -> None:
        """The build has begun."""
        if self.state == "INIT":
            self.session.host.setBuildRootState(self.id, "BUILDING")
            self.state = "BUILDING"

    def update_packages(self, packages: Sequence[Package]) -> None:
        """The list at the end; the hub adds what is new."""
        if not self._listed:
            self.set_packages(packages)
        else:
            self.session.host.updateBuildRootList(self.id, list(packages))

    def expire(self) -> None:
        """The end, from whatever state; expiring twice is fine."""
        if self.state != "EXPIRED":
            self.session.host.setBuildRootState(self.id, "EXPIRED")
            self.state = "EXPIRED"


class Origins:
    """Says of each package where the hub knows it from: an external repo, or one of its own rpms (5.5, 5.6)."""

    def __init__(
        self,
        repo: RepoFacts,
        files: RepoFiles,
        external: Sequence[Mapping[str, Any]],
        arch: str,
        session: Any = None,
    ) -> None:
        self.repo, self.files, self.arch, self.session = repo, files, arch, session
        self.external = {row["url"].replace("$arch", arch): row["external_repo_id"] for row in external}
        self._origins: dict[str, str] | None = None
        self._known: dict[str, Mapping[str, Any]] | None = None

    def mark(self, packages: Sequence[Package]) -> list[Package]:
        """The packages with `location` or `id` added, and nothing else the hub would ignore (trap 9)."""
        return [self._marked(dict(package)) for package in packages]

    def _marked(self, package: Package) -> Package:
        nvra = "{name}-{version}-{release}.{arch}".format(**package)
        if self.external:
            origin = self.origins.get(nvra)
            if origin is None:
                raise TaskFailed("BuildError", f"No origin for {nvra}")
            location = self.external.get(origin)
            if location is not None:
                return {**package, "location": location}
            if not (origin.startswith("file://") and origin.endswith(f"/repo_{self.repo.id}_premerge/")):
                raise TaskFailed("BuildError", f"Unknown origin for {nvra}: {origin}")
        known = self.known.get(nvra)
        if known is None:
            logger.warning("%s is not in the package list of repo %d", nvra, self.repo.id)
            return package
        if known.get("payloadhash") != package["payloadhash"]:
            raise TaskFailed("BuildrootError", f"hash mismatch for rpm {nvra}: not the one of repo {self.repo.id}")
        return {**package, "id": known["id"]}

    @property
    def origins(self) -> dict[str, str]:
        """n-v-r.a -> the repo it came from, from the record `origin` of repomd.xml."""
        if self._origins is None:
            repomd = self.files.read("repodata/repomd.xml")
            place = repomd_location(repomd or b"", "origin")
            data = self.files.read(place) if place else None
            if data is None:
                words = f"repo {self.repo.id} has external repos but no record of the packages' origins"
                raise TaskFailed("BuildrootError", words)
            with self._legible(str(place)):
                self._origins = dict(parse_origins(gzip.decompress(data).decode()))
        return self._origins

    @property
    def known(self) -> dict[str, Mapping[str, Any]]:
        """n-v-r.a -> the hub's own rpm, from rpmlist.jsonl; of a repo without one the drafts of the tag."""
        if self._known is None:
            data = self.files.read("rpmlist.jsonl")
            rows: list[Mapping[str, Any]] = []
            if data is None and self.session is not None:
                rows, _builds = self.session.listTaggedRPMS(
                    tag=self.repo.tag_id, event=self.repo.create_event, latest=True, draft=True
                )
            with self._legible("rpmlist.jsonl"):
                if data is not None:
                    rows = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
                self._known = {"{name}-{version}-{release}.{arch}".format(**row): row for row in rows}
        return self._known

    @contextmanager
    def _legible(self, name: str) -> Iterator[None]:
        """A file of the repo that is broken is so for every host: the task fails, with its name."""
        try:
            yield
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, koji.GenericError) as error:
            text = f"{name} of repo {self.repo.id} cannot be read: {type(error).__name__}: {error}"
            raise TaskFailed("BuildrootError", text) from None


def parse_origins(text: str) -> Iterator[tuple[str, str]]:
    """Lines ``[epoch:]n-v-r.a <tab> repo`` as (n-v-r.a, repo)."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2:
            parsed = koji.parse_NVRA(fields[0])
            yield "{name}-{version}-{release}.{arch}".format(**parsed), fields[1]


def repomd_location(repomd: bytes, kind: str) -> str | None:
    """Where repomd.xml says the data of `kind` is. Entities are refused: the file came over the network."""
    found: list[str] = []
    within = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal within
        if name == "data":
            within = attributes.get("type", "")
        elif name == "location" and within == kind:
            found.append(attributes.get("href", ""))

    def refuse(*_: Any) -> None:
        raise ValueError("repomd.xml: entities are refused")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(repomd, True)
    except (xml.parsers.expat.ExpatError, ValueError) as error:
        raise InfrastructureError(f"repomd.xml cannot be read: {error}") from None
    return found[0] if found and ".." not in found[0] and not found[0].startswith("/") else None
