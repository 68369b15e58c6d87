"""`engine image`: build, check and publish the images that hold the tasks' tools."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.adapters.podman import PodmanManager
    from engine.core.health import CheckResult

_IMAGES = click.option(
    "--images",
    metavar="DIR",
    multiple=True,
    envvar="ADJUTANT_IMAGE_DIRECTORIES",
    show_envvar=True,
    type=click.Path(file_okay=False),
    help="Directory with one directory per image; repeatable.",
)
_REPOSITORY = click.option(
    "--repository",
    metavar="NAME",
    default="localhost/koji-adjutant-task",
    show_default=True,
    envvar="ADJUTANT_IMAGE_REPOSITORY",
    show_envvar=True,
    help="Name of the image without its tag.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group()
def image() -> None:
    """Build, list, check and publish task images."""


@image.command()
@click.argument("name")
@_IMAGES
@_REPOSITORY
@options.CONFIG
@click.option("--base", metavar="REFERENCE", help="Image to build on instead of the Containerfile's default.")
@click.option(
    "--version", "release", metavar="VERSION", help="Also keep this build as NAME-vVERSION, a tag that is never moved."
)
@click.option(
    "--volume",
    "volumes",
    metavar="HOST:CONTAINER:ro",
    multiple=True,
    help="A directory, e.g. a package repository; repeatable.",
)
@click.option("--network", metavar="WORD", help="Network of the build, podman's word; e.g. none.")
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="A label; repeatable.")
@click.option("--pull/--no-pull", default=True, show_default=True, help="Fetch the base when it is not here.")
@click.option("--no-cache", is_flag=True, help="Build every layer again.")
@click.option("--check/--no-check", "checked", default=True, show_default=True, help="Check it before tagging it.")
def build(
    name: str,
    images: tuple[str, ...],
    repository: str,
    config: str | None,
    base: str | None,
    release: str | None,
    volumes: tuple[str, ...],
    network: str | None,
    labels: tuple[str, ...],
    pull: bool,
    no_cache: bool,
    checked: bool,
) -> None:
    """Build images/NAME/Containerfile as REPOSITORY:NAME.

    The tag moves to the new image only after the image passed `engine image check`.
    """
    from engine.adapters.images import PodmanImages, find_image, image_directories
    from engine.core.errors import BadInput, Problem
    from engine.core.images import VERSION_LABEL, version_tag

    directory = find_image(name, image_directories(images))
    store = PodmanImages()
    final, candidate = f"{repository}:{name}", f"{repository}:{name}-candidate"
    names = [final]
    pairs = dict(label.partition("=")[::2] for label in labels)
    if release:
        try:
            fixed = f"{repository}:{version_tag(name, release)}"
        except ValueError as error:
            raise BadInput([Problem("command line", "--version", str(error))]) from None
        if store.inspect(fixed) is not None:
            raise BadInput([Problem("command line", "--version", f"{fixed} exists already", "versions never move")])
        names.insert(0, fixed)
        pairs[VERSION_LABEL] = release.removeprefix("v")
    store.build(
        directory, candidate, base=base, labels=pairs, volumes=volumes, network=network, cache=not no_cache, pull=pull
    )
    try:
        if checked:
            _refuse(candidate, _checked(candidate, config), "not tagged")
        for tag in names:
            store.tag(candidate, tag)
    finally:
        store.remove(candidate)  # the name; the image too, if it got no other
    for tag in names:
        click.echo(tag)


@image.command(name="list")
@_JSON
def list_(as_json: bool) -> None:
    """List the task images on this host, newest first."""
    import json

    import attrs

    from engine.adapters.images import PodmanImages
    from engine.core.images import VERSION_LABEL

    found = PodmanImages().images()
    if as_json:
        click.echo(json.dumps([attrs.asdict(entry) for entry in found], indent=1, default=list))
        return
    for entry in found:
        version = entry.labels.get(VERSION_LABEL, "-")
        names = " ".join(entry.names) or "(no name)"
        click.echo(f"{entry.id[:12]}  {entry.size / 1e6:7.0f} MB  {version:<8}  {entry.created[:19]}  {names}")


@image.command(short_help="Verify tools, user and configuration of an image.")
@click.argument("reference", required=False)
@options.CONFIG
@_JSON
def check(reference: str | None, config: str | None, as_json: bool) -> None:
    """Run REFERENCE (default: the task image of the settings) and verify tools, user and configuration."""
    import json

    from engine.settings import load_settings

    wanted = reference or load_settings(config, local=True).settings.adjutant_task_image_default
    results = _checked(wanted, config)
    if as_json:
        click.echo(json.dumps([result.data() for result in results], indent=1))
    else:
        for result in results:
            click.echo(str(result))
    _refuse(wanted, results, "not a task image", quiet=True)


@image.command(short_help="Pull an image as the worker does; print its digest.")
@click.argument("reference", required=False)
@options.CONFIG
def pull(reference: str | None, config: str | None) -> None:
    """Pull REFERENCE (default: the task image of the settings), as the worker does, and print its digest."""
    from engine.settings import load_settings

    loaded = load_settings(config, local=True)
    with _manager(config) as manager:
        info = manager.ensure_image_available(reference or loaded.settings.adjutant_task_image_default, "always")
    click.echo(f"{info.digest}  {info.id[:12]}  {' '.join(info.names)}")


@image.command(context_settings={"ignore_unknown_options": True})
@click.argument("reference")
@click.argument("destination", required=False)
@click.argument("podman_options", nargs=-1, type=click.UNPROCESSED)
def push(reference: str, destination: str | None, podman_options: tuple[str, ...]) -> None:
    """Push REFERENCE to the registry it names, or to DESTINATION.

    What stands after `--` goes to podman push, e.g. -- --tls-verify=false.
    """
    from engine.adapters.images import PodmanImages
    from engine.core.errors import BadInput, Problem
    from engine.core.images import parse_reference

    if destination is not None and destination.startswith("-"):
        podman_options, destination = (destination, *podman_options), None
    target = destination or reference
    try:
        parsed = parse_reference(target)
    except ValueError as error:
        raise BadInput([Problem("command line", "DESTINATION", str(error))]) from None
    if parsed.short or parsed.host == "localhost":
        cure = "registry.example.org/name:tag"
        raise BadInput([Problem("command line", "DESTINATION", f"'{target}' names no registry", cure)])
    store = PodmanImages()
    if store.inspect(reference) is None:
        raise BadInput([Problem("command line", "REFERENCE", f"{reference} is not on this host", "engine image list")])
    store.push(reference, target, podman_options)
    click.echo(target)


@image.command()
@click.argument("name")
@click.option("--to", "release", metavar="VERSION", required=True, help="Version that REPOSITORY:NAME shall be again.")
@_REPOSITORY
def rollback(name: str, release: str, repository: str) -> None:
    """Let REPOSITORY:NAME be an earlier version again. Tasks that run keep the image they started with."""
    from engine.adapters.images import PodmanImages
    from engine.core.errors import BadInput, Problem
    from engine.core.images import parse_reference, version_key, version_tag

    store = PodmanImages()
    try:
        fixed = f"{repository}:{version_tag(name, release)}"
    except ValueError as error:
        raise BadInput([Problem("command line", "--to", str(error))]) from None
    if store.inspect(fixed) is None:
        tags = {parse_reference(text).tag for entry in store.images() for text in entry.names}
        known = ", ".join(sorted(tag for tag in tags if version_key(tag, name)))
        raise BadInput([Problem("command line", "--to", f"{fixed} is not on this host", f"here: {known or 'none'}")])
    store.tag(fixed, f"{repository}:{name}")
    click.echo(f"{repository}:{name} is {fixed}")


@image.command()
@click.argument("name")
@_REPOSITORY
@click.option("--keep", default=3, show_default=True, type=click.IntRange(min=1), help="Newest versions to keep.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options.CONFIG
def prune(name: str, repository: str, keep: int, dry_run: bool, config: str | None) -> None:
    """Remove old versions of REPOSITORY:NAME.

    Never the one that is NAME now, one that the settings name, or one that a container uses.
    """
    from engine.adapters.images import InUse, PodmanImages
    from engine.core.images import prunable, version_key
    from engine.settings import load_settings

    settings = load_settings(config, local=True).settings
    store = PodmanImages()
    tags: list[str] = []
    named = [settings.adjutant_task_image_default, *(rule.image for rule in settings.adjutant_images)]
    spared = set(_tags(named, repository))
    for entry in store.images():
        mine = _tags(entry.names, repository)
        tags += mine
        if name in mine:
            spared |= set(mine)
    if not any(version_key(tag, name) for tag in tags):
        click.echo(f"no version of {repository}:{name} is on this host (see engine image list)", err=True)
    for tag in prunable(tags, name, keep, spared):
        if not dry_run:
            try:
                store.remove(f"{repository}:{tag}")
            except InUse as error:
                click.echo(f"kept: {error}", err=True)
                continue
        click.echo(f"{'would remove' if dry_run else 'removed'} {repository}:{tag}")


def _tags(names: Iterable[str], repository: str) -> list[str]:
    """The tags that `names` give to `repository`; what is no reference gives none."""
    from engine.core.images import parse_reference

    tags = []
    for name in names:
        with suppress(ValueError):
            reference = parse_reference(name)
            tags += [reference.tag] if reference.repository == repository else []
    return tags


def _manager(config: str | None) -> PodmanManager:
    from engine.adapters.podman import PodmanConfig, PodmanManager
    from engine.settings import load_settings

    loaded = load_settings(config, local=True)
    settings = loaded.settings
    return PodmanManager(
        PodmanConfig(
            worker_id=settings.worker_id,
            socket=loaded.worker.podman,
            pull_policy=settings.adjutant_image_pull_policy,
            timeouts=settings.adjutant_container_timeouts,
        )
    )


def _checked(reference: str, config: str | None) -> list[CheckResult]:
    import os

    from engine.doctor.image import check_image

    with _manager(config) as manager:
        return check_image(reference, manager, worker_id=manager.config.worker_id, name=f"image-check-{os.getpid()}")


def _refuse(reference: str, results: list[CheckResult], verdict: str, *, quiet: bool = False) -> None:
    """BadInput when a result is fatal."""
    from engine.core.errors import BadInput, Problem

    bad = [result for result in results if result.fatal]
    if not bad:
        return
    if quiet:
        raise BadInput([Problem(reference, "", f"{verdict}: {len(bad)} problems")])
    raise BadInput([Problem(reference, result.name, f"{verdict}: {result.found}", result.cure) for result in bad])
