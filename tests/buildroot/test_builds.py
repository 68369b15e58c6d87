"""Whole builds in roots of a small repo: what packages may rely on, the order of things, and repeats."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from tests.buildroot.builds import Builder

pytestmark = pytest.mark.podman


def test_what_packages_may_rely_on(builder: Builder) -> None:
    body = """\
%build
id -un; id -u; echo "home $HOME"; echo "pwd entry $(grep :1000: /etc/passwd)"
env | sort | sed 's/^/env: /'
echo "topdir %{_topdir}" "rpmfilename %{_rpmfilename}" "host %{_host} buildhost %{_buildhost}"
echo "packages $(rpm -qa | wc -l)"; touch /tmp/x /var/tmp/x; head -c 3 /dev/urandom | wc -c; echo > /dev/null
echo "caps $(grep CapEff /proc/self/status) $(grep NoNewPrivs /proc/self/status)"
cp /bin/true /dev/shm/; /dev/shm/true && echo "shm can be executed from"
echo "signals $(grep SigBlk /proc/self/status) $(grep SigIgn /proc/self/status) level $SHLVL"
echo "tz $(date +%Z)"; test ! -w /proc/sys/kernel/hostname && echo proc-read-only
echo "name $(uname -n)"; sed 's/^/hosts: /' /etc/hosts; echo "resolv.conf <$(cat /etc/resolv.conf)>"
ls -l /dev/shm /dev/ptmx /dev/fd /dev/tty /dev/full > /dev/null && echo devices
"""
    run = builder.build(builder.srpm("shows-env", body=body))
    assert run.status == 0, run.text
    log = run.log()
    lines = log.splitlines()
    for line in (
        "topdir /builddir/build rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm "
        f"host {platform.machine()}-koji-linux-gnu buildhost {platform.node()}",
        "mockbuild",
        "1000",
        "home /builddir",
        "pwd entry mockbuild:x:1000:1000::/builddir:/bin/bash",
        "env: HOSTNAME=mock",
        "env: LANG=C",  # rpmbuild's own doing, under mock as well
        "env: SHELL=/bin/bash",
        "env: TERM=vt100",
        "tz UTC",
        "name adjutant",
        "resolv.conf <>",
        "proc-read-only",
        "devices",
        "shm can be executed from",
    ):
        assert line in lines, log
    assert "topdir /builddir/build rpmfilename" in log
    hosts = [line.removeprefix("hosts: ") for line in lines if line.startswith("hosts: ")]
    assert hosts == [  # nothing of the builder
        "127.0.0.1 localhost localhost.localdomain",
        "::1       localhost localhost.localdomain localhost6 localhost6.localdomain6",
    ]
    assert (run.results / "shows-env-1-1.noarch.rpm").is_file()  # a flat %_rpmfilename
    assert "CapEff:\t0000000000000000 NoNewPrivs:\t1" in log
    (signals,) = (line.split() for line in lines if line.startswith("signals SigBlk:"))
    blocked, ignored, level = signals[2], int(signals[4], 16), signals[-1]
    glibc = 0b11 << 31  # 32 and 33: ignored in whatever posix_spawn started, as make does; `env` cannot undo it
    assert (blocked, ignored & ~glibc, level) == ("0" * 16, 0, "1"), signals
    assert f"packages {run.outcome['buildroot']['packages']}" in lines
    assert run.log("installed_pkgs.log").count("\n") == run.outcome["buildroot"]["packages"]
    phases = [text.partition(" - ")[2] for text in run.log("state.log").splitlines()]
    for text in ("buildroot", "builddep (installing build requirements)", "rpmbuild", "collecting results"):
        assert phases.index(f"Start: {text}") < phases.index(f"Finish: {text}"), phases
    times = [text[:23] for text in run.log("state.log").splitlines()]
    assert times == sorted(times)
    machine = run.log("hw_info.log")
    assert all(len(part.splitlines()) > 2 for part in machine.split("\n\n")), machine  # without procps, too
    assert re.search(r"^Mem(:|Total:) +[1-9]", machine, re.M), machine


def test_what_machine_it_was_is_said_of_a_failed_build_too(builder: Builder) -> None:
    run = builder.build(builder.srpm("lacks-much", head="BuildRequires: no-such-thing"))
    assert run.outcome["failure"]["step"] == "builddep", run.text
    assert "Storage:" in run.log("hw_info.log")


def test_a_repeat_finds_its_requirements_installed(builder: Builder) -> None:
    srpm = builder.srpm(
        "repeats",
        head="BuildRequires: needed",
        body="%build\ntest -d /usr/share/needed; rpm -qa | wc -l\n",
    )
    before = builder.counts()
    first = builder.build(srpm)
    phases = [text.partition(" - ")[2] for text in first.log("state.log").splitlines()]
    for text in ("resolving", "downloading", "installing"):
        assert any(phase.startswith(f"Start: {text} build requirements") for phase in phases), phases
    again = [builder.build(srpm) for _ in range(2)]
    assert [run.status for run in (first, *again)] == [0, 0, 0], first.text
    assert first.steps == ["srpm", "builddep", "build"]
    assert not first.outcome["buildroot"]["cached_requirements"]
    for run in again:
        assert run.steps == ["build"]
        assert run.outcome["buildroot"]["cached_requirements"]
        assert run.outcome["buildroot"]["packages"] == first.outcome["buildroot"]["packages"] + 1
        # The same list for the hub, whether the packages were installed by this task or not.
        assert run.log("installed_pkgs.log") == first.log("installed_pkgs.log")
    digests = {_payload(run.results / "repeats-1-1.noarch.rpm") for run in (first, *again)}
    assert len(digests) == 1
    after = builder.counts()
    told = {name: after.get(name, 0) - before.get(name, 0) for name in after if name.startswith("requirements_")}
    assert told == {"requirements_miss": 1, "requirements_made": 1, "requirements_hit": 1}
    hits, asked = after["requirements_hit"], sum(after[name] for name in told)
    assert f"; build requirements: {hits} of {asked} there already" in builder.engine("buildroot", "list").stdout


def test_requirements_that_another_work_directory_installed_are_a_hit(builder: Builder) -> None:
    other = evolve(builder, workdir=builder.folder / "other-work")
    srpm = builder.srpm("twice", head="BuildRequires: needed")
    try:
        for _ in range(2):
            assert builder.build(srpm).status == 0
        for steps in (["srpm", "builddep", "build"], ["build"]):
            run = other.build(srpm)
            assert (run.status, run.steps) == (0, steps), run.text
        counts = other.counts()
        told = {name: count for name, count in counts.items() if name.startswith("requirements_")}
        assert told == {"requirements_miss": 1, "requirements_hit": 1}
        assert "full" not in counts
    finally:
        assert other.engine("buildroot", "prune", "--all").returncode == 0


def test_a_requirement_whose_scriptlet_fails_once_it_is_installed(builder: Builder) -> None:
    run = builder.build(
        builder.srpm("has-complaints", head="BuildRequires: complains", body="%build\ntest -d /usr/share/complains\n")
    )
    assert run.status == 0, run.text + run.log("root.log")
    assert "warning: Error in POSTIN scriptlet in rpm package complains" in run.log("root.log")


def test_a_requirement_that_refuses_to_be_installed_is_the_packages_fault(builder: Builder) -> None:
    """dnf fails, as it would anywhere: no reason to send the task from host to host."""
    run = builder.build(builder.srpm("is-refused", head="BuildRequires: refuses"))
    assert run.status == 1, run.text
    assert run.outcome["failure"]["fault"] == "BuildError"
    assert run.outcome["failure"]["message"].endswith("mock exited with status 30; see root.log for more information")
    assert "Error in PREIN scriptlet in rpm package refuses" in run.log("root.log")


@pytest.mark.parametrize("name", ["packager", "vendor", "distribution"])
def test_a_source_package_to_be_kept_says_where_it_comes_from(builder: Builder, name: str) -> None:
    srpm = builder.srpm(f"without-{name}", head=f"%define {name} %{{nil}}")
    run = builder.build(srpm)
    assert run.status == 1, run.text
    failure = run.outcome["failure"]
    message = "the rebuilt source RPM lacks Packager, Vendor or Distribution; see build.log for more information"
    assert (failure["fault"], failure["message"]) == ("BuildError", message)
    assert f"has no {name.capitalize()}: is %{name} empty" in run.log()
    assert builder.build(srpm, "--param", "keep_srpm=false").status == 0


def test_a_repeat_sees_the_requirements_of_the_repo_as_it_is_now(
    builder: Builder, make_package: Callable[..., Path]
) -> None:
    """A requirement outside the group is updated, then removed: the root is the same one, what is added is not."""
    repo = builder.changed(make_package("outside", "1", "old"))
    body = '%build\necho "saw $(cat /usr/share/outside/text)"\n'
    srpm = builder.srpm("follows", head="BuildRequires: outside", body=body)
    decisions = set()
    for _ in range(2):
        run = builder.build(srpm)
        assert run.status == 0, run.text
        assert "saw old" in run.log().splitlines()
    assert run.steps == ["build"]
    repo.remove("outside-*.rpm")
    builder.changed(make_package("outside", "2", "new"))
    for steps in (["srpm", "builddep", "build"], ["build"]):
        run = builder.build(srpm)
        assert run.status == 0, run.text
        assert "saw new" in run.log().splitlines()
        assert "outside-2-1.noarch" in run.log("installed_pkgs.log")
        assert run.steps == steps
        decisions.add(run.outcome["buildroot"]["decision"])
    assert decisions == {"hit"}
    repo.remove("outside-*.rpm")
    builder.changed()
    run = builder.build(srpm)
    assert (run.status, run.outcome["failure"]["step"]) == (1, "builddep")
    assert "No matching package to install: 'outside'" in run.log("root.log")


def test_a_repeat_in_a_regenerated_repo_takes_the_root_that_is_there(builder: Builder) -> None:
    """The second level is known by the repo, and kept by its content: a newRepo costs one installing step."""
    srpm = builder.srpm("stays", head="BuildRequires: needed")
    for _ in range(2):
        assert builder.build(srpm).status == 0
    before = builder.counts()
    repomd = builder.repo.path / "repodata" / "repomd.xml"
    repomd.write_text(repomd.read_text() + "\n")
    first, second = builder.build(srpm), builder.build(srpm)
    assert (first.steps, second.steps) == (["srpm", "builddep", "build"], ["build"])
    after = builder.counts()
    assert after.get("requirements_made") == before.get("requirements_made")
    assert after["requirements_hit"] == before.get("requirements_hit", 0) + 1


def test_the_operator_can_do_without_the_second_level(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    srpm = builder.srpm("never-repeats", head="BuildRequires: needed")
    monkeypatch.setenv("ADJUTANT_BUILDROOTS_REPEATS_AFTER", "0")
    for run in (builder.build(srpm), builder.build(srpm)):
        assert run.status == 0, run.text
        assert run.steps == ["srpm", "builddep", "build"]
        assert not run.outcome["buildroot"]["cached_requirements"]


def test_generated_requirements_are_installed_until_there_are_no_more(builder: Builder) -> None:
    body = """\
