"""A call of minutes (a pull, a download) that must not outlive a wish to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from engine.core.errors import Interrupted
from engine.core.manager import Cancelled

T = TypeVar("T")


def interruptible(call: Callable[[], T], cancelled: Cancelled, words: str) -> T:
    """The result of `call`, made in a thread, which is left alone when `cancelled`: then Interrupted with `words`.

    What it gives after all is closed, if it can be.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    lock, wanted = threading.Lock(), True

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)
            return
        with lock:
            results.append(result)
            if not wanted:
                _close(result)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if cancelled():
            with lock:
                wanted = False
                for result in results:
                    _close(result)
            raise Interrupted(words)
    if errors:
        raise errors[0]
    return results[0]


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
