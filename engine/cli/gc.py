"""`engine gc`: remove what tasks that are gone left on this host."""

from __future__ import annotations

import json

import click

from engine.cli import options


@click.command()
@options.CONFIG
@options.KOJID_CONF
@click.option("--workdir", metavar="DIR", help="Work directory, instead of the settings' one.")
@click.option("--local", is_flag=True, help="Leftovers of engine run, which the next engine run removes anyway.")
@click.option("--worker", "worker", metavar="ID", help="Worker whose leftovers go, instead of the settings' one.")
@click.option("--kept-hours", type=click.FloatRange(min=0), help="Also tasks kept by engine run --keep this long ago.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.pass_context
def gc(
    ctx: click.Context,
    config: str | None,
    kojid_conf: str | None,
    workdir: str | None,
    local: bool,
    worker: str | None,
    kept_hours: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove containers, roots, workspaces and secrets of tasks that no process runs any more.

    Only what carries this worker's label; never what a live process holds or `--keep` kept. Snapshots of
    buildroots have limits of their own: engine buildroot prune. Exit code 4 when something could not be removed.
    """
    import attrs

    from engine.adapters.podman import PodmanConfig, PodmanManager
    from engine.adapters.worker_names import elsewhere
    from engine.cli.local import check_workdir, local_settings
    from engine.core.errors import EXIT_INFRASTRUCTURE, BadInput, Problem
    from engine.gc import collect
    from engine.settings import load_settings

    check_workdir(workdir)
    loaded = load_settings(config, kojid_conf, local=local)
    settings = loaded.settings
    if local:
        settings = local_settings(config, workdir=workdir)
    worker = worker or settings.worker_id
    place = settings.workdir if local or workdir is None else workdir
    if other := elsewhere(worker, place):
        cure = f"say --workdir {other}"
        raise BadInput([Problem("command line", "--worker", f"'{worker}' runs with the work directory {other}", cure)])
    podman = PodmanConfig(worker_id=worker, socket=loaded.worker.podman, timeouts=settings.adjutant_container_timeouts)
    with PodmanManager(podman) as manager:
        done = collect(
            manager,
            worker_id=worker,
            workdir=place,
            kept_seconds=None if kept_hours is None else kept_hours * 3600,
            dry_run=dry_run,
        )
    if as_json:
        click.echo(json.dumps(attrs.asdict(done), indent=1))
    else:
        verb = "would remove" if dry_run else "removed"
        for kind in ("containers", "workspaces", "secrets", "services"):
            for name in getattr(done, kind):
                click.echo(f"{verb} {kind.removesuffix('s')} {name}")
        for reason in done.failed:
            click.echo(f"not removed: {reason}", err=True)
        click.echo(f"{verb} {done.count}", err=True)
    ctx.exit(EXIT_INFRASTRUCTURE if done.failed else 0)
