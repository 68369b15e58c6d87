"""The rules of design.md sections 2 and 5 that a reader cannot check by eye: directions, purity, no method names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))

# Outermost last: a room may import those before it and itself.
ROOMS = ("core", "settings", "adapters", "buildroot", "doctor", "selftest", "runner", "gc", "worker", "cli")
# What each room may import besides lower ones, with the reason.
ALLOWED = {
    ("settings", "worker"): "the options' classes of the daemon are read from worker.toml",
}
PURE = {
    "__future__", "abc", "collections", "dataclasses", "difflib", "enum", "fnmatch", "functools", "hashlib",
    "itertools",
    "json", "math", "operator", "posixpath", "re", "shlex", "string", "textwrap", "tomllib", "types",
    "typing",
    "attrs", "cattrs", "jinja2",
    "datetime",  # TOML's date types; asking it for the time is caught below
    "inspect",  # docstrings for the schema
    "signal",  # names of signal numbers
    "tomli_w",  # text from data
}  # fmt: skip
CLOCKS = {"now", "today", "utcnow", "getenv", "environ"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "engine":
                for alias in node.names:
                    yield node.lineno, f"engine.{alias.name}"
            else:
                yield node.lineno, module


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "engine" and len(parts) > 1 else None


def test_every_module_has_a_room() -> None:
    found = {path.relative_to(ENGINE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert found <= set(ROOMS), f"say where it stands in ROOMS: {sorted(found - set(ROOMS))}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_imports_go_one_way(path: Path) -> None:
    here = path.relative_to(ENGINE).parts[0].removesuffix(".py")
    if here == "__init__":
        assert not list(imports(path))
        return
    for line, module in imports(path):
        there = room(module)
        if there is None or there == here or (here, there) in ALLOWED:
            continue
        assert ROOMS.index(there) <= ROOMS.index(here), f"{path}:{line}: {here} may not import {there}"


@pytest.mark.parametrize("path", sorted((ENGINE / "core").glob("*.py")), ids=lambda path: path.name)
def test_the_core_is_pure(path: Path) -> None:
    for line, module in imports(path):
        top = module.split(".")[0]
        assert top in PURE or module.startswith("engine.core") or module == "engine", f"{path}:{line}: {module}"
    tree = ast.parse(path.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & CLOCKS, path
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"open", "print", "input", "exec", "eval", "__import__"}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_the_engine_names_no_task_method(path: Path) -> None:
    methods = {recipe.stem for recipe in (ROOT / "recipes").glob("*.toml")}
    methods |= {"buildSRPMFromSCM", "rebuildSRPM", "newRepo", "runroot", "buildMaven", "wrapperRPM"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in methods, f"{path}:{node.lineno}: {node.value!r}"


def test_one_importer_of_podman_py() -> None:
    importers = [path.name for path in MODULES if any(name.split(".")[0] == "podman" for _line, name in imports(path))]
    assert len(importers) <= 1, importers


@pytest.mark.parametrize("command", [["render", "--vars", "createrepo"], ["check", "recipes/createrepo.toml"]])
def test_render_and_check_import_neither_koji_nor_podman(command: list[str]) -> None:
    code = (
        "import sys; from engine.cli import cli\n"
        f"cli.main({command!r}, standalone_mode=False)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(' '.join(sorted(loaded & {'koji', 'podman', 'requests', 'rich', 'asyncio'})) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_recipes_are_named_after_their_method() -> None:
    for path in (ROOT / "recipes").glob("*.toml"):
        assert re.search(rf'^method\s*=\s*"{path.stem}"$', path.read_text(), re.M), path
