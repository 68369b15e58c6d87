"""What the hub's tags say of the image of their tasks (`adjutant.image`): asked now and then, not for every task."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import koji

from engine.core.images import TAG_EXTRA


class TagImages:
    """The present word of each tag, kept for `ttl` seconds in files of `directory`, for all tasks of a worker.

    The present one, not that of the repo's event: an image that is corrected in the tag shall help the next task, not
    the next repo. Without a `directory` nothing is kept. `clock` gives seconds since the epoch.
    """

    def __init__(self, directory: Path | None, ttl: float, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._ttl, self._clock = directory, ttl, clock

    def image(self, session: Any, tag_id: int) -> str:
        """The image that the tag names, "" for none. When the hub cannot say it, what it said last, else "".

        Anything but a string comes as its JSON, which no image reference looks like.
        """
        path = self._directory / f"{tag_id}.json" if self._directory else None
        known = _read(path) if path else None
        if known is not None and 0 <= self._clock() - known[0] < self._ttl:
            return known[1]
        try:
            said = (session.getBuildConfig(tag_id)["extra"] or {}).get(TAG_EXTRA)
        except koji.GenericError:
            return known[1] if known else ""
        image = said if isinstance(said, str) else "" if said is None else json.dumps(said)
        if path:
            self._write(path, image)
        return image

    def _write(self, path: Path, image: str) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        arriving = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        arriving.write_text(json.dumps({"asked": self._clock(), "image": image}), encoding="utf-8")
        os.replace(arriving, path)


def _read(path: Path) -> tuple[float, str] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return float(data["asked"]), str(data["image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
