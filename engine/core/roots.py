"""What a recipe's `[buildroot]` asks for, rendered: the values a root is resolved from. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from attrs import field, frozen

from engine.core import policy, templates
from engine.core.errors import BadInput
from engine.core.facts import Facts, PackageRepo, TaskRequest
from engine.core.recipe import Recipe
from engine.core.render import begin, root_arch
from engine.core.rendering import Rendering

OPTIONS = frozenset(
    {
        "excludepkgs",
        "fastestmirror",
        "ip_resolve",
        "max_parallel_downloads",
        "minrate",
        "multilib_policy",
        "proxy",
        "retries",
        "sslverify",
        "timeout",
        "tsflags",
    }
)
"""Options of dnf that a recipe may set: none names a file of the tool container or switches a check of content off."""

MODULE_COMMANDS = ("disable", "enable", "install", "reset")
"""What of `dnf module` can be said before there is a package: the others look, or change what is installed."""

SHAPING = ("tsflags",)
"""Those of `OPTIONS` that decide what a package leaves in the root, beside which packages there are."""

PAIR = 2
_CURE_REPOS = "engine run: say --repo DIR or --repo URL; on a builder: the task's repo"


@frozen(kw_only=True)
class RootRequest:
    """A root as it is asked for: `group` and `packages` out of `repos`, `arch` in Koji's words.

    `module_setup_commands` are pairs of one of `MODULE_COMMANDS` and the modules, each as dnf names it.
    `source` is the host path of the file whose build requirements the steps will install, None when it is not on
    this host yet.
    """

    arch: str
    group: str
    packages: tuple[str, ...] = ()
    repos: tuple[PackageRepo, ...] = ()
    releasever: str = ""
    best: bool = False
    module_hotfixes: bool = False
    module_setup_commands: tuple[tuple[str, tuple[str, ...]], ...] = ()
    options: Mapping[str, str] = field(factory=dict)
    source: str | None = None

    def shaping(self) -> tuple[str, ...]:
        """The options that shape the root, as ``name value``; the order of a value's words is of no account."""
        given = ((name, self.options.get(name, "")) for name in SHAPING)
        return tuple(" ".join([name, *sorted(set(value.replace(",", " ").split()))]) for name, value in given if value)

    def label(self) -> str:
        """What a root of it is called in lists: group and architecture, and the modules that were asked for."""
        return " ".join(
            [self.group, self.arch, *(f"({action} {', '.join(of)})" for action, of in self.module_setup_commands)]
        )

    def config(self) -> dict[str, Any]:
        """What the tools tell dnf: repositories below ``/repos`` by name, or by their address."""
        return {
            "arch": self.arch,
            "best": self.best,
            "module_hotfixes": self.module_hotfixes,
            "module_setup_commands": [[action, list(modules)] for action, modules in self.module_setup_commands],
            "options": dict(self.options),
            "releasever": self.releasever,
            "repos": [
                {"name": repo.name, "baseurl": f"file:///repos/{repo.name}" if repo.path else repo.url}
                for repo in self.repos
            ],
        }


def root_request(recipe: Recipe, request: TaskRequest, facts: Facts, *, where: str = "") -> RootRequest | None:
    """The request of a recipe with a buildroot of mode ``repo``, else None. BadInput with every problem."""
    wanted = recipe.buildroot
    if wanted is None or wanted.mode != "repo":
        return None
    rendering, _workspace, inputs = begin(recipe, request, facts, where or f"recipes/{recipe.method}.toml")
    found = RootRequest(
        arch=root_arch(rendering.text("buildroot.arch", wanted.arch), facts),
        group=rendering.text("buildroot.group", wanted.group),
        packages=tuple(rendering.text(f"buildroot.packages[{i}]", text) for i, text in enumerate(wanted.packages)),
        repos=_repos(rendering, wanted.repos),
        releasever=rendering.text("buildroot.releasever", wanted.releasever),
        best=_truth(rendering, "buildroot.best", wanted.best),
        module_hotfixes=_truth(rendering, "buildroot.module_hotfixes", wanted.module_hotfixes),
        module_setup_commands=tuple(_module_commands(rendering, wanted.module_setup_commands)),
        options=_options(rendering, wanted.options),
        source=next(
            (_on_host(item.source, facts, item.local) for item in inputs if item.name == wanted.requirements_of), None
        ),
    )
    for key in ("arch", "group", "releasever", *(f"packages[{i}]" for i in range(len(found.packages)))):
        value = found.packages[int(key[9:-1])] if key.startswith("packages") else getattr(found, key)
        if value:
            rendering.check(f"buildroot.{key}", policy.word_complaint(value, ""))
    if rendering.problems:
        raise BadInput(rendering.problems)
    return found


