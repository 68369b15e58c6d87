"""What the parts of a recipe say about each other: every name used is known, every reference leads somewhere.

Yields (key path, message, cure) for a recipe whose single values are all well-formed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from engine.core import variables
from engine.core.documents import join
from engine.core.errors import did_you_mean
from engine.core.kinds import KINDS, Form
from engine.core.recipe import Container, File, Mount, Recipe, Step
from engine.core.results import matches
from engine.core.structure import Found
from engine.core.templates import TemplateProblem, names
from engine.core.variables import Scope

_LISTS_WITH_NAMES = ("params", "probes", "inputs", "steps", "artifacts")


def problems(recipe: Recipe) -> Iterator[Found]:
    """Everything wrong between the parts of `recipe`."""
    yield from _repeated_names(recipe)
    yield from _unknown_variables(recipe)
    for index, step in enumerate(recipe.steps):
        place = f"steps[{index}]"
        yield from _again(recipe, index, step)
        yield from _buildroot(recipe, step, place)
        yield from _targets(recipe, step, place)
    yield from _phases(recipe)
    known = [item.name for item in recipe.inputs]
    for index, name in enumerate(recipe.local.args):
        if name not in known:
            yield f"local.args[{index}]", f"no input is named '{name}'", did_you_mean(name, known)
    named = recipe.buildroot.requirements_of if recipe.buildroot is not None else ""
    if named and named not in known:
        yield "buildroot.requirements_of", f"no input is named '{named}'", did_you_mean(named, known)


def texts(recipe: Recipe) -> Iterator[tuple[str, str, bool, Scope]]:
    """Every template and expression: key path, text, True for an expression, the names it may use."""
    steps, special = variables.scope(recipe), _scopes(recipe)
    for field in attrs.fields(Recipe):
        yield from _field_texts(recipe, field, field.name, special.get(field.name, steps), recipe)


def container_value(recipe: Recipe, step: Step, key: str) -> Any:
    """A key of a step, or what it inherits from `container`."""
    own = getattr(step, key)
    return getattr(recipe.container, key) if own is None else own


def mounts_of(recipe: Recipe, step: Step, place: str) -> Iterator[tuple[str, Mount]]:
    """The mounts of a step with their key paths: the container's first."""
    for index, mount in enumerate(recipe.container.mounts):
        yield f"container.mounts[{index}]", mount
    for index, mount in enumerate(step.mounts):
        yield f"{place}.mounts[{index}]", mount


def _scopes(recipe: Recipe) -> Mapping[str, Scope]:
    return {
        "buildroot": variables.inputs_scope(recipe),
        "facts": variables.facts_scope(recipe),
        "inputs": variables.inputs_scope(recipe),
        "params": variables.local_scope(recipe),
        "probes": variables.probes_scope(recipe),
        "result": variables.result_scope(recipe),
    }


def _object_texts(value: Any, path: str, known: Scope, recipe: Recipe) -> Iterator[tuple[str, str, bool, Scope]]:
    each = getattr(value, "each", None)
    inner = known if each is None else {**known, "item": variables.element(each, known)}
    for field in attrs.fields(type(value)):
        scope = known if field.name == "each" else inner
        if isinstance(value, Step) and field.name == "message":
            scope = variables.message_scope(recipe)
        yield from _field_texts(value, field, join(path, field.name), scope, recipe)


def _field_texts(
    owner: Any, field: attrs.Attribute[Any], path: str, known: Scope, recipe: Recipe
) -> Iterator[tuple[str, str, bool, Scope]]:
    form = KINDS[field.metadata["kind"]].form if "kind" in field.metadata else "text"
    if isinstance(owner, File) and field.name == "content" and not owner.literal:
        form = "template"
    yield from _value_texts(getattr(owner, field.name), form, path, known, recipe)


