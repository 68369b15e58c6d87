"""What no recipe and no task may do: each rule with what it refuses and what it lets through."""

from __future__ import annotations

import pytest

from engine.core import policy
from engine.core.facts import Facts, MountRule, PackageRepo, Settings
from engine.core.mounts import MountRequest, duplicate_targets, parse_size, resolve_mount
from engine.core.recipe import Mount
from engine.core.spec import VolumeMount

WORKSPACE = "/var/tmp/koji-adjutant/7"


@pytest.mark.parametrize(
    "source",
    [
        "/", "/usr", "/usr/share", "/etc", "/etc/passwd", "/proc", "/proc/1", "/sys", "/dev", "/dev/kvm", "/boot",
        "/bin", "/lib64", "/run", "/run/podman/podman.sock", "/var/run/podman", "/root", "/home", "/home/alice",
        "/home/alice/.ssh", "/srv/x/.gnupg/y", "/var", "/tmp", "/mnt", "/var/lib/containers", "/var/lib/containers/x",
        "/var/log/x", "/var/spool/cron", "/var/tmp", "relative", "",
        "/a/../etc", "/a//b", "/a/./b", "/a\nb", "/a\x00b", "/a\udcff",
        "//etc", "//srv/data", "/root/", "/home/alice/", "/tmp/", "/var/", "/mnt/",
    ],
)  # fmt: skip
def test_sources_refused(source: str) -> None:
    assert policy.source_complaint(source)


@pytest.mark.parametrize("key", ["", "a=b", "a\nb"])
def test_label_keys_refused(key: str) -> None:
    assert policy.label_complaint(key)
    assert policy.label_complaint("org.example/a b") is None


@pytest.mark.parametrize(
    ("value", "level"),
    [("a b", False), ("x\n", False), ("container_t:s0", False), ("s0 c1", True), ("s0\n", True)],
)
def test_selinux_labels_refused(value: str, level: bool) -> None:
    assert policy.selinux_complaint(value, level=level)
    assert policy.selinux_complaint("s0-s15:c0.c1023" if level else "container_engine_t", level=level) is None
    assert policy.selinux_complaint(None, level=level) is None


@pytest.mark.parametrize("glob", ["", "r.example", "r.example*", "*.example/x", "r?/x", "[r]/x", "**"])
def test_globs_that_reach_another_registry(glob: str) -> None:
    assert policy.glob_complaint(glob)
    assert policy.glob_complaint("r.example/*") is None
    assert policy.glob_complaint("*") is None


@pytest.mark.parametrize("path", ["/", "//", "/etc", "/home/alice", "/root/", "/var/tmp", "/run/podman", "/mnt/../etc"])
def test_directories_refused_that_a_user_names(path: str) -> None:
    assert policy.given_complaint(path)


@pytest.mark.parametrize("path", ["/mnt", "/srv", "/run/media/alice/disc", "/home/alice/rpms", "/tmp/rpms"])
def test_directories_read_that_a_user_names(path: str) -> None:
    assert policy.given_complaint(path) is None


@pytest.mark.parametrize("workdir", ["/etc", "/etc/x", "/usr/local", "/run/x", "/root/.ssh", "rel", "/a/../x", "//a"])
def test_work_directories_refused(workdir: str) -> None:
    assert policy.workdir_complaint(workdir)


@pytest.mark.parametrize("workdir", ["/var/tmp/koji-adjutant", "/var/tmp", "/home/alice", "/mnt", "/srv/build"])
def test_work_directories_allowed(workdir: str) -> None:
    assert policy.workdir_complaint(workdir) is None


@pytest.mark.parametrize("source", ["/mnt/koji", "/srv/data", "/home/alice/rpms", "/var/cache/x", "/data/a b"])
def test_sources_allowed(source: str) -> None:
    assert policy.source_complaint(source) is None


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/etc",
        "/usr",
        "/usr/bin/rpm",
        "/proc/x",
        "/sys",
        "/dev/null",
        "/run",
        "/run/podman/x",
        "/target",
        "x",
        "/a/..",
        "//usr",
        "//work/7",
        "/work//",
        "/etc/",
        "/target/",
        "/tmp/",
    ],
)
def test_targets_refused(target: str) -> None:
    assert policy.target_complaint(target)


@pytest.mark.parametrize("target", ["/work/7/in", "/etc/krb5.keytab", "/builddir/.rpmmacros", "/mnt/koji", "/repos/x"])
def test_targets_allowed(target: str) -> None:
    assert policy.target_complaint(target) is None


