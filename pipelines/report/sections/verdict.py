"""The head of the page: what data, the verdict, the differences it rests on, and caveats."""

from dataclasses import dataclass

from markupsafe import Markup

from pipelines.report import charts
from pipelines.report.album import Album
from pipelines.report.charts import Bar
from pipelines.report.evidence import Evidence
from pipelines.report.verdict import Finding, Verdict, has_interval, signed
from segkit.core import images

SPLITS = {"train": "to train on", "val": "to validate on", "holdout": "held out", "test": "to test on"}


@dataclass(frozen=True)
class View:
    """Values of the template."""

    title: str
    summary: str
    heading: str
    verdict: Verdict
    forest: Markup | None
    sentences: list[str]
    """Of each comparison, if the headline is not one of them."""


def view(evidence: Evidence, album: Album) -> View:
    """The verdict and its basis."""
    verdict = evidence.verdict
    findings = [*verdict.findings, *([verdict.ensemble] if verdict.ensemble else [])]
    return View(
        title=evidence.request.report.title,
        summary=_summary(evidence),
        heading="Verdict" if evidence.roles.treated else "Result",
        verdict=verdict,
        forest=_forest(findings) if any(has_interval(finding.comparison) for finding in findings) else None,
        sentences=[finding.sentence for finding in findings if not verdict.headline.startswith(finding.sentence)],
    )


def _summary(evidence: Evidence) -> str:
    """As "40 fundus images of 565 × 584 pixels: 20 to train on, 20 to test on"."""
    manifest = evidence.manifest
    counts = {split: len(manifest.split(split)) for split in SPLITS}  # type: ignore[arg-type]
    unlabelled = counts["test"] - len(manifest.split("test").labelled())
    parts = ", ".join(f"{count} {SPLITS[split]}" for split, count in counts.items() if count)
    if unlabelled:
        parts += f" ({'without labels' if unlabelled == counts['test'] else f'{unlabelled} of them without labels'})"
    height, width = images.read_size(manifest.rows[0].image)
    kind = "phantoms drawn by a program," if any(row.origin == "phantom" for row in manifest.rows) else "images of"
    return f"{len(manifest)} {kind} {width} × {height} pixels: {parts}"


def _forest(findings: list[Finding]) -> Markup:
    bars = [
        Bar(
            f"{finding.run} − {finding.reference}",
            finding.comparison.difference,
            finding.comparison.low,
            finding.comparison.high,
        )
        for finding in findings
    ]
    listed = "; ".join(
        f"{bar.label}: {signed(bar.value)}, from {signed(bar.low)} to {signed(bar.high)}" for bar in bars
    )
    label = "Difference in Dice (right of zero: better)"
    return charts.intervals("forest", bars, label, description=f"Differences in Dice with 95 % intervals. {listed}.")
