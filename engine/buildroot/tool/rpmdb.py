"""What the real rpmdb of a root holds, in the hub's words (contract 5.4)."""

import rpm

NOT_COUNTED = frozenset({"gpg-pubkey"})


def installed(root):
    """Every package, keys aside, sorted: name, version, release, epoch or None, arch, size, buildtime, payloadhash."""
    ts = rpm.TransactionSet(root)
    rows = [
        {
            "name": header["name"],
            "version": header["version"],
            "release": header["release"],
            "epoch": header["epoch"],
            "arch": header["arch"],
            "size": header["longsize"] or header["size"] or 0,
            "buildtime": header["buildtime"],
            "payloadhash": _hex(header["sigmd5"]) or _header_digest(header),
        }
        for header in ts.dbMatch()
        if header["name"] not in NOT_COUNTED
    ]
    ts.closeDB()
    return sorted(rows, key=lambda entry: (entry["name"], entry["arch"], entry["version"], entry["release"]))


def log_lines(packages):
    """``installed_pkgs.log``, as engine.core.snapshots writes it."""
    lines = []
    for entry in packages:
        epoch = f"{entry['epoch']}:" if entry["epoch"] else ""
        name = f"{entry['name']}-{epoch}{entry['version']}-{entry['release']}.{entry['arch']}"
        lines.append(f"{name} {entry['buildtime']} {entry['size']} {entry['payloadhash']} installed\n")
    return "".join(lines)


def _hex(value):
    return value.hex() if isinstance(value, bytes) else (value or "")


def _header_digest(header):
    """Packages without an MD5 are known by their header's digest."""
    for tag in ("sha256header", "sha1header"):
        if header[tag]:
            return f"{tag[:-6]}::{header[tag]}"
    return ""
