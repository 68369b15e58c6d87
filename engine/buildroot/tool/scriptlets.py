"""What packages leave behind that a root made from nothing would not have. Works on rpm's headers.

An increment may add any package, as a system's package manager does. It may replace one whose scripts are the same in
both builds: what the old ones did the new ones would do. It may not remove one that did more than lay down its files.
"""

import rpm

PHASES = ("pretrans", "prein", "postin", "preun", "postun", "posttrans", "preuntrans", "postuntrans")
TRIGGERS = ("trigger", "filetrigger", "transfiletrigger")
PARTS = ("scripts", "scriptprog", "scriptflags", "name", "version", "flags", "index", "priorities", "type")
LEFT = (".rpmnew", ".rpmsave", ".rpmorig")
"""Endings of the files that rpm leaves where a configuration file was changed by a script and by an update."""


def scripts(header):
    """Everything of a header that is run, or makes users, by the name of its tag; empty when there is nothing."""
    tags = [phase + part for phase in PHASES for part in ("", "prog", "flags")]
    tags += [trigger + part for trigger in TRIGGERS for part in PARTS]
    found = {tag: _text(value) for tag in tags if (value := _get(header, tag))}
    users = sorted(_text(name) for name in header["providename"] or () if _text(name).startswith(("user(", "group(")))
    return {**found, **({"users": users} if users else {})}


def lasting(root):
    """Sorted names of the packages of `root` whose removal does not take away all that came with them.

    Those that have scripts, triggers or users of their own, and those that a trigger of another package acts on.
    """
    ts = rpm.TransactionSet(root)
    found, named, prefixes, files = set(), set(), [], {}
    for header in ts.dbMatch():
        name = header["name"]
        if scripts(header):
            found.add(name)
        named.update((name, _text(other)) for other in _get(header, "triggername") or ())
        for tag in ("filetriggername", "transfiletriggername"):
            prefixes += [(name, _text(prefix)) for prefix in _get(header, tag) or ()]
        files.setdefault(name, []).extend(map(_text, header["filenames"] or ()))
    ts.closeDB()
    found.update(other for name, other in named if other != name and other in files)
    for name, prefix in prefixes:
        untold = (other for other in files if other != name and other not in found)
        found.update([other for other in untold if any(path.startswith(prefix) for path in files[other])])
    return sorted(found)


def differing(root, paths):
    """Sorted names of packages of `root` that a package of `paths` would replace with other scripts."""
    ts = rpm.TransactionSet(root)
    ts.setVSFlags(rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
    found = set()
    for path in paths:
        with open(path, "rb") as file:
            new = ts.hdrFromFdno(file)
        if any(scripts(old) != scripts(new) for old in ts.dbMatch("name", new["name"])):
            found.add(new["name"])
    ts.closeDB()
    return sorted(found)


def _get(header, tag):
    """A tag that this rpm may not know yet."""
    try:
        return header[tag]
    except (KeyError, ValueError):
        return None


def _text(value):
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
