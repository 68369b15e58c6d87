"""The layers laid over one another: every effective value with its origin, and the objects made of them."""

from __future__ import annotations

import logging
import os
import re
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve, frozen

from engine.core import policy
from engine.core.errors import BadInput, Problem, did_you_mean
from engine.core.facts import Settings
from engine.core.images import image_complaint
from engine.core.structure import structure, unstructure
from engine.settings import kojid, sources
from engine.settings.document import LEAVES, WorkerFile
from engine.settings.kojid import RLIMITS
from engine.settings.sources import Layer
from engine.worker.options import CAPS, HubOptions, WorkerOptions

DEFAULT_PATH = "/etc/koji-adjutant/worker.toml"
LABEL_PREFIX = "io.koji.adjutant."
MOUNTS = "adjutant_container_mounts"
MASK = "********"
# kojid uses these when they exist and nothing else is said (contract 1.1); what is root's alone is kojid's.
_IF_PRESENT = {"hub.cert": "/etc/kojid/client.crt", "hub.serverca": "/etc/kojid/serverca.crt"}


@frozen
class Effective:
    """One setting as it holds: its key path in worker.toml, plain value, and where it came from."""

    path: str
    value: Any
    origin: str
    secret: bool = False

    @property
    def shown(self) -> Any:
        """The value as it may be printed."""
        return MASK if self.secret and self.value else self.value


@frozen(kw_only=True)
class Loaded:
    """All settings. `settings` shape plans, `hub` and `worker` the daemon; `notes` changed nothing."""

    settings: Settings
    hub: HubOptions
    worker: WorkerOptions
    rlimits: Mapping[str, str]
    values: tuple[Effective, ...]
    notes: tuple[Problem, ...]
    file: WorkerFile

    def origin(self, path: str) -> str:
        return next(value.origin for value in self.values if value.path == path)


def load_settings(
    config: str | None = None,
    kojid_conf: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    command_line: Mapping[str, Any] | None = None,
    local: bool = False,
) -> Loaded:
    """Read every source. BadInput with the problems of all of them at once.

    `config` is worker.toml (or, ending in ``.conf``, a kojid.conf), `command_line` values by key path
    (``hub.maxjobs``). Without `config`: $ADJUTANT_CONFIG, then /etc/koji-adjutant/worker.toml if it exists; without
    `kojid_conf`: $ADJUTANT_KOJID_CONF, `kojid_conf` of worker.toml, then /etc/kojid/kojid.conf if it may be read.

    A builder's worker.toml is closed to other people: who works for himself (`local`) does without, if nobody named it.
    """
    environment = os.environ if environment is None else environment
    if config is not None and config.endswith(".conf"):
        config, kojid_conf = None, config
    problems: list[Problem] = []
    notes: list[Problem] = []
    layers: list[Layer] = [sources.command_line_layer(command_line or {})]
    with _Collect(problems):
        layer, ignored = sources.environment_layer(environment)
        layers.append(layer)
        notes.extend(ignored)
    path = config or environment.get("ADJUTANT_CONFIG") or _existing(DEFAULT_PATH)
    if path == DEFAULT_PATH and path != config and not os.access(path, os.R_OK):
        cure = "run this as the worker's user, or name a file of your own"
        closed = Problem(path, "", f"cannot be read by uid {os.geteuid()}", cure)
        (notes if local else problems).append(closed)
        path = None
    named = kojid_conf or environment.get("ADJUTANT_KOJID_CONF")
    if path:
        with _Collect(problems):
            layers.append(sources.toml_layer(path))
            named = named or layers[-1].values.get("kojid_conf")
    conf_path = named or _existing(kojid.DEFAULT_PATH)
    if conf_path and not named and not os.access(conf_path, os.R_OK):
        notes.append(_passed_over(conf_path, "say what holds in worker.toml"))
    elif conf_path:
        with _Collect(problems):
            conf = kojid.read_kojid_conf(conf_path)
            notes.extend(conf.notes)
            layers.append(sources.kojid_layer(conf))
    if problems:
        raise BadInput(problems)
    return _combine(layers, notes)


