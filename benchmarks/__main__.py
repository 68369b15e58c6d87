"""`python -m benchmarks [NAME...]`: every benchmark module of this directory, or those named."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

OWN = {"__init__", "__main__", "measure"}


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in OWN)
    for name in names:
        importlib.import_module(f"benchmarks.{name}").main()


main()
