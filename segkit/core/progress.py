"""Progress with rate and time left: rows that are redrawn on a terminal, single lines in a log.

A process whose progress another one shows sends it there: the stages of a pipeline, which share the runner's terminal.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")

PATIENCE_S = 2.0
"""Work that is done before is not reported."""
LOG_INTERVAL_S, LIVE_INTERVAL_S = 10.0, 0.5

RELAY = "SEGKIT_RELAY_PROGRESS"
"""Environment variable of a process that prints its progress for the process that started it."""
MARK = "\x1e"
"""Begins such a line (ASCII's record separator); the rest is JSON, `null` where the work has ended."""

MIN_COLUMNS_OF_BARS = 100
"""A narrower terminal shows no bars, which repeat the numbers."""


@dataclass(frozen=True)
class Progress:
    """How much of some work is done."""

    label: str
    unit: str
    """What one item is, as in "frame"."""
    done: int
    total: int
    rate: float | None = None
    """Items per second."""
    values: str = ""
    """Text after the numbers."""

    @property
    def seconds_left(self) -> float | None:
        """None before the rate is known."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def numbers(self) -> str:
        """All but the label."""
        pace = "" if self.seconds_left is None else f", {self.rate:.2f} {self.unit}s/s, {_left(self.seconds_left)}"
        return f"{self.unit} {self.done}/{self.total}{pace}{self.values}"


def _left(seconds: float) -> str:
    return f"{seconds:.0f} s left" if seconds < 120 else f"{seconds / 60:.0f} min left"


def has_terminal() -> bool:
    """Whether the output is a terminal that can redraw lines, and not a log file."""
    return sys.stderr.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def rows(shown: Iterable[tuple[str, Progress | None]], width: int) -> "Table":
    """The rows of a terminal with `width` columns: a label, a bar and the numbers, or only a text without progress."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    shown = list(shown)
    bars = width >= MIN_COLUMNS_OF_BARS
    labels = max((len(text if progress is None else progress.label) for text, progress in shown), default=0)
    table = Table.grid(padding=(0, 1))
    for min_width in (min(labels, width // 2), *((0, 0) if bars else (0,))):
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=min_width)
    for text, progress in shown:
        if progress is None:
            table.add_row(Text(text))
        else:
            bar = [ProgressBar(progress.total, progress.done, width=16)] if bars else []
            table.add_row(Text(progress.label), *bar, Text(progress.numbers))
    return table


class Reporter:
    """Shows progress after two seconds, and then every `interval_s` seconds; in the way that suits the output.

    The rate excludes the first item after `begin`, which may include minutes of compiling.
    """

    def __init__(self, label: str, interval_s: float | None = None) -> None:
        self.label = label
        relayed, terminal = RELAY in os.environ, has_terminal()
        self.output = _Relay() if relayed else _Row() if terminal else _Lines()
        usual = LIVE_INTERVAL_S if relayed or terminal else LOG_INTERVAL_S
        self.interval_s = usual if interval_s is None else interval_s
        self.begin()

    def begin(self) -> None:
        """Start the clock."""
        self.first: int | None = None
        self.due = time.monotonic() + min(PATIENCE_S, self.interval_s)

    def is_due(self, done: int) -> bool:
        """Whether to report now; called after each item with the number of those that are done."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.start = done, now
        return now >= self.due

    def report(self, done: int, total: int, unit: str, values: str = "") -> None:
        """Show how many items of all are done, and a text after these numbers."""
        assert self.first is not None
        now = time.monotonic()
        self.due = now + self.interval_s
        rate = (done - self.first) / (now - self.start) if done > self.first else None
        self.output.show(Progress(self.label, unit, done, total, rate, values))

    def end(self) -> None:
        """Leave the terminal as it was; also after an error."""
        self.output.end()


class _Lines:
    """Lines in a log."""

    def show(self, progress: Progress) -> None:
        print(f"{progress.label}: {progress.numbers}", flush=True)

    def end(self) -> None:
        pass


class _Relay:
    """Lines for the process that started this one."""

    def show(self, progress: Progress | None) -> None:
        print(MARK + json.dumps(None if progress is None else asdict(progress)), flush=True)

    def end(self) -> None:
        self.show(None)


def relayed(line: str) -> Progress | None:
    """The progress in a line that begins with `MARK`."""
    content = json.loads(line.removeprefix(MARK))
    return None if content is None else Progress(**content)


class _Row:
    """A row at the end of a terminal, below what is printed meanwhile."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(), auto_refresh=False, transient=True)

    def show(self, progress: Progress) -> None:
        self.live.start()
        self.live.update(rows([("", progress)], self.live.console.width), refresh=True)

    def end(self) -> None:
        self.live.stop()


def tracked(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    """The items, with a report on how many of `total` are done."""
    reporter = Reporter(label)
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if reporter.is_due(done) and done < total:
                reporter.report(done, total, unit)
    finally:
        reporter.end()
