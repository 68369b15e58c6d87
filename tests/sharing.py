"""How `pytest -n 2`, and so `make test`, shares the tests among its processes."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/rootless", "tests/security")
"""Folders whose files share what takes long to make: a user with the task image in her own storage."""


class Sharing(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
    """Whole files, so that what a module made is made once; every other process takes them from the list's end.

    tests/buildroot, near the beginning, works, and tests/worker, near the end, mostly waits: one of each at a time
    takes less than two of a kind.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says nothing about their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)

    def _assign_work_unit(self, node: Any) -> None:
        if self.nodes.index(node) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
