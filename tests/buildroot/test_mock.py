"""Equal to mock: the comparison of tools/compare_mock.py, where mock is there; and that it would tell a difference."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools import compare_mock, standin
from tools.mock import NoMock, version

MEANT = "- environment PROMPT_COMMAND=x"


@pytest.mark.podman
@pytest.mark.timeout(1800)
def test_packages_and_surroundings_are_those_of_mock(tmp_path: Path, packages: Path, task_image: str) -> None:
    try:
        version()
    except NoMock as reason:
        pytest.skip(str(reason))
    found = compare_mock.compare([standin.srpm(name) for name in compare_mock.SAMPLES], packages, tmp_path)
    text, unknown = compare_mock.report(found)
    print(text)
    assert unknown == 0, text
    assert [len(lines) > 0 for lines in found.values()] == [name == "surroundings" for name in compare_mock.SAMPLES]
    for name in compare_mock.SAMPLES:
        assert list(tmp_path.glob(f"mock/{name}-*/*.src.rpm")), "there was nothing to compare"


def test_only_what_is_written_down_is_known() -> None:
    strange = ["+ environment PROMPT_COMMAND=x", "- environment PROMPT=x", "+ root bash-1-1.x86_64 1 1"]
    text, unknown = compare_mock.report({"a.src.rpm": [MEANT], "b.src.rpm": [MEANT, *strange]})
    assert unknown == 3
    assert all(f"\n{line}\n" in text for line in strange)
    assert f"\n{MEANT}\n" not in text


def test_packages_and_roots_are_never_known_to_differ() -> None:
    """Whatever the surroundings: what is delivered and what it was made of is the same."""
    for topic in ("package", "root", "tag", "packages", "macros"):
        for sign in "+-":
            line = f"{sign} {topic} x-1-1.x86_64.rpm Requirename[0] /bin/sh"
            assert not any(item.explains(line) for item in compare_mock.known()), line


def _results(folder: Path, package: Path, *log: str) -> Path:
    folder.mkdir()
    shutil.copy(package, folder / "a-1-1.noarch.rpm")
    (folder / "installed_pkgs.log").write_text("bash-1-1.x86_64 7 8 installed\n")
    (folder / "build.log").write_text("\n".join(["noise", *log]))
    return folder


def test_every_difference_is_told(tmp_path: Path, make_package: object) -> None:
    one, other = (
        make_package("marker", "1", text=text, head=f"Provides: what({text})")  # type: ignore[operator]
        for text in ("x", "y")
    )
    same = [_results(tmp_path / name, one, "@time UTC", f"noise {name}") for name in ("a", "b")]
    assert compare_mock.differences(*same) == []
    changed = compare_mock.differences(same[0], _results(tmp_path / "c", other, "@time CET"))
    assert "- time UTC" in changed
    assert "+ time CET" in changed
    tags = {line.split()[3].partition("[")[0] for line in changed if line.startswith("+ tag")}
    assert {"Providename", "Filedigests", "Payloaddigest"} <= tags
    assert any(line.startswith("+ package a-1-1.noarch.rpm ") for line in changed)
