"""`engine run` as a plain user: files of subordinate uids, and that nothing of them stays.

Needs root to become such a user: in a mount namespace of its own, with its own passwd and subuid, so that nothing
of this host changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.podmanhost import tiny_tar
from tests.rootless.opening import OPENING, closed_paths
from tests.run.test_real import TOY
from tools import standin

pytestmark = pytest.mark.podman
UID = 62_000 + os.getpid() % 1000  # two tests at once shall not share what podman keeps by uid
SUBORDINATE = 200_000_000 + os.getpid() % 1000 * 65536
IMAGE = "localhost/rootless-tiny:1"
CODE = Path(__file__).parents[2]

# $1 is the home; what follows is the command. Of directories below closed homes (OPEN) the user sees just these.
ENTER = """
set -eu
home=$1; shift
for name in passwd group subuid subgid; do [ ! -e "/etc/$name" ] || mount --bind "$home/etc/$name" "/etc/$name"; done
%(opening)s
cd "$home/home"
exec setpriv --reuid=%(uid)d --regid=%(uid)d --clear-groups env -i PATH="$PATH" HOME="$home/home" \\
    XDG_RUNTIME_DIR="$home/run" PYTHONPATH="%(code)s" PYTHONDONTWRITEBYTECODE=1 CONTAINERS_CONF="$CONF" \\
    CONTAINERS_STORAGE_CONF="$home/storage.conf" "$@"
"""


@define
class User:
    """A plain user with podman."""

    top: Path

    def run(self, *words: str | Path, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        conf = standin.containers_conf()
        environ = {**os.environ, "OPEN": " ".join(closed_paths()), "CONF": str(self.top / "containers.conf")}
        (self.top / "containers.conf").write_text(conf.read_text() if conf else "")
        script = ENTER % {"uid": UID, "code": CODE, "opening": OPENING}
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "_", self.top, *words]
        return subprocess.run(
            list(map(str, command)),
            env=environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def engine(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "engine.cli", *words, stdin=stdin)

    def left(self) -> list[str]:
        state = self.top / "home/.local/state/koji-adjutant"
        tasks = [path.name for path in state.glob("[0-9]*")]
        return tasks + self.run("podman", "ps", "--all", "--quiet").stdout.split()


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "newuidmap", "podman"))):
        pytest.skip("needs root, unshare, setpriv, newuidmap and podman")
    top = Path(tempfile.mkdtemp(prefix="adjutant-rootless-"))
    top.chmod(0o755)
    made = User(top)
    for name in ("home", "run", "etc", "recipes"):
        (top / name).mkdir()
    for name in ("home", "run"):
        os.chown(top / name, UID, UID)
        (top / name).chmod(0o700)
    entry = {"passwd": f"plain:x:{UID}:{UID}::{top}/home:/bin/sh\n", "group": f"plain:x:{UID}:\n"}
    for name, line in entry.items():
        (top / "etc" / name).write_text(Path("/etc", name).read_text() + line)
    for name in ("subuid", "subgid"):
        (top / "etc" / name).write_text(f"plain:{SUBORDINATE}:65536\n")
    (top / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
    (top / "recipes/toy.toml").write_text(TOY)
    (top / "tiny.tar").write_bytes(tiny_tar())
    done = made.run("podman", "import", "--quiet", top / "tiny.tar", IMAGE)
    if done.returncode == 0:
        done = made.run("podman", "run", "--rm", "--network=none", IMAGE, "true")
    if done.returncode:
        shutil.rmtree(top)
        pytest.skip(f"rootless podman does not work here: {done.stderr.strip()[-200:]}")
    yield made
    made.run("podman", "rmi", "--all", "--force")
    end_pause(top)
    made.run("podman", "unshare", "rm", "-rf", top / "home/.local")
    end_pause(top)
    Path(f"/dev/shm/libpod_rootless_lock_{UID}").unlink(missing_ok=True)
    shutil.rmtree(top)


def end_pause(top: Path) -> None:
    """podman leaves a process of the user that holds its namespaces."""
    for path in (top / "run").rglob("pause.pid"):
        try:
            os.kill(int(path.read_text()), 9)
        except (ProcessLookupError, ValueError):
            continue
        path.unlink()


def toy(user: User, script: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["run", "toy", "--recipes", user.top / "recipes", "--image", IMAGE, "--results", "out", *more]
    return user.engine(*words, "--param", f"script={script}")


def test_nothing_of_the_subordinate_uids_stays(user: User) -> None:
    script = "id -u; echo x > a.txt; mkdir -p d/e closed; echo x > d/e/f; chmod 0555 d/e; chmod 0 closed; mkfifo p"
    done = toy(user, script)
    assert done.returncode == 0, done.stderr
    results = user.top / "home/out"
    assert (results / "one.log").read_text() == "1000\n"
    assert (results / "a.txt").read_text() == "x\n"
    assert {path.stat().st_uid for path in results.iterdir()} == {UID}
    assert "not cleaned up" not in done.stderr
    assert user.left() == []


def test_an_unreadable_result_is_the_packages_fault(user: User) -> None:
    done = toy(user, "echo x > a.txt; chmod 600 a.txt")
    assert done.returncode == 1
    failure = json.loads((user.top / "home/out/result.json").read_text())["failure"]
    assert "'result/a.txt' cannot be read by others" in failure["message"]
    assert user.left() == []


def test_keep_shell_remove(user: User) -> None:
    done = toy(user, "mkdir d; echo x > d/f; exit 3", "--keep")
    assert done.returncode == 1
    looked = user.engine("shell", "1", stdin="id -u; cat /work/1/result/d/f\n")
    assert looked.stdout.split() == ["1000", "x"]
    removed = user.engine("shell", "--remove", "1")
    assert removed.returncode == 0, removed.stderr
    assert user.left() == []
