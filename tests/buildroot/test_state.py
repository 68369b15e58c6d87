"""The directory of snapshots' records, and the commands that look into it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.adapters.workspace import Workdir
from engine.buildroot.repos import content_of
from engine.buildroot.state import State
from engine.buildroot.upkeep import old_caches
from engine.cli import buildroot as buildroot_commands
from engine.cli.gc import gc
from engine.cli.shell import shell
from engine.core.errors import BadInput, InfrastructureError
from engine.core.facts import PackageRepo
from engine.core.snapshots import Shape, Snapshot
from tests.worker.workshop import wait_for


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077], ids=oct)
def test_it_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """002 is the umask of users on Fedora and its kin."""
    former = os.umask(umask)
    try:
        State(str(tmp_path / "work"))
        State(str(tmp_path / "work"))  # what it made it takes
        Workdir(str(tmp_path / "work"))
    finally:
        os.umask(former)
    made = [tmp_path / "work", *(tmp_path / "work").rglob("*")]
    assert len(made) > 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (buildroot_commands.buildroot, ["list"]),
        (buildroot_commands.buildroot, ["show", "ab"]),
        (buildroot_commands.buildroot, ["prune"]),
        (shell, ["--list"]),
        (gc, []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.name,
)
def test_a_directory_that_is_not_there_is_said_and_not_made(
    tmp_path: Path, command: click.Command, words: list[str]
) -> None:
    result = CliRunner().invoke(command, [*words, "--workdir", str(tmp_path / "wrok")])
    assert isinstance(result.exception, BadInput)
    assert "wrok: no such directory (as given to engine run)" in str(result.exception)
    assert not (tmp_path / "wrok").exists()


@pytest.mark.parametrize("words", [["--disk", "-1"], ["--count", "-1"]])
def test_limits_below_nothing_are_refused(words: list[str]) -> None:
    result = CliRunner().invoke(buildroot_commands.buildroot, ["prune", *words])
    assert (result.exit_code, "is not in the range" in result.output) == (2, True)


def test_a_snapshot_is_shown_as_a_person_reads_it(tmp_path: Path) -> None:
    shape = Shape(arch="x86_64", rpm="4.18.0", finish=1, options=(), macros=())
    made = Snapshot(key="ab" * 16, shape=shape, packages=(), size=3 * 2**29, own=2**20, created=0.0, label="build")
    State(str(tmp_path)).record(made)
    result = CliRunner().invoke(buildroot_commands.buildroot, ["show", "abab", "--workdir", str(tmp_path)])
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert (shown["parent:"], shown["chain:"], shown["size:"], shown["own:"]) == ("-", "0", "1.5 GiB", "1 MiB")
    assert shown["created:"] == time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(0))
    listed = CliRunner().invoke(buildroot_commands.buildroot, ["list", "--workdir", str(tmp_path)])
    assert "\n1 snapshot, 1 MiB on disk\n" in listed.stdout


def test_a_repomd_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "repodata").mkdir()
    with open(tmp_path / "repodata/repomd.xml", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InfrastructureError, match="repo1 cannot be read: .*larger than 4194304 bytes"):
        content_of(PackageRepo(name="repo1", path=str(tmp_path)))


WRITER = """
import sys
from engine.buildroot.state import State
from engine.buildroot.upkeep import old_caches
state = State(sys.argv[1])
while True:
    state.write("known", "busy", {})
"""


def test_old_caches_are_looked_for_while_other_processes_write(tmp_path: Path) -> None:
    """`engine run` tidies up when its task is done: another run beside it must not make that a failure."""
    state = State(str(tmp_path))
    for number in range(300):  # so that there is time between two looks
        (tmp_path / "buildroots/known" / f"{number}.json").touch()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as writer:
        try:
            wait_for(lambda: state.read("known", "busy") is not None)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert old_caches(state) == 0
        finally:
            writer.kill()


def test_an_old_cache_is_removed(tmp_path: Path) -> None:
    state = State(str(tmp_path))
    for part in ("cache/old", "cache/new"):
        (state.path / part).mkdir()
    os.utime(state.path / "cache/old", (0, 0))
    assert old_caches(state) == 1
    assert [path.name for path in (state.path / "cache").iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "BadStatusLine: SSH-2.0-OpenSSH"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n<repomd>", "IncompleteRead"),
    ],
    ids=["another-protocol", "cut-off"],
)
def test_a_repository_whose_server_does_not_speak_http(answer: bytes, words: str) -> None:
    """A proxy that gives up in mid-answer, or a wrong port: no fault of the package's, and no bug of the engine's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(InfrastructureError, match=f"repository repo1 cannot be read: http.*{words}"):
                content_of(PackageRepo(name="repo1", url=f"http://127.0.0.1:{server.getsockname()[1]}/repo"))
        finally:
            thread.join()
