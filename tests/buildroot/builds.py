"""Whole builds by `engine run` in one work directory, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.buildroot.roots import SmallRepo

ROOT = Path(__file__).parents[2]

SPEC = """\
Name: {name}
Version: 1
Release: 1
Summary: A build of a test
License: MIT
BuildArch: noarch
{head}
%description
A build of a test.
{body}
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo content > %{{buildroot}}/usr/share/{name}/text
%files
/usr/share/{name}
"""


@frozen
class Run:
    """How `engine run` ended: exit status, result.json, the text it printed, and the results directory."""

    status: int
    outcome: dict[str, Any]
    text: str
    results: Path

    @property
    def steps(self) -> list[str]:
        return [step["name"] for step in self.outcome["steps"]]

    def log(self, name: str = "build.log") -> str:
        return (self.results / name).read_text()


@frozen
class Builder:
    """Runs builds in one work directory."""

    workdir: Path
    repo: SmallRepo
    image: str
    folder: Path

    def engine(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ADJUTANT_TASK_IMAGE_DEFAULT": self.image}
        command = [sys.executable, "-m", "engine.cli", *map(str, words), "--workdir", str(self.workdir)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)

    def srpm(self, name: str, head: str = "", body: str = "%build\n") -> Path:
        top = self.folder / name
        top.mkdir()
        (top / f"{name}.spec").write_text(SPEC.format(name=name, head=head, body=body))
        subprocess.run(
            ["rpmbuild", "-bs", "--quiet", "--nodeps", f"--define=_topdir {top}", str(top / f"{name}.spec")],
            check=True,
            capture_output=True,
            env={**os.environ, "HOME": str(top)},
        )
        return next(top.rglob("*.src.rpm"))

    def build(self, srpm: Path, *words: str) -> Run:
        results = self.folder / f"results-{srpm.name}"
        done = self.engine("run", "buildArch", srpm, "--repo", self.repo.path, "--results", results, "--force", *words)
        outcome = json.loads((results / "result.json").read_text())
        return Run(done.returncode, outcome, done.stdout + done.stderr, results)

    def changed(self, *packages: Path) -> SmallRepo:
        """The repo, with more packages, and generated anew."""
        for package in packages:
            self.repo.put(package)
        self.repo.index()
        return self.repo

    def counts(self) -> dict[str, int]:
        counted: dict[str, int] = json.loads(self.engine("buildroot", "list", "--format", "json").stdout)["counts"]
        return counted
