"""Files of an assessment: numbers as JSON, CSV and text, each image's nearest photograph as CSV and as a picture."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import TypeAdapter

from gan.fidelity.copies import CopySearch
from pipelines.fidelity.assess import DRAWN, HELDOUT, REFERENCE, Assessment, Pair
from pipelines.fidelity.features import Pixels
from pipelines.fidelity.text import whole_text
from segkit.core.files import as_csv, atomic_path, read_json, write_json, write_text
from segkit.core.images import as_rgb, write_image

NUMBERS, TABLE, TEXT = "fidelity.json", "fidelity.csv", "fidelity.txt"
NEAREST, SHEET = "nearest.csv", "nearest.png"
SNAPSHOTS, SNAPSHOTS_CHART = "snapshots.csv", "snapshots.png"

FILES = (NUMBERS, TABLE, TEXT, NEAREST, SHEET, SNAPSHOTS, SNAPSHOTS_CHART)
"""Every file that an assessment may have."""

STORED = TypeAdapter(Assessment)

SIDE, CAPTION, HEADING, NUM_COLUMNS = 192, 34, 26, 4
"""Of the sheet of nearest pairs: edge of a picture and heights of a caption and a heading in pixels, pairs in a row."""

TILE = 2 * SIDE + 12
"""Width of a pair in pixels."""

PANELS = {"KID": ("kid",), "Share of images": ("precision", "recall"), "Share of copies": ("copy_share",)}
"""Measures by title of the chart over snapshots."""


def clear(out: Path) -> None:
    """Remove the files of an earlier assessment and nothing else."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)


def write(out: Path, assessment: Assessment, sheet: Pixels) -> None:
    """Write `fidelity.json`, `fidelity.csv`, `fidelity.txt`, `nearest.csv` and `nearest.png`."""
    write_json(out / NUMBERS, as_json(assessment))
    write_text(out / TABLE, as_csv(_numbers(assessment)))
    write_text(out / TEXT, whole_text(assessment) + "\n")
    write_text(out / NEAREST, as_csv(_nearest(assessment)))
    write_image(out / SHEET, sheet)


def as_json(assessment: Assessment) -> dict[str, Any]:
    """The assessment as plain values, without its pairs."""
    values: dict[str, Any] = STORED.dump_python(assessment, mode="json", exclude={"sets": {"__all__": {"pairs"}}})
    return values


def read(path: Path) -> Assessment | str:
    """The assessment in a `fidelity.json`, without its pairs; or the reason why nothing was measured."""
    raw = read_json(path)
    return str(raw["not_measured"]) if "not_measured" in raw else STORED.validate_python(raw)


def _numbers(assessment: Assessment) -> list[dict[str, object]]:
    """A row for each number of each set, under its key in the tracker."""
    return [
        {
            "key": f"{name}/{assessment.key(name, measure)}",
            "measure": measure,
            **{"value": number.value, "low": number.low, "high": number.high},
            **{"num_real": assessment.num_real, "num_drawn": images.n},
        }
        for name, images in assessment.sets.items()
        for measure, number in images.numbers.items()
    ]


def _nearest(assessment: Assessment) -> list[dict[str, object]]:
    return [
        {
            "set": name,
            "image": pair.name,
            "nearest": pair.nearest,
            "closeness": f"{pair.closeness:.4f}",
            "copy": int(pair.closeness < assessment.threshold),
            "distance": f"{pair.distance:.4f}",
            "transform": pair.transform,
            "down": pair.shift[0],
            "right": pair.shift[1],
        }
        for name, images in assessment.sets.items()
        for pair in images.pairs
    ]


def write_snapshots(out: Path, snapshots: Mapping[float, Assessment]) -> None:
    """Write `snapshots.csv` and its chart: the numbers of each snapshot, by thousands of images shown."""
    rows: list[dict[str, object]] = []
    for kimg, assessment in snapshots.items():
        drawn = assessment.sets[DRAWN]
        row: dict[str, object] = {"kimg": f"{kimg:g}", "num_real": assessment.num_real, "num_drawn": drawn.n}
        for measure, number in drawn.numbers.items():
            row |= {measure: number.value, f"{measure}_low": number.low, f"{measure}_high": number.high}
        rows.append(row | {"copies": drawn.num_copies})
    write_text(out / SNAPSHOTS, as_csv(rows))
    _write_chart(out / SNAPSHOTS_CHART, snapshots)


