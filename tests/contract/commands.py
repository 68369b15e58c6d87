"""Commands that busybox runs for real and `MemoryManager` by this script: the same argv, the same behaviour."""

from __future__ import annotations

from signal import SIGKILL, SIGSEGV
from typing import Final

from tests.fakes import Behaviour


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


TRUE: Final = ("true",)
EXIT_3: Final = sh("exit 3")
HELLO: Final = sh("echo hello; echo oops >&2")
HELLO_ONLY: Final = sh("echo hello")
SLEEP: Final = ("sleep", "60")
NAP: Final = sh("echo start; sleep 0.3; echo end; exit 6")
DOZE: Final = sh("sleep 4; exit 6")
IGNORE_TERM: Final = sh("trap '' TERM; echo deaf; while :; do sleep 0.1; done")
KILL_SELF: Final = sh("exec /bin/busybox sh -c 'kill -9 $$'")
SEGFAULT: Final = sh("exec /bin/busybox sh -c 'kill -SEGV $$'")
BYTES: Final = sh("printf 'a\\000\\377b\\r\\n\\nlast without newline'")
ENDLESS: Final = sh("exec /bin/busybox yes 0123456789")
LONG_LINE: Final = sh("head -c 100000 /dev/zero | /bin/busybox tr '\\000' x; echo; echo end")

COMMANDS: Final = {
    TRUE: Behaviour(),
    EXIT_3: Behaviour(exit_code=3),
    HELLO: Behaviour(output=[b"hello\n", b"oops\n"]),
    HELLO_ONLY: Behaviour(output=[b"hello\n"]),
    SLEEP: Behaviour(seconds=60),
    NAP: Behaviour(output=[b"start\n", b"end\n"], seconds=0.3, exit_code=6),
    DOZE: Behaviour(seconds=4, exit_code=6),
    IGNORE_TERM: Behaviour(output=[b"deaf\n"], seconds=3600, ignores_term=True),
    KILL_SELF: Behaviour(killed_by=SIGKILL),
    SEGFAULT: Behaviour(killed_by=SIGSEGV),
    BYTES: Behaviour(output=[b"a\0\xffb\r\n\nlast without newline"]),
    ENDLESS: Behaviour(output=[b"0123456789\n"] * 1000, seconds=3600),
    LONG_LINE: Behaviour(output=[b"x" * 100_000, b"\nend\n"]),
}
