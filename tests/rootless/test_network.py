"""Network of a plain user's containers: the steps that have one reach a repository, the others reach nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.buildroot.conftest import GROUP, packages
from tests.buildroot.roots import SmallRepo
from tests.rootless.person import Person

__all__ = ["packages"]
pytestmark = pytest.mark.podman

SPEC = """\
Name: online
Version: 1
Release: 1
Summary: Looks for a network while it is built
License: MIT
BuildArch: noarch
BuildRequires: tar
%description
x
%build
(exec 3<>/dev/tcp/{address}/{port}) && echo REACHED || echo not reached
sed 's/^/interface /' /proc/net/dev
%files
"""


class Server:
    """The files of `folder` by HTTP at an address of this host that is not loopback; `asked` are the paths."""

    def __init__(self, folder: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; asks which address would be used
            except OSError:
                pytest.skip("this host has no network")
            self.address = str(probe.getsockname()[0])
        asked = self.asked = []  # type: list[str]

        class Files(SimpleHTTPRequestHandler):
            def log_message(self, *_arguments: object) -> None:
                asked.append(self.path)

        self.server = ThreadingHTTPServer(("0.0.0.0", 0), partial(Files, directory=str(folder)))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def online(person: Person, packages: Path, tmp_path: Path) -> Iterator[Server]:  # noqa: F811 - the fixture
    if not person.network:
        pytest.skip("a plain user cannot be given /dev/net/tun here, or there is neither slirp4netns nor pasta")
    SmallRepo(tmp_path / "repo", packages, GROUP).index()
    server = Server(tmp_path / "repo")
    yield server
    server.close()


def test_a_build_from_a_repository_over_http(person: Person, online: Server, task_image: str, tmp_path: Path) -> None:
    spec = tmp_path / "online.spec"
    spec.write_text(SPEC.format(address=online.address, port=online.port))
    command = ["rpmbuild", "-bs", "--quiet", "--nodeps", f"--define=_topdir {tmp_path}", str(spec)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)})
    srpm = shutil.copy(next(tmp_path.rglob("*.src.rpm")), person.home)
    os.chmod(srpm, 0o644)
    built = person.home / "built"
    person.engine(
        "run", "buildArch", srpm, "--repo", f"http://{online.address}:{online.port}/", "--image", task_image,
        "--workdir", f"{person.home}/local", "--results", built,
    )  # fmt: skip
    outcome = json.loads((built / "result.json").read_text())
    assert outcome["status"] == "done"
    assert "/repodata/repomd.xml" in online.asked
    assert any(path.endswith(".rpm") for path in online.asked)
    log = (built / "build.log").read_text()
    assert "not reached" in log.splitlines()
    assert "REACHED" not in log.splitlines()
    interfaces = [line.split()[1] for line in log.splitlines() if line.startswith("interface ") and ":" in line]
    assert interfaces == ["lo:"]
    person.engine("buildroot", "prune", "--all", "--workdir", f"{person.home}/local", check=False)
    assert person.run("podman", "ps", "--all", "--format", "{{.Names}}").stdout.split() == []
