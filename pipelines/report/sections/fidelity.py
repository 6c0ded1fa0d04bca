"""How good the GAN's images are, and whether they are copies of photographs."""

from pipelines.fidelity import files, text
from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from segkit.core import images

SHEET_SIDE = 1600
"""Pixels of the longer side of the sheet of nearest pairs, so that its captions can be read."""

SHEET_ALT = "Images of each set beside the reference photographs they are nearest to, with their distances"


def view(evidence: Evidence, album: Album) -> dict[str, object] | None:
    """The results of each fidelity stage; None without any."""
    results = [_results(evidence, name, album) for name in evidence.of_type("fidelity")]
    return {"results": results} if results else None


def _results(evidence: Evidence, name: str, album: Album) -> dict[str, object]:
    folder = evidence.inputs[name]
    assessment = files.read(folder / files.NUMBERS)
    if isinstance(assessment, str):
        return {"name": name, "reason": assessment}
    return {
        "name": name,
        "verdict": [*text.quality_sentences(assessment), *text.copy_sentences(assessment)],
        "alarming": any(images.num_copies for images in assessment.generated),
        "criterion": " ".join(text.copy_criterion(assessment)),
        "tables": text.tables(assessment),
        "notes": [*text.vessel_sentences(assessment), *text.notes(assessment)],
        "sheet": album.add(images.read_image(folder / files.SHEET), SHEET_ALT, max_side=SHEET_SIDE),
    }
