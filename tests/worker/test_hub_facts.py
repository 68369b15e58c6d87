"""The hub's answers as facts, with and without a login."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import koji
import pytest
from attrs import evolve

from engine.adapters.hub import fetch_request, gather, hub_address, named_params, task_request
from engine.adapters.recipes import RecipeDirectory
from engine.core.errors import BadInput, InfrastructureError
from engine.core.facts import HostFacts, Settings
from engine.core.loader import load_recipe
from engine.core.recipe import Recipe
from engine.core.render import render
from tests.hub import Authority, HubStandIn

RECIPE = """
recipe = 1
method = "probe"
params = [
  { name = "tag", type = "tag" },
  { name = "arch", type = "arch" },
  { name = "opts", type = "dict", optional = true, default = {} },
]
[facts]
repo = "{{ params.opts.repo_id }}"
build_tag = "{{ params.tag }}"
external_repos = true
[buildroot]
mode = "image"
arch = "{{ params.arch }}"
[[steps]]
name = "a"
log = "a.log"
argv = ["echo", "{{ build_tag.extra['mock.yum.best'] | default(0) if build_tag else 0 }}"]
"""


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(RECIPE, "probe.toml")


@pytest.fixture
def session(hub: HubStandIn) -> koji.ClientSession:
    """Nobody, as `engine render --task` is."""
    return koji.ClientSession(hub.url)


def facts_of(session: Any, recipe: Recipe, *arguments: Any, arch: str = "x86_64", **options: Any) -> Any:
    request = task_request(recipe, {"id": 5, "arch": arch}, list(arguments))
    host = HostFacts(name="h", arch="x86_64", cpus=2)
    return gather(session, recipe, request, options.pop("settings", Settings()), host=host, **options)


def test_requests_of_either_form_get_names(recipe: Recipe) -> None:
    assert named_params(recipe, ["t", "x86_64"]) == {"tag": "t", "arch": "x86_64"}
    assert named_params(recipe, ["t", {"arch": "s390x", "__starstar": True}]) == {"tag": "t", "arch": "s390x"}
    assert named_params(recipe, [{"__method__": "probe", "tag": 3}]) == {"tag": 3}
    assert named_params(recipe, ["t", "x86_64", {"repo_id": 1}])["opts"] == {"repo_id": 1}
    with pytest.raises(koji.ParameterError, match="takes 3 arguments, got 4"):
        named_params(recipe, [1, 2, 3, 4])
    with pytest.raises(koji.ParameterError, match="got tag twice"):
        named_params(recipe, ["t", {"tag": "u", "__starstar": True}])


def test_everything_is_read_at_the_repos_event(hub: HubStandIn, session: Any, recipe: Recipe, tmp_path: Path) -> None:
    hub.add_tag("t", "x86_64 i686", {"rpm.macro.dist": ".old"}, groups={"build": []})
    repo = hub.add_repo("t", state="INIT")
    hub.edit_tag("t", extra={"rpm.macro.dist": ".new"})
    settings = Settings(topurl="http://files/tree", topdir=str(tmp_path))
    facts = facts_of(session, recipe, "t", "x86_64", {"repo_id": repo}, settings=settings).facts
    assert [(macro.name, macro.value) for macro in facts.macros] == [("dist", ".old")]
    assert (facts.repo.state, facts.repo.tag_name, facts.repo.path) == ("INIT", "t", None)
    assert facts.repo.url == f"http://files/tree/repos/t/{repo}"
    assert [(one.name, one.url, one.path) for one in facts.repos] == [
        ("build", f"http://files/tree/repos/t/{repo}/x86_64", None)
    ]


def test_without_an_address_the_mounted_repo_is_used(hub: HubStandIn, session: Any, recipe: Recipe) -> None:
    hub.add_tag("t", "x86_64", groups={"build": []})
    repo = hub.add_repo("t", state="INIT")
    folder = hub.repo_dir(repo) / "x86_64"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(topdir=str(hub.topdir))
    facts = facts_of(session, recipe, "t", "x86_64", {"repo_id": repo}, settings=settings).facts
    assert (facts.repo.path, facts.repo.url) == (str(hub.repo_dir(repo)), None)
    assert [(one.path, one.url) for one in facts.repos] == [(str(folder), None)]


def test_tag_settings_become_macros_environment_and_notes(hub: HubStandIn, session: Any, recipe: Recipe) -> None:
    extra = {
        "rpm.macro.dist": ".t", "rpm.macro.flag": True, "rpm.macro.gone": None, "rpm.env.SITE": 7,
        "mock.yum.best": 1, "mock.new_chroot": 0, "mock.module_setup_commands": [["enable", "x"]], "unrelated": 1,
    }  # fmt: skip
    hub.add_tag("t", "x86_64", extra)
    found = facts_of(session, recipe, "t", "x86_64")
    macros = {macro.name: macro.value for macro in found.facts.macros}
    assert macros == {"dist": ".t", "flag": "True", "gone": "None"}, "kojid's str(value), whatever it is"
    assert {variable.name: variable.value for variable in found.facts.env} == {"SITE": "7"}
    assert found.notes == (
        'tag setting mock.module_setup_commands = [["enable", "x"]] has no effect: the recipe probe does not honour it',
        "tag setting mock.new_chroot = 0 has no effect: there is no chroot",
    )


def test_external_repos_of_the_architecture_in_order(hub: HubStandIn, session: Any, recipe: Recipe) -> None:
    hub.add_tag("t", "x86_64", groups={"build": []})
    hub.add_external_repo("second", "http://b/$arch/", "t", priority=9)
    hub.add_external_repo("first", "http://a/$arch/", "t", priority=1, merge_mode="bare")
    hub.add_external_repo("other", "http://c/", "t", arches="s390x")
    repo = hub.add_repo("t", state="INIT")
    found = facts_of(session, recipe, "t", "x86_64", {"repo_id": repo})
    assert [(one.name, one.url, one.merge_mode) for one in found.facts.external_repos] == [
        ("first", "http://a/x86_64/", "bare"),
        ("second", "http://b/x86_64/", "koji"),
    ]
    assert len(found.external_rows) == 3


@pytest.mark.parametrize(
    ("arch", "task_arch", "host", "expected"),
    [
        ("x86_64", "x86_64", "x86_64", "x86_64"),
        ("i686", "i386", "x86_64 i386", "i386"),
        ("noarch", "noarch", "x86_64", "x86_64"),
        ("noarch", "i386", "x86_64 i386", "i386"),
    ],
)
def test_the_architecture_of_the_root(
    hub: HubStandIn, session: Any, recipe: Recipe, arch: str, task_arch: str, host: str, expected: str
) -> None:
    hub.add_tag("t", "x86_64 i686")
    found = facts_of(session, recipe, "t", arch, arch=task_arch, host_arches=host)
    assert found.facts.buildroot.arch == expected


def test_no_common_architecture_is_a_build_error(hub: HubStandIn, session: Any, recipe: Recipe) -> None:
    hub.add_tag("t", "s390x")
    with pytest.raises(koji.BuildError, match="does not support any arches"):
        facts_of(session, recipe, "t", "noarch", arch="noarch", host_arches="x86_64")


def test_a_task_is_fetched_without_credentials_and_renders(hub: HubStandIn, tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "probe.toml").write_text(RECIPE)
    hub.add_tag("t", "x86_64", {"rpm.macro.dist": ".t"})
    task = hub.make_task("probe", ["t", "x86_64"], arch="x86_64")
    request, facts = fetch_request(hub.url, task, RecipeDirectory([tmp_path]))
    assert (request.method, request.task_id, dict(request.params)) == ("probe", task, {"tag": "t", "arch": "x86_64"})
    facts = evolve(facts, settings=evolve(facts.settings, workdir="/w"))
    assert render(recipe, request, facts).workspace.host == f"/w/{task}"
    assert {call.who for call in hub.call_log} == {None}


def test_what_cannot_be_fetched(hub: HubStandIn, tmp_path: Path) -> None:
    (tmp_path / "probe.toml").write_text(RECIPE)
    recipes = RecipeDirectory([tmp_path])
    with pytest.raises(BadInput, match="task 99: there is no such task"):
        fetch_request(hub.url, 99, recipes)
    other = hub.make_task("unheardOf", [])
    with pytest.raises(BadInput, match="no recipe for method 'unheardOf'"):
        fetch_request(hub.url, other, recipes)
    said = (
        r"^hub http://127.0.0.1:9/kojihub does not answer: \[Errno 111\] Connection refused \(check --hub and the net"
    )
    with pytest.raises(InfrastructureError, match=said):
        fetch_request("http://127.0.0.1:9/kojihub", 1, recipes)
    with pytest.raises(BadInput, match="no such koji profile"):
        hub_address("no-such-profile-anywhere")


def test_the_file_tree_of_a_hubs_address() -> None:
    assert hub_address("https://h/kojihub") == ("https://h/kojihub", "https://h/kojifiles")
    assert hub_address("https://h/kojihub/") == ("https://h/kojihub/", "https://h/kojifiles")
    assert hub_address("https://h/other") == ("https://h/other", "")


def test_a_profiles_certificate_authority_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "authority")
    (tmp_path / "probe.toml").write_text(RECIPE)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".koji").mkdir()
    with HubStandIn(tmp_path / "koji", tls=authority) as hub:
        profile = f"[private]\nserver = {hub.url}\nserverca = {authority.bundle}\n"
        (tmp_path / ".koji" / "config").write_text(profile)
        hub.add_tag("t", "x86_64")
        task = hub.make_task("probe", ["t", "x86_64"], arch="x86_64")
        request, _facts = fetch_request("private", task, RecipeDirectory([tmp_path]))
        assert request.task_id == task
        with pytest.raises(InfrastructureError, match="certificate verify failed"):
            fetch_request(hub.url, task, RecipeDirectory([tmp_path]))
