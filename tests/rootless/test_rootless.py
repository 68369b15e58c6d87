"""The main path as an unprivileged user: a task with an installing and a build step, clean-up, checks, self-test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from engine.adapters import rootless
from tests.rootless.person import Person

pytestmark = pytest.mark.podman

RECIPE = """
recipe = 1
method = "rootless"
params = [ { name = "script", type = "str", local = "true" } ]
result = "{{ artifacts.out.names }}"
[buildroot]
tracked = false
[container]
network = "none"
env = { HOME = "/tmp" }
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "/task/result"
mode = "rw"
[[container.mounts]]
source = "{{ workspace.host }}/in"
target = "{{ workspace.path }}/in"
[[files]]
path = "install.sh"
literal = true
content = '''
id
mkdir -p /target/installed /task/result/by-root
touch /target/installed/other
chown 42:65534 /target/installed/other
stat -c '%n %u:%g' /target/installed/*
echo x > /task/result/by-root/file
chmod 700 /task/result/by-root
'''
[[files]]
path = "build.sh"
literal = true
content = '''
cd /task/result; id; ls /installed
mkdir -p tree/deep; echo built > out.txt; touch tree/deep/file; chmod 500 tree/deep tree
eval "$1"
'''
[[steps]]
name = "install"
user = "root"
caps = "install"
target = true
log = "root.log"
fails = "BuildrootError"
argv = ["/bin/sh", "-e", "{{ workspace.path }}/in/install.sh"]
[[steps]]
name = "build"
root = "buildroot"
log = "build.log"
fails = "BuildError"
argv = ["/bin/sh", "{{ workspace.path }}/in/build.sh", "{{ params.script }}"]
[[artifacts]]
name = "out"
glob = ["result/*.txt"]
"""


@pytest.fixture
def config(person: Person, task_image: str) -> list[str]:
    """Words for the engine: recipes and settings in the user's home."""
    recipes = person.home / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "rootless.toml").write_text(RECIPE)
    settings = person.home / "worker.toml"
    settings.write_text(
        f'adjutant_task_image_default = "{task_image}"\nadjutant_network_enabled = {str(person.network).lower()}\n'
        f'adjutant_image_pull_policy = "never"\n[hub]\nworkdir = "{person.home}/work"\n'
    )
    return ["--config", str(settings)]


def run_words(person: Person, config: list[str], *words: str) -> list[str]:
    recipes = str(person.home / "recipes")
    return ["run", "rootless", "--recipes", recipes, "--workdir", f"{person.home}/local", *config, *words]


def leftovers(person: Person) -> list[str]:
    names = person.run("podman", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    return names + [path.name for path in (person.home / "local").glob("[0-9]*")]


def test_a_task_runs_and_its_files_of_other_ids_are_cleaned_up(person: Person, config: list[str]) -> None:
    results = person.home / "out"
    done = person.engine(*run_words(person, config, "--results", str(results)))
    outcome = json.loads((results / "result.json").read_text())
    assert outcome["status"] == "done", done.stderr
    assert outcome["result"] == ["out.txt"]
    assert (results / "out.txt").read_text() == "built\n"
    assert (results / "out.txt").stat().st_uid == person.uid
    assert "uid=0(root)" in (results / "root.log").read_text()
    assert "/target/installed/other 42:65534" in (results / "root.log").read_text()
    assert "uid=1000(koji)" in (results / "build.log").read_text()
    assert leftovers(person) == []


def test_a_failed_build_is_the_packages_fault_and_is_cleaned_up_too(person: Person, config: list[str]) -> None:
    done = person.engine(
        *run_words(person, config, "--param", "script=exit 3", "--results", f"{person.home}/failed"), check=False
    )
    assert done.returncode == 1, done.stderr
    assert leftovers(person) == []


def test_after_kill_gc_removes_what_only_containers_may(person: Person, config: list[str]) -> None:
    words = run_words(person, config, "--param", "script=touch started; sleep 300", "--results", f"{person.home}/k")
    child = subprocess.Popen(
        person.command(person.python, "-m", "engine.cli", *words), cwd=person.home, env=person.environ,
        start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 90
        while not list((person.home / "local").glob("*/result/started")):
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    assert leftovers(person) != []
    done = person.engine("gc", "--local", "--workdir", f"{person.home}/local", *config, "--json")
    assert json.loads(done.stdout)["failed"] == []
    assert leftovers(person) == []


def test_doctor_says_what_this_host_cannot_bind(person: Person, config: list[str]) -> None:
    done = person.engine("doctor", *config, "--no-hub", "--self-test", "--json", check=False)
    results = {result["name"]: result for result in json.loads(done.stdout)}
    problems = [result for result in results.values() if result["level"] == "problem"]
    assert problems == []
    assert done.returncode == 0
    assert results["user"]["level"] == "ok"
    assert f"uid {person.uid}, rootless" in results["user"]["found"]
    assert results["ids"]["level"] == "ok"
    assert results["ids"]["found"] == "uids: 65537, gids: 65537"  # her own, and all subordinate ones
    if person.network:
        assert results["network"]["level"] == "ok"  # a start with slirp4netns or pasta
    bound = results["limits"]["level"] == "ok"
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert not bound  # cgroup v1: podman ignores limits of an unprivileged user; processes are held by rlimit
        assert "limits on memory do not bind" in results["limits"]["found"]
    probes = {name: result["level"] for name, result in results.items() if name.startswith("selftest.")}
    assert len(probes) > 90
    for name, level in probes.items():
        if name.endswith("limit_memory") and not bound or name.endswith("user_namespace"):
            assert level in {"ok", "warning"}
        else:
            assert level == "ok", results[name]


def test_her_ids_are_counted_by_getsubids(person: Person) -> None:
    """The program asks the source that nsswitch.conf names; here that is the files, so both must say the same."""
    if shutil.which("getsubids") is None:
        pytest.skip("getsubids is not installed")
    files = rootless.id_ranges(person.uid, Path("/etc"))
    assert files == {kind: rootless._told(kind, person.name) for kind in rootless.FILES}
    assert files == rootless.id_ranges(person.uid)
    assert files["subuid"] > 0
    assert rootless._told("subuid", "nobody-of-that-name") == 0