class _Collect:
    """Gathers the problems of a BadInput instead of stopping at the first source."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, BadInput):
            self.problems.extend(error.problems)
            return True
        return False


def _existing(path: str) -> str | None:
    """The path of a file that is there; also of one in a closed directory, so that who reads it is told."""
    try:
        return path if Path(path).is_file() else None
    except PermissionError:
        return path


def _combine(layers: Sequence[Layer], notes: list[Problem]) -> Loaded:
    values = {path: _effective(path, layers) for path in LEAVES}
    values[MOUNTS] = _mounts(values[MOUNTS], values["hub.topdir"].value)
    given = {path: value.value for path, value in values.items() if value.value is not None}
    file = structure(sources.nest(given), WorkerFile, "settings")
    values["worker.id"] = _worker_id(values["worker.id"], file.hub.workdir)
    file = evolve(file, worker=evolve(file.worker, id=values["worker.id"].value))
    problems = [_problem(values, *complaint) for complaint in _complaints(file)]
    if problems:
        raise BadInput(problems)
    notes.extend(_uncovered(values, file))
    for name, default in _IF_PRESENT.items():
        if values[name].origin == "default" and os.path.isfile(default):
            notes.append(_passed_over(default, f"set {name}"))
    for name, most in CAPS.items():
        value = values[f"hub.{name}"]
        if value.value > most and value.origin != "default":
            text = f"{value.value} s is longer than a host may be silent; {most} s is used"
            notes.append(Problem(value.origin, "", text))
    return Loaded(
        settings=_plan_settings(file),
        hub=file.hub,
        worker=file.worker,
        rlimits=file.rlimits,
        values=tuple(values.values()),
        notes=tuple(notes),
        file=file,
    )


def _problem(values: Mapping[str, Effective], path: str, message: str, cure: str) -> Problem:
    """A complaint about the value at `path`, which may lie within a setting: ``adjutant_images[0].image``."""
    setting, within = re.fullmatch(r"([^\[]+)(.*)", path).groups()  # type: ignore[union-attr]  # it always matches
    return Problem(values[setting].origin + within, "", message, cure)


def _effective(path: str, layers: Sequence[Layer]) -> Effective:
    leaf = LEAVES[path]
    for layer in layers:
        if path in layer.values:
            return Effective(path, unstructure(layer.values[path]), layer.origin(path), leaf.secret)
    if path in _IF_PRESENT and os.access(_IF_PRESENT[path], os.R_OK):
        return Effective(path, _IF_PRESENT[path], "default, as the file exists", leaf.secret)
    return Effective(path, unstructure(leaf.default), "default", leaf.secret)


def _mounts(given: Effective, topdir: str) -> Effective:
    """The default is the hub's tree, wherever that is."""
    if given.origin != "default" or topdir == LEAVES["hub.topdir"].default:
        return given
    rules = [{**rule, "source": topdir, "target": topdir} for rule in given.value]
    return evolve(given, value=rules, origin="default, from hub.topdir")


def _uncovered(values: Mapping[str, Effective], file: WorkerFile) -> Iterator[Problem]:
    """A hub's tree that is used here and that no recipe may mount."""
    topdir = file.hub.topdir
    used = values["hub.topdir"].origin != "default" or os.path.isdir(topdir)
    if used and policy.rule_for(topdir, file.adjutant_container_mounts) is None:
        cure = f'add {{ source = "{topdir}", target = "{topdir}" }}'
        text = f"does not allow hub.topdir, {topdir}: tasks that read it there are refused"
        yield Problem(values[MOUNTS].origin, "", text, cure)


def _passed_over(path: str, cure: str) -> Problem:
    """A file of kojid's that this user may not read: not used, for nobody named it."""
    return Problem(path, "", f"cannot be read by uid {os.geteuid()}, not used", f"make it readable, or {cure}")


def _worker_id(given: Effective, workdir: str) -> Effective:
    """Two workers of one host must not take each other's containers for leftovers: the workdir tells them apart."""
    if given.value:
        return given
    name = socket.gethostname()
    if workdir != LEAVES["hub.workdir"].default:
        name += f"-{zlib.crc32(workdir.encode()):08x}"
    return evolve(given, value=name)


def _plan_settings(file: WorkerFile) -> Settings:
    hub, worker = file.hub, file.worker
    return Settings(
        adjutant_task_image_default=file.adjutant_task_image_default,
        adjutant_image_pull_policy=file.adjutant_image_pull_policy,
        adjutant_container_mounts=file.adjutant_container_mounts,
        adjutant_network_enabled=file.adjutant_network_enabled,
        adjutant_container_labels=file.adjutant_container_labels,
        adjutant_container_timeouts=file.adjutant_container_timeouts,
        adjutant_images=file.adjutant_images,
        adjutant_images_allowed=file.adjutant_images_allowed,
        adjutant_images_ttl=file.adjutant_images_ttl,
        adjutant_secrets=file.adjutant_secrets,
        worker_id=worker.id,
        workdir=hub.workdir,
        topdir=hub.topdir,
        topurl=hub.topurl.split()[0] if hub.topurl.split() else "",
        limits=file.limits,
        buildroots=file.buildroots,
        rpmbuild_timeout=hub.rpmbuild_timeout,
        packager=hub.packager,
        vendor=hub.vendor,
        distribution=hub.distribution,
        mockhost=hub.mockhost,
        selinux_type=worker.selinux_type,
        selinux_level=worker.selinux_level,
        variables=file.variables,
    )


