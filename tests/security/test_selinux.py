"""SELinux labels: in specs as the ADR says, in podman's records as in the specs; denials in the task's log."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters import selinux
from engine.adapters.podman import PodmanManager
from engine.core.facts import Facts, MountRule, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.podman_form import body, shell_text
from engine.core.render import render
from engine.core.spec import LABEL_WORKER_ID, ContainerSpec, VolumeMount
from tests.podmanhost import podman

RECIPE = """
recipe = 1
method = "labels"
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "{{ workspace.path }}/result"
mode = "rw"
[[container.mounts]]
source = "/mnt/koji/packages"
target = "/mnt/koji/packages"
EXTRA
[[steps]]
name = "one"
argv = ["true"]
"""


def spec_of(extra: str = "", **settings: object) -> ContainerSpec:
    recipe = load_recipe(RECIPE.replace("EXTRA", extra), "labels.toml")
    facts = Facts(settings=Settings(**settings))  # type: ignore[arg-type]
    return render(recipe, TaskRequest(method="labels", task_id=5), facts).steps[0].container


def label_of(spec: ContainerSpec, target: str) -> str | None:
    return next(mount.selinux_label for mount in spec.mounts if mount.target.endswith(target))


def test_the_default_is_private_on_workspace_and_archive() -> None:
    spec = spec_of()
    assert label_of(spec, "/result") == "Z"
    assert label_of(spec, "/packages") == "Z"  # ADR "SELinux Labeling Guidance"


@pytest.mark.parametrize(("word", "label"), [("Z", "Z"), ("z", "z"), ("none", None)])
def test_a_mount_and_the_operator_may_say_otherwise(word: str, label: str | None) -> None:
    assert label_of(spec_of(f'selinux = "{word}"'), "/packages") == label
    rule = MountRule(source="/mnt/koji", target="/mnt/koji", selinux_label=word)
    assert label_of(spec_of(adjutant_container_mounts=(rule,)), "/packages") == label
    # A recipe's word on its own mount is above the operator's default.
    assert label_of(spec_of('selinux = "none"', adjutant_container_mounts=(rule,)), "/packages") is None


def test_type_and_level_reach_both_forms() -> None:
    spec = spec_of(selinux_type="container_build_t", selinux_level="s0:c1,c2")
    assert (spec.selinux_type, spec.selinux_level) == ("container_build_t", "s0:c1,c2")
    text, posted = shell_text(spec), body(spec, {})
    for word in ("type:container_build_t", "level:s0:c1,c2"):
        assert f"label={word}" in text
        assert word in posted["selinux_opts"]


@pytest.fixture
def made(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> ContainerSpec:
    labels = (("a", "Z"), ("b", "z"), ("c", None))
    for name, _label in labels:
        (tmp_path / name).mkdir()
    return ContainerSpec(
        name=f"adjutant-{manager.config.worker_id}-5-labels",
        image=tiny_image,
        argv=("sh", "-c", "echo out"),
        network_disabled=True,
        mounts=tuple(
            VolumeMount(source=str(tmp_path / name), target=f"/{name}", selinux_label=label)  # type: ignore[arg-type]
            for name, label in labels
        ),
        labels={LABEL_WORKER_ID: manager.config.worker_id},
        selinux_type="container_build_t",
        selinux_level="s0:c1,c2",
        stop_timeout=1,
    )


@pytest.mark.podman
def test_podman_records_what_was_asked(made: ContainerSpec, manager: PodmanManager) -> None:
    handle = manager.create(made)
    try:
        record = json.loads(podman("inspect", handle.name))[0]
    finally:
        manager.remove(handle)
    said = record["HostConfig"]["SecurityOpt"]
    assert "label=type:container_build_t" in ",".join(said)
    assert "label=level:s0:c1,c2" in ",".join(said)
    command = record["Config"]["CreateCommand"]
    mounts = [word for word in command if word.startswith("--volume=")]
    assert [word.rsplit(":", 1)[1] for word in mounts] == ["ro,nosuid,nodev,Z", "ro,nosuid,nodev,z", "ro,nosuid,nodev"]


AUDIT = """\
type=AVC msg=audit(1763900000.100:41): avc:  denied  { read } for  pid=7 comm="cat" name="a" dev="vda1" ino=1 scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0
type=SYSCALL msg=audit(1763900000.100:41): arch=c000003e syscall=257 success=no exit=-13 comm="cat"
type=AVC msg=audit(1763900001.200:42): avc:  denied  { write } for  pid=8 comm="sh" name="b" scontext=system_u:system_r:container_t:s0:c3,c4 tcontext=system_u:object_r:nfs_t:s0 tclass=dir permissive=0
type=AVC msg=audit(1763900002.300:43): avc:  denied  { open } for  pid=9 comm="httpd" scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0
type=AVC msg=audit(1763800000.000:10): avc:  denied  { read } for  pid=6 comm="old" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0
audit: type=1400 audit(1763900003.400:44): avc:  denied  { getattr } for  pid=10 comm="ls" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=1
"""  # noqa: E501 - as auditd and the kernel write it


@pytest.mark.parametrize(
    ("level", "numbers"), [(None, ["41", "42", "44"]), ("s0:c1,c2", ["41", "44"]), ("s0:c9,c9", [])]
)
def test_denials_of_a_tasks_containers_are_picked(level: str | None, numbers: list[str]) -> None:
    found = selinux.select_denials(AUDIT.splitlines(), 1763900000, 1763900010, level)
    assert [line.split("):")[0].rsplit(":", 1)[1] for line in found] == numbers


def test_denials_of_a_type_of_its_own_are_picked() -> None:
    """`worker.selinux_type`: the processes are of that type, and no others' denials are a task's."""
    lines = AUDIT.replace(":container_t:", ":container_build_t:").splitlines()
    for level in (None, "s0:c1,c2"):
        assert selinux.select_denials(lines, 1763900000, 1763900010, level, "container_build_t")
        assert selinux.select_denials(lines, 1763900000, 1763900010, level) == []
        assert selinux.select_denials(AUDIT.splitlines(), 1763900000, 1763900010, level, "container_build_t") == []


def test_a_file_of_a_containers_label_is_no_container() -> None:
    line = AUDIT.splitlines()[0].replace("scontext=system_u:system_r:container_t", "scontext=system_u:system_r:cron_t")
    assert selinux.select_denials([line.replace("default_t", "container_t")], 1763900000, 1763900010) == []


def test_the_end_of_the_audit_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    assert list(selinux.audit_lines(log)) == []
    log.write_text("x" * 5_000_000 + "\n" + AUDIT)
    assert list(selinux.audit_lines(log))[1:] == AUDIT.splitlines()


def test_the_journal_is_asked_for_the_kernel_and_for_audit(tmp_path: Path) -> None:
    """A program in journalctl's place: here is no journal. It must be asked for the time of the step."""
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\ncat <<"END"\n{AUDIT}END\n')
    program.chmod(0o755)
    found = selinux.select_denials(selinux.journal_lines(1763900000.5, 1763900002.1, str(program)), 0, 2e9, "s0:c1,c2")
    assert len(found) == 3
    asked = (tmp_path / "asked").read_text().split()
    assert asked[-4:] == ["_TRANSPORT=audit", "_AUDIT_TYPE=1400", "+", "_TRANSPORT=kernel"]
    assert {"--since=@1763900000", "--until=@1763900003"} <= set(asked)
    assert list(selinux.journal_lines(0, 1, str(tmp_path / "absent"))) == []


