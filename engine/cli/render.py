"""`engine render`: what would be run. The same code path as run and worker, ending before the first side effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.core.facts import Facts, RenderRequest, Settings, TaskRequest
    from engine.core.plan import Plan
    from engine.core.recipe import Recipe


@click.command()
@click.argument("method", required=False)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A task parameter; repeatable.")
@click.option("--request", "request_file", type=click.Path(dir_okay=False), help="Params and facts, TOML or JSON.")
@click.option("--task", "task_id", type=int, help="Fetch this task from the hub, read-only.")
@options.HUB
@click.option("--config", metavar="FILE", help="worker.toml or kojid.conf whose settings apply.")
@click.option(
    "--recipes",
    multiple=True,
    metavar="DIR",
    help="Directory of recipes; repeatable. Instead of worker.recipes of --config.",
)
@click.option("--format", "form", type=click.Choice(["text", "json", "toml"]), default="text", show_default=True)
@click.option("--vars", "show_vars", is_flag=True, help="List what the recipe's templates may use, with types.")
def render(
    method: str | None,
    params: tuple[str, ...],
    request_file: str | None,
    task_id: int | None,
    hub: str | None,
    config: str | None,
    recipes: tuple[str, ...],
    form: str,
    show_vars: bool,
) -> None:
    """Print the podman invocations of METHOD's task, ready to paste; nothing is run."""
    from engine.adapters.recipes import RecipeDirectory, search_paths

    loaded = None
    if config is not None:
        from engine.settings import load_settings

        loaded = load_settings(config, local=True)
    directory = RecipeDirectory(search_paths(recipes or (loaded.worker.recipes if loaded else ())))
    settings = loaded.settings if loaded else None
    request, facts, method = _task(directory, method, params, request_file, task_id, hub, settings)
    recipe = directory.get(method)
    if show_vars:
        _print_variables(recipe)
        return
    import attrs

    from engine.core import render as core

    if params:
        from engine.core.params_text import params_from_text

        request = attrs.evolve(request, params={**request.params, **params_from_text(recipe, params)})
    if settings is not None and task_id is None:
        facts = attrs.evolve(facts, settings=settings)
    where = str(directory.path(method))
    if not request_file and recipe.probes:
        from engine.adapters import probes

        facts = attrs.evolve(facts, probes=probes.answers(core.probe_paths(recipe, request, facts)))
    _print_plan(core.render(recipe, request, facts, where=where), form)


def _task(
    directory: Any,
    method: str | None,
    params: tuple[str, ...],
    request_file: str | None,
    task_id: int | None,
    hub: str | None,
    settings: Settings | None,
) -> tuple[TaskRequest, Facts, str]:
    from engine.core.facts import Facts, TaskRequest

    if task_id is not None:
        if hub is None:
            raise click.UsageError("--task needs --hub URL_OR_PROFILE")
        from engine.adapters.hub import fetch_request

        request, facts = fetch_request(hub, task_id, directory, settings)
        return request, facts, request.method
    if request_file is not None:
        loaded = read_request(Path(request_file))
        if method not in {None, loaded.method}:
            raise click.UsageError(f"{request_file} is for {loaded.method}, not for {method}")
        return loaded.task, loaded.facts, loaded.method
    if method is None:
        raise click.UsageError("Missing METHOD (or --request FILE, or --task ID)")
    return TaskRequest(method=method), Facts(), method


def read_request(path: Path) -> RenderRequest:
    """A request file: JSON by its suffix, else TOML. BadInput with every problem."""
    from engine.adapters.recipes import read_text
    from engine.core.documents import parse_json, parse_toml
    from engine.core.facts import RenderRequest
    from engine.core.structure import structure

    parse = parse_json if path.suffix == ".json" else parse_toml
    return structure(parse(read_text(path), str(path)), RenderRequest, str(path))


def _print_plan(plan: Plan, form: str) -> None:
    if form == "json":
        click.echo(json.dumps({"digest": plan.digest, **plan.data()}, indent=2))
    elif form == "toml":
        from engine.core.structure import toml_text, unstructure

        click.echo(toml_text({"digest": plan.digest, **unstructure(plan)}), nl=False)
    else:
        from engine.core.plan_text import plan_text

        click.echo(plan_text(plan), nl=False)


def _print_variables(recipe: Recipe) -> None:
    from engine.core import variables

    scopes = [
        ("in every template and expression", variables.scope(recipe)),
        ("also in a step's message", variables.message_scope(recipe)),
        ("also in the result", variables.result_scope(recipe)),
    ]
    seen: set[str] = set()
    for title, scope in scopes:
        rows = [row for row in variables.listed(scope) if row[0] not in seen]
        seen |= {row[0] for row in rows}
        width = max((len(name) for name, _type, _summary in rows), default=0)
        click.echo(f"# {title}")
        for name, kind, summary in rows:
            click.echo(f"{name:<{width}}  {kind:<16}  {summary}".rstrip())
        click.echo("")
