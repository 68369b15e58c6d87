"""Which packages a group needs: resolved against an empty root, nothing installed.

Job: {config, group, packages}. Answer: {packages: [row], rpm, macros: ["name value"], notes: [text]}.
"""

import sys

import dnf.exceptions
import rpm
from common import GROUP, ToolError, open_base, row, run_tool, set_up_modules

# What a macro of this image's rpm makes of a root: files left out, and where and how the database is kept.
MACROS = ("_install_langs", "_excludedocs", "_netsharedpath", "_dbpath", "_db_backend")


def main(job):
    notes = []
    base = open_base(job["config"], "/tmp/empty-root")  # noqa: S108 - the container's own
    base.fill_sack(load_system_repo=False)
    set_up_modules(base, job["config"]["module_setup_commands"], first=True)
    if job.get("group"):
        _add_group(base, job["group"], notes)
    for name in job.get("packages", []):
        try:
            base.install(name)
        except dnf.exceptions.MarkingError as error:
            raise ToolError(GROUP, f"no package {name!r} in the repository: {error}") from None
    base.resolve()
    packages = [row(package) for package in base.transaction.install_set]
    without = [package["name"] for package in packages if not package["checksum"]]
    if without:
        raise ToolError("repo", "the repository's metadata have no checksum of " + ", ".join(sorted(without)[:5]))
    return {"packages": packages, "rpm": rpm.__version__, "macros": _macros(), "notes": notes}


def _macros():
    """Those that are set, as ``name value``."""
    return [f"{name} {value}" for name in MACROS if (value := rpm.expandMacro(f"%{{?{name}}}"))]


def _add_group(base, name, notes):
    base.read_comps()
    group = base.comps.group_by_pattern(name) if base.comps else None
    if group is None:
        known = sorted(found.id for found in base.comps.groups) if base.comps else []
        there = "its groups are: " + ", ".join(known) if known else "it has no groups at all"
        raise ToolError(GROUP, f"Module or Group '{name}' is not available: the repository has no such group; {there}")
    available = base.sack.query().available()
    for member in group.packages_iter():
        if not available.filter(name=member.name):
            notes.append(f'No match for group package "{member.name}"')
    if not base.group_install(group.id, ("mandatory", "default", "conditional"), strict=True):
        raise ToolError(GROUP, f"group '{name}' is empty")


if __name__ == "__main__":
    sys.exit(run_tool(main))
