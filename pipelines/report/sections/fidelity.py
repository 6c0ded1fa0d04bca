"""How good the GAN's images are, and whether they are copies of photographs."""

from dataclasses import dataclass, field

from pipelines.fidelity import files, text
from pipelines.report.album import Album, Picture
from pipelines.report.evidence import Evidence
from segkit.core import images

SHEET_SIDE = 1600
"""Pixels of the longer side of the sheet of nearest pairs, so that its captions can be read."""

SHEET_ALT = "Images of each set beside the reference photographs they are nearest to, with their distances"


@dataclass(frozen=True)
class Measured:
    """The results of one fidelity stage."""

    name: str
    verdict: list[str]
    """Sentences on copies."""
    alarming: bool = False
    """Whether there are copies."""
    criterion: str = ""
    tables: list[text.Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sheet: Picture | None = None


def view(evidence: Evidence, album: Album) -> list[Measured] | None:
    """Each fidelity stage, in order; None without any."""
    return [_measured(evidence, name, album) for name in evidence.of_kind("fidelity")] or None


def _measured(evidence: Evidence, name: str, album: Album) -> Measured:
    folder = evidence.inputs[name]
    assessment = files.read(folder / files.NUMBERS)
    if isinstance(assessment, str):
        return Measured(name, [f"Not measured: there are {assessment}."])
    return Measured(
        name,
        text.copy_sentences(assessment),
        alarming=any(generated.copies.count for generated in assessment.generated),
        criterion=" ".join(text.copy_criterion(assessment)),
        tables=text.tables(assessment),
        notes=[*text.vessel_sentences(assessment), *text.notes(assessment)],
        sheet=album.add(images.read_image(folder / files.SHEET), SHEET_ALT, max_side=SHEET_SIDE),
    )
