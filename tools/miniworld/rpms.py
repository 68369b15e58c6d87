"""One package tree -> one RPM, by rpmbuild."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools.miniworld import provides as provided
from tools.miniworld.catalog import Catalog, OwnPackage
from tools.miniworld.commands import run
from tools.miniworld.debs import Deb, chosen_alternatives
from tools.miniworld.staging import Entry, Tree, adapt, stage_own, unpack

# Every file and build time is at most this (2025-01-01): the same packages in, the same RPMs out.
EPOCH_SECONDS = "1735689600"

SPEC = """\
Name: {name}
{epoch}Version: {version}
Release: {release}
Summary: {summary}
License: Distributable
AutoReqProv: no
{arch}{relations}
%description
{description}
%install
rm -rf %{{buildroot}}
mv {stage} %{{buildroot}}
%files -f {files}
{scriptlets}
"""

DEFINES = {
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "__arch_install_post": "%{nil}",
    "__check_files": "%{nil}",
    "_build_id_links": "none",
    "_binary_payload": "w3.zstdio",
    "_binaries_in_noarch_packages_terminate_build": "0",
    "_unpackaged_files_terminate_build": "0",
    "_buildhost": "standin",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
}


@dataclass(frozen=True)
class Recipe:
    """What an RPM says of itself, beside its files."""

    name: str
    version: str
    summary: str
    description: str
    noarch: bool
    epoch: str = ""
    release: str = "1"
    provides: Iterable[str] = ()
    requires: Iterable[str] = ()
    config: frozenset[str] = field(default_factory=frozenset)
    scriptlets: str = ""
    needs_filesystem: bool = True


def split_version(version: str) -> tuple[str, str, str]:
    """Debian `1:2.3-4-5` -> ('1', '2.3_4', '5'): epoch, version and release as rpm allows them."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, release = rest.rpartition("-")
    return epoch, (upstream or rest).replace("-", "_"), release if upstream else "0"


def _listed(path: str) -> str:
    """A path as %files takes it: rpm 4.18 knows no escape for its wildcards, so `?` stands for them."""
    return '"' + re.sub(r"[\[\]*?{}\\\"]", "?", path).replace("%", "%%") + '"'


def _file_line(path: str, entry: Entry, config: frozenset[str]) -> str:
    mode = "-" if entry.kind == "link" else f"{stat.S_IMODE(entry.mode):04o}"
    flag = {"dir": "%dir ", "file": "", "link": ""}[entry.kind]
    if entry.kind == "file" and path in config:
        flag = "%config(noreplace) "
    return f"%attr({mode},{entry.user},{entry.group}) {flag}{_listed(path)}"


def build(recipe: Recipe, tree: Tree, scratch: Path, repo: Path, skip_dirs: frozenset[str]) -> None:
    """Write the RPM of `tree` into `repo`; the tree is used up. `scratch` is a directory of its own."""
    lines = [
        _file_line(path, entry, recipe.config)
        for path, entry in sorted(tree.entries.items())
        if not (entry.kind == "dir" and path in skip_dirs)
    ]
    files = scratch / "files"
    files.write_text("\n".join(lines or ['%dir "/usr"']) + "\n")
    (tree.root / "usr").mkdir(exist_ok=True)
    relations = [f"Provides: {name}" for name in sorted(set(recipe.provides))]
    relations += ["Requires(pre): filesystem"] if recipe.needs_filesystem else []
    relations += [f"Requires: {name}" for name in sorted(set(recipe.requires))]
    spec = scratch / "package.spec"
    spec.write_text(
        SPEC.format(
            name=recipe.name,
            epoch=f"Epoch: {recipe.epoch}\n" if recipe.epoch else "",
            version=recipe.version,
            release=recipe.release,
            summary=recipe.summary.replace("%", "%%"),
            arch="BuildArch: noarch\n" if recipe.noarch else "",
            relations="".join(f"{line}\n" for line in relations),
            description=recipe.description.replace("%", "%%"),
            stage=tree.root,
            files=files,
            scriptlets=recipe.scriptlets,
        )
    )
    defines = {**DEFINES, "_topdir": str(scratch), "_rpmdir": str(repo), "_dbpath": str(scratch / "db")}
    options = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
    run(
        ["rpmbuild", "-bb", "--nodeps", "--target", "noarch" if recipe.noarch else "x86_64", *options, spec],
        env={"HOME": str(scratch), "SOURCE_DATE_EPOCH": EPOCH_SECONDS},
    )


@dataclass(frozen=True)
class Conversion:
    """Everything needed to convert one Debian package, as plain values: it is sent to another process."""

    deb: Deb
    catalog: Catalog
    requires: tuple[str, ...]
    alternatives: dict[str, str]
    work: Path
    repo: Path


def plan(catalog: Catalog, packages: list[Deb], work: Path, repo: Path) -> list[Conversion]:
    """One conversion a package, the biggest first. A dependency is the first alternative that is there."""
    answered = {name for deb in packages for name in (deb.name, *deb.provides)}
    links = chosen_alternatives(packages)
    return [
        Conversion(
            deb=deb,
            catalog=catalog,
            requires=tuple(
                pick
                for names in deb.depends
                if (pick := next((name for name in names if name in answered), deb.name)) != deb.name
            ),
            alternatives=links.get(deb.name, {}),
            work=work,
            repo=repo,
        )
        for deb in sorted(packages, key=lambda deb: (-deb.size, deb.name))
    ]


def convert(job: Conversion) -> str:
    """Make the RPM of one Debian package; return its name."""
    deb = job.deb
    epoch, version, release = split_version(deb.version)
    scratch = job.work / deb.name.replace("+", "p")
    scratch.mkdir(parents=True)
    tree = Tree(scratch / "stage")
    unpack(deb.path, tree)
    adapt(deb.name, tree, job.catalog, job.alternatives)
    evr = f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}"
    aliases = [name if set(name) & set("/(") else f"{name} = {evr}" for name in job.catalog.provides.get(deb.name, ())]
    recipe = Recipe(
        name=deb.name,
        epoch=epoch,
        version=version,
        release=release,
        summary=deb.summary,
        description=deb.description,
        noarch=deb.noarch,
        provides={*aliases, *deb.provides, *provided.of_tree(tree)},
        requires=job.requires,
        config=deb.conffiles,
        scriptlets=job.catalog.scriptlets.get(deb.name, ""),
    )
    build(recipe, tree, scratch, job.repo, job.catalog.filesystem_dirs)
    shutil.rmtree(scratch)
    return deb.name


def build_own(package: OwnPackage, catalog: Catalog, work: Path, repo: Path) -> None:
    """Make the RPM of a package that the catalog holds whole."""
    scratch = work / f"own-{package.name}"
    scratch.mkdir(parents=True)
    tree = Tree(scratch / "stage")
    stage_own(package, tree)
    is_filesystem = package.name == "filesystem"
    recipe = Recipe(
        name=package.name,
        version=package.version,
        summary=package.summary,
        description=package.summary,
        noarch=not is_filesystem,
        provides=package.provides,
        requires=package.requires,
        config=frozenset(package.config),
        needs_filesystem=not is_filesystem,
    )
    build(recipe, tree, scratch, repo, frozenset() if is_filesystem else catalog.filesystem_dirs)
    shutil.rmtree(scratch)
