"""koji.rpmdiff as kojid runs it: with the rpm module of this host's own Python, which .venv has not."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"
CODE = """
import importlib.util, sys
for name, path in zip(("six", "rpmdiff"), sys.argv[1:3]):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
print(module.Rpmdiff(sys.argv[3], sys.argv[3], ignore="S5TN").kojihash())
"""


def need_rpm_module() -> None:
    """Skip the test where the system's Python cannot import rpm."""
    done = subprocess.run([PYTHON, "-c", "import rpm"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{PYTHON} has no module rpm (Debian and EL: python3-rpm): {done.stderr.strip()[-200:]}")


def koji_hash(package: Path) -> str:
    """What the library says of a package; the files of the library are those beside this interpreter."""
    need_rpm_module()
    koji, six = (find_spec(name) for name in ("koji", "six"))
    assert koji is not None
    assert six is not None
    library = Path(str(koji.origin)).with_name("rpmdiff.py")
    command = [PYTHON, "-c", CODE, str(six.origin), str(library), str(package)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
