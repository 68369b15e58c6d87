"""The repository: every name of the ADR, both groups, build dependencies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.world.conftest import Shell
from tools import standin

pytestmark = pytest.mark.podman

# ADR 0002, "Required Packages", and what enables EPEL.
ADR_NAMES = (
    "rpm-build", "gcc", "gcc-c++", "make", "binutils", "patch", "dnf", "yum-utils", "createrepo_c", "bash", "git",
    "python3", "python3-devel", "mock-core-configs", "epel-release",
)  # fmt: skip
DNF = "dnf -q -y --setopt=reposdir=/repos --setopt=install_weak_deps=False --disableplugin='*' --enableplugin=builddep"


def test_every_package_name_of_the_adr_is_provided(shell: Shell) -> None:
    names = " ".join(f"'{name}'" for name in ADR_NAMES)
    answers = shell(f"for n in {names}; do echo $n $({DNF} repoquery --whatprovides $n | wc -l); done")
    missing = [line.split()[0] for line in answers.splitlines() if int(line.split()[1]) < 1]
    assert not missing
    assert len(answers.splitlines()) == len(ADR_NAMES)


@pytest.mark.parametrize("group", ["build", "srpm-build"])
def test_group_installs_into_an_empty_root(shell: Shell, group: str) -> None:
    root = "/tmp/root"
    out = shell(
        f"{DNF} --releasever=10 --installroot={root} group install {group} >/dev/null; rpm --root {root} -qa | wc -l;"
        f"chroot {root} rpmbuild --version",
        "--cap-drop=ALL",
        *(f"--cap-add={c}" for c in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID")),
        "--cap-add=SYS_CHROOT",
    )
    packages, version = out.splitlines()[:2]
    assert int(packages) > 100
    assert re.search(r"\d+\.\d+", version)


def test_builddep_installs_what_a_sample_needs(shell: Shell) -> None:
    srpm = standin.srpm("hz")
    mount = f"--volume={srpm}:/hz.src.rpm:ro"
    before_after = shell(
        "rpm -q --whatprovides bzip2-devel >/dev/null && echo already there || echo not there;"
        f"{DNF} builddep /hz.src.rpm >/dev/null; rpm -q --whatprovides bzip2-devel",
        mount,
    )
    before, after = before_after.splitlines()
    assert before == "not there"
    assert "bz2" in after or "bzip2" in after


@pytest.mark.parametrize("name", ["build", "srpm-build"])
def test_group_needs_something_a_sample_has_to_bring(repo: Path, name: str) -> None:
    """A sample whose BuildRequires were all in the group would prove nothing."""
    comps = (repo.parent / "comps.xml").read_text()
    group = re.search(rf"<id>{name}</id>.*?</packagelist>", comps, re.DOTALL)
    assert group is not None
    packages = re.findall(r">([^<]+)</packagereq>", group[0])
    assert packages
    assert not {"libbz2-dev", "bzip2-devel", "zlib1g-dev", "zlib-devel"} & set(packages)
