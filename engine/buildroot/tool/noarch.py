"""The hashes by which a hub compares the noarch packages that several hosts made of one source (contract 4.2 step 9).

`noarch.py TASK RESULT OUTPUT`: of every `*.noarch.rpm` of the directory RESULT into OUTPUT, as kojid writes them. The
hash is the library's own: library/ holds its file as it is installed beside the engine.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "library"))

import rpm  # noqa: E402
from rpmdiff import Rpmdiff  # noqa: E402

IGNORED = "S5TN"
"""What may differ: size, digest and time of files, and N, which is not looked at."""


def hashes(directory):
    """Regular files only: the directory was a stranger's to write to. ValueError names what is no package."""
    found = {}
    for entry in os.scandir(directory):
        if entry.name.endswith(".noarch.rpm") and entry.is_file(follow_symlinks=False):
            try:
                found[entry.name] = Rpmdiff(entry.path, entry.path, ignore=IGNORED).kojihash()
            except rpm.error as error:
                raise ValueError(f"{entry.name}: {error}") from None
    return found


def main(task, directory, output):
    try:
        found = {task: hashes(directory)}
    except ValueError as error:
        sys.exit(f"cannot compare by {error}")
    with open(output, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=2, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
