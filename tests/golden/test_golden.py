"""Golden files: each case's input values give exactly the committed podman invocations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.golden import cases
from tests.golden.cases import HERE, ROOT

LEAST = {"buildArch": 10, "createrepo": 8, "toy": 3}


@pytest.mark.parametrize("case", cases.cases(), ids=cases.case_id)
def test_golden(case: Path, request: pytest.FixtureRequest) -> None:
    cases.hold(case / "expected.txt", cases.rendered(case), update=request.config.getoption("--update-golden"))


def test_every_recipe_has_enough_cases() -> None:
    counts = Counter(case.parent.name for case in cases.cases())
    for method in cases.recipes().files():
        assert counts[method] >= LEAST.get(method, 1), f"{method} has {counts[method]} golden cases"


def test_no_orphans() -> None:
    known = set(cases.recipes().files())
    for case in cases.cases():
        assert case.parent.name in known, f"{case} has no recipe"
        assert sorted(entry.name for entry in case.iterdir()) == ["expected.txt", "request.toml"], case


def test_the_harness_fails_on_a_change(tmp_path: Path) -> None:
    expected = ROOT / "tests/golden" / cases.case_id(cases.cases()[0]) / "expected.txt"
    with pytest.raises(pytest.fail.Exception, match="make golden") as failure:
        cases.hold(expected, expected.read_text().replace("--network=none", "--network=host"), update=False)
    assert "-  --network=none" in str(failure.value)
    assert "+  --network=host" in str(failure.value)
    with pytest.raises(pytest.fail.Exception, match="is missing"):
        cases.hold(HERE / "no-such-file", "", update=False)


def test_update_is_refused_under_ci() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--update-golden", str(HERE)],
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "refused under CI" in done.stderr + done.stdout


def test_same_bytes_in_any_environment(tmp_path: Path) -> None:
    """No clock, locale, home, hash seed or working directory has a say."""
    case = HERE / "buildArch" / "x86_64"
    command = [
        sys.executable, "-m", "engine.cli", "render",
        "--request", str(case / "request.toml"), "--recipes", str(ROOT / "recipes"),
    ]  # fmt: skip
    outputs = set()
    for environ in (
        {"PYTHONHASHSEED": "1", "LC_ALL": "C", "HOME": "/", "TZ": "Asia/Tokyo"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "ADJUTANT_TASK_IMAGE_DEFAULT": "other"},
    ):
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    (text,) = outputs
    assert cases.without_digest(text) == (case / "expected.txt").read_text()


def test_digest_is_in_every_form() -> None:
    case = HERE / "buildArch" / "x86_64"
    digest = cases.plan_of(case).digest
    for form in ("text", "json", "toml"):
        command = [
            sys.executable, "-m", "engine.cli", "render", "--request", str(case / "request.toml"), "--format", form,
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert digest in done.stdout, form
