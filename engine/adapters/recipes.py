"""Recipe files: where they are looked for, and reading them. A task type is there when its file is there."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine.core.documents import MAX_CHARACTERS, too_large
from engine.core.errors import BadInput, Problem, did_you_mean
from engine.core.loader import load_recipe
from engine.core.recipe import Recipe

ENVIRONMENT = "ADJUTANT_RECIPES"
OPERATOR = Path("/etc/koji-adjutant/recipes")
_MAX_BYTES = 4 * MAX_CHARACTERS


def search_paths(option: Iterable[str | Path] = (), environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The directories to look in, first match wins.

    `--recipes` if given; else `ADJUTANT_RECIPES` (separated like PATH); else ``./recipes``, the operator's
    ``/etc/koji-adjutant/recipes`` and the recipes installed with the engine, so that each can replace a recipe of
    the next. Directories that do not exist are kept only where someone named them.
    """
    if named := [Path(path) for path in option]:
        return tuple(named)
    said = (os.environ if environ is None else environ).get(ENVIRONMENT, "")
    if named := [Path(path) for path in said.split(os.pathsep) if path]:
        return tuple(named)
    found: list[Path] = []
    for path in (Path("recipes"), OPERATOR, *_installed()):
        if os.path.isdir(path) and not any(path.samefile(known) for known in found):
            found.append(path)
    return tuple(found)


def _installed() -> tuple[Path, ...]:
    beside = Path(__file__).parents[2]
    source_tree = (beside / "recipes",) if (beside / "pyproject.toml").is_file() else ()
    return (*source_tree, Path(sysconfig.get_path("data")) / "share/koji-adjutant/recipes")


def read_text(path: Path) -> str:
    """A file as text. BadInput, naming the file, when it cannot be read, is too large or is not UTF-8."""
    where = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadInput([Problem(where, "", f"cannot be read: {error.strerror}")]) from None
    if len(content) > _MAX_BYTES:
        raise BadInput([too_large(where)])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(
            [Problem(where, f"line {line}", f"not UTF-8: byte 0x{content[error.start]:02x}", "save it as UTF-8")]
        ) from None


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`, whose name must be the method's. BadInput with all problems."""
    where = str(path)
    recipe = load_recipe(read_text(path), where)
    if recipe.method != path.stem:
        message = f"is '{recipe.method}', but the file is named {path.name}"
        raise BadInput([Problem(where, "method", message, f"name the file {recipe.method}.toml")])
    return recipe


class RecipeDirectory:
    """The recipes of some directories, read when asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def files(self) -> dict[str, Path]:
        """Method -> file, by method; of two files for one method the first directory's counts.

        BadInput when a directory cannot be read.
        """
        found: dict[str, Path] = {}
        for directory in self.paths:
            try:
                names = sorted(os.listdir(directory))
            except OSError as error:
                raise BadInput(
                    [Problem(str(directory), "", f"cannot be read: {error.strerror}", "see --recipes")]
                ) from None
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix == ".toml" and not name.startswith("."):
                    found.setdefault(stem, directory / name)
        return dict(sorted(found.items()))

    def path(self, method: str) -> Path:
        """The file of `method`; BadInput naming the nearest known method when there is none."""
        files = self.files()
        if method not in files:
            places = ", ".join(map(str, self.paths)) or "any recipes directory (see --recipes)"
            cure = did_you_mean(method, list(files))
            raise BadInput([Problem(places, "", f"no recipe for method '{method}'", cure)])
        return files[method]

    def get(self, method: str) -> Recipe:
        """The recipe of `method`; BadInput when there is none or it is not fit for use."""
        return read_recipe(self.path(method))

    def load_all(self) -> dict[str, Recipe]:
        """Every recipe by method; BadInput with the problems of all files."""
        recipes: dict[str, Recipe] = {}
        problems: list[Problem] = []
        for method, path in self.files().items():
            try:
                recipes[method] = read_recipe(path)
            except BadInput as error:
                problems.extend(error.problems)
        if problems:
            raise BadInput(problems)
        return recipes


def schema_for(directory: Path, name: str = "recipe") -> str:
    """What a file in `directory` writes after ``#:schema``: the schema beside the directory, else the installed one.

    `name` is ``recipe``, ``request`` or ``worker``.
    """
    file = f"schema/{name}.schema.json"
    beside = Path("..") / file
    if (directory / beside).is_file():
        return str(beside)
    for recipes in _installed():
        installed = recipes.parent / file
        if installed.is_file():
            return str(installed)
    return str(beside)
