"""Options that several commands have, with one name, one variable and one description."""

from __future__ import annotations

import click

CONFIG = click.option(
    "--config", metavar="FILE", envvar="ADJUTANT_CONFIG", show_envvar=True, help="worker.toml, or a kojid.conf."
)
KOJID_CONF = click.option(
    "--kojid-conf",
    metavar="FILE",
    envvar="ADJUTANT_KOJID_CONF",
    show_envvar=True,
    help="kojid.conf that fills what worker.toml leaves open.",
)
IMAGE = click.option("--image", metavar="REFERENCE", help="Task image, instead of the settings' one.")
HUB = click.option("--hub", metavar="URL_OR_PROFILE", help="With --task: the hub's URL or a koji profile.")