JOURNAL = """\
__REALTIME_TIMESTAMP=1763900001600000
__MONOTONIC_TIMESTAMP=1000000
_BOOT_ID=0123456789abcdef0123456789abcdef
_SOURCE_REALTIME_TIMESTAMP=1763900001500000
_HOSTNAME=builder
_TRANSPORT=audit
_AUDIT_TYPE=1400
_AUDIT_ID=42
SYSLOG_IDENTIFIER=audit
_PID=7
MESSAGE=AVC avc:  denied  { read } for  pid=7 comm="cat" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0

__REALTIME_TIMESTAMP=1763900001700000
__MONOTONIC_TIMESTAMP=1100000
_BOOT_ID=0123456789abcdef0123456789abcdef
_HOSTNAME=builder
_TRANSPORT=kernel
SYSLOG_IDENTIFIER=kernel
MESSAGE=audit: type=1400 audit(1763900001.500:42): avc:  denied  { read } for  pid=7 comm="cat" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0

__REALTIME_TIMESTAMP=1763900001800000
__MONOTONIC_TIMESTAMP=1200000
_BOOT_ID=0123456789abcdef0123456789abcdef
_HOSTNAME=builder
_TRANSPORT=audit
_AUDIT_TYPE=1300
_AUDIT_ID=42
SYSLOG_IDENTIFIER=audit
MESSAGE=SYSCALL arch=c000003e syscall=257 success=no exit=-13 comm="cat"

"""  # noqa: E501 - as journald stores what the kernel tells it, here once by audit and once by its log
REMOTE = Path("/lib/systemd/systemd-journal-remote")