@pytest.mark.parametrize(
    ("word", "template", "refused"),
    [
        ("--define", "--define", False),
        ("--root=/x", "{{ params.pkg }}", True),
        ("-x", " {{ params.x }}", True),
        ("--arch=x", "--arch={{ params.arch }}", False),
        ("a\nb", "{{ v }}", True),
        ("a\x00b", "{{ v }}", True),
        ("a\rb", "{{ v }}", True),
        ("$(id); rm -rf / `x` 'q' \"q\" &", "{{ v }}", False),
        ("x" * 100_001, "{{ v }}", True),
        ("", "{{ v }}", False),
        ("a\udcff", "{{ v }}", True),
    ],
)
def test_words(word: str, template: str, refused: bool) -> None:
    assert bool(policy.word_complaint(word, template)) is refused


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a/b", "a b", "a\nb", "a$b", "x" * 256, "../a", "a;b"])
def test_file_names_refused(name: str) -> None:
    assert policy.file_name_complaint(name)


@pytest.mark.parametrize("name", ["hello-1.0-1.src.rpm", "gtk+-2~rc1^2-1.el10.src.rpm"])
def test_file_names_allowed(name: str) -> None:
    assert policy.file_name_complaint(name) is None


def mounted(
    source: str, mode: str = "ro", selinux: str | None = None, **facts: object
) -> VolumeMount | tuple[str, str]:
    mount = Mount(source=source, target="/work/x", mode=mode, selinux=selinux)  # type: ignore[arg-type]
    request = MountRequest(mount=mount, source=source, target="/work/x", path="container.mounts[0]")
    return resolve_mount(request, Facts(**facts), WORKSPACE)  # type: ignore[arg-type]


def test_workspace_parts() -> None:
    result = mounted(f"{WORKSPACE}/result", "rw")
    assert isinstance(result, VolumeMount)
    assert (result.read_only, result.selinux_label) == (False, "Z")
    for source, mode in (
        (WORKSPACE, "ro"),
        (f"{WORKSPACE}/logs", "ro"),
        (f"{WORKSPACE}/logs/x", "rw"),
        (f"{WORKSPACE}/in", "rw"),
    ):
        assert isinstance(mounted(source, mode), tuple), source
    assert isinstance(mounted(f"{WORKSPACE}/result/../../8", "ro"), tuple), "another task's workspace"
    assert isinstance(mounted("/var/tmp/koji-adjutant/77/result"), tuple), "another task's workspace"


def test_operator_rules() -> None:
    default = mounted("/mnt/koji")
    assert isinstance(default, VolumeMount)
    assert (default.read_only, default.selinux_label) == (True, "Z")
    assert isinstance(mounted("/mnt/koji", selinux="none"), VolumeMount)
    assert isinstance(mounted("/mnt/koji", "rw"), tuple), "the operator said read-only"
    assert isinstance(mounted("/srv/data"), tuple), "not allowed by any rule"
    rules = (MountRule(source="/srv", target="/srv"), MountRule(source="/srv/rw", target="/srv/rw", read_only=False))
    settings = Settings(adjutant_container_mounts=rules)
    assert isinstance(mounted("/srv/rw/x", "rw", settings=settings), VolumeMount), "the closest rule counts"
    assert isinstance(mounted("/srv/other", "rw", settings=settings), tuple)
    everything = Settings(adjutant_container_mounts=(MountRule(source="/", target="/", read_only=False),))
    for source in ("/etc", "/usr/bin", "/run/podman/podman.sock", "/root"):
        assert isinstance(mounted(source, settings=everything), tuple), "not even the operator can switch it off"


def test_a_slash_at_the_end_makes_no_other_place() -> None:
    mounts = [VolumeMount(source="/mnt/koji", target=target) for target in ("/work/x", "/work/x/", "/work/y")]
    assert duplicate_targets(tuple(mounts)) == ["/work/x"]


def test_given_trees_are_read_only() -> None:
    repos = (PackageRepo(name="r", path="/home/alice/repo"),)
    assert isinstance(mounted("/home/alice/repo", repos=repos), VolumeMount)
    assert isinstance(mounted("/home/alice/repo", "rw", repos=repos), tuple)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 * 1024**2),
        ("4g", 4 * 1024**3),
        ("7", 7),
        ("1T", 1024**4),
        ("", None),
        ("m", None),
        ("1.5g", None),
        ("-1", None),
        ("٣", None),
        ("8388607t", 8388607 * 1024**4),
        ("8388608t", None),
        ("9" * 5000, None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size
