"""Progress with rate and time left: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 2.0
"""Work that is done before is not reported."""


def has_terminal() -> bool:
    """Whether the output is a terminal and not a log file."""
    return sys.stderr.isatty() and sys.stdout.isatty()


class ProgressLines:
    """Progress as lines in a log: after two seconds, then every `interval_s` seconds.

    The rate excludes the first item after `begin`, which may include minutes of compiling.
    """

    def __init__(self, label: str, interval_s: float = 10.0) -> None:
        self.label, self.interval_s = label, interval_s
        self.begin()

    def begin(self) -> None:
        """Start the clock."""
        self.first: int | None = None
        self.due = time.monotonic() + min(PATIENCE_S, self.interval_s)

    def is_due(self, done: int) -> bool:
        """Whether to print a line now; called after each item with the number of those that are done."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.start = done, now
        return now >= self.due

    def print(self, done: int, total: int, unit: str, values: str = "") -> None:
        """Print a line.

        Args:
            done: number of items that are done.
            total: number of all items.
            unit: what one item is, as in "frame".
            values: text after the numbers.
        """
        assert self.first is not None
        now = time.monotonic()
        self.due = now + self.interval_s
        pace = ""
        if done > self.first:
            rate = (done - self.first) / (now - self.start)
            pace = f", {rate:.2f} {unit}s/s, {_duration((total - done) / rate)} left"
        print(f"{self.label}: {unit} {done}/{total}{values}{pace}", flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def tracked(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    """The items, with a report on how many of `total` are done.

    Args:
        items: passed on.
        total: their number.
        label: first word of the report.
        unit: what one item is, as in "frame".
    """
    report = _bar if has_terminal() else _lines
    return report(items, total, label, unit)


def _lines(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    lines = ProgressLines(label)
    for done, item in enumerate(items, start=1):
        yield item
        if lines.is_due(done) and done < total:
            lines.print(done, total, unit)


def _bar(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    start = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns)
    task = progress.add_task(label, total=total, rate="")
    try:
        for done, item in enumerate(items, start=1):
            yield item
            passed = time.monotonic() - start
            if passed >= PATIENCE_S:
                progress.start()
            progress.update(task, completed=done, rate=f"{done / passed:.2f} {unit}s/s")
    finally:
        progress.stop()
