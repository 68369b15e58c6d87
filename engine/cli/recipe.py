"""`engine recipe`: what recipes there are, what one says, and the start of a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.adapters.recipes import RecipeDirectory

_recipes = click.option(
    "--recipes", multiple=True, metavar="DIR", help="Directory of recipes; repeatable.  [env var: ADJUTANT_RECIPES]"
)


@click.group()
def recipe() -> None:
    """List, show and start recipes."""


@recipe.command("list")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@_recipes
def list_(form: str, recipes: tuple[str, ...]) -> None:
    """Print each recipe's method, weight, summary and file.

    A recipe that is not fit for use is listed with the number of its errors; `engine check` tells them.
    """
    from engine.core.errors import BadInput

    rows: list[dict[str, object]] = []
    directory = _directory(recipes)
    for method, path in directory.files().items():
        try:
            found = directory.get(method)
        except BadInput as error:
            rows.append({"method": method, "weight": None, "summary": _broken(error, path), "file": str(path)})
        else:
            row = {"method": method, "weight": found.weight, "summary": found.summary, "file": str(path)}
            rows.append(row)
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [[str(value) if value is not None else "-" for value in row.values()] for row in rows]
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*cells, strict=True)]
    for row_cells in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row_cells, widths, strict=True))
        click.echo(line.rstrip())


@recipe.command()
@click.argument("method")
@click.option("--resolved", is_flag=True, help="With every default filled in, as TOML.")
@_recipes
def show(method: str, resolved: bool, recipes: tuple[str, ...]) -> None:
    """Print the recipe of METHOD as its file says it."""
    from engine.adapters.recipes import read_text

    directory = _directory(recipes)
    path = directory.path(method)
    if not resolved:
        click.echo(read_text(path), nl=False)
        return
    from engine.core.structure import toml_text

    click.echo(toml_text(directory.get(method)), nl=False)


@recipe.command(short_help="Write the start of a recipe.")
@click.argument("method")
@click.option(
    "--recipes",
    "directory",
    default="recipes",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to write METHOD.toml.",
)
def new(method: str, directory: Path) -> None:
    """Write the start of a recipe for METHOD; a file that exists is never overwritten."""
    import os
    from shlex import quote

    from engine.adapters.recipes import schema_for, search_paths
    from engine.core.errors import BadInput, Problem
    from engine.core.kinds import KINDS
    from engine.core.skeleton import skeleton

    if complaint := KINDS["method"].check(method):
        raise BadInput([Problem("METHOD", "", *complaint)])
    path = directory / f"{method}.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(skeleton(method, schema_for(directory)))
    except FileExistsError:
        cure = f"engine recipe show {method}; or remove it first"
        raise BadInput([Problem(str(path), "", "exists already", cure)]) from None
    except OSError as error:
        raise BadInput([Problem(str(path), "", f"cannot be written: {error.strerror}")]) from None
    found = any(directory.samefile(place) for place in search_paths() if os.path.isdir(place))
    where = "" if found else f" --recipes {quote(str(directory))}"
    click.echo(f"wrote {path}; next: edit it, then\n  engine check {quote(str(path))}")
    click.echo(f"  engine render {method} --param name=you{where}")


def _directory(recipes: tuple[str, ...]) -> RecipeDirectory:
    from engine.adapters.recipes import RecipeDirectory, search_paths

    return RecipeDirectory(search_paths(recipes))


def _broken(error: Exception, path: Path) -> str:
    from engine.core.errors import BadInput

    count = len(error.problems) if isinstance(error, BadInput) else 1
    return f"({count} {'error' if count == 1 else 'errors'}: engine check {path})"
