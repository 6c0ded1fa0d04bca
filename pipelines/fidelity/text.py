"""Tables and sentences of an assessment, for the terminal and for the report."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gan.fidelity.copies import Nearness
from gan.fidelity.measures import Estimate
from gan.fidelity.shares import Share
from pipelines.fidelity.assess import DRAWN, HELDOUT, Assessment, SetAssessment
from segkit.core.wording import counted_images, of_patients
from segkit.metrics.vessel_statistics import MeanWithInterval

WIDTH = 110
"""Characters of a line of text."""

MEASURE_NAMES = {
    "kid": "KID",
    "fid": "FID (biased)",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}
STATISTIC_NAMES = {
    "area_share": "vessel area / field of view",
    "calibre": "mean calibre, px",
    "length": "centreline length, px",
    "branch_points": "branch points",
    "tortuosity": "tortuosity",
}


@dataclass(frozen=True)
class Number:
    """A value with its 95 % interval; None or nan where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    mark: str = ""
    """Text after the value."""

    @property
    def has_interval(self) -> bool:
        return all(part is not None and math.isfinite(part) for part in (self.value, self.low, self.high))

    def __str__(self) -> str:
        """For example "0.0494 * [0.0076, 0.0912]"."""
        interval = f" [{digits(self.low)}, {digits(self.high)}]" if self.has_interval else ""
        return f"{digits(self.value)}{self.mark}{interval}"


@dataclass(frozen=True)
class Table:
    """A table with one row per quantity; its first column holds their names."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, Sequence[Number | str]]]


def digits(value: float | None) -> str:
    """Three significant digits; "–" for None and nan."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def tables(assessment: Assessment) -> list[Table]:
    """The table of measures and, with a teacher, that of vessel statistics."""
    return [measures_table(assessment), *([vessels_table(assessment)] if assessment.vessels else [])]


def measures_table(assessment: Assessment) -> Table:
    """Distances, shares and copies, one column per set."""
    sets = assessment.sets.values()
    rows: list[tuple[str, Sequence[Number | str]]] = [
        ("images", [f"{images.n}{of_patients(images.n, images.num_groups)}" for images in sets])
    ]
    rows += [(name, [_number(images.number(measure)) for images in sets]) for measure, name in MEASURE_NAMES.items()]
    rows.append(("copies", [f"{images.copies.count} of {images.n}" for images in sets]))
    rows.append(("share of copies", [_number(images.copies) for images in sets]))
    if HELDOUT in assessment.sets:
        spaces: Mapping[str, Callable[[SetAssessment], Nearness | None]] = {
            "structure": lambda images: images.nearer_in_structure,
            "features": lambda images: images.nearer_in_features,
        }
        heldout = assessment.sets[HELDOUT].title
        rows += [
            (f"nearer than {heldout}, {space}", [_nearness(value(images)) for images in sets])
            for space, value in spaces.items()
            if any(map(value, sets))
        ]
    caption = (
        f"Against {_reference(assessment)} ({assessment.reference}); features: "
        f"{assessment.features}, {assessment.dimension} numbers per image; k = {assessment.k}; 95 % intervals"
    )
    return Table(caption, ("", *(images.title for images in sets)), rows)


def vessels_table(assessment: Assessment) -> Table:
    """Mean vessel statistics of the reference photographs and of each set."""
    sets = list(assessment.sets.values())
    rows: list[tuple[str, Sequence[Number | str]]] = []
    for index, (statistic, name) in enumerate(STATISTIC_NAMES.items()):
        cells = [_mean(assessment.vessels[statistic])]
        for images in sets:
            compared = images.vessels[index]
            cells.append(_mean(compared.other, mark=" *" if compared.finding == "differs" else ""))
        rows.append((name, cells))
    unit = "images" if assessment.num_real_groups == assessment.num_real else "patients"
    caption = (
        "Vessels segmented by the teacher: means over images with 95 % intervals; * differs from the "
        f"{_reference(assessment)} (permutation test of the Wasserstein distance, p at most 0.01, at least ten {unit} "
        "of each kind)"
    )
    return Table(caption, ("", "reference", *(images.title for images in sets)), rows)


def snapshots_table(snapshots: Mapping[float, Assessment]) -> Table:
    """The main numbers of each snapshot, by thousands of images shown."""
    headings = {name: MEASURE_NAMES[name] for name in ("kid", "fid", "precision", "recall")} | {
        "copies": "share of copies"
    }
    rows: list[tuple[str, Sequence[Number | str]]] = []
    for kimg, assessment in snapshots.items():
        rows.append((f"{kimg:g}", [_number(assessment.sets[DRAWN].number(name)) for name in headings]))
    n = next(iter(snapshots.values())).sets[DRAWN].n
    return Table(f"Snapshots, {n} images each", ("kimg", *headings.values()), rows)


def render(table: Table) -> str:
    """The table as plain text."""
    lines = [table.columns, *((name, *map(str, cells)) for name, cells in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*_wrapped(table.caption), "", *text])


def copy_sentences(assessment: Assessment) -> list[str]:
    """The number of copies in each set of generated images."""
    return [
        f"Copies of reference photographs: {images.copies.count} of {images.n} ({images.title}), "
        f"{_percent(images.copies.value)}, 95 % interval {_range(images.copies)}."
        for images in assessment.generated
    ]


