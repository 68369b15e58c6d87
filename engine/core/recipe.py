"""The recipe language: one TOML file, one Koji method. Frozen classes, no behaviour.

The loader (`engine.core.loader`) fills them from TOML strictly; the schema and docs/recipes.md are generated
from them: `doc()` is the description an editor shows. A key here is a key in TOML, by the same name.

Words: a *template* is Jinja text (``{{ params.arch }}``); a template that is one single expression keeps the
value's type. An *expression* is bare Jinja without braces (``params.keep_srpm``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

from engine.core.fields import doc

FORMAT = 1
"""The recipe format this engine reads (``recipe = 1``)."""

LEAST_CPUS = 0.01
"""The kernel gives a container no less of a CPU; what podman rounds to nothing is no limit at all."""
MOST_CPUS = 1_000_000
"""The kernel's quota is a number of 64 bits."""

METHOD_PATTERN = r"[A-Za-z][A-Za-z0-9_]*"
NAME_PATTERN = r"[a-z][a-z0-9_]*"

CapabilityProfile = Literal["none", "install"]
CAPABILITY_PROFILES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    # Measured leave-one-out (design.md section 8): without FSETID rpm silently loses setgid bits;
    # SYS_CHROOT is what --installroot needs.
    "install": (
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "SETFCAP",
        "SETGID",
        "SETUID",
        "SYS_CHROOT",
    ),
}
ParamType = Literal["str", "int", "float", "bool", "list", "dict", "path", "arch", "tag", "any"]
Network = Literal["none", "default", "repos"]
Fault = Literal["BuildError", "BuildrootError", "GenericError", "infrastructure"]
Root = Literal["image", "buildroot"]
Selinux = Literal["Z", "z", "none"]


@frozen(kw_only=True)
class Param:
    """One positional argument of the task, in Koji's order (contract section 4 "Signatures")."""

    name: str = doc("Name, as in Koji's signature.", kind="name")
    type: ParamType = doc(
        "`path` is a safe relative path (no `..`, no leading `/` or `-`), `arch` an architecture's name, "
        "`tag` an id, a name or a dict.",
        "any",
    )
    optional: bool = doc("True: may be absent; its value is then `default`, or None.", False)
    default: Any = doc("Value when absent.", None)
    local: Any = doc(
        "Value (or template) used by `engine run` without a hub when none is given.", None, kind="templates"
    )
    summary: str = doc("What it is, for `engine render --vars`.", "")


@frozen(kw_only=True)
class HubFacts:
    """What to ask the hub before rendering, as templates; absent keys are not asked."""

    repo: str | None = doc("Id of the repo of the task; everything else is read at its event.", None, kind="template")
    build_tag: str | None = doc("Tag whose build config is read.", None, kind="template")
    old_repo: str | None = doc("Earlier repo to update from.", None, kind="template")
    external_repos: bool = doc("True: the external repos of the repo's tag, in order.", False)


@frozen(kw_only=True)
class Probe:
    """A question to the file system of the host, answered before rendering (`probes.NAME`)."""

    name: str = doc("Name: `probes.NAME.exists`, `probes.NAME.size`.", kind="name")
    path: str = doc("Host path, a template.", kind="template")
    when: str | None = doc(
        "Expression; not asked when it is false, and then answered with no.", None, kind="expression"
    )


@frozen(kw_only=True)
class Check:
    """Something that must hold of params and facts before anything runs."""

    that: str = doc("Expression that must be true.", kind="expression")
    message: str = doc("Fault text when it is false, a template.", kind="template")
    fails: Fault = doc("Failure class when it is false.", "GenericError")


@frozen(kw_only=True)
class Input:
    """A file or tree the task needs. `inputs.NAME` is its path inside the containers."""

    name: str = doc("Name used as `inputs.NAME`.", kind="name")
    source: str = doc(
        "Template: for a file, a path below the hub's `work/`; for a tree, a host directory.", kind="template"
    )
    kind: Literal["file", "tree"] = doc(
        "`file` is copied into the workspace's `in/`; `tree` is a directory that a mount shows read-only.",
        "file",
    )
    target: str = doc("Template: path inside the containers for a tree; file name for a file.", "", kind="template")
    when: str | None = doc("Expression; the input is left out when it is false.", None, kind="expression")