def _repos(rendering: Rendering, expression: str) -> tuple[PackageRepo, ...]:
    place = "buildroot.repos"
    repos: list[PackageRepo] = []
    for scope in rendering.each(place, expression):
        item = templates.plain(scope["item"])
        names = {f.name for f in attrs.fields(PackageRepo)}
        if not isinstance(item, Mapping) or not {"name"} <= set(item) <= names:
            rendering.complain(place, "must give a list of tables with `name` and `path` or `url`")
            break
        repo = PackageRepo(**item)
        if not policy.FILE_NAME.match(repo.name):
            rendering.complain(place, f"{repo.name!r} cannot be the name of a repository")
        if not repo.path and not repo.url:
            rendering.complain(place, f"{repo.name} has neither path nor url", _CURE_REPOS)
        if repo.path:
            rendering.check(place, policy.given_complaint(repo.path))
        elif repo.url and (
            policy.CONTROL.search(repo.url) or not repo.url.startswith(("http://", "https://", "file:/"))
        ):
            rendering.complain(place, f"{repo.url!r} is not an address", "http://, https:// or file:///")
        repos.append(repo)
    if not repos and not rendering.problems:
        rendering.complain(place, "there is no repository to make a root of", _CURE_REPOS)
    return tuple(repos)


def _module_commands(rendering: Rendering, expression: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Pairs as mock reads them: the second part is text, in which commas separate the modules."""
    place = "buildroot.module_setup_commands"
    for scope in rendering.each(place, expression):
        item = templates.plain(scope["item"])
        if not isinstance(item, list | tuple) or len(item) != PAIR or not all(isinstance(part, str) for part in item):
            rendering.complain(place, f"{item!r} is no command", '["enable", "NAME:STREAM"]')
            continue
        action, modules = item[0], tuple(filter(None, (part.strip() for part in item[1].split(","))))
        if action not in MODULE_COMMANDS:
            rendering.complain(
                place, f"{action!r} cannot be done to modules here", "known: " + ", ".join(MODULE_COMMANDS)
            )
        if not modules:
            rendering.complain(place, f"{action!r} names no module", f'["{action}", "NAME:STREAM"]')
        for module in modules:
            rendering.check(place, policy.word_complaint(module, ""))
        yield action, modules


def _truth(rendering: Rendering, place: str, given: str | bool) -> bool:
    value = given if isinstance(given, bool) else rendering.value(place, given)
    if isinstance(value, str):
        words = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
        if value.lower() not in words:
            rendering.complain(place, f"{value!r} is neither true nor false")
        return words.get(value.lower(), False)
    return bool(value)


def _options(rendering: Rendering, options: Mapping[str, str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for name, template in sorted(options.items()):
        place = f"buildroot.options.{name}"
        if name not in OPTIONS:
            rendering.complain(place, "is not an option a recipe may set", "known: " + ", ".join(sorted(OPTIONS)))
            continue
        value = rendering.text(place, template)
        if policy.CONTROL.search(value):
            rendering.complain(place, "the value has a line break")
        elif value:
            result[name] = value
    return result


def _on_host(source: str, facts: Facts, local: bool) -> str:
    """Where the hub's storage is on this host, should it be mounted here."""
    return source if local else f"{facts.settings.topdir}/work/{source}"
