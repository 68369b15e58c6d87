"""The image of a container is in a registry or in podman's storage, whoever names it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.errors import BadInput
from engine.core.facts import RenderRequest
from engine.core.loader import load_recipe
from engine.core.render import render
from engine.core.structure import structure

HEAD = 'recipe = 1\nmethod = "toy"\nparams = [{ name = "image", optional = true }]\n'
STEP = '[[steps]]\nname = "work"\nargv = ["true"]\n'
HOSTILE = ("dir:/etc", "oci:/etc", "oci:x", "docker-archive:/etc/x", "containers-storage:x", "--privileged", "x\ty", "")


def image(text: str, **request: Any) -> str:
    recipe = load_recipe(HEAD + text, "toy.toml")
    wanted = structure({"method": "toy", **request}, RenderRequest, "request")
    return render(recipe, wanted.task, wanted.facts, where="toy.toml").steps[0].container.image


@pytest.mark.parametrize(
    "name", ["registry.example.org/a/b:1", "localhost/x", "oci", "a" * 64, f"sha256:{'a' * 64}", f"x@sha256:{'a' * 64}"]
)
def test_images(name: str) -> None:
    assert image(STEP + f'image = "{name}"\n') == name
    assert image(STEP, facts={"image": name}) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [(name, said) for name in HOSTILE for said in ("param", "facts", "default", "rule") if name or said != "facts"],
)
def test_images_refused(name: str, said: str) -> None:
    settings = {"default": {"adjutant_task_image_default": name}, "rule": {"adjutant_images": [{"image": name}]}}
    facts = {"image": name} if said == "facts" else {"settings": settings.get(said, {})}
    template = "{{ params.image }}" if said == "param" else "{{ image }}"
    with pytest.raises(BadInput, match=r"steps\[0\].image: .* is not"):
        image(STEP + f'image = "{template}"\n', params={"image": name}, facts=facts)


@pytest.mark.parametrize("name", HOSTILE[:-1])
def test_root_images_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"buildroot: .* is not"):
        image("[buildroot]\n" + STEP + 'root = "buildroot"\n', facts={"buildroot": {"image": name}})


def test_a_recipe_is_refused_when_loaded() -> None:
    with pytest.raises(BadInput, match=r"steps\[0\].image: 'dir:/etc' is not in a registry or in podman's storage"):
        load_recipe(HEAD + STEP + 'image = "dir:/etc"\n', "toy.toml")
