"""The progress of a pipeline: a block that is redrawn at the end of a terminal, or lines in a log."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from segkit.core.progress import Progress, has_terminal, rows
from segkit.core.wording import duration

Log = Callable[[str], None]


class Display:
    """Shows which stages are done, how far the running ones are, and what is left; entered while stages run.

    Args:
        needs: of each stage, in order, the stages that it needs.
        log: takes a line where there is no terminal.
        parallel: stages that run at the same time at most.
        expected: seconds that stages will take, as far as they are known; read again whenever a stage has finished.
    """

    def __init__(
        self,
        needs: Mapping[str, Collection[str]],
        log: Log,
        parallel: int = 1,
        expected: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.needs, self.parallel, self.expected = needs, parallel, expected
        self.begin = time.monotonic()
        self.started: dict[str, float] = {}
        self.ended: dict[str, str] = {}
        """How each stage has ended: "done before", "finished", "failed", "skipped" or "interrupted"."""
        self.progress: dict[str, Progress | None] = {}
        self.seconds: dict[str, float] = {}
        self.console = Console()
        self.live = Live(console=self.console, get_renderable=self._block, transient=True) if has_terminal() else None
        self.print: Log = log if self.live is None else self._print_above
        """Print a line; in a terminal above the block."""

    def __enter__(self) -> "Display":
        self.seconds |= self.expected()
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.live.stop()
        self.ended |= dict.fromkeys(self.started.keys() - self.ended.keys(), "interrupted")
        if self.started:
            self.print(f"stages: {self._counts()}, in {duration(time.monotonic() - self.begin)}")

    def start(self, name: str) -> None:
        """A stage begins."""
        self.progress[name] = None
        self.started[name] = time.monotonic()

    def show(self, name: str, progress: Progress | None) -> None:
        """A running stage has come so far; None between two of its loops."""
        self.progress[name] = progress

    def end(self, name: str, how: str) -> None:
        """A stage has ended."""
        self.ended[name] = how
        if how == "finished":
            self.seconds |= self.expected()

    @property
    def time_left(self) -> str:
        """ ", about 3 min 20 s left"; empty unless the time of every stage that is left is known."""
        return _about(self._seconds_left())

    def _seconds_left(self) -> float | None:
        """The longest chain of stages, or the time of all divided by how many run at once if that is longer."""
        total, chains = 0.0, dict[str, float]()
        for name, needed in self.needs.items():
            own = 0.0 if name in self.ended else self._stage_left(name)
            if own is None:
                return None
            total += own
            chains[name] = own + max((chains.get(other, 0.0) for other in needed), default=0.0)
        return max(total / self.parallel, *chains.values())

    def _stage_left(self, name: str) -> float | None:
        """As long as the last time; a running loop may need longer."""
        if name not in self.started:
            return self.seconds.get(name)
        progress = self.progress[name]
        loop = None if progress is None else progress.seconds_left
        usual = self.seconds.get(name, 0.0) - (time.monotonic() - self.started[name])
        return max(usual, loop or 0.0) if loop is not None or usual > 0 else None

    def _print_above(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _counts(self) -> str:
        ended = Counter(self.ended.values())
        running = len(self.started.keys() - self.ended.keys())
        counts = {**ended, "running": running, "left": len(self.needs) - len(self.ended) - running}
        return ", ".join(f"{number} {how}" for how, number in counts.items() if number)

    def _block(self) -> Group:
        now = time.monotonic()
        running = {name: self.progress[name] for name in list(self.started) if name not in self.ended}
        shown = [
            (f"{name}: {duration(now - self.started[name])}{_about(self._stage_left(name))}", progress)
            for name, progress in running.items()
        ]
        left = ", ".join(name for name in self.needs if name not in self.started and name not in self.ended)
        lines = [
            f"stages: {self._counts()}" + (f" ({left})" if left else ""),
            f"time: {duration(now - self.begin)}{self.time_left}",
        ]
        return Group(
            rows(shown, self.console.width),
            *(Text(line, no_wrap=True, overflow="ellipsis", style="dim") for line in lines),
        )


def _about(seconds: float | None) -> str:
    return f", about {duration(seconds)} left" if seconds else ""
