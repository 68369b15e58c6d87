"""Shell functions of the shipped recipes, run by bash alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.core.loader import load_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "buildArch.toml"


def test_phases_have_their_times_in_utc_wherever_the_root_is(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE.read_text(), str(RECIPE))
    (script,) = [file.content for file in recipe.files if file.path == "phase.sh"]
    (tmp_path / "phase.sh").write_text(script)
    command = 'target=noarch result=$1; . "$1/phase.sh"; phase "Start: this"; date +%Z'
    environment = {**os.environ, "TZ": "XYZ-9"}
    done = subprocess.run(
        ["bash", "-euc", command, "bash", str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "XYZ\n"  # the build's own clock is left alone
    found = re.fullmatch(r"(.{19}),\d{3} - Start: this\n", (tmp_path / "state.log").read_text())
    assert found is not None
    told = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    assert abs(told.timestamp() - time.time()) < 60


SPEC = """
Name: odd
Version: 1
Release: 1
Summary: Leaves something odd where packages are looked for
License: MIT
BuildArch: noarch
%description
%files
%install
{code}
"""


def built(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """The shipped build.sh with a source package whose ``%install`` is `code`, by this host's rpmbuild."""
    if shutil.which("rpmbuild") is None:
        pytest.skip("rpmbuild is not installed")
    recipe = load_recipe(RECIPE.read_text(), str(RECIPE))
    scripts = {file.path: file.content for file in recipe.files if file.path in ("phase.sh", "build.sh")}
    top, result, inputs = (tmp_path / name for name in ("top", "result", "in"))
    for folder in (top / "RPMS", top / "SRPMS", top / "SPECS", result, inputs):
        folder.mkdir(parents=True)
    for name, text in scripts.items():
        (inputs / name).write_text(text.replace("/builddir/build", str(top)))
    (inputs / "requires").touch()
    (top / "SPECS" / "odd.spec").write_text(SPEC.format(code=code))
    macros = f"%_topdir {top}\n%_rpmfilename %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.%%{{ARCH}}.rpm\n"
    (tmp_path / ".rpmmacros").write_text(macros)
    command = ["bash", str(inputs / "build.sh"), "odd.src.rpm", "noarch", str(result)]
    environment = {**os.environ, "HOME": str(tmp_path), "RESULT": str(result), "TOP": str(top)}
    # a session of its own, so that a waiting cp goes as well
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("the build waits for ever")
    return subprocess.CompletedProcess(command, process.returncode, said, "")


def test_a_build_without_anything_odd(tmp_path: Path) -> None:
    done = built(tmp_path, "true")
    assert done.returncode == 0, done.stdout
    names = {path.name for path in (tmp_path / "result").glob("*.rpm")}
    assert names == {"odd-1-1.noarch.rpm", "odd-1-1.src.rpm"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("mkfifo $TOP/RPMS/x.rpm", r"fifo: \S*/top/RPMS/x\.rpm"),
        ("mkfifo $RESULT/odd-1-1.noarch.rpm", r"fifo: \S*/result/odd-1-1\.noarch\.rpm"),
        ("mkfifo $RESULT/odd-1-1.src.rpm", r"fifo: \S*/result/odd-1-1\.src\.rpm"),
        ("mkfifo $RESULT/srpm/a.src.rpm", r"fifo: \S*/result/srpm/a\.src\.rpm"),
        ("mkfifo \"$TOP/RPMS/$(printf -- '-x\\ny').rpm\"", r"fifo: \$'\S*/top/RPMS/-x\\ny\.rpm'"),
        ("ln -s /dev/zero $TOP/RPMS/x.rpm", r"a link: \S*/top/RPMS/x\.rpm"),
        ("ln -s /nowhere $TOP/RPMS/x.rpm", r"a link: \S*/top/RPMS/x\.rpm"),
        ("mkdir $TOP/RPMS/x.rpm", r"directory: \S*/top/RPMS/x\.rpm"),
        ("truncate -s 1T $TOP/RPMS/x.rpm", r"no package: \S*/top/RPMS/x\.rpm"),
        ("echo $TOP/fifo > $RESULT/a.src.rpm", r"no package: \S*/result/a\.src\.rpm"),
    ],
)
def test_what_is_no_package_ends_the_build_at_once_by_name(tmp_path: Path, code: str, words: str) -> None:
    done = built(tmp_path, code)
    assert done.returncode == 1
    assert re.search(f"^instead of a package there is {words}$", done.stdout, re.MULTILINE), done.stdout


def test_a_fifo_for_the_log_of_phases_is_left_alone(tmp_path: Path) -> None:
    done = built(tmp_path, "rm $RESULT/state.log; mkfifo $RESULT/state.log")
    assert done.returncode == 0, done.stdout