def quality_sentences(assessment: Assessment) -> list[str]:
    """Whether the images of each generated set resemble the reference photographs: KID, precision and recall.

    They differ if the whole interval of KID lies above that of the held-out photographs, or above zero without these.
    """
    heldout = assessment.sets.get(HELDOUT)
    known = _number(heldout.number("kid")) if heldout else Number(None)
    limit = known.high if known.has_interval and known.high is not None else 0.0
    sentences = []
    for images in assessment.generated:
        kid, precision, recall = (_number(images.number(name)) for name in ("kid", "precision", "recall"))
        if kid.value is None or kid.low is None:
            continue
        differ = f"differ clearly from {'held-out' if known.has_interval else 'the reference'} photographs"
        claim = differ if kid.low > max(0.0, limit) else "do not differ from photographs by KID"
        against = f" ({digits(known.value)} for held-out photographs)" if known.value is not None else ""
        shares = f"precision {digits(precision.value)}, recall {digits(recall.value)}"
        sentences.append(f"The generated images ({images.title}) {claim}: KID {digits(kid.value)}{against}, {shares}.")
    return sentences


def copy_criterion(assessment: Assessment) -> list[str]:
    """The reference photographs, the definition of a copy, and the rate of false alarms."""
    reference = f"The {_reference(assessment)} ({assessment.reference})"
    learnt = "are the GAN's training images." if assessment.learnt_from else "may not be the GAN's training images."
    sentences = [
        f"{reference} {learnt}",
        "An image counts as a copy if its distance to the nearest of them is below "
        f"{assessment.threshold:.2f} times the mean distance to the next ones, over flips, shifts, small turns and "
        "scalings.",
    ]
    if HELDOUT in assessment.sets:
        heldout = assessment.sets[HELDOUT]
        sentences.append(
            f"False alarms: {heldout.copies.count} of {heldout.n} {heldout.title}, {_percent(heldout.copies.value)}, "
            f"95 % interval {_range(heldout.copies)}."
        )
    else:
        sentences.append("The rate of false alarms is unknown: there are no held-out photographs.")
    if assessment.near_duplicates.count:
        sentences.append(
            f"Near-duplicates among the reference photographs: {assessment.near_duplicates.count} of "
            f"{assessment.near_duplicates.n}; check whether one eye was photographed twice."
        )
    return sentences


def vessel_sentences(assessment: Assessment) -> list[str]:
    """Whether each set's vessels differ from those of the reference photographs."""
    return [_vessel_sentence(images) for images in assessment.sets.values() if images.vessels]


def _vessel_sentence(images: SetAssessment) -> str:
    different = [STATISTIC_NAMES[v.statistic] for v in images.vessels if v.finding == "differs"]
    if different:
        return f"Vessels ({images.title}) differ from those of the reference photographs: {'; '.join(different)}."
    if all(compared.finding == "too few images" for compared in images.vessels):
        return f"Vessels ({images.title}): too few images to show a difference."
    return f"Vessels ({images.title}): no difference shown."


def notes(assessment: Assessment) -> list[str]:
    """Explanations of the numbers, and the notes of the assessment."""
    sentences = [
        "KID is unbiased: 0 means equal distributions, and a negative value is due to chance.",
        "FID is biased upwards on few images: compare only values of the same number of images.",
        "Precision is the share of images within reach of the photographs, recall the share of photographs within "
        f"reach of the images; the reach is the distance to neighbour number {assessment.k}.",
    ]
    if HELDOUT in assessment.sets:
        heldout = assessment.sets[HELDOUT].title
        sentences.append(
            f"Nearer than {heldout}: the probability that an image is nearer to the reference photographs than one of "
            f"the {heldout}; 0.5 without copying, 1 if all are copies, 0 if all are farther away. p is two-sided, "
            "against 0.5."
        )
    missing = {m.note for images in assessment.sets.values() for m in images.measures if m.value is None}
    sentences += [f"Not measured: {note}." for note in sorted(missing)]
    return sentences + [f"Note: {note}." for note in assessment.notes]


def as_text(assessment: Assessment) -> str:
    """All tables and sentences for the terminal."""
    copies = [*copy_sentences(assessment), *copy_criterion(assessment)]
    paragraphs = [
        "\n".join(line for sentence in sentences for line in _wrapped(sentence))
        for sentences in (copies, vessel_sentences(assessment), notes(assessment))
        if sentences
    ]
    return "\n\n".join([*map(render, tables(assessment)), *paragraphs])


def _reference(assessment: Assessment) -> str:
    """ "20 reference photographs", with the number of patients if it differs."""
    return counted_images(assessment.num_real, assessment.num_real_groups, "reference photograph")


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)


def _number(estimate: Estimate | Share) -> Number:
    return Number(estimate.value, estimate.low, estimate.high)


def _mean(mean: MeanWithInterval, mark: str = "") -> Number:
    return Number(mean.mean, mean.low, mean.high, mark)


def _nearness(nearness: Nearness | None) -> str:
    return "–" if nearness is None else f"{nearness.chance:.2f}, p {nearness.p:.2g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _range(share: Share) -> str:
    return f"{_percent(share.low)} to {_percent(share.high)}"
