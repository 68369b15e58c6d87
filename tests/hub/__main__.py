"""Run the stand-in by hand: `python -m tests.hub --topdir DIR --port 8080 --host builder1`."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from . import HubStandIn, Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description="A Koji hub to play with.")
    parser.add_argument("--topdir", type=Path, required=True, help="the hub's file tree (made if missing)")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; default: a free one")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME[:ARCHES[:CAPACITY]]",
        help="a builder, its password is its name; default: builder1",
    )
    parser.add_argument(
        "--tag", action="append", default=[], metavar="NAME[:ARCHES]", help="a tag; default: dist-test-build"
    )
    parser.add_argument(
        "--repo", action="append", default=[], metavar="TAG:DIR", help="a READY repo of the rpms in DIR"
    )
    parser.add_argument("--run-interval", type=float, default=1.0, help="seconds between scheduler runs")
    options = parser.parse_args()
    if (options.topdir / "repos").is_dir() and any((options.topdir / "repos").iterdir()):
        parser.error(f"{options.topdir} holds the repositories of an earlier run: give an empty directory")
    settings = Settings(run_interval=options.run_interval, repo_auto=True)
    with HubStandIn(options.topdir, port=options.port, settings=settings) as hub:
        print(f"server  {hub.url}\ntopurl  {hub.topurl}\nusers   admin/admin (admin), kojira/kojira")
        for text in options.host or ["builder1"]:
            name, arches, capacity = (*text.split(":"), "", "")[:3]
            hub.add_host(name, arches=arches or "x86_64", capacity=float(capacity or 2.0))
            print(f"host    {name}/{name}")
        for text in options.tag or ["dist-test-build:x86_64"]:
            name, arches = (*text.split(":"), "")[:2]
            hub.add_tag(name, arches or "x86_64", groups={"build": ["bash"], "srpm-build": ["bash"]})
            print(f"tag     {name}")
        for text in options.repo:
            tag, _, folder = text.partition(":")
            print(f"repo    {hub.add_repo(tag, Path(folder))} of {tag}")
        print("Ctrl-C ends it.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
