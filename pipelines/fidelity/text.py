"""Tables and sentences of an assessment, for the terminal and for the report."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gan.fidelity.measures import Number
from pipelines.fidelity.assessment import DRAWN, HELDOUT, Assessment, SetAssessment
from segkit.core.wording import counted_images, of_patients
from segkit.metrics.tables import of_cells, render

WIDTH = 110
"""Characters of a line of text."""

MEASURES = {
    "kid": "KID",
    "fid": "FID (biased)",
    "precision": "precision",
    "recall": "recall",
    "copy_share": "share of copies",
}
STATISTICS = {
    "area_share": "vessel area / field of view",
    "calibre": "mean calibre, px",
    "length": "centreline length, px",
    "branch_points": "branch points",
    "tortuosity": "tortuosity",
}


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
        ("images", [f"{images.n}{of_patients(images.n, images.num_groups)}" for images in sets]),
        *((name, [images.numbers[measure] for images in sets]) for measure, name in MEASURES.items()),
        ("copies", [f"{images.num_copies} of {images.n}" for images in sets]),
    ]
    caption = (
        f"Against {_reference(assessment)} ({assessment.reference}); features: "
        f"{assessment.features}, {assessment.dimension} numbers per image; k = {assessment.k}; 95 % intervals"
    )
    return Table(caption, ("", *(images.title for images in sets)), rows)


def vessels_table(assessment: Assessment) -> Table:
    """Mean vessel statistics of the reference photographs and of each set."""
    sets = assessment.sets.values()
    rows: list[tuple[str, Sequence[Number | str]]] = [
        (name, [assessment.vessels[key], *(images.vessels[key].mean for images in sets)])
        for key, name in STATISTICS.items()
    ]
    caption = f"Vessels segmented by the teacher: means over images with 95 % intervals; {_reference(assessment)}"
    return Table(caption, ("", "reference", *(images.title for images in sets)), rows)


def snapshots_table(snapshots: Mapping[float, Assessment]) -> Table:
    """The main numbers of each snapshot, by thousands of images shown."""
    drawn = {kimg: assessment.sets[DRAWN] for kimg, assessment in snapshots.items()}
    rows: list[tuple[str, Sequence[Number | str]]] = [
        (f"{kimg:g}", [images.numbers[measure] for measure in MEASURES]) for kimg, images in drawn.items()
    ]
    n = next(iter(drawn.values())).n
    return Table(f"Snapshots, {n} images each", ("kimg", *MEASURES.values()), rows)


def as_text(table: Table) -> str:
    """The table for the terminal."""
    cells = [(name, *map(cell, row)) for name, row in table.rows]
    return render(of_cells("\n".join(_wrapped(table.caption)), table.columns, cells)).rstrip()


def cell(number: Number | str) -> str:
    """For example "0.0494 [0.0076, 0.0912]"."""
    if isinstance(number, str):
        return number
    interval = "" if number.low is None else f" [{digits(number.low)}, {digits(number.high)}]"
    return digits(number.value) + interval


def copy_sentences(assessment: Assessment) -> list[str]:
    """The number of copies in each set of generated images."""
    return [
        f"Copies of reference photographs: {images.num_copies} of {images.n} ({images.title}), {_share(images)}."
        for images in assessment.generated
    ]


def quality_sentences(assessment: Assessment) -> list[str]:
    """Whether the images of each generated set resemble the reference photographs: KID, precision and recall.

    They differ if the whole interval of KID lies above that of the held-out photographs, or above zero without these.
    """
    heldout = assessment.sets.get(HELDOUT)
    known = heldout.numbers["kid"] if heldout else Number()
    against = "" if known.value is None else f" ({digits(known.value)} for held-out photographs)"
    differ = f"differ clearly from {'the reference' if known.high is None else 'held-out'} photographs"
    sentences = []
    for images in assessment.generated:
        kid, precision, recall = (images.numbers[name] for name in ("kid", "precision", "recall"))
        if kid.low is not None:
            claim = differ if kid.low > max(0.0, known.high or 0.0) else "do not differ from photographs by KID"
            sentences.append(
                f"The generated images ({images.title}) {claim}: KID {digits(kid.value)}{against}, "
                f"precision {digits(precision.value)}, recall {digits(recall.value)}."
            )
    return sentences


def copy_criterion(assessment: Assessment) -> list[str]:
    """The reference photographs, the definition of a copy, and the rate of false alarms."""
    reference = f"The {_reference(assessment)} ({assessment.reference})"
    heldout = assessment.sets.get(HELDOUT)
    sentences = [
        f"{reference} {'may not be' if assessment.note else 'are'} the GAN's training images.",
        "An image counts as a copy if its distance to the nearest of them is below "
        f"{assessment.threshold:.2f} times the mean distance to the next ones, over flips, shifts, small turns and "
        "scalings.",
        f"False alarms: {heldout.num_copies} of {heldout.n} {heldout.title}, {_share(heldout)}."
        if heldout
        else "The rate of false alarms is unknown: there are no held-out photographs.",
    ]
    if assessment.num_near_duplicates:
        sentences.append(
            f"Near-duplicates among the reference photographs: {assessment.num_near_duplicates} of "
            f"{assessment.num_real}; check whether one eye was photographed twice."
        )
    return sentences


def vessel_sentences(assessment: Assessment) -> list[str]:
    """Whether each set's vessels differ from those of the reference photographs."""
    sets = [images for images in assessment.sets.values() if images.vessels]
    test = "Permutation test of the Wasserstein distance, p at most 0.01, at least ten patients on each side."
    return [*map(_vessel_sentence, sets), *([test] if sets else [])]


