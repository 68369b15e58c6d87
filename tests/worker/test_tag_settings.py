"""Each key of a tag that kojid reads does what the table in docs/buildroots.md says of it, by the recipe buildArch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import koji
import pytest
from attrs import evolve

from engine.adapters.hub import Gathered, gather, task_request
from engine.core.errors import BadInput, TaskFailed
from engine.core.facts import HostFacts, PackageRepo, Settings
from engine.core.loader import load_recipe
from engine.core.render import render
from engine.core.roots import RootRequest, root_request
from engine.worker.delivery import environment_text
from tests.hub import HubStandIn

ROOT = Path(__file__).parents[2]
RECIPE = load_recipe((ROOT / "recipes/buildArch.toml").read_text(), "buildArch.toml")
ROW = re.compile(r"^\| `(?P<key>(?:mock|rpm)\.[\w.]+)` \| (?P<verdict>honoured|refused|no effect) \|", re.MULTILINE)
COMMANDS = [["disable", "perl"], ["enable", "nodejs:18, ruby:3.1"], ["install", "php:8.2/devel"]]

# An example value of each key, and what becomes of it where the table says `honoured`.
VALUES: dict[str, Any] = {
    "rpm.macro.NAME": 1,
    "rpm.env.NAME": True,
    "mock.yum.best": 1,
    "mock.yum.module_hotfixes": "0",  # text, and so true
    "mock.module_setup_commands": COMMANDS,
    "mock.releasever": 9,
    "mock.package_manager": "dnf5",
    "mock.plugin_conf.sign_enable": True,
    "mock.plugin_conf.sign_opts.cmd": "rpmsign",
    "mock.plugin_conf.sign_opts.opts": "--addsign %(rpms)s",
    "mock.new_chroot": 0,
    "mock.use_bootstrap": False,
    "mock.bootstrap_image": "registry.example.com/fedora:42",
    "mock.bootstrap_image_ready": True,
    "mock.forcearch": True,
}
WANTED: dict[str, Any] = {
    "mock.yum.best": ("best", True),
    "mock.yum.module_hotfixes": ("module_hotfixes", True),
    "mock.module_setup_commands": (
        "module_setup_commands",
        (("disable", ("perl",)), ("enable", ("nodejs:18", "ruby:3.1")), ("install", ("php:8.2/devel",))),
    ),
    "mock.releasever": ("releasever", "9"),
}
UNREAD = {  # kojid reads none of them
    "mock.tmpfs": True, "mock.yum.exclude": "x", "mock.dnf_warning": False, "mock.plugin_conf.tmpfs_enable": True,
    "mock.yum": 1, "mock.module_setup": 1, "mock.package": "x", "rpm.macro": 1, "rpm.other": 1,
}  # fmt: skip


def rows() -> dict[str, str]:
    return {found["key"]: found["verdict"] for found in ROW.finditer((ROOT / "docs/buildroots.md").read_text())}


def facts_with(hub: HubStandIn, extra: dict[str, Any]) -> Gathered:
    hub.add_tag("t", "x86_64", extra, groups={"build": []})
    return gathered(hub, "t")


def gathered(hub: HubStandIn, tag: str) -> Gathered:
    repo = hub.add_repo(tag, state="READY")
    request = task_request(RECIPE, {"id": 5, "arch": "x86_64"}, ["a/b.src.rpm", tag, "x86_64", True, {"repo_id": repo}])
    settings = Settings(workdir="/w", topurl="http://files")
    found = gather(koji.ClientSession(hub.url), RECIPE, request, settings, host=HostFacts(name="h", arch="x86_64"))
    return evolve(found, facts=evolve(found.facts, repos=(PackageRepo(name="build", url="http://files/r"),)))


def log_and_root(found: Gathered) -> tuple[str, RootRequest]:
    request = task_request(
        RECIPE, {"id": 5, "arch": "x86_64"}, ["a/b.src.rpm", "t", "x86_64", True, {"repo_id": found.facts.repo.id}]
    )
    plan = render(RECIPE, request, found.facts)
    root = root_request(RECIPE, request, found.facts)
    assert root is not None
    return environment_text(plan, found.facts, found.notes), root


def test_the_table_has_every_key_that_has_a_test() -> None:
    assert rows().keys() == VALUES.keys()


@pytest.mark.parametrize("key", VALUES)
def test_a_key_does_what_the_table_says(hub: HubStandIn, key: str) -> None:
    verdict, value = rows()[key], VALUES[key]
    found = facts_with(hub, {key: value})
    if verdict == "refused":
        with pytest.raises(TaskFailed, match=rf"Tag t sets {re.escape(key)}\b") as failed:
            log_and_root(found)
        assert failed.value.fault == "BuildrootError"
        return
    log, root = log_and_root(found)
    said = [line for line in log.splitlines() if key in line or "NAME" in line]
    assert len(said) == 1, log
    if verdict == "no effect":
        assert re.match(rf"# tag setting {re.escape(key)} = .* has no effect: ", said[0])
        _log, plain = log_and_root(facts_of_plain(hub))
        assert evolve(root, repos=()) == evolve(plain, repos=())
    elif key in WANTED:
        name, wanted = WANTED[key]
        assert getattr(root, name) == wanted
        assert said[0].startswith(f"tag setting {key} = ")
    else:
        assert said[0] in ("macro %NAME = 1", "env NAME = True")


@pytest.mark.parametrize("key", UNREAD)
def test_a_key_that_nobody_reads_is_named(hub: HubStandIn, key: str) -> None:
    """Also one that is a part of another key's name."""
    log, _root = log_and_root(facts_with(hub, {key: UNREAD[key]}))
    assert f"# tag setting {key} = " in log
    assert "has no effect: the recipe buildArch does not honour it" in log


@pytest.mark.parametrize("value", [None, "", 0, [], False])
@pytest.mark.parametrize("key", [*WANTED, "mock.plugin_conf.sign_enable", "mock.package_manager"])
def test_an_empty_value_is_as_none_given(hub: HubStandIn, key: str, value: Any) -> None:
    _log, root = log_and_root(facts_with(hub, {key: value}))
    _log, plain = log_and_root(facts_of_plain(hub))
    assert evolve(root, repos=()) == evolve(plain, repos=())


def facts_of_plain(hub: HubStandIn) -> Gathered:
    hub.add_tag("plain", "x86_64", {}, groups={"build": []})
    return gathered(hub, "plain")


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ([["update", "nodejs"]], "'update' cannot be done to modules here (known: disable, enable, install, reset)"),
        ([["enable", " , "]], "'enable' names no module"),
        ([["enable", "--installroot=/"]], "would be read as an option"),
        ([["enable"]], "['enable'] is no command"),
        ([["enable", ["a", "b"]]], "is no command"),
        (["enable"], "'enable' is no command"),
        ("enable", "must give a list"),
    ],
)
def test_commands_that_are_none(hub: HubStandIn, commands: Any, words: str) -> None:
    with pytest.raises(BadInput) as refused:
        log_and_root(facts_with(hub, {"mock.module_setup_commands": commands}))
    assert words in str(refused.value)
    assert "buildroot.module_setup_commands" in str(refused.value)