@pytest.mark.skipif(not REMOTE.exists(), reason="needs systemd-journal-remote, to write a journal")
def test_a_denial_in_the_journal_is_found_once(tmp_path: Path) -> None:
    """journald takes the time out of what audit says: with auditd running, or its log private, that is all there is."""
    (tmp_path / "entries").write_text(JOURNAL)
    journal = tmp_path / "test.journal"
    subprocess.run([REMOTE, f"--output={journal}", tmp_path / "entries"], check=True, capture_output=True)
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\nexec journalctl --file={journal} "$@"\n')
    program.chmod(0o755)
    lines = list(selinux.journal_lines(1763900000, 1763900002, str(program)))
    assert len(lines) == 2
    found = selinux.select_denials(lines[:1], 1763900000, 1763900002, "s0:c1,c2")
    assert [line.partition(" avc:")[0] for line in found] == ["1763900001.500000 builder audit[7]: AVC"]
    assert selinux.once(selinux.select_denials(lines, 1763900000, 1763900002)) == found
    assert selinux.once([lines[1]]) == [lines[1]]
    assert selinux.select_denials(lines, 1763900002, 1763900009) == []


def test_a_journal_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    assert list(selinux.journal_lines(0, 1, str(program), patience=0.2)) == []


def test_a_flood_of_denials_is_cut() -> None:
    found = selinux.select_denials([AUDIT.splitlines()[0]] * 5000, 1763900000, 1763900010)
    assert len(found) == selinux.MAX_DENIALS
    assert "50 or more" in selinux.denial_note(found)
    assert selinux.denial_note([]) == ""


@pytest.mark.podman
def test_denials_end_the_steps_log(made: ContainerSpec, manager: PodmanManager) -> None:
    asked: list[str | None] = []
    audit = AUDIT.replace(":container_t:", ":container_build_t:")

    def denials(since: float, until: float, level: str | None, type_: str | None) -> list[str]:
        assert since < until
        asked.extend([level, type_])
        return selinux.select_denials(audit.splitlines(), 0, 2e9, level, type_)

    output: list[bytes] = []
    before, manager.denials = manager.denials, denials
    try:
        manager.run(evolve(made, mounts=()), log=output.append)
    finally:
        manager.denials = before
    text = b"".join(output).decode()
    assert text.startswith("out\n")
    assert "SELinux denied 3 accesses" in text
    assert asked == ["s0:c1,c2", "container_build_t"]


def test_mode_and_file_type(tmp_path: Path) -> None:
    assert selinux.mode(tmp_path) == ""
    for digit, word in (("1", "enforcing"), ("0", "permissive")):
        (tmp_path / "enforce").write_text(digit)
        assert selinux.mode(tmp_path) == word
    assert selinux.file_type(str(tmp_path / "absent")) is None