@frozen(kw_only=True)
class Mount:
    """A bind mount shared by the steps."""

    source: str = doc("Host path, a template.", kind="mount source")
    target: str = doc("Absolute path inside the container, a template.", kind="mount target")
    mode: Literal["ro", "rw", "overlay"] = doc(
        "`rw` only below the workspace or where the operator allows it. `overlay`: writable for this container alone, "
        "thrown away with it; the source stays as it is.",
        "ro",
    )
    selinux: Selinux | None = doc(
        "`Z` private, `z` shared, `none` unlabelled. Unset: the policy's default for that path (`Z` on the workspace).",
        None,
    )
    when: str | None = doc("Expression; the mount is left out when it is false.", None, kind="expression")
    each: str | None = doc("Expression giving a list; one mount for each `item`.", None, kind="expression")


@frozen(kw_only=True)
class Tmpfs:
    """A memory file system inside the container."""

    target: str = doc("Absolute path inside the container.", kind="tmpfs target")
    size: str = doc("Size with unit, e.g. `64m`.", "64m", kind="size")
    mode: str = doc("Octal permission text.", "1777", kind="octal")


@frozen(kw_only=True)
class Limits:
    """Resource limits; the operator's are the ceiling."""

    memory: str | None = doc("Memory with unit (`4g`); unset: the operator's limit.", None, kind="size")
    cpus: float | None = doc("Number of CPUs.", None, ge=LEAST_CPUS, le=MOST_CPUS)
    pids: int | None = doc("Number of processes and threads; unset: the operator's limit.", None, ge=1)
    nofile: int | None = doc("Open files per process.", None, ge=1)
    shm: str | None = doc("Size of /dev/shm with unit.", None, kind="size")


@frozen(kw_only=True)
class Argument:
    """A group of argv items with a condition or a repetition."""

    args: tuple[str, ...] = doc(
        "Templates, one argv item each; `item` is the current element of `each`.", kind="template", some=True
    )
    when: str | None = doc("Expression; the group is left out when it is false.", None, kind="expression")
    each: str | None = doc("Expression giving a list; the group is repeated for each `item`.", None, kind="expression")


@frozen(kw_only=True)
class Container:
    """The sandbox shared by the steps. A step may narrow it."""

    image: str = doc(
        "Image reference, a template. `{{ image }}` is the operator's choice.", "{{ image }}", kind="image"
    )
    root: Root = doc(
        "`image`: a fresh container from the image. `buildroot`: the task's own root (table `buildroot`).",
        "image",
    )
    user: Literal["koji", "root"] = doc("`koji` is 1000:1000.", "koji")
    network: Network = doc(
        "`none`; `default` where the operator allows network; `repos`: `default` when a package repository is only to "
        "be had over the network, else `none`.",
        "none",
    )
    caps: CapabilityProfile = doc("Capability profile; everything else is dropped.", "none")
    workdir: str = doc("Working directory, a template.", "/", kind="path")
    hostname: str = doc("Host name inside, a template.", "adjutant", kind="host name")
    env: Mapping[str, str] = doc(
        "Environment, values are templates.", factory=dict, kind="template", keys="variable name"
    )
    env_from: str | None = doc(
        "Expression giving a list of `name`/`value` set before `env` (the tag's `rpm.env.*` is `env`).",
        None,
        kind="expression",
    )
    mounts: tuple[Mount, ...] = doc("Bind mounts of every step.", ())
    tmpfs: tuple[Tmpfs, ...] = doc("Memory file systems of every step.", ())
    limits: Limits = doc("Resource limits.", factory=Limits)


@frozen(kw_only=True)
class Again:
    """Go back to an earlier step when this one ends with a certain exit code."""

    exit: int = doc("Exit code that asks for another round.", ge=1, le=255)
    step: str = doc("Name of the step to go on from: this one or an earlier one.", kind="name")
    max: int = doc("Rounds at most; one more is a failure.", 10, ge=1, le=1000)


