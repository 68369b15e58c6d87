"""The rules by which a Debian package becomes an RPM, without running any conversion."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tools.miniworld import catalog, debs, rpms, staging, world


@pytest.mark.parametrize(
    ("debian", "rpm"),
    [
        ("1:2.39.5-0+deb12u3", ("1", "2.39.5", "0+deb12u3")),
        ("2.36", ("", "2.36", "0")),
        ("1.2-3-4", ("", "1.2_3", "4")),
    ],
)
def test_version(debian: str, rpm: tuple[str, str, str]) -> None:
    assert rpms.split_version(debian) == rpm


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/lib/x86_64-linux-gnu/libz.so.1", "/usr/lib/x86_64-linux-gnu/libz.so.1"),
        ("/bin", "/bin"),
        ("/etc/a", "/etc/a"),
    ],
)
def test_merged_path(path: str, result: str) -> None:
    assert staging.merged(path) == result


def _deb_tar(folder: Path, members: list[tarfile.TarInfo]) -> Path:
    raw = BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for member in members:
            archive.addfile(member, BytesIO(b"x" * member.size))
    path = folder / "data.tar"
    path.write_bytes(raw.getvalue())
    return path


def test_links_moved_by_the_merge_still_lead_to_their_file(tmp_path: Path) -> None:
    plain = tarfile.TarInfo("./usr/share/thing")
    plain.size = 1
    link = tarfile.TarInfo("./lib/thing")
    link.type, link.linkname = tarfile.SYMTYPE, "../usr/share/thing"
    tree = staging.Tree(tmp_path / "tree")
    with tarfile.open(_deb_tar(tmp_path, [plain, link])) as archive:
        for member in archive:
            staging.unpack_member(archive, member, "/" + member.name.removeprefix("./"), tree)
    assert (tmp_path / "tree/usr/lib/thing").readlink() == Path("../share/thing")
    assert (tmp_path / "tree/usr/lib/thing").read_bytes() == b"x"
    assert tree.entries["/usr/lib/thing"].kind == "link"


def _deb(name: str, postinst: str, tmp_path: Path) -> debs.Deb:
    return debs.Deb(
        path=tmp_path, name=name, version="1", noarch=True, summary="", description="", size=0, provides=(),
        depends=(), conffiles=frozenset(), alternatives=tuple(debs.alternatives(postinst)),
    )  # fmt: skip


def test_alternative_of_highest_priority_wins_with_its_slaves(tmp_path: Path) -> None:
    automake = (
        "ver=1.16\nprio=34\nupdate-alternatives --install /usr/bin/automake automake \\\n"
        "\t/usr/bin/automake-$ver $prio \\\n\t--slave /usr/bin/aclocal aclocal /usr/bin/aclocal-$ver\n"
    )
    older = "update-alternatives --quiet --install /usr/bin/automake automake /usr/bin/automake-1.15 30 || true\n"
    computed = "update-alternatives --install /usr/bin/x x $(which y) 10\n"
    packages = [_deb(n, p, tmp_path) for n, p in (("new", automake), ("old", older), ("odd", computed))]
    assert debs.chosen_alternatives(packages) == {
        "new": {"/usr/bin/automake": "/usr/bin/automake-1.16", "/usr/bin/aclocal": "/usr/bin/aclocal-1.16"}
    }


def test_catalog_groups_and_fixes_name_packages_that_can_exist() -> None:
    content = catalog.load()
    own = {package.name for package in content.own}
    assert set(content.groups) == {"build", "srpm-build"} == set(content.real_groups)
    for names in content.groups.values():
        assert len(set(names)) == len(names)
        assert {name for name in names if name.startswith(("standin", "filesystem"))} <= own


def test_world_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOJI_ADJUTANT_CACHE", str(tmp_path))
    target = tmp_path / "world" / "0123"

    def crash(making: Path) -> None:
        (making / "half").touch()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        world.ensure_at(target, crash)
    assert not target.exists()
    assert world.ensure_at(target, lambda making: (making / "whole").touch()) == target
    assert [p.name for p in target.iterdir()] == ["whole"]
    assert [p.name for p in target.parent.iterdir()] == ["0123"]
    assert world.ensure_at(target, crash) == target


def test_only_the_last_worlds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOJI_ADJUTANT_CACHE", str(tmp_path))
    for number in range(world.KEPT_WORLDS + 2):
        world.ensure_at(tmp_path / "world" / f"{number}", lambda making: None)
    left = {p.name for p in (tmp_path / "world").iterdir()}
    assert len(left) == world.KEPT_WORLDS
    assert str(world.KEPT_WORLDS + 1) in left
