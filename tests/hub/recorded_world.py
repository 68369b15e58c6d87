"""The hub as it was when the recordings began: users, a host, two tags, one build, sixteen events."""

from __future__ import annotations

from pathlib import Path

from . import Clock, HubStandIn, Settings, minimal_rpm

__all__ = ["UNRECORDED_RUNS", "recorded_hub"]

#: between files 19 and 20 the builder polled unrecorded: its update_ts in the first getHost says so
UNRECORDED_RUNS = {"20:11 listBuildroots": 1795439492.197711}

#: ids of sessions handed out before the first recorded one
_FIRST_SESSION = 15
#: the packages of the one build, in the order of their ids: name, arch, bytes
_HELLO = (("hello-hub", "src", 6850), ("hello-hub-data", "noarch", 6200), ("hello-hub", "x86_64", 6229))
_BEGIN = 1795439126.440913


def recorded_hub(topdir: Path) -> HubStandIn:
    """A stand-in like the recorded hub; its scheduler's times were shortened then, so they are here."""
    settings = Settings(
        run_interval=3.0, ready_timeout=10.0, assign_timeout=12.0, soft_refusal_timeout=15.0, host_timeout=20.0
    )
    hub = HubStandIn(topdir, clock=Clock(frozen_at=_BEGIN - 1), settings=settings, empty=True)
    hub.add_user("admin", "PASSWORD", admin=True)
    hub.add_channel("default")
    hub.add_channel("createrepo")
    hub.add_host("builder1", "PASSWORD")
    hub.add_user("dev", "PASSWORD")
    hub.add_user("kojira", "PASSWORD", permissions=("repo",))
    hub.settings.repo_owner = "kojira"
    hub.db.skip_ids("sessions", _FIRST_SESSION)
    hub.add_tag("dist-test", "x86_64")
    hub.db.skip_ids("events", 14)
    groups = {"build": ["bash", "hello-hub"], "srpm-build": ["bash"]}
    hub.add_tag("dist-test-build", "x86_64", parents=["dist-test"], groups=groups)
    hub.add_target("dist-test", "dist-test-build", "dist-test")
    incoming = topdir / "incoming"
    incoming.mkdir()
    hub.clock.move_to(_BEGIN)
    source = "hello-hub-1.0-1.src.rpm"
    for name, arch, size in _HELLO:
        file = incoming / f"{name}-1.0-1.{arch}.rpm"
        package = minimal_rpm(name, "1.0", "1", arch, sourcerpm=source, size=size, buildtime=1795439125)
        file.write_bytes(package)
        hub.add_builds([file])
    hub.db.touch()
    _tag(hub)
    hub.add_package("dist-test", "foo")
    return hub


def _tag(hub: HubStandIn) -> None:
    """The build was tagged by event 16."""
    event = hub.db.new_event()
    tag = hub.db.tag("dist-test")
    tag.builds.append((event.id, 1))
    tag.packages[1] = 1