@frozen(kw_only=True)
class Step:
    """One container of the task. Unset keys come from `container`."""

    name: str = doc("Short name: container name, progress line.", kind="name")
    summary: str = doc("What it does, shown while it runs; a template.", "", kind="template")
    argv: tuple[str | Argument, ...] = doc(
        "Command: templates, one argv item each; never a shell line.", kind="template", some=True
    )
    log: str = doc("Log name on the hub and in the results.", "", kind="file name")
    image: str | None = doc("Another image, a template.", None, kind="image")
    root: Root | None = doc("See `container.root`.", None)
    target: bool = doc("True: mount the buildroot writable at /target (installing steps only).", False)
    user: Literal["koji", "root"] | None = doc("See `container.user`.", None)
    network: Network | None = doc("See `container.network`.", None)
    caps: CapabilityProfile | None = doc("See `container.caps`.", None)
    workdir: str | None = doc("See `container.workdir`.", None, kind="path")
    env: Mapping[str, str] = doc(
        "Added to, or overriding, `container.env`.", factory=dict, kind="template", keys="variable name"
    )
    env_from: str | None = doc("See `container.env_from`.", None, kind="expression")
    mounts: tuple[Mount, ...] = doc("Added to `container.mounts`.", ())
    tmpfs: tuple[Tmpfs, ...] = doc("Added to `container.tmpfs`.", ())
    limits: Limits = doc("Overriding `container.limits`, key by key.", factory=Limits)
    secrets: tuple[str, ...] = doc("Operator's secrets this step gets as files under /run/secrets.", (), kind="word")
    timeout: str | int = doc(
        "Seconds, a number or template; the operator's step limit is the ceiling.", 0, kind="template", ge=0
    )
    when: str | None = doc("Expression; the step is left out when it is false.", None, kind="expression")
    standby: str | None = doc(
        "Expression; when it is true the step is passed over until a later step's `again` leads to it or to a step "
        "before it.",
        None,
        kind="expression",
    )
    when_file: str | None = doc("Glob below the workspace; passed over unless a file matches then.", None, kind="glob")
    echo: bool = doc("True: its log begins with `$ ` and the command, as kojid logs its own.", False)
    again: Again | None = doc("Another round on a certain exit code.", None)
    fails: Fault = doc("Failure class of a non-zero exit.", "GenericError")
    exits: Mapping[str, Fault] = doc(
        "Failure class by exit code, where it differs from `fails`.",
        factory=dict,
        keys="exit code",
    )
    message: str = doc("Fault text, a template; knows `exit.code`, `exit.signal`, `log`.", "", kind="template")


@frozen(kw_only=True)
class File:
    """A file written into the workspace's `in/` before the first step, read-only for the containers."""

    path: str = doc("Path below `in/`, a template.", kind="file path")
    content: str = doc("Content, a template unless `literal`.")
    literal: bool = doc("True: the content is written as it stands, no template.", False)
    mode: Literal["0644", "0755"] = doc("Permissions.", "0644")
    when: str | None = doc("Expression; the file is left out when it is false.", None, kind="expression")


