"""Progress with rate and time left, after two seconds: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_PATIENCE_S = 2.0
_INTERVAL_S = 10.0


def tracked(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    """The items, with a report on how many of `total` have been worked on.

    Args:
        unit: what one item is, as in "frame".
    """
    report = _bar if sys.stderr.isatty() and sys.stdout.isatty() else _lines
    return report(items, total, label, unit)


def _lines(items: Iterable[T], total: int, label: str, unit: str) -> Iterator[T]:
    start = time.monotonic()
    due = start + _PATIENCE_S
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now >= due and done < total:
            due = now + _INTERVAL_S
            rate = done / (now - start)
            left = (total - done) / rate
            text = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
            print(f"{label}: {unit} {done}/{total}, {rate:.2f} {unit}s/s, {text} left", flush=True)


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
            if passed >= _PATIENCE_S:
                progress.start()
            progress.update(task, completed=done, rate=f"{done / passed:.2f} {unit}s/s")
    finally:
        progress.stop()
