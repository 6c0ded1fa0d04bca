"""How good the GAN's images are, and whether they are copies of photographs."""

from pipelines.fidelity import text
from pipelines.fidelity.files import SHEET
from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from segkit.core import images

SHEET_SIDE = 1600
"""Pixels of the longer side of the sheet of nearest pairs, so that its captions can be read."""

SHEET_ALT = "Images of each set beside the reference photographs they are nearest to, with their distances"


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """The results of each fidelity stage; None without any."""
    results = [_results(evidence, name, album) for name in evidence.fidelity]
    return {"results": results} if results else None


def _results(evidence: Evidence, name: str, album: Album) -> dict[str, object]:
    assessment = evidence.fidelity[name]
    if isinstance(assessment, str):
        return {"name": name, "reason": assessment}
    sheet = images.read_image(evidence.inputs[name] / SHEET)
    return {
        "name": name,
        "verdict": [*text.quality_sentences(assessment), *text.copy_sentences(assessment)],
        "alarming": any(images.num_copies for images in assessment.generated),
        "criterion": " ".join(text.copy_criterion(assessment)),
        "tables": text.tables(assessment),
        "notes": [*text.vessel_sentences(assessment), *text.notes(assessment)],
        "sheet": album.add(sheet, SHEET_ALT, max_side=SHEET_SIDE),
    }
