"""SIGUSR1, and what comes while the worker starts anew."""

from __future__ import annotations

import signal
import time

import pytest

from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = [pytest.mark.podman, pytest.mark.any_hub]


def test_sigterm_while_the_hub_hangs_at_a_restart(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(timeout=300).start()
    hub.slow_answers(200, since="logout")
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: "restarting" in worker.log.read_text())
    wait_for(lambda: hub.calls("logout", who=hub.builder))
    assert worker.terminate(100) == 0, worker.log.read_text()  # that is half of what the hub takes
    hub.slow_answers(0)
    worker.assert_nothing_left()


def test_a_hub_that_hangs_does_not_keep_from_starting_anew(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(timeout=300).start()
    hub.slow_answers(200, since="logout")
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: "could not log out before starting anew" in worker.log.read_text())


def test_signals_one_after_the_other(hub: AnyHub, worker: WorkerProcess) -> None:
    """While Python starts nobody handles signals: what has no handler ends a process."""
    worker.notified.clear()
    deadline = time.monotonic() + 90
    worker.signal(signal.SIGUSR1)
    while not worker.is_ready():
        assert time.monotonic() < deadline
        worker.signal(signal.SIGHUP)
        worker.signal(signal.SIGUSR1)
        time.sleep(0.01)
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.parametrize("later", [0.0, 0.05, 0.2, 0.5])
def test_sigterm_while_it_starts_anew(hub: AnyHub, worker: WorkerProcess, later: float) -> None:
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: "restarting" in worker.log.read_text())
    time.sleep(later)
    assert worker.terminate() == 0, worker.log.read_text()
    worker.assert_nothing_left()
    assert "Traceback" not in worker.log.read_text()
