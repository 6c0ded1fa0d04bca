"""Files of an assessment: numbers as JSON, CSV and text, each image's nearest photograph as CSV and as a picture."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan.fidelity.copies import CopySearch, Nearness
from gan.fidelity.measures import Estimate
from gan.fidelity.shares import Share
from pipelines.fidelity import text
from pipelines.fidelity.assess import DRAWN, HELDOUT, REFERENCE, Assessment, Pair, SetAssessment
from pipelines.fidelity.features import Pixels
from segkit.core.files import as_csv, atomic_path, read_json, write_json, write_text
from segkit.core.images import as_rgb, write_image
from segkit.metrics.vessel_statistics import MeanWithInterval, StatisticComparison

Json = dict[str, Any]
"""An object read from a JSON file."""

NUMBERS, TABLE, TEXT = "fidelity.json", "fidelity.csv", "fidelity.txt"
NEAREST, SHEET = "nearest.csv", "nearest.png"
SNAPSHOTS, SNAPSHOTS_CHART = "snapshots.csv", "snapshots.png"

FILES = (NUMBERS, TABLE, TEXT, NEAREST, SHEET, SNAPSHOTS, SNAPSHOTS_CHART)
"""Every file that an assessment may have."""

SIDE, CAPTION, HEADING, NUM_COLUMNS = 192, 34, 26, 4
"""Of the sheet of nearest pairs: edge of a picture and heights of a caption and a heading in pixels, pairs in a row."""

TILE = 2 * SIDE + 12
"""Width of a pair in pixels."""

PANELS = (("KID", ("kid",)), ("Share of images", ("precision", "recall")), ("Share of copies", ("copies",)))
"""Title and quantities of the charts over snapshots."""


def clear(out: Path) -> None:
    """Remove the files of an earlier assessment and nothing else."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)


@contextmanager
def replaced(out: Path) -> Iterator[None]:
    """Remove an earlier assessment before the block, and an incomplete one if the block fails."""
    clear(out)
    try:
        yield
    except BaseException:
        clear(out)
        raise


def write(out: Path, assessment: Assessment) -> None:
    """Write `fidelity.json`, `fidelity.csv`, `fidelity.txt` and `nearest.csv`."""
    write_json(out / NUMBERS, as_json(assessment))
    write_text(out / TABLE, as_csv([row for name in assessment.sets for row in _numbers(assessment, name)]))
    write_text(out / TEXT, text.as_text(assessment) + "\n")
    write_text(out / NEAREST, as_csv(_nearest(assessment)))


def as_json(assessment: Assessment) -> dict[str, object]:
    """The assessment as plain values, without its pairs; None for nan."""
    return {
        "reference": {
            "name": assessment.reference,
            "n": assessment.num_real,
            "num_groups": assessment.num_real_groups,
            "learnt_from": assessment.learnt_from,
        },
        "notes": list(assessment.notes),
        "features": {"name": assessment.features, "dimension": assessment.dimension},
        "k": assessment.k,
        "copy_threshold": assessment.threshold,
        "twins": asdict(assessment.near_duplicates),
        "vessels": {name: _without_nan(asdict(mean)) for name, mean in assessment.vessels.items()},
        "sets": {name: _set_json(assessment, name) for name in assessment.sets},
    }


def _set_json(assessment: Assessment, name: str) -> dict[str, object]:
    images = assessment.sets[name]
    structure, features = images.nearer_in_structure, images.nearer_in_features
    return {
        "title": images.title,
        "n": images.n,
        "num_groups": images.num_groups,
        "measures": [
            {"key": estimate.key(assessment.reference, assessment.features), **asdict(estimate)}
            for estimate in images.measures
        ],
        "copies": {
            "key": assessment.copy_key(name),
            **_without_nan(asdict(images.copies)),
            "nearer_than_heldout_in_structure": structure and structure._asdict(),
            "nearer_than_heldout_in_features": features and features._asdict(),
            "names": [pair.name for pair in images.pairs if pair.closeness < assessment.threshold],
            "smallest_closeness": min(pair.closeness for pair in images.pairs),
        },
        "vessels": [_without_nan(asdict(compared)) for compared in images.vessels],
    }


