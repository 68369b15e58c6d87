"""`engine config`: what holds and why, and a worker.toml from a kojid.conf."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from engine.cli import options


@click.group()
def config() -> None:
    """Show the settings, or convert a kojid.conf."""


@config.command()
@options.CONFIG
@options.KOJID_CONF
@click.option("--format", "form", type=click.Choice(["toml", "json"]), default="toml", show_default=True)
def show(config: str | None, kojid_conf: str | None, form: str) -> None:
    """Print every effective setting and where it comes from.

    The first of these that names a setting wins: environment (ADJUTANT_*), worker.toml, kojid.conf, the default.
    What had no effect is said on standard error.
    """
    from engine.settings import load_settings
    from engine.settings.report import as_json, as_toml

    loaded = load_settings(config, kojid_conf)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(as_json(loaded.values) if form == "json" else as_toml(loaded.values), nl=False)


@config.command()
@click.argument("kojid_conf", type=click.Path(dir_okay=False))
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File to write; otherwise standard output.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def convert(kojid_conf: str, output: str | None, force: bool) -> None:
    """Write a worker.toml that says what KOJID_CONF says.

    What cannot be carried over is said on standard error, option by option.
    """
    from engine.adapters.recipes import schema_for
    from engine.core.errors import BadInput, Problem
    from engine.settings.kojid import read_kojid_conf
    from engine.settings.report import converted

    text, notes = converted(read_kojid_conf(kojid_conf), schema_for(Path(output or ".").absolute().parent, "worker"))
    for note in notes:
        click.echo(f"not carried over: {note}", err=True)
    if output is None:
        click.echo(text, nl=False)
        return
    path = Path(output)
    if path.exists() and not force:
        raise BadInput([Problem(output, "", "exists already", "--force replaces it")])
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.touch(mode=0o600)  # it may hold a password; so it is private before the first byte is in it
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        cure = f"make {path.parent}, writable for this user, or name another file"
        raise BadInput([Problem(output, "", f"cannot be written: {error.strerror}", cure)]) from None
    click.echo(f"wrote {output}", err=True)
