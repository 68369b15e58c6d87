"""`engine check` and `engine recipe`, and where recipes are looked for."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from engine.adapters.recipes import RecipeDirectory, read_recipe, read_text, search_paths
from engine.cli import cli
from engine.cli.check import check
from engine.cli.recipe import recipe
from engine.core.errors import EXIT_BAD_INPUT, BadInput
from engine.core.loader import load_recipe

ROOT = Path(__file__).parents[2]
GOOD = """recipe  = 1
method  = "{method}"
summary = "Nothing to say about this one"

[[steps]]
name    = "work"
argv    = ["true"]
log     = "work.log"
timeout = 60
"""


def _run(command: click.Command, *args: object) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with recipes/good.toml, recipes/warned.toml and recipes/bad.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADJUTANT_RECIPES", "recipes")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "good.toml").write_text(GOOD.format(method="good"))
    (recipes / "warned.toml").write_text(GOOD.format(method="warned").replace("timeout = 60\n", ""))
    (recipes / "bad.toml").write_text(GOOD.format(method="bad").replace("timeout", "timeuot"))
    (recipes / ".hidden.toml").write_text("not even TOML")
    (recipes / "notes.txt").write_text("no recipe")
    return recipes


def test_check_without_files_checks_every_recipe(folder: Path) -> None:
    done = _run(check)
    assert done.exit_code == EXIT_BAD_INPUT
    assert done.stdout.splitlines() == [
        "recipes/bad.toml: steps[0]: unknown key 'timeuot' (did you mean 'timeout'?) [error]",
        "recipes/warned.toml: steps[0].timeout: step 'work' may run as long as the operator allows "
        "(give it seconds) [no-timeout]",
    ]
    assert done.stderr == "3 recipes: 1 error, 1 warning\n"


def test_warnings_are_errors_only_under_strict(folder: Path) -> None:
    assert _run(check, folder / "warned.toml").exit_code == 0
    assert _run(check, "--strict", folder / "warned.toml").exit_code == EXIT_BAD_INPUT
    assert _run(check, "--strict", folder / "good.toml").exit_code == 0


def test_check_as_json(folder: Path) -> None:
    done = _run(check, "--format", "json", folder)
    assert done.exit_code == EXIT_BAD_INPUT
    rows = json.loads(done.stdout)
    assert [(row["level"], row["code"], row["path"]) for row in rows] == [
        ("error", "", "steps[0]"),
        ("warning", "no-timeout", "steps[0].timeout"),
    ]
    assert rows[0]["cure"] == "did you mean 'timeout'?"


def test_a_file_named_twice_is_checked_once(folder: Path) -> None:
    assert _run(check, "recipes/bad.toml", "recipes", "recipes/bad.toml").stderr == "3 recipes: 1 error, 1 warning\n"


@pytest.mark.parametrize("path", ["missing.toml", "recipes/good.toml/x"])
def test_a_file_that_cannot_be_read_is_an_error_of_its_own(folder: Path, path: str) -> None:
    done = _run(check, path, "recipes/bad.toml")
    assert done.exit_code == EXIT_BAD_INPUT
    assert f"{path}: cannot be read: " in done.stdout
    assert "recipes/bad.toml: steps[0]" in done.stdout


def test_a_directory_without_recipes_is_an_error_beside_the_others(folder: Path) -> None:
    (folder / "none").mkdir()
    done = _run(check, "recipes/none", "recipes/bad.toml")
    assert done.exit_code == EXIT_BAD_INPUT
    assert "recipes/none: no recipes found (they are named METHOD.toml) [error]" in done.stdout
    assert "recipes/bad.toml: steps[0]" in done.stdout


def test_list_shows_the_broken_ones_too(folder: Path) -> None:
    done = _run(recipe, "list")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "bad     -    (1 error: engine check recipes/bad.toml)  recipes/bad.toml",
        "good    1.0  Nothing to say about this one             recipes/good.toml",
        "warned  1.0  Nothing to say about this one             recipes/warned.toml",
    ]
    rows = json.loads(_run(recipe, "list", "--format", "json").stdout)
    assert rows[1] == {
        "method": "good",
        "weight": 1.0,
        "summary": "Nothing to say about this one",
        "file": "recipes/good.toml",
    }


def test_show_prints_the_file_or_everything(folder: Path) -> None:
    assert _run(recipe, "show", "good").stdout == (folder / "good.toml").read_text()
    resolved = _run(recipe, "show", "good", "--resolved").stdout
    assert 'network = "none"' in resolved
    assert load_recipe(resolved, "x") == read_recipe(folder / "good.toml")


def test_show_of_an_unknown_method_names_the_nearest(folder: Path) -> None:
    done = _run(recipe, "show", "god")
    assert isinstance(done.exception, BadInput)
    assert str(done.exception) == "recipes: no recipe for method 'god' (did you mean 'good'?)"


def test_new_writes_a_recipe_that_is_fit_for_use_and_never_overwrites(folder: Path) -> None:
    done = _run(recipe, "new", "hello")
    assert done.exit_code == 0
    assert "engine check recipes/hello.toml" in done.stdout
    assert _run(check, "--strict", "recipes/hello.toml").exit_code == 0
    (folder / "hello.toml").write_text("mine")
    again = _run(recipe, "new", "hello")
    assert "recipes/hello.toml: exists already" in str(again.exception)
    assert (folder / "hello.toml").read_text() == "mine"


@pytest.mark.parametrize("directory", ["recipes", "else where"])
def test_the_commands_that_new_names_work(folder: Path, directory: str) -> None:
    done = _run(recipe, "new", "hello", "--recipes", directory)
    commands = [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("  engine ")]
    assert [words[0] for words in commands] == ["check", "render"]
    for words in commands:
        assert _run(cli, *words).exit_code == 0


@pytest.mark.parametrize("method", ["../x", "a/b", "a b", "-x.toml", "", "a.b", "x\n"])
def test_new_takes_method_names_only(folder: Path, method: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    done = _run(recipe, "new", "--", method)
    assert "METHOD: must be a method name" in str(done.exception)
    assert sorted(folder.parent.rglob("*")) == before


def test_new_names_the_schema_that_is_there(folder: Path) -> None:
    schema = folder.parent / "schema/recipe.schema.json"
    schema.parent.mkdir()
    schema.write_text("{}")
    _run(recipe, "new", "beside")
    assert (folder / "beside.toml").read_text().startswith("#:schema ../schema/recipe.schema.json\n")
    schema.unlink()
    _run(recipe, "new", "elsewhere")
    named = (folder / "elsewhere.toml").read_text().splitlines()[0].removeprefix("#:schema ")
    assert named == str(ROOT / "schema/recipe.schema.json")


def test_the_file_is_named_after_the_method(folder: Path) -> None:
    (folder / "good.toml").rename(folder / "other.toml")
    with pytest.raises(BadInput) as refused:
        read_recipe(Path("recipes/other.toml"))
    assert str(refused.value) == (
        "recipes/other.toml: method: is 'good', but the file is named other.toml (name the file good.toml)"
    )


def test_the_first_directory_counts(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "good.toml").write_text(GOOD.format(method="good").replace("60", "61"))
    assert RecipeDirectory([own, folder]).get("good").steps[0].timeout == 61
    assert RecipeDirectory([folder, own]).get("good").steps[0].timeout == 60
    assert list(RecipeDirectory([own, folder]).files()) == ["bad", "good", "warned"]


def test_load_all_tells_every_problem(folder: Path) -> None:
    (folder / "worse.toml").write_text("recipe = 2")
    with pytest.raises(BadInput) as refused:
        RecipeDirectory([Path("recipes")]).load_all()
    assert [problem.where for problem in refused.value.problems] == ["recipes/bad.toml", "recipes/worse.toml"]
    (folder / "worse.toml").unlink()
    (folder / "bad.toml").unlink()
    assert list(RecipeDirectory([folder]).load_all()) == ["good", "warned"]


def test_where_recipes_are_looked_for(folder: Path, tmp_path: Path) -> None:
    assert search_paths(["a", "b"], {"ADJUTANT_RECIPES": "c"}) == (Path("a"), Path("b"))
    assert search_paths([], {"ADJUTANT_RECIPES": "c:d"}) == (Path("c"), Path("d"))
    assert search_paths([], {})[0] == Path("recipes")
    assert search_paths([], {"ADJUTANT_RECIPES": ""})[0] == Path("recipes")
    # A checkout's own recipes are found from anywhere.
    assert ROOT / "recipes" in search_paths([], {})


def test_a_directory_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: cannot be read: No such file or directory"):
        RecipeDirectory([Path("nowhere")]).files()


def test_reading_is_bounded(folder: Path) -> None:
    with pytest.raises(BadInput, match="larger than 256 KiB"):
        read_text(Path("/dev/zero"))


def test_the_commands_are_wired(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "check", "recipes/bad.toml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_BAD_INPUT
    assert "unknown key 'timeuot'" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "recipe", "show", "goood"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (EXIT_BAD_INPUT, "")
    assert "no recipe for method 'goood' (did you mean 'good'?)" in done.stderr
