"""What a task image must have and must not do (ADR 0002 "Phase 1 Task Container Image"). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from engine.core.health import CheckResult, ok, problem


@frozen(kw_only=True)
class Requirement:
    """A package that the ADR wants and the commands or files that show it works."""

    package: str
    commands: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


REQUIRED: tuple[Requirement, ...] = (
    Requirement(package="rpm-build", commands=("rpmbuild",)),
    Requirement(package="gcc", commands=("gcc",)),
    Requirement(package="gcc-c++", commands=("g++",)),
    Requirement(package="make", commands=("make",)),
    Requirement(package="binutils", commands=("ld", "as", "strip")),
    Requirement(package="patch", commands=("patch",)),
    Requirement(package="dnf", commands=("dnf",)),
    Requirement(package="yum-utils"),
    Requirement(package="createrepo_c", commands=("createrepo_c",)),
    Requirement(package="bash", commands=("bash",)),
    Requirement(package="git", commands=("git",)),
    Requirement(package="python3", commands=("python3",)),
    Requirement(package="python3-devel"),
    Requirement(package="mock-core-configs"),
)
"""ADR "Required Packages", 1 to 5."""


@frozen(kw_only=True)
class ImageConfig:
    """What an image says of itself (podman inspect)."""

    architecture: str = ""
    os: str = "linux"
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)


GO_ARCH = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "i686": "386",
    "armv7l": "arm",
}
"""The machine's name (uname) to the image's."""

_ALSO = {"amd64": ("386",), "arm64": ("arm",)}


def runs_on(arch: str, machine: str) -> bool:
    """True when an image for `arch` runs on `machine` (uname) without emulation."""
    wanted = GO_ARCH.get(machine, machine)
    return arch == wanted or arch in _ALSO.get(wanted, ())


_LOADERS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "BASH_ENV", "ENV")


def judge_config(config: ImageConfig, machine: str) -> list[CheckResult]:
    """What the image's own configuration would change behind a recipe's back."""
    arch = f"{config.os}/{config.architecture}"
    results = [
        ok("image.arch", arch)
        if config.os == "linux" and runs_on(config.architecture, machine)
        else problem("image.arch", f"is for {arch}", f"this host is {machine}: build or pull the image for it")
    ]
    for name, value, cure in (
        ("image.entrypoint", " ".join(config.entrypoint), "remove ENTRYPOINT: steps name their whole command"),
        ("image.onbuild", "; ".join(config.on_build), "remove ONBUILD: it would run in every derived build"),
        ("image.volumes", ", ".join(config.volumes), "remove VOLUME: what is written there is lost"),
        (
            "image.user",
            "" if config.user in {"", "root", "0", "0:0"} else config.user,
            "remove USER: each step has its own user",
        ),
        (
            "image.env",
            ", ".join(name for name in _LOADERS if name in config.env),
            "remove these variables: they change every program",
        ),
    ):
        results.append(problem(name, f"has {value}", cure) if value else ok(name, "nothing set"))
    return results


def probe_script() -> str:
    """A POSIX shell script that prints one line a fact, ``KEY VALUE``; read by `judge_answers`."""
    lines = ["set -u"]
    for required in REQUIRED:
        lines.append(f"rpm -q --whatprovides {required.package} >/dev/null 2>&1 && echo 'package {required.package}'")
        lines += [f"command -v {command} >/dev/null && echo 'command {command}'" for command in required.commands]
    lines += [
        "rpmbuild --version >/dev/null 2>&1 && echo 'runs rpmbuild'",
        "createrepo_c --version >/dev/null 2>&1 && echo 'runs createrepo_c'",
        "dnf --version >/dev/null 2>&1 && echo 'runs dnf'",
        "printf 'int main(void){return 0;}' >/tmp/t.c && gcc -o /tmp/t /tmp/t.c && /tmp/t && echo 'runs gcc'",
        "python3 -c 'import dnf' 2>/dev/null && echo 'runs python3-dnf'",
        'echo "uid $(id -u koji 2>/dev/null)"',
        'echo "gid $(id -g koji 2>/dev/null)"',
        'echo "me $(id -u):$(id -g)"',
        'test -O /builddir && test -w /builddir && echo "owns /builddir"',
        'test -w /tmp && echo "writes /tmp"',
    ]
    return "\n".join([*lines, "true"])


RUNS = ("rpmbuild", "createrepo_c", "dnf", "gcc", "python3-dnf")


def judge_answers(output: str) -> list[CheckResult]:
    """The output of `probe_script`, run as 1000:1000, as results."""
    answers = {line.strip() for line in output.splitlines() if " " in line.strip()}
    results = []
    for required in REQUIRED:
        missing = [] if f"package {required.package}" in answers else ["the package"]
        missing += [command for command in required.commands if f"command {command}" not in answers]
        name = f"image.package.{required.package}"
        if missing:
            results.append(problem(name, "missing: " + ", ".join(missing), f"install {required.package} in the image"))
        else:
            results.append(ok(name, "installed"))
    for program in RUNS:
        if f"runs {program}" in answers:
            results.append(ok(f"image.runs.{program}", "works as uid 1000"))
        else:
            cure = "try it in a container of the image"
            results.append(problem(f"image.runs.{program}", "does not work as uid 1000", cure))
    found = "koji is {}:{}".format(*(_value(answers, key) or "absent" for key in ("uid", "gid")))
    cure = "RUN groupadd --gid 1000 koji && useradd --uid 1000 --gid 1000 --create-home koji"
    good = found == "koji is 1000:1000"
    results.append(ok("image.koji", found) if good else problem("image.koji", found, cure))
    for path, answer in (("/builddir", "owns /builddir"), ("/tmp", "writes /tmp")):  # noqa: S108
        name = f"image.writable.{path.strip('/')}"
        if answer in answers:
            results.append(ok(name, f"{path} is writable for koji"))
        else:
            results.append(problem(name, f"{path} is not writable for koji", f"make {path} for koji in the image"))
    return results


def _value(answers: Iterable[str], key: str) -> str:
    return next((line.split(" ", 1)[1] for line in answers if line.startswith(key + " ")), "")
