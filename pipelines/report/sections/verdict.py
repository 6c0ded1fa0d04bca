"""The head of the page: data, verdict, differences, caveats."""

from pipelines.fidelity.text import quality_sentences
from pipelines.report import charts
from pipelines.report.album import Album
from pipelines.report.evidence import Evidence
from pipelines.report.recommendation import recommend
from segkit.core import images
from segkit.core.manifest import Split
from segkit.core.wording import of_patients
from segkit.metrics.measure import has_interval

SPLITS: dict[Split, str] = {
    "train": "for training",
    "val": "for validation",
    "out-of-fold": "left out by one fold each",
    "holdout": "held out",
    "test": "for testing",
}


def view(evidence: Evidence, album: Album) -> dict[str, object]:
    """The verdict and its basis."""
    verdict = evidence.verdict
    assessments = [assessment for assessment in evidence.fidelity.values() if not isinstance(assessment, str)]
    compared = {f"{f.run} − {f.reference}": f.comparison for f in verdict.all_findings}
    return {
        "title": evidence.request.report.title,
        "summary": _summary(evidence),
        "heading": "Verdict" if evidence.roles.treated else "Result",
        "verdict": verdict,
        "generated": [sentence for assessment in assessments for sentence in quality_sentences(assessment)],
        "recommended": recommend(evidence),
        "forest": charts.intervals(
            "forest",
            compared,
            "Difference in Dice (left of zero: worse, right: better)",
            {f"{f.run} − {f.reference}": f.p for f in verdict.all_findings},
        )
        if any(map(has_interval, compared.values()))
        else None,
        "sentences": [f.sentence for f in verdict.all_findings if not verdict.headline.startswith(f.sentence)],
    }


def _summary(evidence: Evidence) -> str:
    """For example "40 images of 565 × 584 pixels: 20 for training, 20 for testing"."""
    manifest = evidence.manifest
    counts = {split: len(manifest.split(split)) for split in SPLITS}
    parts = ", ".join(f"{count} {SPLITS[split]}" for split, count in counts.items() if count)
    if unlabelled := counts["test"] - len(manifest.split("test").labelled()):
        parts += f" ({'without labels' if unlabelled == counts['test'] else f'{unlabelled} of them without labels'})"
    height, width = images.read_size(manifest.rows[0].image.path)
    kind = "phantoms" if any(row.origin == "phantom" for row in manifest.rows) else "images"
    patients = of_patients(len(manifest), manifest.num_groups)
    separator = " of" if kind == "images" and not patients else ", each"
    return f"{len(manifest)} {kind}{patients}{separator} {width} × {height} pixels: {parts}"
