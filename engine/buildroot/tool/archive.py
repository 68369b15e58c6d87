"""Write the tree at /target as an image archive that podman can load: one layer, stored as it is.

Job: {image, labels, created}. Answer: {path, bytes, layer}: `path` is below the output directory. Committing the
container would write the same bytes three times.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import threading
from queue import Queue

from common import DISK, ToolError, run_tool

ROOT, NAME = "/target", "image.tar"
CHUNK = 1024 * 1024
ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


def main(job):
    path = os.path.join(sys.argv[2], NAME)
    try:
        return _write(job, path)
    except BaseException:  # there must be room for saying what was wrong
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _write(job, path):
    with open(path, "wb") as out:
        out.write(b"\0" * tarfile.BLOCKSIZE)  # the layer's header: its size is not known yet
        size, digest = _layer(out)
        out.write(b"\0" * (-size % tarfile.BLOCKSIZE))
        config = _config(job, digest)
        name = hashlib.sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": name, "RepoTags": [job["image"]], "Layers": ["layer.tar"]}]).encode()
        for member, content in ((name, config), ("manifest.json", manifest)):
            out.write(_header(member, len(content)))
            out.write(content)
            out.write(b"\0" * (-len(content) % tarfile.BLOCKSIZE))
        out.write(b"\0" * tarfile.BLOCKSIZE * 2)
        out.seek(0)
        out.write(_header("layer.tar", size))
        out.flush()
        total = os.fstat(out.fileno()).st_size
    return {"path": NAME, "bytes": total, "layer": digest}


def _layer(out):
    """The tree through tar; hashed beside the writing."""
    command = ["tar", "--create", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--one-file-system",
               "--directory", ROOT, "."]  # fmt: skip
    digest, size, queue = hashlib.sha256(), 0, Queue(maxsize=16)

    def work():
        while (data := queue.get()) is not None:
            digest.update(data)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
            while data := tar.stdout.read(CHUNK):
                queue.put(data)
                out.write(data)
                size += len(data)
    finally:
        queue.put(None)
        thread.join()
    if tar.returncode != 0:
        raise ToolError(DISK, f"tar ended with {tar.returncode}")
    return size, digest.hexdigest()


def _config(job, digest):
    return json.dumps(
        {
            "architecture": ARCHES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "created": job["created"],
            "config": {"Labels": job["labels"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
            "history": [{"created": job["created"], "created_by": "buildroot"}],
        },
        sort_keys=True,
    ).encode()


def _header(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


if __name__ == "__main__":
    sys.exit(run_tool(main))
