"""What signals tell the daemon, and which of its hub calls they may cut off."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from engine.core.errors import EXIT_OK

HUB_PATIENCE, OPENING_PATIENCE = 5.0, 20.0
"""Seconds after a stop signal that a call gets which waits for a hub that hangs; while a task is opened."""
STOPS = (signal.SIGTERM, signal.SIGINT)


class StopNow(BaseException):
    """A stop signal while a call waits for a hub that is away or hangs. No Exception: koji would try the call again."""


class Signals:
    """`stops` is how often SIGTERM or SIGINT came; `restart` and `reload` are what SIGUSR1 and SIGHUP ask for."""

    def __init__(self) -> None:
        self.stops = 0
        self.restart = False
        self.reload = False
        self._waiting_for_hub = False
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_write, False)

    def at_start(self) -> None:
        """Before anything is started that would stay: SIGTERM unwinds what there is, exit code 0."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            raise SystemExit(EXIT_OK)

        def restart(_number: int, _frame: FrameType | None) -> None:
            self.restart = True

        def reload(_number: int, _frame: FrameType | None) -> None:
            self.reload = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGUSR1, restart)
        signal.signal(signal.SIGHUP, reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # held back by who started anew

    def for_loop(self, *, hub_is_away: Callable[[], bool], opening: Callable[[], bool]) -> None:
        """From now on a stop is counted; it raises within `cut_off` only. `opening`: a task may just be opened."""

        patience = 0.0

        def stop(_number: int, _frame: FrameType | None) -> None:
            nonlocal patience
            patience = time.monotonic() + OPENING_PATIENCE
            self.stops += 1
            if self._waiting_for_hub and (hub_is_away() or self.stops > 1):
                raise StopNow
            signal.setitimer(signal.ITIMER_REAL, HUB_PATIENCE)

        def out_of_patience(_number: int, _frame: FrameType | None) -> None:
            if self._waiting_for_hub and opening() and time.monotonic() < patience:
                signal.setitimer(signal.ITIMER_REAL, HUB_PATIENCE)  # a slow hub may open the task later
            elif self._waiting_for_hub:
                raise StopNow

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGALRM, out_of_patience)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only wakes the loop
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Around hub calls that a stop may end with StopNow."""
        self._waiting_for_hub = True
        try:
            yield
        finally:
            self._waiting_for_hub = False

    def sleep(self, seconds: float) -> None:
        """Until `seconds` are over or a signal comes."""
        select.select([self._wake], [], [], max(0.0, seconds))
        try:
            while os.read(self._wake, 512):
                pass
        except BlockingIOError:
            pass

    def before_anew(self) -> None:
        """This process is about to be replaced. What asks for that, or would end the new one before it has handlers,
        counts no more."""
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hold_back_stops(self) -> None:
        """A stop that comes from now on is for the new process, which takes it up in `at_start`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        signal.set_wakeup_fd(-1)

    def at_end(self) -> None:
        """Python gives up its handlers as it ends; the alarm of a SIGTERM would then kill the process."""
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(-1)
