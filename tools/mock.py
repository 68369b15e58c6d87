"""mock, where it is installed: a source package built as kojid has it built.

The configuration is what Koji's own library writes for a tag (`koji.genMockConfig`), without a bootstrap root and with
simple isolation: mock on a host that no RPM distribution is installed on can have neither the one nor the other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import koji
from attrs import field, frozen

from tools.miniworld.commands import CommandError, run

CACHES = {"root_cache_enable": True, "yum_cache_enable": True}
"""What an operator of mock alone would leave on; kojid turns it off."""

SETTINGS = {
    "mock.module_setup_commands": "module_setup_commands",
    "mock.releasever": "releasever",
    "mock.yum.best": "yum_best",
    "mock.yum.module_hotfixes": "module_hotfixes",
}
"""A tag's keys, and what `koji.genMockConfig` calls them."""


class NoMock(RuntimeError):
    """mock is not installed, or not for us."""


def version() -> str:
    """mock's own words. NoMock where there is none."""
    if shutil.which("mock") is None:
        message = "mock is not installed (Fedora, EPEL: package mock)"
        raise NoMock(message)
    try:
        return run(["mock", "--version"]).strip()
    except CommandError as error:
        raise NoMock(str(error)) from error


@frozen
class Mock:
    """mock with one configuration. `folder` is a directory that its unprivileged user can read."""

    folder: Path
    root: str
    config: Path
    uniques: list[str] = field(factory=list)

    def build(self, srpm: Path, *options: str, unique: str = "") -> Path:
        """The directory of results and logs. `unique`: in a root of that name. CommandError with the end of the log."""
        if unique:
            self.uniques.append(unique)
            options = ("--uniqueext", unique, *options)
        source = Path(shutil.copy(srpm, self.folder))
        source.chmod(0o644)
        results = Path(tempfile.mkdtemp(dir=self.folder, prefix="results-"))
        results.chmod(0o1777)
        try:
            self.command("--resultdir", str(results), "--quiet", *options, "--rebuild", str(source))
        except CommandError as error:
            log = results / "build.log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise CommandError(f"{error}\n{tail}") from error
        return results

    def command(self, *words: str) -> None:
        """Any other command of mock for this configuration."""
        run(["mock", "--root", str(self.config), *words])


@contextmanager
def mock(
    repo: Path,
    arch: str,
    *,
    macros: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    caches: bool = False,
) -> Iterator[Mock]:
    """mock for the packages in `repo`; what it made is removed at the end.

    `macros` and `env` are what a tag says in rpm.macro.* and rpm.env.*, `extra` holds its settings for mock: those of
    `SETTINGS`.
    """
    version()
    folder = Path(tempfile.mkdtemp(prefix="mock-", dir="/var/tmp"))  # pytest's own directories are closed to its user
    folder.chmod(0o755)
    place = folder / "topdir" / koji.PathInfo(topdir="").repo(1, "compare").lstrip("/")
    place.mkdir(parents=True)
    (place / arch).symlink_to(repo)
    name = f"adjutant-{folder.name}"
    config = folder / f"{name}.cfg"
    text = koji.genMockConfig(
        name, arch, repoid=1, tag_name="compare", topdir=str(folder / "topdir"), use_bootstrap=False,
        package_manager="dnf", distribution="Koji", tag_envvars=dict(env or {}), plugin_conf=CACHES if caches else {},
        tag_macros={f"%{key}": value for key, value in (macros or {}).items()},
        **{SETTINGS[key]: value for key, value in (extra or {}).items()},
    )  # fmt: skip
    config.write_text(text + "config_opts['isolation'] = 'simple'\n")
    made = Mock(folder, name, config)
    try:
        yield made
    finally:
        for words in [*(["--uniqueext", unique, "--clean"] for unique in made.uniques), ["--scrub=all"]]:
            with suppress(CommandError):
                made.command(*words)
        shutil.rmtree(folder)
