"""The shape of worker.toml: one class, from which its schema is generated. Keys of the ADR stand at the top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen

from engine.core.facts import BuildrootLimits, Limit, MountRule
from engine.core.fields import doc
from engine.core.images import ImageRule
from engine.core.manager import ContainerTimeouts, PullPolicy
from engine.worker.options import HubOptions, WorkerOptions

DEFAULT_MOUNTS = (MountRule(source="/mnt/koji", target="/mnt/koji"),)


@frozen(kw_only=True)
class WorkerFile:
    """worker.toml. Every key is optional."""

    kojid_conf: str | None = doc("A kojid.conf whose options fill `hub` where this file does not.", None)
    adjutant_task_image_default: str = doc("Image of the steps.", "registry/almalinux:10")
    adjutant_image_pull_policy: PullPolicy = doc("When to pull images.", "if-not-present")
    adjutant_container_mounts: tuple[MountRule, ...] = doc(
        "Host trees that recipes may mount; unset: the tree at `hub.topdir`.", DEFAULT_MOUNTS
    )
    adjutant_network_enabled: bool = doc("False: no container has network, whatever a recipe says.", True)
    adjutant_container_labels: Mapping[str, str] = doc("Labels added to every container.", factory=dict)
    adjutant_container_timeouts: ContainerTimeouts = doc("Seconds.", factory=ContainerTimeouts)
    adjutant_images: tuple[ImageRule, ...] = doc("Images by method, build tag and arch; the first match wins.", ())
    adjutant_images_allowed: tuple[str, ...] = doc(
        "Globs of the images that a hub tag's extra `adjutant.image` may name; empty: none.", ()
    )
    adjutant_images_ttl: int = doc("Seconds that a tag's `adjutant.image` is believed; 0: asked anew.", 300, ge=0)
    adjutant_secrets: Mapping[str, str] = doc("Host files of the secrets that steps may name, by name.", factory=dict)
    limits: Limit = doc("Ceiling for one container.", factory=Limit)
    buildroots: BuildrootLimits = doc("What stored roots may cost.", factory=BuildrootLimits)
    variables: Mapping[str, str] = doc("Values for recipes, as `settings.variables`.", factory=dict)
    rlimits: Mapping[str, str] = doc("`RLIMIT_*` of the daemon: `soft` or `soft hard`, as in kojid.conf.", factory=dict)
    hub: HubOptions = doc("The hub; names as in kojid.conf.", factory=HubOptions)
    worker: WorkerOptions = doc("The daemon itself.", factory=WorkerOptions)


@frozen
class Leaf:
    """One setting: its key path (``hub.server``), annotated type, default, and whether it is secret."""

    path: str
    type: Any
    default: Any
    secret: bool
    summary: str

    @property
    def table(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]


def leaves(cls: type = WorkerFile, prefix: str = "") -> Iterator[Leaf]:
    """Every setting of worker.toml in the file's order; tables of settings are walked into."""
    attrs.resolve_types(cls)
    for attribute in attrs.fields(cls):
        path = f"{prefix}{attribute.name}"
        default = getattr(attribute.default, "factory", lambda value=attribute.default: value)()
        if attribute.type is not None and attrs.has(attribute.type):
            yield from leaves(attribute.type, path + ".")
        else:
            yield Leaf(
                path,
                attribute.type,
                default,
                bool(attribute.metadata.get("secret")),
                str(attribute.metadata.get("doc", "")),
            )


LEAVES: Mapping[str, Leaf] = {leaf.path: leaf for leaf in leaves()}
