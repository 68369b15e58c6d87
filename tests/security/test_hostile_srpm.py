"""Hostile source packages through buildArch: a clear outcome, nothing outside the task touched, nothing left."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.adapters.workspace import Workdir
from engine.cli.local import worker_id
from engine.core.errors import EXIT_BAD_INPUT
from engine.core.spec import LABEL_WORKER_ID
from tests.buildroot.builds import Builder
from tests.buildroot.conftest import builder, make_package, packages
from tests.podmanhost import podman
from tests.security.srpms import Member, write_srpm
from tests.security.test_hostile import LONG_AGO, PRECIOUS, make_outside

__all__ = ["builder", "make_package", "packages"]

HEAD = "Name: evil\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"


def spec(body: str = "", head: str = HEAD) -> Member:
    return Member("evil.spec", f"{head}{body}%files\n".encode())


class Case(NamedTuple):
    """A package at a path, made with `outside` known to it; what `engine run` must end with, say and log."""

    name: str
    make: Callable[[Path, Path], Path]
    status: int
    says: str = ""
    log: tuple[str, str] = ("srpm.log", "")
    file: str = "evil-1-1.src.rpm"
    config: str = ""


def leaving(path: Path, outside: Path, *lines: str) -> Path:
    body = "%install\n" + "".join(f"{line}\n" for line in lines)
    return write_srpm(path, [spec(body.replace("OUT", str(outside)))])


def meddling(path: Path, outside: Path, command: str) -> Path:
    """A package whose spec runs `command` in result/ as soon as it is read: before its requirements are installed."""
    macro = f"%(cd /work/*/result && {{ {command.replace('OUT', str(outside))}; }} >/dev/null 2>&1)\n"
    return write_srpm(path, [spec(macro)])


NOT_SOURCE = ("srpm.log", "is not a source package")
CASES = [
    Case(
        "payload with ..",
        lambda path, out: write_srpm(path, [spec(), Member(f"{'../' * 20}{str(out)[1:]}/precious", b"broken")]),
        0,
    ),
    Case(
        "payload with absolute paths",
        lambda path, out: write_srpm(path, [spec(), Member("precious", b"broken", directory=f"{out}/")]),
        0,
    ),
    Case(
        "a name with commands and a newline",
        lambda path, out: write_srpm(path, [spec()], name=f"evil$(touch {out}/broke)\n`touch {out}/broke`"),
        0,
    ),
    Case(
        "a spec whose name has commands",
        lambda path, out: write_srpm(path, [spec(head=HEAD.replace("evil", f"evil$(touch${{IFS}}{out}/broke)"))]),
        1,
        "error building srpm",
        ("srpm.log", "[Ii]llegal char"),
    ),
    Case(
        "a file name with commands",
        lambda path, _out: write_srpm(path, [spec()]),
        EXIT_BAD_INPUT,
        "cannot be a file name",
        file="$(id)`id`;id.src.rpm",
    ),
    Case(
        "a file name with a newline",
        lambda path, _out: write_srpm(path, [spec()]),
        EXIT_BAD_INPUT,
        "cannot be a file name",
        file="evil\nevil.src.rpm",
    ),
    Case("two spec files", lambda path, _out: write_srpm(path, [spec(), Member("b.spec", b"%(id)")]), 0),
    Case(
        "a spec that is a link",
        lambda path, _out: write_srpm(path, [Member("evil.spec", b"/etc/shadow", stat.S_IFLNK | 0o777)]),
        1,
        "error building srpm",
        ("srpm.log", r"evil\.spec: Permission denied"),
    ),
    Case(
        "a header of 2 GiB",
        lambda path, _out: write_srpm(path, [spec()], header_claims=2**31 - 1),
        1,
        "error building srpm",
        NOT_SOURCE,
    ),
    Case(
        "a file of 4 GiB that is not there",
        lambda path, _out: write_srpm(path, [spec(), Member("x", b"x")], claimed=2**32 - 2),
        1,
        "error building srpm",
        ("srpm.log", "unpacking of archive failed"),
    ),
    Case(
        "links in RPMS/",
        lambda path, out: leaving(
            path, out, "ln -s OUT/precious %{_rpmdir}/a.rpm", "ln -s /etc/passwd %{_rpmdir}/b.rpm"
        ),
        1,
        "error building package",
        ("build.log", "a.rpm"),
    ),
    Case(
        "links and a fifo among the results",
        lambda path, out: leaving(
            path, out, "cd /work/*/result", "ln -s OUT/precious a.log", "ln -s OUT x", "mkfifo b"
        ),
        0,
    ),
    Case(
        "a link for a package among the results",
        lambda path, out: leaving(path, out, "cd /work/*/result", "ln -s OUT/precious evil-1-1.noarch.rpm"),
        1,
        "error building package",
        ("build.log", "instead of a package there is a link: /work/.*/result/evil-1-1.noarch.rpm"),
    ),
    *(
        Case(
            name,
            partial(meddling, command=command),
            1,
            "error building package",
            ("root.log", says),
        )
        for name, command, says in (
            (
                "a directory for a list of packages",
                "mkdir -p installed_before.json/x",
                r"installed_before\.json' is a dir",
            ),
            ("a directory for what arrives", "mkdir -p requires.arriving/x", r"requires\.arriving' is a directory"),
            (
                "a directory for a source package",
                "mkdir -p srpm/a.src.rpm",
                r"a\.src\.rpm' is no source package: not a file",
            ),
            (
                "a link for a source package",
                "mkdir srpm; ln -s OUT/no srpm/a.src.rpm",
                r"a\.src\.rpm' is no source package",
            ),
            (
                "a fifo for a source package",
                "mkdir srpm; mkfifo srpm/a.src.rpm",
                r"a\.src\.rpm' is no source package: not a",
            ),
            (
                "garbage for a source package",
                "mkdir srpm; echo x > srpm/a.src.rpm",
                r"a\.src\.rpm' is no source package: err",
            ),
        )
    ),
    Case(
        "a fifo in RPMS/",
        lambda path, out: leaving(path, out, "mkfifo %{_rpmdir}/a.rpm"),
        1,
        "error building package",
        ("build.log", "instead of a package there is fifo: /builddir/build/RPMS/a.rpm"),
    ),
    Case(
        "a fifo that is waited at",
        lambda path, out: leaving(path, out, "mkfifo f; cat f"),
        1,
        "no end after 10 s",
        config="[hub]\nrpmbuild_timeout = 10\n",
    ),
]


@pytest.mark.podman
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_source_package_is_contained(case: Case, builder: Builder, tmp_path: Path) -> None:
    outside = make_outside(tmp_path)[0]
    words: list[str] = []
    if case.config:
        (tmp_path / "worker.toml").write_text(case.config)
        words = ["--config", str(tmp_path / "worker.toml")]
    source, results = case.make(tmp_path / case.file, outside), tmp_path / "results"
    done = builder.engine("run", "buildArch", source, "--repo", builder.repo.path, "--results", results, *words)
    print(done.stdout + done.stderr)
    assert done.returncode == case.status
    if case.status == EXIT_BAD_INPUT:
        assert re.search(case.says, done.stderr)
        assert not results.exists()
    else:
        assert_ended(case, json.loads((results / "result.json").read_text()), results)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == PRECIOUS
    assert (outside / "precious").lstat().st_mtime == outside.lstat().st_mtime == LONG_AGO
    assert list(Workdir(str(builder.workdir)).ids()) == []
    label = f"label={LABEL_WORKER_ID}={worker_id(str(builder.workdir))}"
    assert podman("ps", "--all", "--quiet", "--filter", label) == ""


def assert_ended(case: Case, outcome: dict[str, Any], results: Path) -> None:
    failure = outcome["failure"]
    assert (failure is None) == (case.status == 0)
    if failure is not None:
        assert failure["fault"] == "BuildError"
        assert re.search(case.says, failure["message"])
        assert failure["message"].isprintable()
    log, pattern = case.log
    assert re.search(pattern, (results / log).read_text())
    found = list(results.rglob("*"))
    assert all(path.is_file() and not path.is_symlink() for path in found)
    assert not any(PRECIOUS.encode() in path.read_bytes() for path in found)
    rpms = sorted(path.name for path in found if path.suffix == ".rpm")
    assert rpms == ([] if failure else ["evil-1-1.noarch.rpm", "evil-1-1.src.rpm"])


def test_the_documentation_has_this_count() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    assert f"| hostile source packages through buildArch, as root | {len(CASES)} | {len(CASES)} |" in text