@frozen(kw_only=True)
class Buildroot:
    """The package environment of the task, a root file system of its own, tracked in the hub.

    Mode `repo`: the packages of `repos` that `group` and `packages` need, resolved as dnf resolves them and
    nothing else; made once and found again by their content. What goes into the root at build time
    (macros, environment) is said by `files` and `container.env_from`.
    """

    mode: Literal["repo", "image"] = doc(
        "`repo`: exactly the packages of the tag's repo; `image`: the task image itself.", "image"
    )
    arch: str = doc("Architecture, a template.", "{{ task.arch }}", kind="template")
    group: str = doc("Comps group to install (mode `repo`); empty: none.", "build", kind="template")
    packages: tuple[str, ...] = doc(
        "Packages to install besides the group, dnf's words, templates (mode `repo`).", (), kind="template"
    )
    repos: str = doc(
        "Expression giving the list of package repositories, each with `name` and `path` or `url` (mode `repo`).",
        "repos",
        kind="expression",
    )
    releasever: str = doc("dnf's `$releasever`, a template; empty: not set.", "", kind="template")
    best: str | bool = doc("dnf's `best`, a boolean or a template giving one.", False, kind="template")
    module_hotfixes: str | bool = doc(
        "dnf's `module_hotfixes` of every repository, a boolean or a template giving one.", False, kind="template"
    )
    module_setup_commands: str = doc(
        "Expression giving a list of pairs: what to do (`enable`, `disable`, `reset`, `install`), and to which module "
        "streams (`nodejs:18, ruby:3.1`). As `dnf module` does it, in this order, before the group is installed.",
        "[]",
        kind="expression",
    )
    options: Mapping[str, str] = doc(
        "Further options of dnf, values are templates; empty ones are left out. Known: `excludepkgs`, "
        "`fastestmirror`, `ip_resolve`, `max_parallel_downloads`, `minrate`, `multilib_policy`, `proxy`, `retries`, "
        "`sslverify`, `timeout`, `tsflags`.",
        factory=dict,
        kind="template",
    )
    requirements_of: str = doc(
        "Name of the input whose build requirements the steps install. When the very same file is built again in the "
        "same root, they are there already (`buildroot.requirements`).",
        "",
    )
    tracked: bool = doc("True: recorded in the hub with its list of installed packages.", True)


@frozen(kw_only=True)
class Artifact:
    """A set of files collected from the workspace after the steps."""

    name: str = doc("Name used as `artifacts.NAME`.", kind="name")
    glob: tuple[str, ...] = doc(
        "Globs below the workspace (`result/*.rpm`); regular files only.", kind="glob", some=True
    )
    exclude: tuple[str, ...] = doc("Globs left out.", (), kind="glob")
    min: int = doc("Fewer is a failure.", 0, ge=0)
    max: int | None = doc("More is a failure.", None, ge=0)
    upload: bool = doc("False: counted and named, not uploaded.", True)
    always: bool = doc("True: collected also when the task failed; then what is missing is no failure.", False)
    when: str | None = doc("Expression; not collected when it is false.", None, kind="expression")
    fails: Fault = doc("Failure class of a wrong count.", "BuildError")


@frozen(kw_only=True)
class Local:
    """How `engine run METHOD ARGUMENT…` without a hub finds its way."""

    args: tuple[str, ...] = doc("What the positional arguments are: names of inputs.", (), kind="name")
    summary: str = doc("One line of help.", "")


@frozen(kw_only=True)
class Recipe:
    """A task type."""

    recipe: int = doc("Format version: 1.", ge=1, le=FORMAT)
    method: str = doc("Koji method; the file is named after it.", kind="method")
    summary: str = doc("One line.", "")
    params: tuple[Param, ...] = doc("Positional signature, in Koji's order.", ())
    weight: float = doc("Task weight for the hub's scheduler.", 1.0, ge=0)
    facts: HubFacts = doc("What to ask the hub.", factory=HubFacts)
    probes: tuple[Probe, ...] = doc("What to ask the host's file system.", ())
    checks: tuple[Check, ...] = doc("What must hold before anything runs.", ())
    inputs: tuple[Input, ...] = doc("Files and trees the task needs.", ())
    directories: tuple[str, ...] = doc(
        "Directories made in the workspace before the first step (templates, e.g. `result/repo`).",
        (),
        kind="made directory",
    )
    buildroot: Buildroot | None = doc("The task's own root file system.", None)
    container: Container = doc("The sandbox shared by the steps.", factory=Container)
    files: tuple[File, ...] = doc("Files written before the first step.", ())
    phases: str = doc("Log of what was done when (UTC); steps add to `result/` + this name.", "", kind="file name")
    steps: tuple[Step, ...] = doc("What is run, in order; at least one.", some=True)
    artifacts: tuple[Artifact, ...] = doc("What is collected.", ())
    result: Any = doc("The task's result: any value, strings in it are templates.", None, kind="templates")
    local: Local = doc("Running without a hub.", factory=Local)
