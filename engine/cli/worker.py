"""`engine worker`: the daemon."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.settings import Loaded


@click.command()
@options.CONFIG
@options.KOJID_CONF
@click.option(
    "--recipes", multiple=True, metavar="DIR", help="Directory of recipes; repeatable. Instead of worker.recipes."
)
@click.option("--foreground", is_flag=True, help="Log to the terminal, with times; otherwise for the journal.")
@click.option("--force-lock", is_flag=True, help="Take the session over from another daemon of the same user.")
@click.option("--once", is_flag=True, help="Take one task, wait for its end, and stop.")
@click.option("--dry-run", is_flag=True, help="Take nothing; show what would be taken and its plan's digest.")
@click.option("--host", metavar="NAME", help="With --dry-run: the hub's name of this host, if it is not the user's.")
@click.option("--maxjobs", type=int, help="Instead of hub.maxjobs.")
@click.option("--sleeptime", type=int, help="Instead of hub.sleeptime.")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
@click.option("-d", "--debug", is_flag=True, help="Log everything.")
def worker(
    config: str | None,
    kojid_conf: str | None,
    recipes: tuple[str, ...],
    foreground: bool,
    force_lock: bool,
    once: bool,
    dry_run: bool,
    host: str | None,
    maxjobs: int | None,
    sleeptime: int | None,
    verbose: bool,
    debug: bool,
) -> int:
    """Take tasks from a Koji hub and run each by its recipe.

    SIGTERM: no new tasks, running ones get worker.shutdown_timeout seconds, then they are freed; again: now.
    SIGUSR1: finish what runs, then start anew. SIGHUP: read the recipes again.
    """
    if host and not dry_run:
        raise click.UsageError("--host is for --dry-run: a worker is the host that its user is")
    if once and dry_run:
        raise click.UsageError("--once takes a task, --dry-run none: give one of them")
    from engine.settings import load_settings

    loaded = load_settings(config, kojid_conf, command_line={"hub.maxjobs": maxjobs, "hub.sleeptime": sleeptime})
    _set_up_logging(loaded, foreground=foreground, verbose=verbose, debug=debug)
    from engine.adapters.recipes import RecipeDirectory, search_paths
    from engine.worker.recipes import ServedRecipes

    served = ServedRecipes(RecipeDirectory(search_paths(recipes or loaded.worker.recipes)))
    if dry_run:
        from engine.worker.dry_run import dry_run as show

        for line in show(loaded.hub, loaded.settings, served, host):
            click.echo(line)
        return 0
    from engine.worker.config import WorkerConfig
    from engine.worker.daemon import Daemon

    return Daemon(
        WorkerConfig(
            settings=loaded.settings,
            hub=loaded.hub,
            worker=loaded.worker,
            rlimits=loaded.rlimits,
            force_lock=force_lock,
            once=once,
        ),
        served,
    ).run()


def _set_up_logging(loaded: Loaded, *, foreground: bool, verbose: bool, debug: bool) -> None:
    level = (loaded.hub.log_level or "WARNING").upper()
    level = "DEBUG" if debug else "INFO" if verbose else level
    # The journal adds the time and the process itself.
    form = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s" if foreground else "%(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, format=form, level=level)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    for note in loaded.notes:
        logging.getLogger("engine.settings").warning("%s", note)
