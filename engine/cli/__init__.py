"""The command line. Commands are thin; each is imported only when it is called."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from engine.cli.streams import forgive_readers
from engine.core.errors import EXIT_BUG, EXIT_INTERRUPTED, EngineError

# name: (module, one line). A table, so that `engine --help` imports no command and `engine render` imports
# neither koji nor podman.
COMMANDS = {
    "render": ("engine.cli.render", "Show the podman invocations of a task, without running anything."),
    "run": ("engine.cli.run", "Run a task here, without a hub."),
    "check": ("engine.cli.check", "Check recipe files."),
    "recipe": ("engine.cli.recipe", "List, show and start recipes."),
    "image": ("engine.cli.image", "Build, list and check task images."),
    "shell": ("engine.cli.shell", "Open a shell in what `engine run --keep` left."),
    "buildroot": ("engine.cli.buildroot", "List, warm, show and prune buildroots."),
    "worker": ("engine.cli.worker", "Take tasks from a Koji hub."),
    "status": ("engine.cli.status", "Say what the worker is doing, and why not."),
    "drain": ("engine.cli.status", "Tell the worker to finish and take nothing new."),
    "config": ("engine.cli.config", "Show and convert settings."),
    "doctor": ("engine.cli.doctor", "Check this host."),
    "gc": ("engine.cli.gc", "Remove leftovers of tasks that are gone."),
}


class _Commands(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return super().get_command(ctx, name)
        module = importlib.import_module(COMMANDS[name][0])
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:  # else a shell asks what could follow
            from engine.core.errors import did_you_mean

            ctx.fail(f"No such command '{args[0]}': {did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_module, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="ADJUTANT_DEBUG", show_envvar=True, help="Show tracebacks.")
@click.version_option(package_name="koji-adjutant", prog_name="engine")
def cli(debug: bool) -> None:
    """A Koji builder whose task types are TOML recipes.

    Exit codes: 0 done; 1 the package's fault; 2 wrong command line; 3 bad input; 4 the infrastructure's fault;
    70 a bug in the engine; 130 interrupted.
    """
    if debug:
        os.environ["ADJUTANT_DEBUG"] = "1"


def main() -> None:
    """Entry point: one place turns errors into messages and exit codes (`engine.core.errors`)."""
    # Start-up makes thousands of objects that stay: collecting among them costs a tenth of `engine render`.
    gc.set_threshold(50_000)
    forgive_readers()
    try:
        status = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EngineError as error:
        if os.environ.get("ADJUTANT_DEBUG"):
            raise
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # the last resort, so that a user gets words and a code
        if os.environ.get("ADJUTANT_DEBUG"):
            raise
        cure = "please report it with the output of the same command under ADJUTANT_DEBUG=1"
        click.echo(f"internal error: {type(error).__name__}: {error} ({cure})", err=True)
        sys.exit(EXIT_BUG)
    sys.exit(status if isinstance(status, int) else 0)
