"""`engine check`: are the recipes fit for use, and what would an expert say about them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.core.errors import Problem
    from engine.core.lint import Warned


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--recipes", multiple=True, metavar="DIR", help="Directory of recipes; repeatable.  [env var: ADJUTANT_RECIPES]"
)
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], strict: bool, form: str, recipes: tuple[str, ...]) -> None:
    """Check recipe FILES, or directories of them; without any, every recipe that the engine finds.

    Prints errors and warnings, one a line: file, key path, what is wrong, the cure. Exit code 0 when there is no
    error, 3 when there is one, or a warning under --strict.
    """
    from engine.core.errors import EXIT_BAD_INPUT

    paths, errors = _recipe_files(files, recipes)
    found, warned = _findings(paths)
    errors += found
    if form == "json":
        click.echo(json.dumps(_rows(errors, warned), indent=2))
    else:
        for problem in errors:
            click.echo(f"{problem} [error]")
        for warning in warned:
            click.echo(str(warning))
        counts = f"{_count(len(paths), 'recipe')}: {_count(len(errors), 'error')}, {_count(len(warned), 'warning')}"
        click.echo(counts, err=True)
    ctx.exit(EXIT_BAD_INPUT if errors or (strict and warned) else 0)


def _recipe_files(files: tuple[Path, ...], recipes: tuple[str, ...]) -> tuple[list[Path], list[Problem]]:
    """The files to check, and what is wrong with the directories among `files`."""
    from engine.adapters.recipes import RecipeDirectory, search_paths
    from engine.core.errors import BadInput, Problem

    if not files:
        directory = RecipeDirectory(search_paths(recipes))
        found = list(directory.files().values())
        if not found:
            places = ", ".join(map(str, directory.paths)) or "any recipes directory"
            raise BadInput([Problem(places, "", "no recipes found", "name files, or a directory with --recipes")])
        return found, []
    found = []
    problems: list[Problem] = []
    for path in files:
        if not os.path.isdir(path):
            found.append(path)
            continue
        try:
            inside = RecipeDirectory([path]).files().values()
        except BadInput as error:
            problems += error.problems
            continue
        found += inside
        if not inside:
            problems.append(Problem(str(path), "", "no recipes found", "they are named METHOD.toml"))
    return list(dict.fromkeys(found)), problems


def _findings(paths: list[Path]) -> tuple[list[Problem], list[Warned]]:
    from engine.adapters.recipes import read_recipe
    from engine.core.errors import BadInput
    from engine.core.lint import warnings

    errors: list[Problem] = []
    warned: list[Warned] = []
    for path in paths:
        try:
            warned += warnings(read_recipe(path), str(path))
        except BadInput as error:
            errors += error.problems
    return errors, warned


def _rows(errors: list[Problem], warned: list[Warned]) -> list[dict[str, str]]:
    import attrs
    from attrs.filters import exclude

    found = [("error", "", problem) for problem in errors]
    found += [("warning", warning.code, warning.problem) for warning in warned]
    told = exclude("of_task")
    return [{"level": level, "code": code, **attrs.asdict(problem, filter=told)} for level, code, problem in found]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
