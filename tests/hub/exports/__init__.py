"""The calls a client can make, by the part of the method's name before the dot.

Each module holds a part of one namespace. Classes of one namespace carry the same name, because a hub's
fault for wrong arguments begins with it ("HostExports.openTask() missing 1 required ...").
"""

from __future__ import annotations

from . import admin, builds, host_builds, host_loop, host_tasks, logins, repos, scheduling, tags, tasks

__all__ = ["NAMESPACES"]


class RootExports(
    logins.RootExports,
    tasks.RootExports,
    tags.RootExports,
    repos.RootExports,
    builds.RootExports,
    admin.RootExports,
):
    pass


class HostExports(host_loop.HostExports, host_tasks.HostExports, host_builds.HostExports):
    pass


NAMESPACES: dict[str, type] = {
    "": RootExports,
    "host": HostExports,
    "repo": repos.RepoExports,
    "scheduler": scheduling.SchedulerExports,
}