def _vessel_sentence(images: SetAssessment) -> str:
    findings = {name: vessels.finding for name, vessels in images.vessels.items()}
    different = [STATISTICS[name] for name, finding in findings.items() if finding == "differs"]
    if different:
        return f"Vessels ({images.title}) differ from those of the reference photographs: {'; '.join(different)}."
    if set(findings.values()) == {"too few images"}:
        return f"Vessels ({images.title}): too few images to show a difference."
    return f"Vessels ({images.title}): no difference shown."


def notes(assessment: Assessment) -> list[str]:
    """Explanations of the numbers, and the note of the assessment."""
    sentences = [
        "KID is unbiased: 0 means equal distributions, and a negative value is due to chance.",
        "FID is biased upwards on few images: compare only values of the same number of images.",
        "Precision is the share of images within reach of the photographs, recall the share of photographs within "
        f"reach of the images; the reach is the distance to neighbour number {assessment.k}.",
    ]
    if any(images.numbers["precision"].value is None for images in assessment.sets.values()):
        k = assessment.k
        sentences.append(f"Not measured: k = {k} needs more than {k} images on both sides.")
    return sentences + ([f"Note: {assessment.note}."] if assessment.note else [])


def whole_text(assessment: Assessment) -> str:
    """All tables and sentences for the terminal."""
    copies = [*copy_sentences(assessment), *copy_criterion(assessment)]
    paragraphs = [
        "\n".join(line for sentence in sentences for line in _wrapped(sentence))
        for sentences in (copies, vessel_sentences(assessment), notes(assessment))
        if sentences
    ]
    return "\n\n".join([*map(as_text, tables(assessment)), *paragraphs])


def _reference(assessment: Assessment) -> str:
    """ "20 reference photographs", with the number of patients if it differs."""
    return counted_images(assessment.num_real, assessment.num_real_groups, "reference photograph")


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)


def _share(images: SetAssessment) -> str:
    """ "7.5 %, 95 % interval 1.57 % to 20.4 %" of copies."""
    copies = images.numbers["copy_share"]
    value, low, high = (f"{100 * (part or 0):.3g} %" for part in (copies.value, copies.low, copies.high))
    return f"{value}, 95 % interval {low} to {high}"
