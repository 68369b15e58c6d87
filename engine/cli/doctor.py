"""`engine doctor`: is this host fit, line by line, and what to do where it is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.core.health import CheckResult
    from engine.settings import Loaded


@click.command()
@options.CONFIG
@options.KOJID_CONF
@click.option("--self-test", is_flag=True, help="Also try, in containers, what must fail (some 3 seconds).")
@click.option("--no-hub", is_flag=True, help="Do not ask the hub, nor look at what logs in to it.")
@options.IMAGE
@click.option("--json", "as_json", is_flag=True, help="A list of {name, level, found, cure}.")
@click.option("--quiet", is_flag=True, help="Only what is not ok.")
@click.pass_context
def doctor(
    ctx: click.Context,
    config: str | None,
    kojid_conf: str | None,
    self_test: bool,
    no_hub: bool,
    image: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check this host: podman, user, image, limits, network, SELinux, disks, registry, hub.

    Levels: ok; warning (works, could be better); unknown; problem (a worker does not report ready). Exit code 4
    when there is a problem.
    """
    from attrs import evolve

    from engine.core.errors import EXIT_INFRASTRUCTURE
    from engine.settings import load_settings

    loaded = load_settings(config, kojid_conf)
    if image:
        loaded = evolve(loaded, settings=evolve(loaded.settings, adjutant_task_image_default=image))
    results = _results(loaded, hub=not no_hub, self_test=self_test)
    shown = [result for result in results if not quiet or result.level != "ok"]
    if as_json:
        click.echo(json.dumps([result.data() for result in shown], indent=1))
    else:
        for result in shown:
            click.echo(str(result))
    counts = {level: sum(result.level == level for result in results) for level in ("problem", "warning", "unknown")}
    click.echo(f"{len(results)} checks: " + ", ".join(f"{count} {level}" for level, count in counts.items()), err=True)
    ctx.exit(EXIT_INFRASTRUCTURE if counts["problem"] else 0)


def _results(loaded: Loaded, *, hub: bool, self_test: bool) -> list[CheckResult]:
    from engine.adapters.podman import PodmanConfig, PodmanManager
    from engine.adapters.recipes import RecipeDirectory, search_paths
    from engine.core.health import problem
    from engine.doctor import run_checks
    from engine.selftest.run import run_self_test
    from engine.worker.recipes import ServedRecipes

    settings = loaded.settings
    recipes = ServedRecipes(RecipeDirectory(search_paths(loaded.worker.recipes)))
    recipes.load()
    config = PodmanConfig(
        worker_id=settings.worker_id,
        socket=loaded.worker.podman,
        pull_policy=settings.adjutant_image_pull_policy,
        timeouts=settings.adjutant_container_timeouts,
    )
    with PodmanManager(config) as manager:
        results = run_checks(settings, manager, loaded.hub, ask_hub=hub, images=recipes.images())
        if not self_test:
            return results
        if any(result.name in {"podman.service", "image.present"} and result.level != "ok" for result in results):
            return [*results, problem("selftest", "cannot be run without podman and the image", "see above")]
        bound = next((result.level == "ok" for result in results if result.name == "limits"), True)
        private = [path for path in (loaded.hub.keytab, loaded.hub.cert, loaded.hub.ccache) if path]
        return [*results, *run_self_test(settings, manager, private=private, memory_binds=bound)]
