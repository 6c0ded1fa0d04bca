"""What is looked at: drawn images beside the training photographs they are nearest to, and curves over snapshots."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from gan.fidelity.copies import CopySearch
from pipelines.fidelity.assessment import HELDOUT, Assessment, Pair
from segkit.core.files import atomic_path
from segkit.core.images import as_rgb

Pixels = npt.NDArray[np.uint8]

SIDE = 192
"""Pixels of each picture on the sheet."""

NUM_COLUMNS = 4
CAPTION = 34


def most_alike(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Those nearest to a training photograph, the nearest first; names decide between equals."""
    return sorted(pairs, key=lambda pair: (pair.closeness, pair.name))[:count]


def nearest_sheet(
    assessment: Assessment,
    count: int,
    square: Callable[[str, str], Pixels],
    training: dict[str, Pixels],
    copies: CopySearch,
) -> Pixels:
    """A sheet (h, w, 3): of each set the images most alike to training photographs, each beside its photograph.

    The photograph is shown as it comes nearest: mirrored, turned, scaled, shifted.

    Args:
        assessment: which they are.
        count: images of each set; of held-out photographs a row.
        square: the image (r, r, c) of a set's name and its own.
        training: the photographs' squares (r, r, c) by name.
        copies: what was searched with.
    """
    parts = []
    whose = "a training photograph" if assessment.learnt_from else "a photograph"
    for found in assessment.sets:
        shown = most_alike(found.copies.pairs, NUM_COLUMNS if found.name == HELDOUT else count)
        tiles = [
            _tile(
                square(found.name, pair.name),
                _as_found(training[pair.nearest], pair, copies),
                pair,
                assessment.threshold,
            )
            for pair in shown
        ]
        parts += [_heading(f"{found.title}: the {len(shown)} of {found.n} most alike to {whose}")]
        parts += [_row(tiles[first : first + NUM_COLUMNS]) for first in range(0, len(tiles), NUM_COLUMNS)]
    return np.concatenate(parts)


def _as_found(photograph: Pixels, pair: Pair, copies: CopySearch) -> Pixels:
    transform = next(each for each in copies.transforms if str(each) == pair.transform)
    moved = np.zeros_like(photograph)
    (down, right), edge = pair.shift, len(photograph)
    to_rows, from_rows = slice(max(down, 0), edge + min(down, 0)), slice(max(-down, 0), edge - max(down, 0))
    to_columns, from_columns = slice(max(right, 0), edge + min(right, 0)), slice(max(-right, 0), edge - max(right, 0))
    moved[to_rows, to_columns] = transform.apply(photograph)[from_rows, from_columns]
    return moved


def _tile(image: Pixels, photograph: Pixels, pair: Pair, threshold: float) -> Pixels:
    """Two pictures side by side with two lines below."""
    sheet = Image.new("RGB", (2 * SIDE + 12, SIDE + CAPTION), "white")
    sheet.paste(_shown(image), (0, 0))
    sheet.paste(_shown(photograph), (SIDE + 4, 0))
    draw = ImageDraw.Draw(sheet)
    copy = pair.closeness < threshold
    done = f" ({pair.transform})" if pair.transform else ""
    lines = (
        f"{pair.name}  |  {pair.nearest}{done}",
        f"closeness {pair.closeness:.2f}, distance {pair.distance:.2f}{': copy' if copy else ''}",
    )
    for number, line in enumerate(lines):
        draw.text((2, SIDE + 2 + 15 * number), line, fill=(176, 40, 0) if copy else (40, 40, 40), font=_font())
    return np.asarray(sheet)


def _shown(image: Pixels) -> Image.Image:
    how = Image.Resampling.BICUBIC if len(image) < SIDE else Image.Resampling.BOX
    return Image.fromarray(np.ascontiguousarray(as_rgb(image))).resize((SIDE, SIDE), how)


def _heading(text: str) -> Pixels:
    sheet = Image.new("RGB", (NUM_COLUMNS * (2 * SIDE + 12), 26), "white")
    ImageDraw.Draw(sheet).text((2, 5), text, fill=(0, 0, 0), font=_font(14))
    return np.asarray(sheet)


def _row(tiles: Sequence[Pixels]) -> Pixels:
    blank = np.full_like(tiles[0], 255)
    return np.concatenate([*tiles, *[blank] * (NUM_COLUMNS - len(tiles))], axis=1)


def _font(size: int = 12) -> Any:
    return ImageFont.load_default(size)


def write_curves(path: Path, kimg: Sequence[float], found: Sequence[dict[str, Any]]) -> None:
    """KID, precision and recall, and the share of copies over snapshots, as PNG.

    Dotted: what held-out photographs come to, which no GAN can better but by chance.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (("KID", ("kid",)), ("Share of images", ("precision", "recall")), ("Share of copies", ("copies",)))
    for number, (title, names) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for name, colour in zip(names, ("C0", "C1"), strict=False):
            if (
                "heldout" in found[0]["sets"]
                and (level := _cell(found[0]["sets"]["heldout"], name)["value"]) is not None
            ):
                axes.axhline(level, color=colour, linestyle=":", linewidth=1)
            cells = [_cell(each["sets"]["drawn"], name) for each in found]
            known = [(x, cell) for x, cell in zip(kimg, cells, strict=True) if cell["value"] is not None]
            x = [clock for clock, _ in known]
            axes.plot(x, [cell["value"] for _, cell in known], color=colour, marker="o", markersize=3, label=name)
            if known and all(cell["low"] is not None for _, cell in known):
                axes.fill_between(
                    x, [c["low"] for _, c in known], [c["high"] for _, c in known], color=colour, alpha=0.2
                )
        axes.set(title=title, xlabel="thousands of real images shown (kimg)")
        if names != ("kid",):
            axes.set_ylim(-0.02, 1.02)
        if len(names) > 1:
            axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def _cell(drawn: dict[str, Any], name: str) -> dict[str, Any]:
    if name == "copies":
        copies: dict[str, Any] = drawn["copies"]
        return copies
    return next(m for m in drawn["measures"] if m["measure"] == name)
