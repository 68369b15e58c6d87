"""What an expert would say about a recipe that loads: warnings of `engine check`, each with its code and a cure.

A warning cannot be switched off in the recipe; `docs/recipes.md` says of each what is behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attrs import frozen

from engine.core.errors import Problem, by_place
from engine.core.recipe import Argument, Recipe, Step
from engine.core.references import container_value, mounts_of, texts
from engine.core.structure import Found
from engine.core.templates import TemplateProblem, names

_WORKSPACE = re.compile(r"\{\{-?\s*workspace\.host\s*-?\}\}")
_SHELLS = re.compile(r"(.*/)?(ba|da|k|z|a)?sh")
_DASH_C = re.compile(r"-[a-z]*c")
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)


@frozen
class Warned:
    """One warning: `problem` says where, what and the cure; `code` is its short name."""

    problem: Problem
    code: str

    def __str__(self) -> str:
        return f"{self.problem} [{self.code}]"


def warnings(recipe: Recipe, where: str) -> tuple[Warned, ...]:
    """Every warning about `recipe`, sorted by place."""
    found = {Warned(Problem(where, *said), code) for code, (rule, _) in RULES.items() for said in rule(recipe)}
    return tuple(sorted(found, key=lambda warned: (by_place(warned.problem), warned.code)))


def _steps(recipe: Recipe) -> Iterator[tuple[str, Step]]:
    for index, step in enumerate(recipe.steps):
        yield f"steps[{index}]", step


def _owner(step: Step, key: str, place: str) -> str:
    """Where an inherited value was written."""
    return f"container.{key}" if getattr(step, key) is None else f"{place}.{key}"


def _shared_private(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        for path, mount in mounts_of(recipe, step, place):
            if _WORKSPACE.match(mount.source) or mount.selinux not in {"Z", None}:
                continue
            said = "is labelled Z" if mount.selinux else "gets the operator's label, Z unless they say otherwise"
            yield (
                f"{path}.selinux",
                f"a tree outside the workspace {said}: that relabels all of it and locks every other "
                "running container out",
                'say selinux = "none" or "z"',
            )


def _shared_writable(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        for path, mount in mounts_of(recipe, step, place):
            if mount.mode == "rw" and not _WORKSPACE.match(mount.source):
                yield (
                    f"{path}.mode",
                    "a tree outside the workspace is writable: one task can change what another reads",
                    "write below {{ workspace.host }} and collect it as an artifact",
                )


def _root_with_network(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        root = container_value(recipe, step, "user") == "root"
        online = container_value(recipe, step, "network") != "none"
        if root and online and not (step.target and container_value(recipe, step, "caps") == "install"):
            yield (
                _owner(step, "network", place),
                f"step '{step.name}' is root and has network",
                'say network = "none" or user = "koji"; only a step that installs into /target needs both',
            )


def _network_everywhere(recipe: Recipe) -> Iterator[Found]:
    if recipe.container.network == "default" and len(recipe.steps) > 1:
        yield "container.network", "every step has network", "say it in the step that needs it"


def _root_without_caps(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        if container_value(recipe, step, "user") == "root" and container_value(recipe, step, "caps") == "none":
            yield (
                _owner(step, "user", place),
                f"step '{step.name}' is root without a capability: it cannot write what root does not own",
                'say user = "koji", or caps = "install"',
            )


def _caps_without_root(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        if container_value(recipe, step, "user") == "koji" and container_value(recipe, step, "caps") != "none":
            yield _owner(step, "caps", place), f"step '{step.name}' has capabilities and is not root", "leave them out"


def _unpinned_image(recipe: Recipe) -> Iterator[Found]:
    images = [("container.image", recipe.container.image)]
    images += [(f"{place}.image", step.image) for place, step in _steps(recipe) if step.image]
    for path, image in images:
        if "{" in image or "@" in image:
            continue
        _, _, tag = image.rpartition("/")[2].partition(":")
        if tag in {"", "latest"}:
            said = "has no tag" if not tag else "has the tag latest"
            yield path, f"image {image} {said}: what it means changes from day to day", "name a tag or a digest"


def _no_log(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        if not step.log:
            yield f"{place}.log", f"step '{step.name}' names no log", f'it will be "{step.name}.log"; say so'


def _same_log(recipe: Recipe) -> Iterator[Found]:
    first: dict[str, str] = {}
    for place, step in _steps(recipe):
        log = step.log or f"{step.name}.log"
        if first.setdefault(log, step.name) != step.name:
            yield f"{place}.log", f"{log} is the log of step '{first[log]}' too", "give each step its own"


def _no_message(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        if step.fails == "BuildError" and not step.message:
            yield (
                f"{place}.message",
                f"step '{step.name}' can fail the build and has no words for the packager",
                "say what failed and which log to read",
            )


def _no_timeout(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        if step.timeout in {0, "", "0"}:
            yield f"{place}.timeout", f"step '{step.name}' may run as long as the operator allows", "give it seconds"


def _shell_line(recipe: Recipe) -> Iterator[Found]:
    for place, step in _steps(recipe):
        items = list(_argv(step, place))
        words = [word for _, word in items]
        shell = next((i for i, word in enumerate(words) if _SHELLS.fullmatch(word)), None)
        if shell is None:
            continue
        line = next((i + 1 for i in range(shell + 1, len(words)) if _DASH_C.fullmatch(words[i])), None)
        if line is not None and line < len(words) and "{{" in words[line]:
            yield (
                items[line][0],
                "a template inside a shell line: its value becomes shell code",
                'pass the value as an argument: "sh", "-c", \'… "$1"\', "sh", "{{ value }}"; or run a file',
            )


def _argv(step: Step, place: str) -> Iterator[tuple[str, str]]:
    for index, item in enumerate(step.argv):
        if isinstance(item, Argument):
            yield from ((f"{place}.argv[{index}].args[{n}]", word) for n, word in enumerate(item.args))
        else:
            yield f"{place}.argv[{index}]", item


def _secret_in_env(recipe: Recipe) -> Iterator[Found]:
    tables = [("container.env", recipe.container.env), *((f"{p}.env", step.env) for p, step in _steps(recipe))]
    for path, table in tables:
        for name, value in table.items():
            if _SECRET_NAME.search(name) and value:
                cure = "name it in the step's secrets: it comes as a file under /run/secrets"
                yield f"{path}.{name}", "a secret in the environment is seen by every process and by inspect", cure


def _no_min(recipe: Recipe) -> Iterator[Found]:
    for index, artifact in enumerate(recipe.artifacts):
        if artifact.min == 0 and artifact.max != 0:
            yield (
                f"artifacts[{index}].min",
                f"artifacts '{artifact.name}' may be empty: a step that made nothing would pass",
                "say min = 1",
            )


def _unused(recipe: Recipe) -> Iterator[Found]:
    written = [(path, text) for path, text, _, _ in texts(recipe)]
    written += [(f"files[{index}]", file.content) for index, file in enumerate(recipe.files) if file.literal]
    used = _used_names(recipe)
    for table in ("params", "probes", "inputs"):
        for index, item in enumerate(getattr(recipe, table)):
            mine = {table, f"{table}.{item.name}", f"{table}.{item.name}_source"}
            # Koji's signature is positional: a param may have to be there. Its summary can say so.
            if not mine & used and not (table == "params" and item.summary):
                yield f"{table}[{index}].name", f"'{item.name}' is used nowhere", "leave it out, or use it"
    for index, file in enumerate(recipe.files):
        own = f"files[{index}]"
        elsewhere = (text for path, text in written if path.partition(".")[0] != own)
        if "{" not in file.path and not any(file.path in text for text in elsewhere):
            yield f"{own}.path", f"'{file.path}' is named nowhere", "leave it out, or use it"


def _used_names(recipe: Recipe) -> set[str]:
    """Dotted names and each of their beginnings; a table used whole counts for all its members."""
    used: set[str] = set()
    for _, text, expression, _ in texts(recipe):
        try:
            found = names(text, expression=expression)
        except TemplateProblem:  # the loader has told it
            continue
        for name in found:
            parts = name.split(".")
            # A bare `params` alone stands for all params; as the root of `params.arch` it does not.
            used |= {".".join(parts[:count]) for count in range(min(2, len(parts)), len(parts) + 1)}
    return used


def _no_weight(recipe: Recipe) -> Iterator[Found]:
    if recipe.weight == 0:
        yield "weight", "the hub would put any number of these tasks on one host", "say what one costs, e.g. 1.0"


def _no_summary(recipe: Recipe) -> Iterator[Found]:
    if not recipe.summary:
        yield "summary", "the recipe says nowhere what it is for", "one line: engine recipe list shows it"


Check = Callable[[Recipe], Iterator[Found]]
RULES: dict[str, tuple[Check, str]] = {
    "shared-Z": (
        _shared_private,
        "A tree outside the workspace would be relabelled for one container alone; podman relabels every file "
        "below it and other running containers lose their access.",
    ),
    "shared-writable": (_shared_writable, "A tree that other tasks read is writable."),
    "root-network": (
        _root_with_network,
        "A step is root and has network, and does not install into `/target`.",
    ),
    "network-everywhere": (
        _network_everywhere,
        "`container.network` gives network to all of several steps; least privilege is per step.",
    ),
    "root-no-caps": (
        _root_without_caps,
        "Root without capabilities is less able than the koji user: it may not even write that user's files.",
    ),
    "caps-no-root": (_caps_without_root, "Capabilities in a step that is not root."),
    "unpinned-image": (_unpinned_image, "An image without a tag, or with `latest`."),
    "no-log": (_no_log, "A step without a log name; the hub shows logs by name."),
    "same-log": (_same_log, "Two steps with one log."),
    "no-message": (_no_message, "A step that fails with BuildError and says nothing to the packager."),
    "no-timeout": (_no_timeout, "A step that may run for the operator's whole limit."),
    "shell-template": (
        _shell_line,
        "A template within `sh -c`: what a task says would be read as shell code.",
    ),
    "secret-env": (_secret_in_env, "A variable whose name says that it is a secret."),
    "no-min": (_no_min, "An artifact set that may be empty."),
    "unused": (
        _unused,
        "A probe, input or file that nothing in the recipe names, or such a param without a `summary`.",
    ),
    "no-weight": (_no_weight, "Weight 0."),
    "no-summary": (_no_summary, "No summary."),
}
"""Code -> (rule, what is behind it, for the reference)."""
