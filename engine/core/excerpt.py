"""The part of a log that matters, fit for a terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

LAST_LINES = 20
ERROR_LINES = 10
WIDTH = 300

_ERROR = re.compile(
    r"""\berror:|^\s*(?:Error|ERROR)\b|\bfatal(?:\ error)?:|\bFAIL(?:ED)?\b|\*\*\*|undefined\ reference
    |[Nn]o\ such\ file\ or\ directory|[Nn]othing\ provides|[Nn]o\ matching\ package|[Nn]o\ match\ for|is\ needed\ by
    |[Bb]ad\ exit\ status|No\ space\ left|command\ not\ found|Traceback\ \(|Segmentation\ fault|^Killed\b
    |[Pp]ermission\ denied""",
    re.VERBOSE,
)
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")


def clean(line: str) -> str:
    """One line as a terminal may show it: no escape sequences or control characters, not over-long.

    Of a line that rewrote itself (a progress bar) the last version is left.
    """
    text = _ESCAPES.sub("", line).rstrip("\r\n").rsplit("\r", 1)[-1].expandtabs(8)
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text).rstrip()
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def last_line(text: str) -> str:
    """The last line of `text` that shows anything."""
    for line in reversed(text.splitlines()[-50:]):
        if shown := clean(line):
            return shown
    return ""


def excerpt(text: str, *, last: int = LAST_LINES, errors: int = ERROR_LINES) -> Sequence[str]:
    """The last lines, and before them the first ones that speak of an error, with ``…`` where lines are left out."""
    lines = [clean(line) for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    start = max(0, len(lines) - last)
    chosen = [index for index, line in enumerate(lines[:start]) if _ERROR.search(line)][:errors]
    shown: list[str] = []
    previous = -1
    for index in (*chosen, *range(start, len(lines))):
        if index != previous + 1:
            shown.append("…")
        shown.append(lines[index])
        previous = index
    return shown
