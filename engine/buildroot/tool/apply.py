"""Turn the root at /target into exactly the given set of packages, and finish it as a build root.

Job: {config, packages: [row], reinstall: [nevra]}. Answer: {installed: [row of rpmdb.py], lasting: [name of
scriptlets.py], size}. Nothing but that set may be the result: it is checked before the transaction and in the real
rpmdb after it. Where the root held packages before, nothing of those that are replaced may stay behind either.
"""

import os
import sys

import dnf.callback
import dnf.exceptions
import dnf.transaction
import finish
from common import (
    DISK,
    PACKAGE,
    REPO,
    SCRIPT,
    SET,
    TRACES,
    ToolError,
    identity,
    kind_of,
    nevra,
    open_base,
    row,
    run_tool,
)
from rpmdb import NOT_COUNTED
from rpmdb import installed as installed_now
from scriptlets import LEFT, differing, lasting

ROOT = "/target"
SCRIPTLET = "scriptlet in rpm package"
"""What dnf's words about a failed scriptlet have in common."""


class Display(dnf.callback.TransactionProgress):
    """Says on standard output what is done, as the log of the root."""

    WORDS = {
        dnf.transaction.PKG_INSTALL: "installing",
        dnf.transaction.PKG_UPGRADE: "upgrading",
        dnf.transaction.PKG_DOWNGRADE: "downgrading",
        dnf.transaction.PKG_REINSTALL: "reinstalling",
        dnf.transaction.PKG_ERASE: "removing",
    }

    def __init__(self):
        super().__init__()
        self.errors = []
        self._last = None

    def progress(self, package, action, ti_done, ti_total, ts_done, ts_total):
        step = (action, str(package))
        if action in self.WORDS and step != self._last:
            self._last = step
            print(f"{self.WORDS[action]} {package}", flush=True)

    def scriptout(self, msgs):
        if msgs:
            print(msgs.decode(errors="replace") if isinstance(msgs, bytes) else msgs, flush=True)

    def error(self, message):
        """A scriptlet's failure is for dnf to judge: after most of them it goes on, and the package is installed."""
        self.errors.append(str(message))
        print(f"{'warning' if SCRIPTLET in str(message) else 'error'}: {message}", flush=True)

    @property
    def script_failed(self):
        """A scriptlet failed; what its package failed to do is then no fault of this host."""
        return any(SCRIPTLET in message for message in self.errors)


def main(job):
    wanted = {nevra(package): package for package in job["packages"]}
    # Chosen already, and by their checksums: what modules hide is of no account any more.
    base = open_base(job["config"], ROOT, hidden=False)
    base.fill_sack(load_system_repo=True)
    installed = {nevra(identity(package)): package for package in base.sack.query().installed()}
    again = set(job.get("reinstall", ()))
    coming = {key: _find(base, wanted[key]) for key in sorted(set(wanted) - (set(installed) - again))}
    for package in coming.values():
        base.package_install(package)
    for key in sorted(set(installed) - set(wanted)):
        if installed[key].name not in NOT_COUNTED and not _replaced(installed[key], coming.values()):
            base.package_remove(installed[key])
    base.resolve(allow_erasing=True)
    _check_plan(base, set(installed), set(wanted), set(coming))
    display = Display()
    base._moduleContainer.rollback()  # else dnf writes into the root which streams the packages belong to
    if base.transaction:
        _run(base, display)
    base.close()  # else the rpmdb stays open, and finish cannot close it for good
    rows = installed_now(ROOT)
    found = {nevra({**entry, "epoch": entry["epoch"] or 0}) for entry in rows}
    if found != set(wanted):
        why = "; ".join(
            ["the root does not hold the resolved set: " + _difference(found, set(wanted)), *display.errors]
        )
        raise ToolError(SCRIPT if display.script_failed else SET, why)
    finish.finish(ROOT)
    size, left = tree_size(ROOT)
    if left and installed:
        raise ToolError(TRACES, "the update left " + ", ".join(sorted(left)[:5]))
    return {"installed": rows, "lasting": lasting(ROOT), "size": size}


def _find(base, wanted):
    """The very file: same name and same checksum."""
    query = base.sack.query().available().filterm(name=wanted["name"], arch=wanted["arch"])
    same_name = [package for package in query if nevra(identity(package)) == nevra(wanted)]
    for package in same_name:
        if row(package)["checksum"] == wanted["checksum"]:
            return package
    why = "its checksum is another one now" if same_name else "it is not there any more"
    raise ToolError(REPO, f"the repository changed while the root was made: {nevra(wanted)}: {why}")


def _replaced(package, coming):
    return any(other.name == package.name and other.arch == package.arch for other in coming)


def _check_plan(base, installed, wanted, coming):
    """The transaction must lead to the wanted set, whatever the solver thought of."""
    transaction = base.transaction
    if not transaction:
        return
    forward = {nevra(identity(package)) for package in transaction.install_set}
    away = {nevra(identity(package)) for package in transaction.remove_set}
    result = (installed - away) | forward
    result = {key for key in result if not key.startswith("gpg-pubkey-")}
    if result != wanted or not coming <= forward:
        raise ToolError(SET, "dnf would not make the resolved set: " + _difference(result | (forward - coming), wanted))


def _run(base, display):
    packages = list(base.transaction.install_set)
    base.download_packages(packages)
    if others := differing(ROOT, [package.localPkg() for package in packages]):
        raise ToolError(
            TRACES, "what the old scripts did would stay, the new ones are others: " + ", ".join(others[:5])
        )
    try:
        base.do_transaction([display])
    except dnf.exceptions.TransactionCheckError as error:
        raise ToolError(PACKAGE, str(error)) from None
    except dnf.exceptions.Error as error:
        text = "; ".join([str(error).strip(), *display.errors])
        # rpm names every package that does not fit, and sums up at the end.
        summary = text.partition("Error Summary")[2].strip("-\n ") or text
        if kind_of(error) == DISK or full(ROOT):
            raise ToolError(DISK, summary) from None
        raise ToolError(SCRIPT if display.script_failed else PACKAGE, summary) from None


def full(path):
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize < 16 * 1024 * 1024 or room.f_favail < 16


def tree_size(root):
    """Bytes of the regular files on this file system, and what rpm put beside changed configuration files."""
    total, left, device = 0, [], os.lstat(root).st_dev
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if os.lstat(os.path.join(folder, name)).st_dev == device]
        for name in files:
            total += os.lstat(os.path.join(folder, name)).st_size
            if name.endswith(LEFT):
                left.append("/" + os.path.relpath(os.path.join(folder, name), root))
    return total, left


def _difference(found, wanted):
    more, less = sorted(found - wanted), sorted(wanted - found)
    parts = []
    if more:
        parts.append("too many: " + ", ".join(more[:5]))
    if less:
        parts.append("missing: " + ", ".join(less[:5]))
    return "; ".join(parts) or "a package was replaced by another build"


if __name__ == "__main__":
    sys.exit(run_tool(main))
