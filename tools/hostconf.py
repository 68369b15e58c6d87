"""Write the containers.conf that podman needs on this host: `python -m tools.hostconf FILE`.

FILE is removed where podman's defaults are right (`engine.adapters.podman_host`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.adapters.podman_host import Host, containers_conf, this_host


def write(target: Path, host: Host) -> None:
    """Write `target`, or remove it where `host` needs none."""
    text = containers_conf(host)
    if text is None:
        target.unlink(missing_ok=True)
    elif not target.exists() or target.read_text() != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        arriving = target.with_suffix(".new")
        arriving.write_text(text)
        arriving.rename(target)


if __name__ == "__main__":
    write(Path(sys.argv[1]), this_host())
