"""Mistakes an operator makes at the command line: each is told with its place and cure, none as a bug of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.cli.status import drain, status
from engine.cli.worker import worker
from engine.core import errors
from engine.core.errors import EXIT_BAD_INPUT
from tests.worker.workshop import TOY

KOJID_CONF = "[kojid]\nserver = http://localhost:1/kojihub\npassword = secret-word\n"
NOBODY = 65534
AS_NOBODY = f"""
import os
import engine.adapters.podman, engine.adapters.recipes, engine.cli.status, engine.cli.worker
import engine.worker.daemon
from engine.cli import main
os.setgid({NOBODY}); os.setuid({NOBODY})
main()
"""
"""What is imported later would have to be readable for nobody: the tree may lie in a closed home."""


def engine(*words: str | Path, code: str = "from engine.cli import main; main()") -> tuple[int, str]:
    """Exit code and what was said, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("place", ["not-there/worker.toml", "a-file/worker.toml"])
def test_convert_to_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "kojid.conf").write_text(KOJID_CONF)
    code, said = engine("config", "convert", tmp_path / "kojid.conf", "-o", tmp_path / place)
    assert code == EXIT_BAD_INPUT
    assert f"{tmp_path / place}: cannot be written: " in said
    assert "name another file" in said


def test_a_conversion_that_replaces_a_file_is_private(tmp_path: Path) -> None:
    (tmp_path / "kojid.conf").write_text(KOJID_CONF)
    (tmp_path / "worker.toml").write_text("old")
    assert engine("config", "convert", tmp_path / "kojid.conf", "-o", tmp_path / "worker.toml")[0] == EXIT_BAD_INPUT
    code, _said = engine("config", "convert", tmp_path / "kojid.conf", "-o", tmp_path / "worker.toml", "--force")
    assert code == 0
    assert (tmp_path / "worker.toml").stat().st_mode & 0o777 == 0o600
    assert "secret-word" in (tmp_path / "worker.toml").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kojid.conf", "worker.toml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
@pytest.mark.parametrize("words", ["status", "drain", "drain --undo", "worker --recipes RECIPES"])
def test_another_users_work_directory_is_told(words: str) -> None:
    """Not "worker not running", and not as a bug: the worker may run, this user cannot see it."""
    folder = Path("/tmp", f"adjutant-test-{os.getpid()}")  # noqa: S108 - pytest's own is closed to others
    try:
        (folder / "worker").mkdir(parents=True)
        (folder / "worker").chmod(0o700)
        (folder / "worker.toml").write_text(f'[hub]\nserver = "http://localhost:1/kojihub"\nworkdir = "{folder}"\n')
        (folder / "toy.toml").write_text(TOY)
        code, said = engine(
            *words.replace("RECIPES", str(folder)).split(), "--config", folder / "worker.toml", code=AS_NOBODY
        )
        assert code == EXIT_BAD_INPUT, said
        assert f"settings: hub.workdir: {folder}/worker" in said
        assert f"Permission denied (uid {NOBODY}) (run this as the worker's user, or name a directory" in said
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("words", ["status", "drain", "drain --undo"])
def test_a_work_directory_that_is_not_there_is_told_and_not_made(words: str, tmp_path: Path) -> None:
    code, said = engine(*words.split(), "--workdir", tmp_path / "wrok")
    assert code == EXIT_BAD_INPUT
    assert f"--workdir: {tmp_path}/wrok: no such directory (the worker's hub.workdir is meant)" in said
    assert not (tmp_path / "wrok").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--host", "builder1"], "--host is for --dry-run"), (["--once", "--dry-run"], "give one of them")],
)
def test_options_that_do_not_go_together(options: list[str], words: str) -> None:
    result = CliRunner().invoke(worker, options)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize("command", [worker, status, drain], ids=lambda command: command.name)
def test_the_documentation_names_every_option(command: click.Command) -> None:
    text = Path("docs/worker.md").read_text()
    missing = [option.opts for option in command.params if not any(name in text for name in option.opts)]
    assert missing == []


def test_the_documentation_names_every_exit_code() -> None:
    section = Path("docs/worker.md").read_text().partition("## Exit codes\n")[2].partition("\n## ")[0]
    named = {int(number) for number in re.findall(r"(?:^|; )(\d+) ", section.replace("\n", " ").strip())}
    codes = {getattr(errors, name) for name in vars(errors) if name.startswith("EXIT_")}
    assert named == codes - {errors.EXIT_PACKAGE}, "a worker ends by no package's fault"
