"""`engine run`: one task here and now, without a hub; the same plan and code path as on a builder."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from engine.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from engine.cli.local import FetchedTask, LocalRuns
    from engine.cli.progress import NotesOnly
    from engine.core.local import LocalCall
    from engine.core.outcome import TaskOutcome
    from engine.core.plan import Plan

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("method", required=False)
@click.argument("arguments", nargs=-1, metavar="[ARG]...")
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="URL_OR_DIR",
    help="Packages come from here (with --task: not from the hub's repo); repeatable.",
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A task parameter; repeatable.")
@click.option("--task", "task_id", type=int, help="Run this task of the hub here; the hub is only read.")
@options.HUB
@click.option("--results", default="results", show_default=True, metavar="DIR", help="Where results and logs go.")
@click.option("--force", is_flag=True, help="Use --results DIR although it holds other files.")
@options.IMAGE
@click.option("--network/--no-network", default=None, help="Allow or forbid network, whatever the settings say.")
@click.option("--keep", is_flag=True, help="Leave workspace and root for a look (engine shell).")
@click.option("--workdir", metavar="DIR", help="Where tasks are run.")
@click.option("--recipes", multiple=True, metavar="DIR", help="Directory of recipes; repeatable.")
@click.option("--config", metavar="FILE", help="worker.toml or kojid.conf whose settings apply.")
@click.option("--quiet", is_flag=True, help="No progress, only the end.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run(
    method: str | None,
    arguments: tuple[str, ...],
    repos: tuple[str, ...],
    params: tuple[str, ...],
    task_id: int | None,
    hub: str | None,
    results: str,
    force: bool,
    image: str | None,
    network: bool | None,
    keep: bool,
    workdir: str | None,
    recipes: tuple[str, ...],
    config: str | None,
    quiet: bool,
    form: str,
) -> int:
    """Run a task of METHOD here, without a hub. What ARG is, the recipe says: engine recipe show METHOD.

    \b
    engine run buildArch foo.src.rpm --repo https://example.org/os --results out
    engine run createrepo rpms/ --results out
    engine run --task 4711 --hub https://koji.example.org/kojihub

    Results appear in DIR together; a former run's are replaced. Exit codes: 0 done; 1 the task's own fault;
    3 bad input; 4 this host's fault; 130 interrupted. Ctrl-C stops the task and cleans up.
    """
    import attrs

    from engine.adapters.podman import PodmanConfig, PodmanManager
    from engine.adapters.recipes import RecipeDirectory, search_paths
    from engine.adapters.results_dir import ResultsDirectory
    from engine.adapters.workspace import Workdir
    from engine.buildroot import PodmanSnapshotImages, upkeep
    from engine.cli.local import (
        FetchedTask,
        LocalRuns,
        absolute,
        check_inputs,
        check_words,
        kinds_of,
        local_settings,
        package_repos,
    )
    from engine.core.errors import EngineError
    from engine.core.local import LocalCall
    from engine.core.params_text import params_from_text

    check_words(click.get_current_context().params)
    directory = RecipeDirectory(search_paths(recipes))
    settings = local_settings(config, workdir=workdir, network=network)
    call: LocalCall | FetchedTask
    given: tuple[str, ...] = ()
    if task_id is not None:
        if hub is None or method is not None or params:
            raise click.UsageError("--task needs --hub URL_OR_PROFILE, and takes method and parameters from there")
        from engine.adapters.hub import fetch_request

        request, facts = fetch_request(hub, task_id, directory, settings)
        if image is not None:
            facts = attrs.evolve(facts, image=image)
        if repos:  # the hub's may be out of this host's reach
            facts = attrs.evolve(facts, repos=package_repos(repos))
        call = FetchedTask(request=request, facts=facts)
    elif method is None:
        raise click.UsageError("Missing METHOD (or --task ID)")
    else:
        recipe = directory.get(method)
        given = absolute(arguments)
        check_inputs(given, kinds_of(recipe))
        call = LocalCall(
            method=method,
            inputs=given,
            params=params_from_text(recipe, params),
            repos=package_repos(repos),
            image=image,
        )
    ResultsDirectory(results, force=force).check()
    place = Workdir(settings.workdir)
    if os.geteuid() == 0 and not quiet:  # ADR 0002: the fallback, and said
        click.echo("note: runs as root; rootless is safer (docs/host.md, section 2)", err=True)
    podman = PodmanConfig(
        worker_id=settings.worker_id,
        pull_policy=settings.adjutant_image_pull_policy,
        timeouts=settings.adjutant_container_timeouts,
        secrets=settings.adjutant_secrets,
    )
    command = keep_command(click.get_current_context(), given, directory.paths)
    with stop_signals() as stopped, PodmanManager(podman) as manager:
        images = PodmanSnapshotImages(manager.service)
        runs = LocalRuns(recipes=directory, settings=settings, workdir=place, manager=manager, images=images)
        runs.clear_abandoned(partial(click.echo, err=True))
        run_one = partial(_run, runs, call, results, force=force, keep=keep, quiet=quiet, form=form)
        outcome = run_one(command=command, stopped=stopped)
        if directory.get(outcome.method).buildroot is not None:
            try:
                upkeep(settings, images, manager)
            except EngineError as error:  # the task is done; the next run tidies up as well
                click.echo(f"note: {error}", err=True)
    return outcome.exit_code


def _run(
    runs: LocalRuns,
    call: LocalCall | FetchedTask,
    results: str,
    *,
    force: bool,
    keep: bool,
    quiet: bool,
    form: str,
    command: str,
    stopped: threading.Event,
) -> TaskOutcome:
    from engine.adapters.results_dir import ResultsDirectory
    from engine.cli.progress import make_progress
    from engine.cli.report import report
    from engine.core.replay import replay_script

    with contextlib.ExitStack() as stack:

        def delivery(plan: Plan) -> ResultsDirectory:
            return ResultsDirectory(results, force=force, replay=lambda outcome: replay_script(plan, outcome, command))

        def display(plan: Plan) -> NotesOnly:
            shown = make_progress(plan, sys.stderr, quiet=quiet)
            stack.callback(shown.close)
            return shown

        def finished(outcome: TaskOutcome) -> None:
            stack.close()
            if form == "json":
                click.echo(json.dumps(outcome.data(), indent=2))
                return
            for line in report(outcome, results, command):
                click.echo(line, err=outcome.failure is not None)

        return runs.run(
            call, delivery=delivery, display=display, finished=finished, cancelled=stopped.is_set, keep=keep
        )


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set, so that work ends in order instead of in the middle.

    The first one says that we are stopping; the rest change nothing: cleaning up has its own time limits. A SIGHUP
    that is ignored stays so: that is what nohup is for.
    """
    event = threading.Event()

    def stop(_number: int, _frame: Any) -> None:
        if not event.is_set():
            event.set()
            with contextlib.suppress(OSError):  # in `engine run … | tee` the reader got the Ctrl-C as well
                os.write(2, b"\nstopping: the task is ended and cleaned up\n")

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    heard = [n for n in STOPPING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    former = {number: signal.signal(number, stop) for number in heard}
    try:
        yield event
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def keep_command(context: click.Context, arguments: tuple[str, ...], recipes: Sequence[Path]) -> str:
    """The command line of this run with ``--keep``, ready to paste anywhere: paths are absolute.

    What was said by the environment, or by the directory it ran in (`recipes`), is said by the command; the hub's
    settings are not, a password may be among them.
    """
    words = [*_environment(), "engine", "run"]
    words += [*([context.params["method"]] if context.params["method"] else []), *arguments]
    here = "ADJUTANT_RECIPES" in os.environ or not all(path.is_absolute() for path in recipes)
    if here and not context.params["recipes"]:
        words += [word for path in recipes for word in ("--recipes", os.path.abspath(path))]
    if not context.params["config"] and (config := os.environ.get("ADJUTANT_CONFIG")):
        words += ["--config", os.path.abspath(config)]
    for option in context.command.params:
        if not isinstance(option, click.Option) or option.name in {"keep", "quiet", "form", "force"}:
            continue
        if context.get_parameter_source(option.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[option.name or ""]
        if option.is_bool_flag:
            words.append(option.opts[0] if value else option.secondary_opts[0])
            continue
        for one in value if option.multiple else (value,):
            words += [option.opts[0], _absolute(option.name or "", str(one))]
    return shlex.join([*words, "--keep"])


def _environment() -> list[str]:
    """The settings of a run that the environment holds, as words before a command."""
    from engine.settings.sources import PREFIX, RESERVED, environment_variables

    names = {name for name, path in environment_variables().items() if not path.startswith("hub.")} - RESERVED
    names.add(PREFIX + "CONTAINER_TIMEOUTS")
    said = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name in names]
    if path := os.environ.get("ADJUTANT_KOJID_CONF"):
        said.append(f"ADJUTANT_KOJID_CONF={os.path.abspath(path)}")
    return ["env", *said] if said else []


def _absolute(name: str, value: str) -> str:
    if name in {"params", "image", "task_id", "hub"} or "://" in value:
        return value
    return os.path.abspath(value)
