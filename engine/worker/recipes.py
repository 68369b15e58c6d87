"""The recipes a worker serves: read at start and again on SIGHUP; a broken file never takes a working one away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from engine.adapters.recipes import RecipeDirectory, read_recipe
from engine.core.errors import BadInput, Problem
from engine.core.recipe import Recipe

logger = logging.getLogger(__name__)


class ServedRecipes:
    """`recipes` by method, `files` they came from, `problems` of the files that could not be used."""

    def __init__(self, directory: RecipeDirectory) -> None:
        self.directory = directory
        self.recipes: dict[str, Recipe] = {}
        self.files: dict[str, Path] = {}
        self.problems: tuple[Problem, ...] = ()

    def load(self) -> None:
        """Read all files. A recipe whose file is broken now stays as it was; one whose file is gone goes."""
        try:
            files = self.directory.files()
        except BadInput as error:
            self._complain(error.problems)
            return
        recipes: dict[str, Recipe] = {}
        problems: list[Problem] = []
        for method, path in files.items():
            try:
                recipes[method] = read_recipe(path)
            except BadInput as error:
                problems.extend(error.problems)
                if method in self.recipes:
                    recipes[method] = self.recipes[method]
                    logger.error("recipe %s is broken; the one read before stays in use", path)
        self.recipes, self.files = recipes, files
        self._complain(tuple(problems))

    def _complain(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        for problem in problems:
            logger.error("%s", problem)

    def images(self) -> Iterator[str]:
        """Images that recipes name themselves, without a template."""
        found = set()
        for recipe in self.recipes.values():
            found.add(recipe.container.image)
            found.update(step.image for step in recipe.steps if step.image)
        yield from sorted(image for image in found if "{" not in image)