%generate_buildrequires
echo needed
test ! -d /usr/share/needed || echo needed-too
%build
cat /usr/share/needed/text /usr/share/needed-too/text
"""
    run = builder.build(builder.srpm("generates", body=body))
    assert run.status == 0, run.text
    assert run.steps == ["srpm", "builddep", "build", "builddep", "build", "builddep", "build"]
    again = builder.build(builder.folder / "generates" / "SRPMS" / "generates-1-1.src.rpm")
    assert (again.status, again.steps) == (0, ["build"]), again.text
    assert again.outcome["buildroot"]["cached_requirements"]


def test_a_section_that_a_condition_takes_away_generates_nothing(builder: Builder) -> None:
    body = """\
%if 0
%generate_buildrequires
echo needed
%endif
%prep
echo prepared > text
%build
cat text
"""
    run = builder.build(builder.srpm("generates-not", body=body))
    assert run.status == 0, run.text
    assert run.steps == ["srpm", "builddep", "build"]
    assert "-br" not in run.log()


def test_a_section_that_a_macro_makes_generates(builder: Builder) -> None:
    """Preparing is done once: later rounds ask what the prepared sources need."""
    head = "%define dynamic() %{expand:\n%generate_buildrequires\necho needed\ncat more\n}"
    body = """\
