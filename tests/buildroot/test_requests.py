"""What a recipe's [buildroot] asks for, and what a plan says of a root that was not looked for yet."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from engine.core.errors import BadInput
from engine.core.facts import BuildrootFacts, Facts, HostFacts, PackageRepo, TaskRequest
from engine.core.recipe import Again, Mount, Recipe, Step
from engine.core.render import UNRESOLVED, render
from engine.core.roots import root_request
from tests.buildroot.roots import RECIPE

REPO = PackageRepo(name="build", path="/srv/repo")
TASK = TaskRequest(method="toy", params={"arch": "x86_64"}, task_id=7)
FACTS = Facts(repos=(REPO,), host=HostFacts(arch="aarch64"))


def with_buildroot(**keywords: Any) -> Recipe:
    assert RECIPE.buildroot is not None
    return attrs.evolve(RECIPE, buildroot=attrs.evolve(RECIPE.buildroot, **keywords))


def test_the_request_is_rendered() -> None:
    asked = root_request(with_buildroot(packages=("bc", "{{ params.arch }}-libs"), best="{{ 1 }}"), TASK, FACTS)
    assert asked is not None
    assert (asked.arch, asked.group, asked.packages, asked.best) == ("x86_64", "build", ("bc", "x86_64-libs"), True)
    assert asked.config()["repos"] == [{"name": "build", "baseurl": "file:///repos/build"}]


def test_options_that_shape_the_root_are_told_apart_from_the_others() -> None:
    options = {"tsflags": "nodocs, noscripts", "retries": "3"}
    asked = root_request(with_buildroot(options=options), TASK, FACTS)
    plain = root_request(with_buildroot(options={"retries": "3"}), TASK, FACTS)
    assert asked is not None
    assert plain is not None
    assert (asked.shaping(), plain.shaping()) == (("tsflags nodocs noscripts",), ())


def test_a_noarch_task_gets_the_architecture_that_was_chosen_or_the_hosts() -> None:
    task = attrs.evolve(TASK, params={"arch": "noarch"})
    asked = root_request(RECIPE, task, FACTS)
    assert asked is not None
    assert asked.arch == "aarch64"
    chosen = root_request(RECIPE, task, attrs.evolve(FACTS, buildroot=BuildrootFacts(arch="s390x")))
    assert chosen is not None
    assert chosen.arch == "s390x"


def test_no_request_without_a_root_of_a_repo() -> None:
    assert root_request(with_buildroot(mode="image"), TASK, FACTS) is None
    assert root_request(attrs.evolve(RECIPE, buildroot=None, steps=(Step(name="a", argv=("x",)),)), TASK, FACTS) is None


@pytest.mark.parametrize(
    ("buildroot", "repos", "words"),
    [
        ({}, (), "there is no repository to make a root of (engine run: say --repo DIR"),
        ({}, (PackageRepo(name="a"),), "a has neither path nor url"),
        ({}, (PackageRepo(name="a", url="ftp://x/"),), "'ftp://x/' is not an address"),
        ({}, (PackageRepo(name="../a", path="/a"),), "cannot be the name of a repository"),
        ({"packages": ("--installroot=/",)}, (REPO,), "packages[0]: the value '--installroot=/' would be read as an"),
        ({"options": {"reposdir": "/etc"}}, (REPO,), "options.reposdir: is not an option a recipe may set"),
        ({"best": "perhaps"}, (REPO,), "best: 'perhaps' is neither true nor false"),
    ],
)
def test_what_is_refused(buildroot: dict[str, Any], repos: tuple[PackageRepo, ...], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        root_request(with_buildroot(**buildroot), TASK, attrs.evolve(FACTS, repos=repos))
    assert words in str(caught.value)


def test_a_plan_before_the_root_was_looked_for_names_no_image_that_could_be_run() -> None:
    plan = render(RECIPE, TASK, FACTS)
    assert plan.anchor is not None
    assert plan.anchor.image == UNRESOLVED
    found = attrs.evolve(FACTS, buildroot=BuildrootFacts(image="localhost/adjutant-root:1", arch="x86_64"))
    known = render(RECIPE, TASK, found)
    assert known.anchor is not None
    assert known.anchor.image == "localhost/adjutant-root:1"


def test_the_cache_is_seen_through_an_overlay_and_the_network_only_where_a_repo_needs_it() -> None:
    step = Step(
        name="install",
        argv=("x",),
        network="repos",
        mounts=(Mount(source="{{ buildroot.cache }}", target="/cache", mode="overlay"),),
        standby="buildroot.requirements",
    )
    recipe = attrs.evolve(RECIPE, steps=(step, Step(name="go", argv=("x",), again=Again(exit=11, step="install"))))
    root = BuildrootFacts(cache="/srv/cache", arch="x86_64", requirements=True)
    local, remote = (
        render(recipe, TASK, attrs.evolve(FACTS, repos=(repo,), buildroot=root)).steps[0]
        for repo in (REPO, PackageRepo(name="build", url="https://example.org/"))
    )
    (mount,) = local.container.mounts
    assert (mount.source, mount.overlay, mount.selinux_label) == ("/srv/cache", True, None)
    assert (local.container.network_disabled, remote.container.network_disabled) == (True, False)
    assert local.standby
    assert (
        not render(recipe, TASK, attrs.evolve(FACTS, buildroot=attrs.evolve(root, requirements=False))).steps[0].standby
    )
