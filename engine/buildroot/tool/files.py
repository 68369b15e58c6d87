"""Writing files where a package's own code may write, too."""

import json
import os


def write_json(path, data):
    """Write in one step: a reader finds all of it or nothing."""
    write_text(path, json.dumps(data, separators=(",", ":"), sort_keys=True))


def write_text(path, text):
    """Write in one step. Where a package's own code may write too, a link it left must not be followed."""
    arriving = path + ".arriving"
    if os.path.lexists(arriving):
        os.unlink(arriving)
    descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(arriving, path)
