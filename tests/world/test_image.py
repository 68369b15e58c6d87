"""The task image has the tools and the user that the ADR lists, and nothing that would surprise a step."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.world.conftest import Shell
from tools import standin
from tools.miniworld.images import STANDIN_BASE
from tools.miniworld.roots import REPO_IN_CONTAINER

pytestmark = pytest.mark.podman

TOOLS = (
    "rpmbuild", "gcc", "g++", "make", "ld", "patch", "dnf", "repoquery", "yum-builddep", "createrepo_c", "bash", "git",
    "python3", "python3-config",
)  # fmt: skip


def test_every_tool_answers(shell: Shell) -> None:
    out = shell(f"for t in {' '.join(TOOLS)}; do command -v $t >/dev/null || echo missing $t; done; rpmbuild --version")
    assert "missing" not in out
    assert "RPM" in out
    assert shell("ls /etc/mock/*.cfg").strip()


def test_user_koji_is_1000_1000_with_a_shell_and_a_home(shell: Shell) -> None:
    out = shell("id -u koji; id -g koji; id -gn koji; getent passwd koji; stat -c '%u:%g' /home/koji /builddir")
    assert out.splitlines()[:3] == ["1000", "1000", "koji"]
    assert out.splitlines()[3].endswith(":/home/koji:/bin/bash")
    assert out.splitlines()[4:] == ["1000:1000", "1000:1000"]


def test_user_koji_reads_the_rpm_database_and_compiles(shell: Shell) -> None:
    out = shell(
        "rpm -qa | wc -l; printf 'int main(void){return 7;}' >/tmp/a.c; gcc -o /tmp/a /tmp/a.c; /tmp/a || echo $?",
        "--user=1000:1000",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    )
    packages, status = out.split()
    assert int(packages) > 100
    assert status == "7"


def test_dnf_is_byte_compiled(shell: Shell) -> None:
    code = "import dnf, importlib.util, os; print(os.path.exists(importlib.util.cache_from_source(dnf.__file__)))"
    assert shell(f'python3 -I -c "{code}"').strip() == "True"


def test_image_says_what_it_is_and_starts_nothing(podman_host: None) -> None:
    text = subprocess.run(["podman", "image", "inspect", standin.task_image()], capture_output=True, check=True).stdout
    config = json.loads(text)[0]["Config"]
    assert config["Labels"]["io.koji.adjutant.image"] == "task"
    assert config["Labels"]["org.opencontainers.image.title"] == "koji-adjutant-task"
    assert not config.get("Entrypoint")
    assert config.get("User", "") == ""


def test_dnf_installs_from_the_repositories_that_the_image_names(shell: Shell) -> None:
    """As a Containerfile that starts from this image does: the image's own repositories, every plugin on."""
    if not standin.converts():
        pytest.skip("the image's repositories are on the network")
    volume = f"--volume={standin.world_repo()}:{REPO_IN_CONTAINER}:ro"
    assert shell("dnf -y install ninja-build >&2 && ninja --version", volume).startswith("1.")


def test_mock_core_configs_is_out_of_reach_without_epel(podman_host: None) -> None:
    """As on AlmaLinux; else building the Containerfile here would not show that it enables EPEL first."""
    if not standin.converts():
        pytest.skip("the bare root belongs to the stand-in world")
    done = subprocess.run(
        ["podman", "run", "--rm", "--network=none", "--label=io.koji.adjutant.test=world",
         f"--volume={standin.world_repo()}:{REPO_IN_CONTAINER}:ro", STANDIN_BASE, "dnf", "-y", "install",
         "mock-core-configs"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Unable to find a match: mock-core-configs" in done.stderr


def test_dnf_left_no_cache(shell: Shell) -> None:
    assert shell("ls -A /var/cache/dnf | wc -l").strip() == "0"
