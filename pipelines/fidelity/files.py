"""Files of an assessment: numbers as JSON, CSV and text, each image's nearest photograph as CSV and as a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import TypeAdapter
from scipy import ndimage

from pipelines.fidelity.assessment import DRAWN, HELDOUT, REFERENCE, Assessment, Pair
from pipelines.fidelity.text import whole_text
from segkit.core.arrays import Pixels
from segkit.core.files import as_csv, atomic_path, read_json, write_json, write_text
from segkit.core.images import as_rgb, write_image

if TYPE_CHECKING:
    from gan.fidelity.copies import CopySearch  # imports torch, which a report does not need


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
    write_text(out / NEAREST, as_csv(_nearest(assessment), float_format=".4f"))
    write_image(out / SHEET, sheet)


def as_json(assessment: Assessment) -> dict[str, object]:
    """The assessment as plain values, without its pairs."""
    values: dict[str, object] = STORED.dump_python(assessment, mode="json", exclude={"sets": {"__all__": {"pairs"}}})
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
            **asdict(number),
            **{"num_real": assessment.num_real, "num_drawn": images.n},
        }
        for name, images in assessment.sets.items()
        for measure, number in images.numbers.items()
    ]


def _nearest(assessment: Assessment) -> list[dict[str, object]]:
    return [
        {"set": name, **asdict(pair), "copy": int(pair.closeness < assessment.threshold)}
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
    assessment: Assessment, count: int, square: Callable[[str, str], Pixels], copies: "CopySearch"
) -> Pixels:
    """A sheet (h, w, 3) of the pairs of smallest closeness in each set: the image beside its photograph.

    The photograph is aligned with the image.

    Args:
        count: images of each set; of held-out photographs one row.
        square: from the names of a set and an image to a square (r, r, c), as `Evaluation.squares` returns.
    """
    strips = []
    for name, images in assessment.sets.items():
        pairs = nearest_pairs(images.pairs, NUM_COLUMNS if name == HELDOUT else count)
        title = f"{images.title}: the {len(pairs)} of {images.n} nearest to a reference photograph"
        strips.append(_picture(NUM_COLUMNS * TILE, HEADING, (2, 5), title, 14, (0, 0, 0)))
        tiles = [
            _tile(pair, square(name, pair.image), _aligned(square(REFERENCE, pair.nearest), pair, copies), assessment)
            for pair in pairs
        ]
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % NUM_COLUMNS)
        strips += [np.hstack(tiles[first : first + NUM_COLUMNS]) for first in range(0, len(tiles), NUM_COLUMNS)]
    return np.vstack(strips)


def _tile(pair: Pair, image: Pixels, photograph: Pixels, assessment: Assessment) -> Pixels:
    """The image beside the photograph, with a caption below."""
    is_copy = pair.closeness < assessment.threshold
    transform = f" ({pair.transform})" if pair.transform else ""
    caption = (
        f"{pair.image}  |  {pair.nearest}{transform}\ncloseness {pair.closeness:.2f}, distance "
        f"{pair.distance:.2f}{': copy' if is_copy else ''}"
    )
    colour = (176, 40, 0) if is_copy else (40, 40, 40)
    tile = _picture(TILE, SIDE + CAPTION, (2, SIDE + 2), caption, 12, colour)
    tile[:SIDE, :SIDE], tile[:SIDE, SIDE + 4 : 2 * SIDE + 4] = _resized(image), _resized(photograph)
    return tile


def _picture(
    width: int, height: int, place: tuple[int, int], text: str, size: int, colour: tuple[int, int, int]
) -> Pixels:
    """White with a text."""
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text(place, text, fill=colour, font=ImageFont.load_default(size))
    return np.array(picture)


def nearest_pairs(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The `count` pairs of smallest closeness, the smallest first, equal ones by name."""
    return sorted(pairs, key=lambda pair: (pair.closeness, pair.image))[:count]


def _aligned(photograph: Pixels, pair: Pair, copies: "CopySearch") -> Pixels:
    """The photograph after the pair's transform and shift, with black borders."""
    transform = next(transform for transform in copies.transforms if str(transform) == pair.transform)
    moved: Pixels = ndimage.shift(transform.apply(photograph), (pair.down, pair.right, 0), order=0)
    return moved


def _resized(image: Pixels) -> Pixels:
    resample = Image.Resampling.BICUBIC if len(image) < SIDE else Image.Resampling.BOX
    return np.asarray(Image.fromarray(np.ascontiguousarray(as_rgb(image))).resize((SIDE, SIDE), resample))
