"""Install the build requirements of source packages into the root at /target; say what is installed before and after.

``builddep.py CONFIG SRPMS RESULT RECORD``: CONFIG is the configuration `prepare` wrote, SRPMS a directory with the
rebuilt source package. RESULT gets ``requires`` (what was required, for the build step to compare with),
``installed_before.json`` (once) and ``installed_after.json``, and a line in ``state.log`` for the start and end of each
phase; RECORD the same lists and what was added, with the repository's checksums. Exit codes: 0 done, 1 the package's
code left something else in RESULT, 30 a requirement cannot be met, 75 not the package's fault.
"""

import glob
import json
import os
import sys

import finish
import rpm
from files import Obstructed, open_regular, phase, write_json, write_text
from rpmdb import installed, log_lines

ROOT = "/target"
OBSTRUCTED, UNSATISFIED, NOT_OURS = 1, 30, 75


def main(config_path, srpms, result, record):
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    paths = sorted(glob.glob(os.path.join(srpms, "*.src.rpm")) + glob.glob(os.path.join(srpms, "*.nosrc.rpm")))
    requires = sorted({text for path in paths for text in requirements(path)})
    packages = installed(ROOT)
    if not os.path.exists(os.path.join(record, "installed_before.json")):
        _list("installed_before.json", packages, result, record)
    print("build requirements: " + (", ".join(requires) or "none"), flush=True)
    added = []
    if not _all_there(paths):
        status, added = _with_dnf(config, requires, os.path.join(result, "state.log"))
        if status:
            return status
        packages = installed(ROOT)
        finish.close_rpmdb(ROOT)
    _list("installed_after.json", packages, result, record)
    write_text(os.path.join(result, "installed_pkgs.log"), log_lines(packages))
    write_text(os.path.join(result, "requires"), "".join(text + "\n" for text in requires))
    _remember(record, requires, added)
    print(f"{len(added)} packages installed, {len(packages)} in the root", flush=True)
    return 0


def requirements(path):
    """What a source package requires to be built, as rich and plain dependencies; rpm's own features aside."""
    ts = rpm.TransactionSet("/")
    ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES)
    header = _header(ts, path)
    for dependency in rpm.ds(header, "requires"):
        if not dependency.Flags() & rpm.RPMSENSE_RPMLIB:
            yield dependency.DNEVR()[2:]


def _header(ts, path):
    with open_regular(path) as file:
        try:
            return ts.hdrFromFdno(file)
        except rpm.error as error:
            raise Obstructed(f"{path!a} is no source package: {error}") from None


def _all_there(paths):
    """What rpm itself says of the requirements; where nothing is missing, dnf need not even be loaded."""
    for path in paths:
        ts = rpm.TransactionSet(ROOT)
        ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES)
        ts.addInstall(_header(ts, path), path, "i")
        ts.check()
        missing = any(True for _problem in ts.problems())
        ts.closeDB()
        if missing:
            return False
    return True


def _with_dnf(config, requires, phases):
    """Exit status, and rows of the packages that were installed."""
    import dnf.exceptions
    from apply import Display, full
    from common import kind_of

    display = Display()
    try:
        return 0, _install(config, requires, phases, display)
    except dnf.exceptions.Error as error:
        print(f"Error: {str(error).strip()}", flush=True)
        unsatisfied = kind_of(error) in ("dependencies", "group") or (display.script_failed and not full(ROOT))
        return (UNSATISFIED if unsatisfied else NOT_OURS), []


def _install(config, requires, phases, display):
    """Rows of the packages that were installed. dnf.exceptions.Error in dnf's words."""
    import dnf.exceptions
    from common import nevra, open_base, row, set_up_modules

    base = open_base(config, ROOT)
    with phase(phases, "resolving build requirements"):
        base.fill_sack(load_system_repo=True)
        set_up_modules(base, config["module_setup_commands"], first=False)
        if not _resolve(base, requires):
            return []
    base._moduleContainer.rollback()  # else dnf writes into the root which streams are enabled
    packages = list(base.transaction.install_set)
    rows = [row(package) for package in packages]
    with phase(phases, "downloading build requirements"):
        base.download_packages(packages)
    with phase(phases, f"installing build requirements ({len(packages)} packages)"):
        base.do_transaction([display])
        base.close()
        there = {nevra({**entry, "epoch": entry["epoch"] or 0}) for entry in installed(ROOT)}
        if absent := sorted({nevra(entry) for entry in rows} - there):
            raise dnf.exceptions.Error("; ".join(["not installed: " + ", ".join(absent[:5]), *display.errors]))
    return rows


def _resolve(base, requires):
    """True when something is to be installed."""
    import dnf.exceptions
    import dnf.selector

    missing = []
    for requirement in requires:
        found = base.sack.query().filterm(provides=requirement)
        if not found and not requirement.startswith("("):
            found = base.sack.query().filterm(file=requirement)
        if not found and not requirement.startswith("("):
            missing.append(requirement)
            continue
        selector = dnf.selector.Selector(base.sack)
        selector.set(provides=requirement) if not requirement.startswith("/") else selector.set(pkg=found)
        base._goal.install(select=selector)
    if missing:
        for requirement in missing:
            print(f"No matching package to install: '{requirement}'", flush=True)
        raise dnf.exceptions.DepsolveError("Some packages could not be found.")
    return base.resolve(allow_erasing=True)


def _list(name, packages, *directories):
    """RESULT is where the build step may write, RECORD is not: whoever must believe the list reads that one."""
    for directory in directories:
        write_json(os.path.join(directory, name), packages)


def _remember(record, requires, added):
    """What was required, for the build step to compare with, and all that was added so far, for the engine."""
    path = os.path.join(record, "requirements.json")
    rows = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            rows = {entry["name"] + "." + entry["arch"]: entry for entry in json.load(file)["added"]}
    rows.update({entry["name"] + "." + entry["arch"]: entry for entry in added})
    write_json(path, {"requires": requires, "added": sorted(rows.values(), key=lambda entry: entry["name"])})


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:5]))
    except Obstructed as error:
        print(f"Error: {error}", flush=True)
        sys.exit(OBSTRUCTED)
    except OSError as error:
        print(f"Error: {error}", flush=True)
        sys.exit(NOT_OURS)