%prep
test ! -e more
echo needed-too > more
%dynamic
%build
cat /usr/share/needed/text /usr/share/needed-too/text more
"""
    run = builder.build(builder.srpm("generates-by-macro", head=head.replace("\\n", "\n"), body=body))
    assert run.status == 0, run.text + run.log()
    assert run.steps == ["srpm", "builddep", "build", "builddep", "build"]


def test_requirements_that_come_with_requirements(builder: Builder) -> None:
    """Mock makes the source package again when something was installed; so does this."""
    head = """\
BuildRequires: needed
%if 0%(test -d /usr/share/needed && echo 1)
BuildRequires: needed-too
%endif"""
    run = builder.build(builder.srpm("conditional", head=head, body="%build\ncat /usr/share/needed-too/text\n"))
    assert run.status == 0, run.text
    assert run.steps == ["srpm", "builddep", "build", "builddep", "build"]


def test_a_requirement_that_is_not_there_is_the_packages_fault(builder: Builder) -> None:
    run = builder.build(builder.srpm("wants", head="BuildRequires: no-such-package >= 7"))
    assert run.status == 1
    failure = run.outcome["failure"]
    assert (failure["fault"], failure["step"], failure["log"]) == ("BuildError", "builddep", "root.log")
    assert "No matching package to install: 'no-such-package >= 7'" in run.log("root.log")
    assert "no-such-package" in run.text


def test_requirements_that_contradict_are_told_in_dnfs_words(
    builder: Builder, make_package: Callable[..., Path]
) -> None:
    run = builder.build(builder.srpm("conflicts", head="BuildRequires: needed\nBuildRequires: marker > 5"))
    assert run.status == 1
    assert "marker > 5" in run.log("root.log")


def _payload(package: Path) -> str:
    tags = "%{PAYLOADDIGEST}%{PAYLOADDIGESTALT}"
    return subprocess.run(["rpm", "-qp", "--qf", tags, str(package)], check=True, capture_output=True, text=True).stdout
