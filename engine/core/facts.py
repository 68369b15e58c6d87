"""Everything a render needs to know from outside, as plain values (design.md section 3 "facts").

A request file for `engine render --request` is these classes as TOML or JSON:
``{method, task_id, arch, channel, params, facts}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import fields, frozen

from engine.core.fields import doc
from engine.core.images import ImageRule
from engine.core.manager import ContainerTimeouts, PullPolicy
from engine.core.recipe import LEAST_CPUS, MOST_CPUS, Selinux


@frozen(kw_only=True)
class TaskRequest:
    """What a task asks for. `params` are named, as `koji.tasks.parse_task_params` gives them."""

    method: str = doc("Koji method.")
    params: Mapping[str, Any] = doc("Parameters by name.", factory=dict)
    task_id: int = doc("Task id; 0 without a hub.", 0, ge=0)
    arch: str = doc("The task's architecture.", "noarch")
    channel: str = doc("Channel's name.", "default")
    owner: str = doc("User name of the task's owner.", "")
    parent: int | None = doc("Id of the parent task.", None)
    label: str | None = doc("Label within the parent.", None)


@frozen(kw_only=True)
class RepoFacts:
    """A Koji repo: `path` its directory on this host (or None), `url` its address; both per arch."""

    id: int = doc("Id of the repo.", 0)
    tag_id: int = doc("Id of its tag.", 0)
    tag_name: str = doc("Name of its tag.", "")
    state: str = doc("`INIT`, `READY`, `EXPIRED`, `DELETED` or `PROBLEM`.", "READY")
    create_event: int = doc("Event at which the tag is read.", 0)
    path: str | None = doc("Its directory on this host; None where the host has none.", None)
    url: str | None = doc("Its address.", None)


@frozen(kw_only=True)
class PackageRepo:
    """A repository that packages are installed from: `path` (a host directory) or `url`."""

    name: str = doc("Name, unique among them.")
    url: str | None = doc("Its address, or", None)
    path: str | None = doc("its directory on this host.", None)


@frozen(kw_only=True)
class ExternalRepo:
    """One row of the hub's getExternalRepoList that applies to the task's arch."""

    name: str = doc("Name.")
    url: str = doc("Its address for the task's architecture.")
    merge_mode: str = doc("`koji`, `simple`, `bare` or `all`.", "koji")


@frozen(kw_only=True)
class TagFacts:
    """getBuildConfig of a tag at the repo's event."""

    id: int = doc("Id.", 0)
    name: str = doc("Name.", "")
    arches: str = doc("Architectures, separated by spaces.", "")
    extra: Mapping[str, Any] = doc("The tag's extra settings.", factory=dict)


@frozen(kw_only=True)
class NameValue:
    """A macro or variable that the tag sets, in order."""

    name: str = doc("Name.")
    value: str = doc("Value.")


@frozen(kw_only=True)
class ProbeAnswer:
    """A host path at the time facts were gathered; `size` in bytes, of a directory its entry count."""

    exists: bool = doc("Whether the path is there.", False)
    size: int = doc("Bytes of a file, entries of a directory.", 0)


@frozen(kw_only=True)
class HostFacts:
    """This builder: `arch` in rpm's words, `cpus` that a build may use.

    Where the user's cgroups bind no limits, `own_ids` is how many ids the user namespace of each container gets, which
    is what makes a limit on processes bind (`ContainerSpec.own_ids`), and `own_pids` the most that limit may be, so
    that the user keeps processes to end a container with.
    """

    name: str = doc("Name of this builder.", "builder")
    arch: str = doc("Its architecture in rpm's words.", "x86_64")
    cpus: int = doc("CPUs that a build may use.", 2)
    own_ids: int = doc(
        "Ids of a container's own user namespace where cgroups bind no limits; 0: none is made.", 0, ge=0
    )
    own_pids: int = doc("Processes that one container may have there.", 0, ge=0)


@frozen(kw_only=True)
class BuildrootFacts:
    """The hub's buildroot: `id` None until the hub gave one; `image` the root's image.

    The rest is set by engine.buildroot: `key` names the root's content. `requirements` True: the build requirements,
    `requires`, are installed already. `tools` is the host directory of the scripts that install into the root,
    `cache` that of the repositories' metadata.
    """

    id: int | None = doc("Id on the hub; None without one.", None)
    name: str = doc("Name.", "")
    arch: str = doc("Architecture.", "")
    image: str = doc("Image of the root.", "")
    key: str = doc("Names the root's content.", "")
    requirements: bool = doc("True: the build requirements are installed already.", False)
    requires: tuple[str, ...] = doc("Those requirements.", ())
    tools: str = doc("Host directory of the scripts that install into the root.", "")
    cache: str = doc("Host directory of the repositories' metadata.", "")


@frozen(kw_only=True)
class MountRule:
    """One entry of `adjutant_container_mounts`: a host tree that recipes may mount.

    `source` host path, `target` where, `read_only`, `selinux_label` "Z", "z" or "none". Paths below it are allowed too.
    """

    source: str = doc("Directory of the host; paths below it are allowed too.")
    target: str = doc("Its place in containers, for recipes to use; a mount says its own `target`.")
    read_only: bool = doc("False: recipes may mount it writable.", True)
    selinux_label: Selinux = doc("Label when a recipe says none: `Z` private, `z` shared, `none`.", "Z")


