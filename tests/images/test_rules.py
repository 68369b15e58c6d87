"""References, version tags, image choice, judgements: pure."""

from __future__ import annotations

import pytest

from engine.core.image_contents import REQUIRED, RUNS, ImageConfig, judge_answers, judge_config
from engine.core.images import (
    ImageRule,
    Reference,
    choose_image,
    parse_reference,
    prunable,
    version_key,
    version_tag,
)

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("almalinux:10", Reference(path="almalinux", tag="10")),
        ("registry.example.org/a/b", Reference(host="registry.example.org", path="a/b")),
        ("localhost/x:1", Reference(host="localhost", path="x", tag="1")),
        ("127.0.0.1:5000/a:b", Reference(host="127.0.0.1:5000", path="a", tag="b")),
        (f"r.example/a@{DIGEST}", Reference(host="r.example", path="a", digest=DIGEST)),
        (f"r.example:5000/a:t@{DIGEST}", Reference(host="r.example:5000", path="a", tag="t", digest=DIGEST)),
        ("library/almalinux", Reference(path="library/almalinux")),
        ("[::1]:5000/a", Reference(host="[::1]:5000", path="a")),
    ],
)
def test_a_reference_is_taken_apart_and_put_together_again(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    ["", "UPPER/a", "a:", "a:b c", "a@sha256:123", "r.example/", "/a", "a//b", "-x", "r.example/../a", "a:-t", "a\nb"],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_reference(text)


def test_versions_sort_by_number_and_a_candidate_before_its_release() -> None:
    tags = ["el10-v1.10.0", "el10-v1.2.0", "el10-v1.10.0-rc1", "el10", "other-v9", "el10-vlatest"]
    known = sorted((key, tag) for tag in tags if (key := version_key(tag, "el10")))
    assert [tag for _key, tag in known] == ["el10-v1.2.0", "el10-v1.10.0-rc1", "el10-v1.10.0"]
    assert version_tag("el10", "1.2.3") == version_tag("el10", "v1.2.3") == "el10-v1.2.3"
    with pytest.raises(ValueError, match="latest"):
        version_tag("el10", "latest")


def test_pruning_keeps_the_newest_and_what_is_in_use() -> None:
    tags = [f"el10-v1.{number}.0" for number in range(6)]
    assert prunable(tags, "el10", 3) == ["el10-v1.0.0", "el10-v1.1.0", "el10-v1.2.0"]
    assert prunable(tags, "el10", 3, spared=["el10-v1.1.0"]) == ["el10-v1.0.0", "el10-v1.2.0"]
    assert prunable(tags[:2], "el10", 3) == []


RULES = (
    ImageRule(image="r.example/a", method="createrepo"),
    ImageRule(image="r.example/b", tag="f4?-*", arch="x86_64"),
)


@pytest.mark.parametrize(
    ("method", "tag", "arch", "extra", "expected"),
    [
        ("createrepo", "", "noarch", None, ("r.example/a", "adjutant_images[0]")),
        ("buildArch", "f42-build", "x86_64", None, ("r.example/b", "adjutant_images[1]")),
        ("buildArch", "f42-build", "aarch64", None, ("default", "adjutant_task_image_default")),
        ("buildArch", "", "x86_64", None, ("default", "adjutant_task_image_default")),
        ("buildArch", "t", "x86_64", "ok.example/b/x:1", ("ok.example/b/x:1", "adjutant.image of tag t")),
        # An operator's rule is above the hub's word.
        ("createrepo", "t", "x86_64", "ok.example/b/x:1", ("r.example/a", "adjutant_images[0]")),
    ],
)
def test_the_image_of_a_task(method: str, tag: str, arch: str, extra: str | None, expected: tuple[str, str]) -> None:
    choice = choose_image(
        method=method,
        tag=tag,
        arch=arch,
        default="default",
        extra={} if extra is None else {"adjutant.image": extra},
        rules=RULES,
        allowed=("ok.example/b/*",),
    )
    assert (choice.image, choice.reason) == expected


@pytest.mark.parametrize(
    "said", [7, "evil.example/x:1", "ok.example/bad", "x:1", "ok.example/b/../../x", "ok.example/b/x y", "-x", ["a"]]
)
def test_the_hub_cannot_name_any_image(said: object) -> None:
    choice = choose_image(
        method="m", tag="t", arch="x86_64", default="d", extra={"adjutant.image": said}, allowed=("ok.example/b/*",)
    )
    assert choice.image == "d"
    assert "adjutant.image" in choice.reason


def _good_output() -> str:
    lines = [f"package {required.package}" for required in REQUIRED]
    lines += [f"command {command}" for required in REQUIRED for command in required.commands]
    lines += [f"runs {program}" for program in RUNS]
    return "\n".join([*lines, "uid 1000", "gid 1000", "me 1000:1000", "owns /builddir", "writes /tmp"])


def test_a_complete_image_passes() -> None:
    assert {result.level for result in judge_answers(_good_output())} == {"ok"}


@pytest.mark.parametrize("line", sorted(set(_good_output().splitlines()) - {"me 1000:1000"}))
def test_every_missing_answer_is_a_problem_with_a_cure(line: str) -> None:
    output = "\n".join(other for other in _good_output().splitlines() if other != line)
    bad = [result for result in judge_answers(output) if result.fatal]
    assert bad
    assert all(result.cure for result in bad)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("image.entrypoint", ImageConfig(architecture="amd64", entrypoint=("/x",))),
        ("image.onbuild", ImageConfig(architecture="amd64", on_build=("RUN x",))),
        ("image.volumes", ImageConfig(architecture="amd64", volumes=("/data",))),
        ("image.user", ImageConfig(architecture="amd64", user="nobody")),
        ("image.env", ImageConfig(architecture="amd64", env={"LD_PRELOAD": "/x.so"})),
        ("image.arch", ImageConfig(architecture="arm64")),
        ("image.arch", ImageConfig(architecture="amd64", os="windows")),
    ],
)
def test_what_an_image_would_change_behind_a_recipes_back_is_named(name: str, config: ImageConfig) -> None:
    bad = [result for result in judge_config(config, "x86_64") if result.fatal]
    assert [result.name for result in bad] == [name]
    assert bad[0].cure
    assert not [result for result in judge_config(ImageConfig(architecture="amd64"), "x86_64") if result.fatal]


def test_render_takes_the_image_of_the_rules_and_of_the_tag() -> None:
    from engine.core.facts import Facts, Settings, TagFacts, TaskRequest
    from engine.core.loader import load_recipe
    from engine.core.render import render

    recipe = load_recipe('recipe = 1\nmethod = "toy"\n[[steps]]\nname = "a"\nargv = ["true"]\n', "toy.toml")

    def image(**facts: object) -> str:
        settings = Settings(
            adjutant_task_image_default="r.example/default",
            adjutant_images=(ImageRule(image="r.example/el9", tag="el9-*"),),
            adjutant_images_allowed=("r.example/team/*",),
        )
        made = Facts(settings=settings, **facts)  # type: ignore[arg-type]
        return render(recipe, TaskRequest(method="toy"), made).steps[0].container.image

    assert image() == "r.example/default"
    assert image(build_tag=TagFacts(name="el9-build")) == "r.example/el9"
    assert image(build_tag=TagFacts(name="x", extra={"adjutant.image": "r.example/team/a:1"})) == "r.example/team/a:1"
    assert image(build_tag=TagFacts(name="x", extra={"adjutant.image": "evil.example/a:1"})) == "r.example/default"
    # What was said for this one task (engine run --image) is above all of them.
    assert image(image="mine", build_tag=TagFacts(name="el9-build")) == "mine"
