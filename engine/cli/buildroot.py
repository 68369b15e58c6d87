"""`engine buildroot`: what roots are there, make one before it is needed, look into one, remove old ones."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs
import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.adapters.podman import PodmanManager
    from engine.buildroot import SnapshotImages
    from engine.core.facts import Settings
    from engine.core.snapshots import Snapshot

GIB = 1024**3


@click.group()
def buildroot() -> None:
    """List, warm, show and prune the snapshots that roots are made of.

    Without options those of `engine run` are meant; --config worker.toml or --workdir DIR names a builder's.
    """


def _places(command: Any) -> Any:
    command = click.option("--config", metavar="FILE", help="worker.toml or kojid.conf: the builder's snapshots.")(
        command
    )
    return click.option("--workdir", metavar="DIR", help="Work directory whose snapshots are meant.")(command)


@buildroot.command("list", short_help="Print the snapshots, and how often they served.")
@_places
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_(workdir: str | None, config: str | None, form: str) -> None:
    """Print the snapshots, most lately used first, and how often a root was there already."""
    from engine.buildroot.state import State

    state = State(_there(workdir, config).workdir)
    snapshots, counts = state.snapshots(), state.counts()
    if form == "json":
        rows = [_row(snapshot) for snapshot in snapshots]
        click.echo(json.dumps({"snapshots": rows, "counts": counts}, indent=2))
        return
    now = time.time()
    for item in snapshots:
        kind = f"+{item.chain} on {item.parent[:12]}" if item.parent else "full"
        click.echo(
            f"{item.key[:12]}  {len(item.packages):5} packages  {_size(item.own):>9}"
            f"  used {_ago(now - item.used):>7} ago  {kind:20}  {item.label}"
        )
    if not snapshots:
        click.echo("no snapshots yet: engine buildroot warm METHOD --repo DIR makes one")
    else:
        total = sum(item.own for item in snapshots)
        click.echo(f"{_snapshots(len(snapshots))}, {_size(total)} on disk")
    if counts:
        click.echo(_counted(counts))


@buildroot.command(short_help="Make a root before it is needed.")
@click.argument("method")
@click.option("--repo", "repos", multiple=True, metavar="URL_OR_DIR", help="Packages come from here; repeatable.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A task parameter; repeatable.")
@options.IMAGE
@click.option("--recipes", multiple=True, metavar="DIR", help="Directory of recipes; repeatable.")
@click.option("--quiet", is_flag=True, help="Print the key only.")
@_places
def warm(
    method: str,
    repos: tuple[str, ...],
    params: tuple[str, ...],
    image: str | None,
    recipes: tuple[str, ...],
    quiet: bool,
    workdir: str | None,
    config: str | None,
) -> None:
    """Make the root that METHOD would need for these repositories, unless it is there.

    \b
    engine buildroot warm buildArch --repo https://example.org/repos/tag/17/x86_64
    """
    from engine.adapters.recipes import RecipeDirectory, search_paths
    from engine.adapters.this_host import this_host
    from engine.buildroot import prepare
    from engine.cli.local import package_repos
    from engine.cli.run import stop_signals
    from engine.core.errors import BadInput, Problem
    from engine.core.local import LocalCall, local_task
    from engine.core.params_text import params_from_text

    recipe = RecipeDirectory(search_paths(recipes)).get(method)
    settings = _settings(workdir, config)
    absent = tuple(f"/{name}.src.rpm" for name in recipe.local.args)  # roots depend on no input
    call = LocalCall(
        method=method,
        inputs=absent,
        params=params_from_text(recipe, params),
        repos=package_repos(repos),
        image=image,
    )
    request, facts = local_task(recipe, call, settings=settings, host=this_host(), task_id=0)
    with (
        stop_signals() as stopped,
        _podman(settings) as (manager, images),
        prepare(
            recipe,
            request,
            facts,
            manager,
            images,
            note=_nothing if quiet else _say,
            cancelled=stopped.is_set,
            give_away=False,
        ) as root,
    ):
        if root.report is None:
            cure = 'recipes with [buildroot] mode = "repo" have'
            raise BadInput([Problem(method, "buildroot", "this recipe has no root of a repo's packages", cure)])
        click.echo(root.report.key)


@buildroot.command(short_help="Print what a snapshot is made of.")
@click.argument("key")
@click.option("--log", is_flag=True, help="What was printed when it was made.")
@click.option("--packages", is_flag=True, help="Its packages with their checksums.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@_places
def show(key: str, log: bool, packages: bool, form: str, workdir: str | None, config: str | None) -> None:
    """Print what the snapshot KEY (or its first characters) is made of and where it comes from."""
    from engine.buildroot.state import State

    state = State(_there(workdir, config).workdir)
    item = _known(state.snapshots(), key)
    if log:
        path = state.log_path(item.key)
        click.echo(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "", nl=False)
    elif packages:
        for package in item.packages:
            click.echo(f"{package.nevra}  {package.checksum}")
    elif form == "json":
        click.echo(json.dumps(_row(item), indent=2))
    else:
        words = {"size": _size, "own": _size, "created": _when, "used": _when}
        for name, value in _row(item).items():
            click.echo(f"{name + ':':10} {words[name](value) if name in words else '-' if value == '' else value}")


@buildroot.command(short_help="Remove what is beyond the limits.")
@_places
@click.option("--all", "everything", is_flag=True, help="Remove every snapshot that no task relies on.")
@click.option(
    "--disk", type=click.FloatRange(min=0), metavar="GIB", help="Keep at most this much, instead of the settings' disk."
)
@click.option(
    "--count", type=click.IntRange(min=0), metavar="N", help="Keep at most this many, instead of the settings' count."
)
def prune(workdir: str | None, config: str | None, everything: bool, disk: float | None, count: int | None) -> None:
    """Remove leftovers, and the least lately used snapshots beyond the limits. Never what a task relies on."""
    from engine.buildroot import SnapshotLimits, upkeep

    settings = _there(workdir, config)
    limits = SnapshotLimits.of(settings.buildroots)
    limits = attrs.evolve(
        limits, disk=limits.disk if disk is None else int(disk * GIB), count=limits.count if count is None else count
    )
    with _podman(settings) as (manager, images):
        removed = upkeep(settings, images, manager, limits=limits, everything=everything)
    for key in removed.snapshots:
        click.echo(f"removed snapshot {key}")
    for key in removed.images:
        click.echo(f"removed image {key}: no record of it")
    for name in removed.containers:
        click.echo(f"removed container {name}: left by a process that was killed")
    left = removed.jobs + removed.caches
    click.echo(f"{_snapshots(len(removed.snapshots))} removed" + (f", and {left} old directories" if left else ""))


class _podman:  # noqa: N801 - reads as a function
    """A manager and the images of its podman."""

    def __init__(self, settings: Settings) -> None:
        from engine.adapters.podman import PodmanConfig, PodmanManager

        self.manager = PodmanManager(
            PodmanConfig(
                worker_id=settings.worker_id,
                pull_policy=settings.adjutant_image_pull_policy,
                timeouts=settings.adjutant_container_timeouts,
            )
        )

    def __enter__(self) -> tuple[PodmanManager, SnapshotImages]:
        from engine.buildroot import PodmanSnapshotImages

        return self.manager, PodmanSnapshotImages(self.manager.service)

    def __exit__(self, *_exception: object) -> None:
        self.manager.close()


def _settings(workdir: str | None, config: str | None) -> Settings:
    """Those of `engine run`; with a configuration and no directory those of its builder."""
    from engine.cli.local import local_settings

    if config is not None and workdir is None:
        from engine.settings import load_settings

        workdir = load_settings(config).settings.workdir
    return local_settings(config, workdir=workdir)


def _there(workdir: str | None, config: str | None) -> Settings:
    """`_settings` for a look at what is there: a directory with a wrong name is not made."""
    from engine.cli.local import check_workdir

    check_workdir(workdir)
    return _settings(workdir, config)


def _known(snapshots: list[Snapshot], key: str) -> Snapshot:
    from engine.core.errors import BadInput, Problem

    found = [item for item in snapshots if item.key.startswith(key)]
    if len(found) != 1:
        what = "no snapshot begins with that" if not found else f"{len(found)} snapshots begin with that"
        raise BadInput([Problem("snapshot", key, what, "see engine buildroot list")])
    return found[0]


def _row(item: Snapshot) -> dict[str, Any]:
    return {
        "key": item.key,
        "label": item.label,
        "arch": item.shape.arch,
        "packages": len(item.packages),
        "level": item.level,
        "parent": item.parent,
        "chain": item.chain,
        "size": item.size,
        "own": item.own,
        "created": item.created,
        "used": item.used,
    }


def _counted(counts: dict[str, int]) -> str:
    """``roots: 12 hit, 2 increment, 1 full (80 % hits); build requirements: 3 of 9 there already``."""
    roots = {word: counts.get(word, 0) for word in ("hit", "increment", "full", "failed")}
    total = sum(roots.values())
    text = "roots: " + ", ".join(f"{number} {word}" for word, number in roots.items() if number or word == "hit")
    text += f" ({100 * roots['hit'] // total} % hits)" if total else ""
    hits = counts.get("requirements_hit", 0)
    asked = hits + counts.get("requirements_made", 0) + counts.get("requirements_miss", 0)
    return f"{text}; build requirements: {hits} of {asked} there already" if asked else text


def _size(count: int) -> str:
    return f"{count / 1024**2:.0f} MiB" if count < GIB else f"{count / GIB:.1f} GiB"


def _snapshots(count: int) -> str:
    return f"{count} snapshot{'' if count == 1 else 's'}"


def _when(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(stamp))


def _ago(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / 86400)} d"


def _say(text: str) -> None:
    click.echo(text, err=True)
    sys.stderr.flush()


def _nothing(_text: str) -> None: ...
