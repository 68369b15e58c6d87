"""Source RPMs of the samples: the same bytes each time, and the failing ones fail where they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import samples, standin


@pytest.mark.parametrize("name", samples.names())
def test_same_sources_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    first = samples.build(name, tmp_path / "a")
    second = samples.build(name, tmp_path / "b" / "deeper")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_autotools_sample_has_a_few_thousand_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, samples.SAMPLES / "grove" / "generate.py", tmp_path], check=True)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 2000 < len(files) < 6000
    assert tmp_path / "configure.ac" in files


def test_corrupt_samples_are_damaged_where_they_say(tmp_path: Path) -> None:
    def header_is_readable(name: str) -> bool:
        words = ["rpm", "-qp", "--nosignature", "--nodigest", str(standin.srpm(name))]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    assert header_is_readable("hz")
    assert header_is_readable("corrupt-payload")
    assert not header_is_readable("corrupt-header")
    checked = subprocess.run(["rpm", "-K", standin.srpm("corrupt-payload")], capture_output=True, check=False)
    assert checked.returncode != 0


def test_unknown_sample_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(samples.SampleError, match="no sample 'nope'; there are: .*hello-noarch"):
        samples.build("nope", tmp_path)