def _without_nan(values: Mapping[str, object]) -> dict[str, object]:
    """None for nan, also in the mappings inside."""
    return {
        key: _without_nan(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for key, value in values.items()
    }


def _with_nan(values: Json) -> Json:
    """nan for None."""
    return {key: math.nan if value is None else value for key, value in values.items()}


def read(path: Path) -> Assessment | str:
    """The assessment in a `fidelity.json`, without its pairs; or the reason why nothing was measured."""
    raw = read_json(path)
    if "not_measured" in raw:
        return str(raw["not_measured"])
    return Assessment(
        reference=raw["reference"]["name"],
        num_real=raw["reference"]["n"],
        num_real_groups=raw["reference"]["num_groups"],
        features=raw["features"]["name"],
        dimension=raw["features"]["dimension"],
        k=raw["k"],
        threshold=raw["copy_threshold"],
        near_duplicates=Share(**raw["twins"]),
        vessels={name: MeanWithInterval(**_with_nan(values)) for name, values in raw["vessels"].items()},
        sets={name: _read_set(values) for name, values in raw["sets"].items()},
        learnt_from=raw["reference"]["learnt_from"],
        notes=tuple(raw["notes"]),
    )


def _read_set(raw: Json) -> SetAssessment:
    copies = raw["copies"]
    structure, features = copies["nearer_than_heldout_in_structure"], copies["nearer_than_heldout_in_features"]
    return SetAssessment(
        raw["title"],
        raw["n"],
        raw["num_groups"],
        tuple(Estimate(**{key: value for key, value in values.items() if key != "key"}) for values in raw["measures"]),
        Share(*(copies[key] for key in ("count", "n", "value", "low", "high"))),
        structure and Nearness(**structure),
        features and Nearness(**features),
        tuple(_read_comparison(_with_nan(values)) for values in raw["vessels"]),
    )


def _read_comparison(raw: Json) -> StatisticComparison:
    raw |= {side: MeanWithInterval(**_with_nan(raw[side])) for side in ("reference", "other")}
    return StatisticComparison(**raw)


def _numbers(assessment: Assessment, name: str) -> list[dict[str, object]]:
    """A row for each number of a set, under its key in the tracker."""
    images = assessment.sets[name]
    rows = {estimate.key(assessment.reference, assessment.features): asdict(estimate) for estimate in images.measures}
    sizes = {"num_real": assessment.num_real, "num_drawn": images.n}
    rows[assessment.copy_key(name)] = {"measure": "copy_share", **asdict(images.copies), **sizes}
    columns = ("measure", "value", "low", "high", "num_real", "num_drawn")
    return [{"key": f"{name}/{key}", **{column: row[column] for column in columns}} for key, row in rows.items()]


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
    """Write `snapshots.csv` and its chart: the main numbers of each snapshot, by thousands of images shown."""
    rows = []
    for kimg, assessment in snapshots.items():
        drawn = assessment.sets[DRAWN]
        row: dict[str, object] = {"kimg": f"{kimg:g}", "num_real": assessment.num_real, "num_drawn": drawn.n}
        for estimate in drawn.measures:
            row[estimate.measure] = estimate.value
            if estimate.measure == "kid":
                row |= {"kid_low": estimate.low, "kid_high": estimate.high}
        rows.append(row | {"copy_share": drawn.copies.value, "copies": drawn.copies.count})
    write_text(out / SNAPSHOTS, as_csv(rows))
    write_chart(out / SNAPSHOTS_CHART, snapshots)


def write_chart(path: Path, snapshots: Mapping[float, Assessment]) -> None:
    """KID, precision and recall, and the share of copies over snapshots, as PNG.

    Dotted: the value of held-out photographs, which a GAN can pass only by chance.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    heldout = next(iter(snapshots.values())).sets.get(HELDOUT)
    for number, (title, names) in enumerate(PANELS, start=1):
        axes = figure.add_subplot(1, len(PANELS), number)
        for name, colour in zip(names, ("C0", "C1"), strict=False):
            if heldout is not None and (level := heldout.number(name).value) is not None:
                axes.axhline(level, color=colour, linestyle=":", linewidth=1)
            estimates = {kimg: assessment.sets[DRAWN].number(name) for kimg, assessment in snapshots.items()}
            defined = {kimg: estimate for kimg, estimate in estimates.items() if estimate.value is not None}
            x, y = list(defined), np.array([estimate.value for estimate in defined.values()], dtype=float)
            axes.plot(x, y, color=colour, marker="o", markersize=3, label=name)
            ends = np.array([(estimate.low, estimate.high) for estimate in defined.values()], dtype=float).reshape(
                -1, 2
            )
            if np.isfinite(ends).all():
                axes.fill_between(x, *ends.T, color=colour, alpha=0.2)
        axes.set(title=title, xlabel="thousands of real images shown (kimg)")
        if names != ("kid",):
            axes.set_ylim(-0.02, 1.02)
        if len(names) > 1:
            axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def write_sheet(out: Path, sheet: Pixels) -> None:
    """Write `nearest.png`."""
    write_image(out / SHEET, sheet)


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