def _value_texts(
    value: Any, form: Form, path: str, known: Scope, recipe: Recipe
) -> Iterator[tuple[str, str, bool, Scope]]:
    if attrs.has(type(value)):
        yield from _object_texts(value, path, known, recipe)
    elif isinstance(value, str):
        if form != "text":
            yield path, value, form == "expression", known
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _value_texts(item, form, join(path, key), known, recipe)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _value_texts(item, form, join(path, index), known, recipe)


def _unknown_variables(recipe: Recipe) -> Iterator[Found]:
    for path, text, expression, known in texts(recipe):
        if not expression and "{" not in text:
            continue
        try:
            used = names(text, expression=expression)
        except TemplateProblem as problem:  # a default of the classes: nothing the user wrote
            yield path, problem.message, problem.cure
            continue
        for name in sorted(used):
            if complaint := variables.complaint(name, known):
                yield path, *complaint
            elif (root := known[name.split(".", 1)[0]]).asked:
                yield path, f"'{name}' is never asked for", f"say so in {root.asked}"


def _repeated_names(recipe: Recipe) -> Iterator[Found]:
    for key in _LISTS_WITH_NAMES:
        first: dict[str, int] = {}
        for index, item in enumerate(getattr(recipe, key)):
            if first.setdefault(item.name, index) != index:
                yield f"{key}[{index}].name", f"'{item.name}' is the name of {key}[{first[item.name]}] too", ""


def _again(recipe: Recipe, index: int, step: Step) -> Iterator[Found]:
    if step.again is None:
        return
    earlier = [other.name for other in recipe.steps[: index + 1]]
    if step.again.step in earlier:
        return
    path = f"steps[{index}].again.step"
    if any(other.name == step.again.step for other in recipe.steps):
        yield path, f"step '{step.again.step}' comes later", "name this step or an earlier one"
    else:
        yield path, f"no step is named '{step.again.step}'", did_you_mean(step.again.step, earlier)


def _phases(recipe: Recipe) -> Iterator[Found]:
    """The engine's own log: no step may print to it, no artifact be called so."""
    name = recipe.phases
    if not name:
        return
    for step in recipe.steps:
        if name == (step.log or f"{step.name}.log"):
            yield "phases", f"{name} is the log of step '{step.name}'", "name another log"
    for index, artifact in enumerate(recipe.artifacts):
        if matches(artifact, f"result/{name}"):
            why = f"result/{name} becomes the log {name} (key phases), and cannot be an artifact too"
            yield f"artifacts[{index}].glob", why, f"leave it out: exclude = ['result/{name}']"


def _buildroot(recipe: Recipe, step: Step, place: str) -> Iterator[Found]:
    on_buildroot = container_value(recipe, step, "root") == "buildroot"
    if on_buildroot and recipe.buildroot is None:
        place_of_root = f"{place}.root" if step.root else "container.root"
        yield place_of_root, "must be 'image': the recipe has no buildroot", "add the table [buildroot]"
    if not step.target:
        return
    if recipe.buildroot is None:
        yield f"{place}.target", "the recipe has no buildroot to mount", "add the table [buildroot]"
    if container_value(recipe, step, "caps") != "install":
        yield f"{place}.target", "only an installing step gets the buildroot writable", 'say caps = "install"'
    if on_buildroot:
        yield f"{place}.target", "the step runs on the buildroot already", 'say root = "image", or no target'


def _targets(recipe: Recipe, step: Step, place: str) -> Iterator[Found]:
    """Two mounts at one place; those with a condition or a repetition are left to the render."""
    fixed = [
        (path, mount.target) for path, mount in mounts_of(recipe, step, place) if not mount.when and not mount.each
    ]
    owners: tuple[tuple[str, Container | Step], ...] = (("container", recipe.container), (place, step))
    for owner, table in owners:
        fixed += [(f"{owner}.tmpfs[{index}]", tmpfs.target) for index, tmpfs in enumerate(table.tmpfs)]
    counts = Counter(target.rstrip("/") for _, target in fixed)
    for target, count in counts.items():
        if count > 1:
            *_, last = [path for path, here in fixed if here.rstrip("/") == target]
            yield f"{last}.target", f"{target} is mounted twice in step '{step.name}'", ""
