"""Progress for a person: steps with their state and times, and the last line of the log.

On a terminal one block that is redrawn; elsewhere one line for each event, with the time of day. It goes to
standard error, so that standard output stays what was asked for.
"""

from __future__ import annotations

import threading
import time
from typing import Any, TextIO

from engine.core.excerpt import clean, last_line
from engine.core.outcome import ImageUsed, StepRun
from engine.core.plan import Plan, PlannedStep

KEEP = 8192
"""Bytes of output kept to find the last line in."""
SILENCE = 30.0
"""Seconds between two last lines of a step where there is no terminal."""


def make_progress(plan: Plan, stream: TextIO, *, quiet: bool) -> NotesOnly:
    """The progress that suits `stream`."""
    if quiet:
        return NotesOnly(plan, stream)
    if stream.isatty():
        return TerminalProgress(plan, stream)
    return PlainProgress(plan, stream)


def seconds_words(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def end_words(run: StepRun) -> str:
    """How a step ended: ``done in 0.4 s``, ``failed (exit code 1) after 12 s``."""
    spent = seconds_words(run.seconds)
    if run.again:
        return f"asks for another round after {spent}"
    if run.ok:
        return f"done in {spent}"
    if run.timed_out:
        return f"stopped after {spent}: time is up"
    if run.oom:
        return f"failed (out of memory) after {spent}"
    if run.signal:
        return f"ended by signal {run.signal} after {spent}"
    if run.exit_code == 0:  # by us, while it was about to end well
        return f"stopped after {spent}"
    return f"failed (exit code {run.exit_code}) after {spent}" if run.exit_code is not None else "could not start"


class NotesOnly:
    """Nothing but notes. An `engine.runner.ports.Progress`, to be closed. `plan` may become a better one."""

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        self.plan, self.stream = plan, stream

    def phase(self, text: str) -> None: ...

    def background(self, data: bytes) -> None:
        """Output of something other than a step."""

    def image(self, used: ImageUsed) -> None: ...
    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None: ...
    def output(self, step: PlannedStep, data: bytes) -> None: ...
    def step_ended(self, step: PlannedStep, run: StepRun) -> None: ...

    def note(self, text: str) -> None:
        print(f"note: {clean(text)}", file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class PlainProgress(NotesOnly):
    """A line for each event."""

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        super().__init__(plan, stream)
        self._title = ""
        self._said = 0.0

    def _say(self, text: str) -> None:
        print(time.strftime("%H:%M:%S"), text, file=self.stream, flush=True)

    def phase(self, text: str) -> None:
        self._say(clean(text))

    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None:
        self._title = f"step {number}/{total} {step.name}"
        again = f" (round {round_})" if round_ > 1 else ""
        self._say(f"{self._title}{again}: {clean(step.summary) or 'running'}")
        self._said = time.monotonic()

    def output(self, step: PlannedStep, data: bytes) -> None:
        if time.monotonic() - self._said >= SILENCE and (line := last_line(data[-KEEP:].decode(errors="replace"))):
            self._said = time.monotonic()
            self._say(f"{self._title}: {line}")

    def step_ended(self, step: PlannedStep, run: StepRun) -> None:
        self._say(f"{self._title}: {end_words(run)}")

    def note(self, text: str) -> None:
        self._say(f"note: {clean(text)}")


class TerminalProgress(NotesOnly):
    """A block of steps that is redrawn a few times a second; it stays on the screen when all is done."""

    def __init__(self, plan: Plan, stream: TextIO) -> None:
        super().__init__(plan, stream)
        from rich.console import Console
        from rich.live import Live

        self._lock = threading.Lock()
        self._runs: dict[str, StepRun] = {}
        self._running: tuple[str, int, float] | None = None
        self._phase = ""
        self._tail = b""
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console, get_renderable=self._block, refresh_per_second=4, redirect_stdout=False
        )
        self._live.start()

    def phase(self, text: str) -> None:
        with self._lock:
            self._phase, self._tail = text, b""
        if not self._live.is_started:
            self.note(text)

    def background(self, data: bytes) -> None:
        with self._lock:
            self._tail = (self._tail + data[-KEEP:])[-KEEP:]

    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None:
        with self._lock:
            self._phase, self._tail = "", b""
            self._running = (step.name, round_, time.monotonic())
            self._runs.pop(step.name, None)

    def output(self, step: PlannedStep, data: bytes) -> None:
        with self._lock:
            self._tail = (self._tail + data[-KEEP:])[-KEEP:]

    def step_ended(self, step: PlannedStep, run: StepRun) -> None:
        with self._lock:
            self._runs[step.name], self._running, self._tail = run, None, b""

    def note(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(f"note: {clean(text)}", style="dim"))

    def close(self) -> None:
        """Draw the block for the last time."""
        with self._lock:
            self._phase, self._tail = "", b""
        self._live.stop()

    def _block(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            table = Table.grid(padding=(0, 2))
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True)
            table.add_column(no_wrap=True, overflow="ellipsis")
            for step in self.plan.steps:
                if not (step.standby or step.when_file) or self._known(step):
                    table.add_row(*self._row(step))
            below = [clean(self._phase) + " …"] if self._phase else []
            below.append(last_line(self._tail.decode(errors="replace")))
            for line in filter(None, below):
                table.add_row("", "", Text(line, style="dim"))
            return table

    def _known(self, step: PlannedStep) -> bool:
        return step.name in self._runs or (self._running is not None and self._running[0] == step.name)

    def _row(self, step: PlannedStep) -> tuple[Any, ...]:
        from rich.text import Text

        name = Text(step.name)
        summary = clean(step.summary)
        run = self._runs.get(step.name)
        if self._running is not None and self._running[0] == step.name:
            again = f", round {self._running[1]}" if self._running[1] > 1 else ""
            spent = seconds_words(time.monotonic() - self._running[2])
            return Text("▸", style="bold cyan"), name, Text(f"{summary}{again}, {spent}")
        if run is not None:
            mark = Text("✓", style="green") if run.ok else Text("✗", style="bold red")
            return mark, name, Text(f"{summary}: {end_words(run)}" if summary else end_words(run))
        return Text("·", style="dim"), name, Text(summary, style="dim")
