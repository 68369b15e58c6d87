"""`engine image` with real podman, on the tiny image."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.adapters.images import PodmanImages
from engine.cli.image import image
from engine.core.errors import BadInput, ContainerError
from tests.podmanhost import TEST_LABEL, podman

pytestmark = pytest.mark.podman
REPOSITORY = f"localhost/adjutant-test-image-{os.getpid()}"  # two sessions at once shall not remove each other's
MARK = f"io.koji.adjutant.test.pid={os.getpid()}"


def engine(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(image, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def recipes(tmp_path: Path, tiny_image: str) -> Path:
    directory = tmp_path / "images" / "small"
    directory.mkdir(parents=True)
    (directory / "Containerfile").write_text(
        "ARG BASE=localhost/none\nFROM ${BASE}\nLABEL io.koji.adjutant.image=task\nRUN echo $RANDOM > /built\n"
    )
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def no_image_is_left(podman_host: None) -> object:
    yield
    for name in podman("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name.startswith(f"{REPOSITORY}:"):
            podman("rmi", "--force", name)


def build(recipes: Path, base: str, *words: str) -> list[str]:
    done = engine(
        "build", "small", "--images", str(recipes), "--repository", REPOSITORY, "--base", base, "--no-pull",
        "--network=none", "--no-cache", "--label", MARK, *words,
    )  # fmt: skip
    return done.stdout.split()


def image_id(name: str) -> str:
    return podman("image", "inspect", "--format", "{{.Id}}", name).strip()


def test_versions_are_kept_rolled_back_and_pruned(recipes: Path, tiny_image: str) -> None:
    ids = []
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        tags = build(recipes, tiny_image, "--no-check", "--version", version)
        assert tags == [f"{REPOSITORY}:small-v{version}", f"{REPOSITORY}:small"]
        ids.append(image_id(tags[0]))
    assert image_id(f"{REPOSITORY}:small") == ids[2]
    assert len(set(ids)) == 3
    listed = json.loads(engine("list", "--json").stdout)
    versions = {entry["labels"].get("org.opencontainers.image.version") for entry in listed}
    assert {"1.0.0", "1.1.0", "1.2.0"} <= versions

    engine("rollback", "small", "--to", "1.0.0", "--repository", REPOSITORY)
    assert image_id(f"{REPOSITORY}:small") == ids[0]

    said = engine("prune", "small", "--repository", REPOSITORY, "--keep", "1").stdout.split("\n")
    assert said[:-1] == [f"removed {REPOSITORY}:small-v1.1.0"]  # 1.0.0 is what `small` is now, 1.2.0 the newest
    left = podman("images", "--format", "{{.Tag}}", REPOSITORY).split()
    assert sorted(left) == ["small", "small-v1.0.0", "small-v1.2.0"]


def test_prune_takes_settings_that_name_an_id_and_refuses_what_is_no_image(tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(f'adjutant_task_image_default = "sha256:{"a" * 64}"\n')
    done = engine("prune", "small", "--repository", REPOSITORY, "--config", str(config))
    assert done.stdout == ""
    assert "no version of" in done.stderr
    config.write_text('adjutant_task_image_default = "no reference"\n')
    with pytest.raises(BadInput, match="worker.toml: adjutant_task_image_default: 'no reference' is not an image"):
        engine("prune", "small", "--repository", REPOSITORY, "--config", str(config))


def test_prune_spares_what_the_settings_name_and_containers_use(recipes: Path, tiny_image: str, tmp_path: Path) -> None:
    for version in ("1", "2", "3", "4", "5"):
        build(recipes, tiny_image, "--no-check", "--version", version)
    config = tmp_path / "worker.toml"
    config.write_text(
        f'adjutant_task_image_default = "{REPOSITORY}:small-v1"\n'
        f'[[adjutant_images]]\nimage = "{REPOSITORY}:small-v3"\ntag = "f*"\n'
    )
    user = f"prune-{os.getpid()}"
    podman("create", "--name", user, f"{REPOSITORY}:small-v2", "true")
    try:
        done = engine("prune", "small", "--repository", REPOSITORY, "--keep", "1", "--config", str(config))
    finally:
        podman("rm", "--force", user)
    assert done.stdout.split("\n")[:-1] == [f"removed {REPOSITORY}:small-v4"]
    assert f"{REPOSITORY}:small-v2" in done.stderr
    left = podman("images", "--format", "{{.Tag}}", REPOSITORY).split()
    assert sorted(left) == ["small", "small-v1", "small-v2", "small-v3", "small-v5"]


def test_a_version_never_moves(recipes: Path, tiny_image: str) -> None:
    build(recipes, tiny_image, "--no-check", "--version", "1")
    with pytest.raises(BadInput, match="small-v1 exists already"):
        build(recipes, tiny_image, "--no-check", "--version", "1")
    with pytest.raises(BadInput, match="small-v7 is not on this host .*here: small-v1"):
        engine("rollback", "small", "--to", "7", "--repository", REPOSITORY)


@pytest.mark.parametrize(
    "words",
    [
        'retrieving label for image "2fdc": you may need to remove the image to resolve the error',
        'locating item named "manifest" for image with ID "c1d4": file does not exist',
        'reading image "2fdc": locating image with ID "2fdc": image not known',
    ],
)
def test_images_that_go_while_podman_lists(tiny_image: str, tmp_path: Path, words: str) -> None:
    """What podman 4.3.1 said while another process removed images, once; then the real one answers."""
    stumbling, stumbled = tmp_path / "podman", tmp_path / "stumbled"
    stumbling.write_text(
        f"#!/bin/sh\n[ -e {stumbled} ] || {{ touch {stumbled}; echo 'Error: {words}' >&2; exit 125; }}\n"
        'exec podman "$@"\n'
    )
    stumbling.chmod(0o755)
    listed = PodmanImages(podman=str(stumbling)).images(TEST_LABEL)
    assert stumbled.exists()
    assert tiny_image in {name for one in listed for name in one.names}


def test_an_image_that_fails_its_check_is_not_tagged(recipes: Path, tiny_image: str) -> None:
    with pytest.raises(BadInput, match="image.package.rpm-build: not tagged: missing") as caught:
        build(recipes, tiny_image)
    assert len(caught.value.problems) > 10
    assert podman("images", "--quiet", REPOSITORY) == ""
    unnamed = podman("images", "--quiet", "--filter", "dangling=true", "--filter", f"label={MARK}").split()
    assert unnamed == []


def test_a_build_that_fails_leaves_no_name(recipes: Path, tiny_image: str) -> None:
    (recipes / "small" / "Containerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN false\n")
    with pytest.raises(ContainerError, match="podman ended with status"):
        build(recipes, tiny_image)
    assert podman("images", "--quiet", REPOSITORY) == ""


def test_an_unknown_image_names_the_nearest(recipes: Path) -> None:
    with pytest.raises(BadInput, match="no directory 'smal' .*did you mean 'small'"):
        engine("build", "smal", "--images", str(recipes))


def test_the_task_image_passes_and_another_does_not(task_image: str, tiny_image: str) -> None:
    done = json.loads(engine("check", task_image, "--json").stdout)
    assert {result["level"] for result in done} == {"ok"}
    with pytest.raises(BadInput, match="not a task image"):
        engine("check", tiny_image)
    with pytest.raises(BadInput, match="not a task image"):
        engine("check", "localhost/no-such-image:1")


def test_a_push_needs_a_registry() -> None:
    with pytest.raises(BadInput, match="names no registry"):
        engine("push", "localhost/x:1")


def test_a_push_of_what_is_not_here_is_a_wrong_name() -> None:
    with pytest.raises(BadInput, match="REFERENCE: localhost/no-such:1 is not on this host .engine image list"):
        engine("push", "localhost/no-such:1", "127.0.0.1:1/x:1")


def test_pruning_what_was_never_built_says_so() -> None:
    done = engine("prune", "smal", "--repository", REPOSITORY)
    assert (done.stdout, "no version of" in done.stderr) == ("", True)


def test_nothing_is_pulled_from_localhost(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ContainerError, match="localhost/ is no registry to pull it from .engine image build") as caught:
        engine("pull", "localhost/no-such:1")
    assert not caught.value.retry
    assert "trying again" not in caplog.text  # which engine.adapters.podman_images says before each


def test_an_image_of_this_host_is_its_own_newest(tiny_image: str) -> None:
    assert tiny_image.startswith("localhost/")
    assert tiny_image in engine("pull", tiny_image).stdout