def _complaints(file: WorkerFile) -> Iterator[tuple[str, str, str]]:
    """What must hold beyond the type of each value: key path, message, cure."""
    if complaint := policy.path_complaint(file.hub.topdir):
        yield "hub.topdir", *complaint
    if complaint := policy.workdir_complaint(file.hub.workdir):
        yield "hub.workdir", *complaint
    if file.hub.log_level and file.hub.log_level.upper() not in logging.getLevelNamesMapping():
        known = sorted(set(logging.getLevelNamesMapping()) - {"NOTSET"})
        yield (
            "hub.log_level",
            f"no level is called '{file.hub.log_level}'",
            did_you_mean(file.hub.log_level, known),
        )
    yield from _hub_complaints(file.hub)
    yield from _container_complaints(file)
    yield from _mount_complaints(file)
    for entry in file.buildroots.warm:
        if len(entry.split()) != 3 or any(policy.word_complaint(word, "") for word in entry.split()):
            yield "buildroots.warm", f"'{entry}' does not name a root", "write METHOD TAG ARCH"
    yield from _image_and_secret_complaints(file)
    for name, text in file.rlimits.items():
        if name not in RLIMITS:
            yield "rlimits", f"this system has no limit '{name}'", did_you_mean(name, sorted(RLIMITS))
        elif not _is_limit(text):
            yield "rlimits", f"{name} = '{text}' is no limit", 'write RLIMIT_NOFILE = "soft hard", -1 for none'


def _hub_complaints(hub: HubOptions) -> Iterator[tuple[str, str, str]]:
    """What would end in a login that cannot be made, whatever hub and KDC do."""
    if hub.server and not _is_address(hub.server):
        yield "hub.server", f"'{hub.server}' is no address", "write http:// or https://, the host and /kojihub"
    try:
        named = hub.host_principal_format % "host"
    except (TypeError, ValueError):
        named = ""
    if not hub.krb_principal and "host" not in named:
        cure = "as in compile/%s@EXAMPLE.COM; of another percent sign write two"
        yield "hub.host_principal_format", "may hold one %s, for the host's name, and must", cure


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _container_complaints(file: WorkerFile) -> Iterator[tuple[str, str, str]]:
    for key in file.adjutant_container_labels:
        if key.startswith(LABEL_PREFIX):
            yield "adjutant_container_labels", f"'{key}' is set by the worker itself", "use another prefix"
        elif complaint := policy.label_complaint(key):
            yield "adjutant_container_labels", *complaint
    for key, level in (("selinux_type", False), ("selinux_level", True)):
        if complaint := policy.selinux_complaint(getattr(file.worker, key), level=level):
            yield f"worker.{key}", *complaint
    for glob in file.adjutant_images_allowed:
        if complaint := policy.glob_complaint(glob):
            yield "adjutant_images_allowed", *complaint


def _mount_complaints(file: WorkerFile) -> Iterator[tuple[str, str, str]]:
    """No rule may open what no recipe may mount, nor the directories of all tasks."""
    for index, rule in enumerate(file.adjutant_container_mounts):
        place = f"adjutant_container_mounts[{index}]"
        if complaint := policy.source_complaint(rule.source):
            yield f"{place}.source", *complaint
        elif policy.below(rule.source, file.hub.workdir) or policy.below(file.hub.workdir, rule.source):
            cure = "mount a directory beside it, or move hub.workdir"
            yield f"{place}.source", f"{rule.source} overlaps hub.workdir, where every task's files are", cure
        if complaint := policy.target_complaint(rule.target):
            yield f"{place}.target", *complaint


def _image_and_secret_complaints(file: WorkerFile) -> Iterator[tuple[str, str, str]]:
    for name, path in file.adjutant_secrets.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            yield "adjutant_secrets", f"'{name}' cannot be a secret's name", "letters, digits, '.', '_' and '-'"
        if complaint := policy.path_complaint(path):
            yield "adjutant_secrets", f"{name}: {complaint[0]}", complaint[1]
    if complaint := image_complaint(file.adjutant_task_image_default):
        yield "adjutant_task_image_default", *complaint
    for index, rule in enumerate(file.adjutant_images):
        if complaint := image_complaint(rule.image):
            yield f"adjutant_images[{index}].image", *complaint


def _is_limit(text: str) -> bool:
    """``soft`` or ``soft hard``, as setrlimit(2) takes them."""
    try:
        numbers = [int(part) for part in text.split()]
    except ValueError:
        return False
    if not 1 <= len(numbers) <= 2:
        return False
    soft, hard = (2**63 if number == -1 else number for number in (*numbers, -1)[:2])
    return 0 <= soft <= hard <= 2**63
