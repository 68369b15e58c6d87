"""What the tools share: dnf set up for one root, and errors with a kind. Runs in the task image, with its python."""

import json
import os
import sys

import dnf
import dnf.exceptions
import dnf.module.module_base
import hawkey
import libdnf.module
from files import write_json

CACHE = "/cache"
"""Metadata and packages of the repositories; named after their content, so nothing in it goes stale."""

# What an error is about; the engine makes a failure class of it.
GROUP, DEPENDENCIES, REPO, PACKAGE, DISK, SCRIPT, SET, TRACES = (
    "group",
    "dependencies",
    "repo",
    "package",
    "disk",
    "script",
    "set",
    "traces",
)

IN_DEFAULTS = libdnf.module.ModulePackageContainer.ModuleErrorType_ERROR_IN_DEFAULTS

# Koji's architecture where rpm has no packages of that name.
RPM_ARCHES = {"i386": "i686", "arm": "armv7hl", "armhfp": "armv7hl"}


class ToolError(Exception):
    """A failure that has a kind."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def run_tool(main):
    """Call `main` with the job of ``argv[1]``; its answer or error goes to ``answer.json`` in ``argv[2]``."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    try:
        answer, status = main(job), 0
    except ToolError as error:
        answer, status = {"error": {"kind": error.kind, "message": str(error)}}, 3
    except dnf.exceptions.Error as error:
        answer, status = {"error": {"kind": kind_of(error), "message": str(error).strip()}}, 3
    except OSError as error:
        kind = DISK if error.errno in (28, 122) else PACKAGE  # ENOSPC, EDQUOT
        answer, status = {"error": {"kind": kind, "message": str(error)}}, 3
    if status:
        print(f"error: {answer['error']['message']}", file=sys.stderr)
    write_json(os.path.join(sys.argv[2], "answer.json"), answer)
    return status


def kind_of(error):
    """The kind of an error of dnf's."""
    text = str(error)
    if isinstance(error, dnf.exceptions.DepsolveError):
        return DEPENDENCIES
    if "No space left" in text or "Disk Requirements" in text or "more space needed" in text:
        return DISK
    if isinstance(error, dnf.exceptions.RepoError):
        return REPO
    if isinstance(error, (dnf.exceptions.MarkingError, dnf.exceptions.MarkingErrors, dnf.exceptions.CompsError)):
        return GROUP
    return PACKAGE


def open_base(config, root, *, hidden=True):
    """dnf for the root `root` with the repositories of `config` and nothing of this image's configuration.

    Not `hidden`: packages of module streams that are not active can be seen, too.
    """
    base = dnf.Base()
    conf = base.conf
    arch = RPM_ARCHES.get(config["arch"], config["arch"])
    if arch not in ("noarch", conf.substitutions.get("arch")):
        conf.arch = arch
        conf.ignorearch = arch not in hawkey_arches()
    conf.installroot = root
    conf.config_file_path = ""
    conf.cachedir = os.path.join(CACHE, "dnf")
    conf.persistdir = "/tmp/dnf-state"  # noqa: S108 - the container's own
    conf.logdir = "/tmp"  # noqa: S108
    conf.reposdir = []
    conf.plugins = False
    conf.gpgcheck = False
    conf.localpkg_gpgcheck = False
    conf.install_weak_deps = False
    conf.obsoletes = True
    conf.assumeyes = True
    conf.strict = True
    conf.keepcache = False
    conf.best = bool(config.get("best", False))
    if config.get("releasever"):
        conf.releasever = config["releasever"]
    for name, value in sorted(config.get("options", {}).items()):
        conf._set_value(name, value) if hasattr(conf, "_set_value") else setattr(conf, name, value)
    for repo in config["repos"]:
        added = base.repos.add_new_repo(repo["name"], conf, baseurl=[repo["baseurl"]])
        added.skip_if_unavailable = False
        added.metadata_expire = -1
        added.module_hotfixes = bool(config.get("module_hotfixes", False)) or not hidden
    return base


def set_up_modules(base, commands, *, first):
    """What `dnf module` does to the loaded `base`, one command after the other. dnf.exceptions.Error in dnf's words.

    `first`: nothing is in the root yet, so `install` wants the packages of the profiles; each command is then one that
    ends before the next begins, and may not change what that one enabled. Else streams become active, no more.
    """
    modules = dnf.module.module_base.ModuleBase(base) if commands else None
    for action, specs in commands:
        print(f"module {action} " + " ".join(specs), flush=True)
        try:
            if action == "install" and not first:
                modules.enable([spec.partition("/")[0] for spec in specs])
            else:
                getattr(modules, action)(specs)
        except dnf.exceptions.MarkingErrors as error:
            # dnf's command goes on where only the streams that are defaults do not fit together
            solving = error.module_depsolv_errors
            if error.no_match_group_specs or error.error_group_specs or (solving and solving[1] != IN_DEFAULTS):
                raise
            print(f"warning: {error}", flush=True)
        if not first:
            continue
        if switched := dict(base._moduleContainer.getSwitchedStreams()):
            text = "; ".join(f"module '{name}' stream '{old}' to '{new}'" for name, (old, new) in switched.items())
            raise dnf.exceptions.MarkingError(
                f"It is not possible to switch enabled streams of a module: {text}; reset it first"
            )
        base._moduleContainer.save()


def hawkey_arches():
    """Architectures this machine's rpm can install."""
    detected = hawkey.detect_arch()
    return {detected, "i686", "i386", "noarch"} if detected == "x86_64" else {detected, "noarch"}


def row(package):
    """A package of a repo as the engine's `Package`."""
    kind, value = package.chksum or (0, b"")
    checksum = f"{hawkey.chksum_name(kind)}:{value.hex()}" if value else ""
    return {**identity(package), "checksum": checksum}


def identity(package):
    return {
        "name": package.name,
        "epoch": int(package.epoch or 0),
        "version": package.version,
        "release": package.release,
        "arch": package.arch,
    }


def nevra(data):
    return "{name}-{epoch}:{version}-{release}.{arch}".format(**data)
