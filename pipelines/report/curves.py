"""Training curves, read from the CSV files of the stages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.fidelity.files import SNAPSHOTS
from segkit.core.files import read_csv


@dataclass(frozen=True)
class Line:
    """Values of one quantity over training."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """Everything one training logged."""

    lines: dict[str, Line]
    later_phases: tuple[float, ...] = ()
    """Steps at which the second phase began, the third, and so on."""


def read_phases(folder: Path) -> History | None:
    """The phases of a training (`curves-0.csv`, `curves-1.csv`, ...) joined along steps; None without any."""
    paths = sorted(folder.glob("curves-*.csv"), key=lambda path: int(path.stem.rpartition("-")[2]))
    if not paths:
        return None
    lines: dict[str, Line] = {}
    starts, done = [], 0.0
    for path in paths:
        rows = read_csv(path)
        starts.append(done)
        _extend(lines, rows, "step", done)
        done += max((float(row["step"]) for row in rows), default=0.0)
    return History(lines, tuple(starts[1:]))


def read_gan(folder: Path, fidelity: Path | None = None) -> History | None:
    """The curves of a GAN over thousands of real images shown; None without any.

    Args:
        folder: of its training.
        fidelity: of the measures of its snapshots, if there are any.
    """
    lines: dict[str, Line] = {}
    if (folder / "curves.csv").exists():
        _extend(lines, read_csv(folder / "curves.csv"), "gan/kimg", 0.0)
    if fidelity is not None and (fidelity / SNAPSHOTS).exists():
        _extend(lines, read_csv(fidelity / SNAPSHOTS), "kimg", 0.0)
    return History(lines) if lines else None


def _extend(lines: dict[str, Line], rows: Sequence[dict[str, str]], clock: str, offset: float) -> None:
    """Append the values; empty cells and nan are left out."""
    for row in rows:
        for key, text in row.items():
            if text and key != clock and not math.isnan(float(text)):
                line = lines.setdefault(key, Line())
                line.x.append(float(row[clock]) + offset)
                line.y.append(float(text))