def _write_chart(path: Path, snapshots: Mapping[float, Assessment]) -> None:
    """The measures of `PANELS` over snapshots, as PNG.

    Dotted: the value of held-out photographs, which a GAN can pass only by chance.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    heldout = next(iter(snapshots.values())).sets.get(HELDOUT)
    for axes, (title, measures) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for measure, colour in zip(measures, ("C0", "C1"), strict=False):
            if heldout is not None and (level := heldout.numbers[measure].value) is not None:
                axes.axhline(level, color=colour, linestyle=":", linewidth=1)
            numbers = [assessment.sets[DRAWN].numbers[measure] for assessment in snapshots.values()]
            value, low, high = np.array([(n.value, n.low, n.high) for n in numbers], dtype=float).T  # None becomes nan
            axes.plot(list(snapshots), value, color=colour, marker="o", markersize=3, label=measure)
            axes.fill_between(list(snapshots), low, high, color=colour, alpha=0.2)
        axes.set(title=title, xlabel="thousands of real images shown (kimg)")
        axes.grid(alpha=0.3)
        if measures != ("kid",):
            axes.set_ylim(-0.02, 1.02)
        if len(measures) > 1:
            axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def nearest_sheet(
    assessment: Assessment, count: int, square: Callable[[str, str], Pixels], copies: CopySearch
) -> Pixels:
    """A sheet (h, w, 3) of the pairs of smallest closeness in each set: the image beside its photograph.

    The photograph is aligned with the image.

    Args:
        assessment: with its pairs.
        count: images of each set; of held-out photographs one row.
        square: from the names of a set and an image to a square (r, r, c), as `Evaluation.squares` returns.
        copies: the search that returned the pairs.
    """
    chosen = {
        name: nearest_pairs(images.pairs, NUM_COLUMNS if name == HELDOUT else count)
        for name, images in assessment.sets.items()
    }
    heights = {name: HEADING + -(-len(pairs) // NUM_COLUMNS) * (SIDE + CAPTION) for name, pairs in chosen.items()}
    sheet = Image.new("RGB", (NUM_COLUMNS * TILE, sum(heights.values())), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for name, pairs in chosen.items():
        images = assessment.sets[name]
        title = f"{images.title}: the {len(pairs)} of {images.n} nearest to a reference photograph"
        draw.text((2, top + 5), title, fill=(0, 0, 0), font=ImageFont.load_default(14))
        for number, pair in enumerate(pairs):
            row, column = divmod(number, NUM_COLUMNS)
            x, y = column * TILE, top + HEADING + row * (SIDE + CAPTION)
            sheet.paste(_resized(square(name, pair.name)), (x, y))
            sheet.paste(_resized(_aligned(square(REFERENCE, pair.nearest), pair, copies)), (x + SIDE + 4, y))
            copy = pair.closeness < assessment.threshold
            transform = f" ({pair.transform})" if pair.transform else ""
            caption = (
                f"{pair.name}  |  {pair.nearest}{transform}\ncloseness {pair.closeness:.2f}, distance "
                f"{pair.distance:.2f}{': copy' if copy else ''}"
            )
            colour, font = (176, 40, 0) if copy else (40, 40, 40), ImageFont.load_default(12)
            draw.multiline_text((x + 2, y + SIDE + 2), caption, fill=colour, font=font)
        top += heights[name]
    return np.asarray(sheet)


def nearest_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The `count` pairs of smallest closeness, the smallest first, equal ones by name."""
    return sorted(pairs, key=lambda pair: (pair.closeness, pair.name))[:count]


def _aligned(photograph: Pixels, pair: Pair, copies: CopySearch) -> Pixels:
    """The photograph after the pair's transform and shift, with black borders."""
    transform = next(transform for transform in copies.transforms if str(transform) == pair.transform)
    moved = np.zeros_like(photograph)
    (down, right), edge = pair.shift, len(photograph)
    to_rows, from_rows = slice(max(down, 0), edge + min(down, 0)), slice(max(-down, 0), edge - max(down, 0))
    to_columns, from_columns = slice(max(right, 0), edge + min(right, 0)), slice(max(-right, 0), edge - max(right, 0))
    moved[to_rows, to_columns] = transform.apply(photograph)[from_rows, from_columns]
    return moved


def _resized(image: Pixels) -> Image.Image:
    resample = Image.Resampling.BICUBIC if len(image) < SIDE else Image.Resampling.BOX
    return Image.fromarray(np.ascontiguousarray(as_rgb(image))).resize((SIDE, SIDE), resample)