@frozen(kw_only=True)
class Limit:
    """Ceiling for one container: bytes, CPUs, processes, open files, seconds, bytes of log. None: no ceiling."""

    memory: int | None = doc("Bytes; unset: no ceiling.", None, ge=1)
    cpus: float | None = doc("CPUs; unset: no ceiling.", None, ge=LEAST_CPUS, le=MOST_CPUS)
    pids: int = doc("Processes and threads.", 4096, ge=1)
    nofile: int = doc(
        "Open files per process that a recipe may ask for; what asks for none gets podman's own default.", 1048576, ge=1
    )
    seconds: int = doc("Seconds that one step may take.", 86400, ge=1)
    log_bytes: int = doc("Bytes of one log.", 2 * 1024**3, ge=1)


@frozen(kw_only=True)
class BuildrootLimits:
    """What stored roots may cost: `[buildroots]` of worker.toml."""

    disk: str = doc("Of all stored roots together, with unit.", "20g", kind="size")
    count: int = doc("Stored roots at most.", 60, ge=0)
    chain: int = doc("Layers upon a root that was made from nothing; 0: every changed root is made anew.", 20, ge=0)
    repeats: int = doc("Of `count`, those with build requirements at most.", 20, ge=0)
    repeats_after: int = doc(
        "Builds of a source package in one root before that root is stored with its requirements; 0: never.", 1, ge=0
    )
    warm: tuple[str, ...] = doc(
        "Roots that an idle worker makes before they are needed, each `METHOD TAG ARCH`: for the tag's newest repo.", ()
    )


@frozen(kw_only=True)
class Settings:
    """The operator's settings that shape a plan: the ceiling (names: ADR 0002)."""

    adjutant_task_image_default: str = doc("Image of the steps.", "registry/almalinux:10")
    adjutant_image_pull_policy: PullPolicy = doc("When images are pulled.", "if-not-present")
    adjutant_container_mounts: tuple[MountRule, ...] = doc(
        "Host trees that recipes may mount.", (MountRule(source="/mnt/koji", target="/mnt/koji"),)
    )
    adjutant_network_enabled: bool = doc("False: no container has network, whatever a recipe says.", True)
    adjutant_container_labels: Mapping[str, str] = doc("Labels of every container.", factory=dict)
    adjutant_container_timeouts: ContainerTimeouts = doc("Seconds.", factory=ContainerTimeouts)
    adjutant_images: tuple[ImageRule, ...] = doc("Images by method, build tag and arch; the first match wins.", ())
    adjutant_images_allowed: tuple[str, ...] = doc(
        "Globs of the images that a hub tag's extra `adjutant.image` may name; empty: none.", ()
    )
    adjutant_images_ttl: int = doc("Seconds that a tag's `adjutant.image` is believed; 0: asked anew.", 300, ge=0)
    adjutant_secrets: Mapping[str, str] = doc("Host files of the secrets that steps may name, by name.", factory=dict)
    worker_id: str = doc("Names this worker in labels and container names.", "local")
    workdir: str = doc("Host directory of the tasks' workspaces.", "/var/tmp/koji-adjutant")  # noqa: S108 - a state directory, made 0700 by its adapter
    topdir: str = doc("The hub's tree on this host.", "/mnt/koji")
    topurl: str = doc("The hub's tree as an address.", "")
    limits: Limit = doc("Ceiling for one container.", factory=Limit)
    buildroots: BuildrootLimits = doc("What stored roots may cost.", factory=BuildrootLimits)
    rpmbuild_timeout: int = doc("Seconds that a build may take.", 86400)
    packager: str = doc("For `%packager`.", "Koji")
    vendor: str = doc("For `%vendor`.", "Koji")
    distribution: str = doc("For `%distribution`.", "Koji")
    mockhost: str = doc("Rest of `%_host` after the architecture.", "koji-linux-gnu")
    selinux_type: str | None = doc("SELinux type of the containers; unset: podman's own.", None)
    selinux_level: str | None = doc("SELinux level of the containers; unset: one for each task.", None)
    variables: Mapping[str, str] = doc("The operator's values for recipes, by name.", factory=dict)


@frozen(kw_only=True)
class Facts:
    """All facts of one render. `inputs` overrides an input's source with a host path (local runs)."""

    settings: Settings = doc("The operator's settings.", factory=Settings)
    host: HostFacts = doc("This builder.", factory=HostFacts)
    image: str | None = doc("Task image, instead of the settings' one.", None)
    repo: RepoFacts | None = doc("The task's repo.", None)
    old_repo: RepoFacts | None = doc("The repo to update from.", None)
    build_tag: TagFacts | None = doc("The build config at the repo's event.", None)
    tag_image: str | None = doc("The image that the task's tag names now, empty for none; None: not asked.", None)
    external_repos: tuple[ExternalRepo, ...] = doc("External repos of the repo's tag.", ())
    repos: tuple[PackageRepo, ...] = doc("Repositories that packages are installed from.", ())
    macros: tuple[NameValue, ...] = doc("rpm macros the tag sets.", ())
    env: tuple[NameValue, ...] = doc("Environment variables the tag sets.", ())
    probes: Mapping[str, ProbeAnswer] = doc("Answers to the recipe's probes, by name.", factory=dict)
    inputs: Mapping[str, str] = doc("Host paths in place of inputs' sources, by name.", factory=dict)
    buildroot: BuildrootFacts | None = doc("The task's buildroot.", None)


@frozen(kw_only=True)
class RenderRequest(TaskRequest):
    """A request file of `engine render --request`: the task and everything the render may know from outside."""

    facts: Facts = doc("What is known from outside.", factory=Facts)

    @property
    def task(self) -> TaskRequest:
        """The task alone."""
        return TaskRequest(**{field.name: getattr(self, field.name) for field in fields(TaskRequest)})
