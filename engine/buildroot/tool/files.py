"""Writing files where a package's own code may write, too."""

import contextlib
import json
import os
import stat
import time


class Obstructed(Exception):
    """A package's own code put something else where a file is read or written: its fault, not the host's."""


def write_json(path, data):
    """Write in one step: a reader finds all of it or nothing."""
    write_text(path, json.dumps(data, separators=(",", ":"), sort_keys=True))


def write_text(path, text):
    """Write in one step. Where a package's own code may write too, a link it left must not be followed.

    Obstructed when there is a directory in the way.
    """
    arriving = path + ".arriving"
    for name in (arriving, path):
        if os.path.isdir(name) and not os.path.islink(name):
            raise Obstructed(f"{name!a} is a directory, made by the package's own code")
    if os.path.lexists(arriving):
        os.unlink(arriving)
    descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(arriving, path)


def open_regular(path):
    """An open file, read as bytes; Obstructed for a link and what is no file, and never a wait at a fifo."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Obstructed(f"{path!a} is no source package: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Obstructed(f"{path!a} is no source package: not a file")
    return open(descriptor, "rb")


@contextlib.contextmanager
def phase(path, text):
    """Lines ``TIME - Start: TEXT`` and ``TIME - Finish: TEXT`` in the file of phases, times in UTC."""
    _append(path, f"Start: {text}")
    try:
        yield
    except BaseException:
        _append(path, f"Finish: {text}, failed")
        raise
    _append(path, f"Finish: {text}")


def _append(path, text):
    """Add a line. A file that is none of ours is left alone: the phases are for people, and no reason to fail."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    line = f"{stamp},{int(now * 1000) % 1000:03d} - {text}\n".encode()
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(descriptor, 0o666)  # the build's user goes on with it
        try:
            info = os.fstat(descriptor)
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                os.write(descriptor, line)
        finally:
            os.close(descriptor)
