"""What may be claimed: from paired differences in Dice to plain sentences.

Pure: images, models and files are somebody else's matter. Three rules keep it honest.

- "Helped" and "worse" are said only where the whole 95 % interval lies on one side of zero.
- They are never said on fewer images than an exact sign-flip test would need: under the null hypothesis each image
  favours either run with chance 1/2, so n images that all agree have a two-sided p of 2 / 2^n, which is at most 0.05
  from n = 6 on. A bootstrap interval excludes zero whenever all agree: by chance, one time in eight for n = 4.
- The images are the most trustworthy labelled ones: test before holdout before val.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segkit.metrics.score import Comparison, to_json

Outcome = Literal["helped", "worse", "no-evidence", "too-few-images"]

TRUST = ("test", "holdout", "val")
"""Splits from the most to the least trustworthy."""

NOUNS = {"test": "test images", "holdout": "held-out images", "val": "validation images"}

LEVEL = 0.05
"""Chance of a false claim that a 95 % interval stands for."""

FEW_IMAGES = 10
"""Below this an interval over images is noticeably too narrow, and the report says so."""


@dataclass(frozen=True)
class SplitSize:
    """Images of a split, and those of them that have a manual vessel map."""

    num_images: int
    num_labelled: int


@dataclass(frozen=True)
class Basis:
    """The images a verdict stands on."""

    split: str
    n: int
    why: str
    """Why these and no better ones, as a sentence."""

    @property
    def noun(self) -> str:
        """What to call the images."""
        return NOUNS.get(self.split, f"images of split {self.split}")


@dataclass(frozen=True)
class Finding:
    """What one comparison allows to say."""

    run: str
    reference: str
    outcome: Outcome
    sentence: str
    comparison: Comparison


@dataclass(frozen=True)
class Verdict:
    """The answer to "did the synthetic images help?" with all that qualifies it."""

    headline: str
    basis: Basis | None
    findings: tuple[Finding, ...]
    """Each student against its control."""
    ensemble: Finding | None
    """The ensemble against the teacher: of interest, but no evidence on synthetic images."""
    caveats: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The findings in one word: theirs if they agree, "mixed" if not, "none" without any."""
        outcomes = {finding.outcome for finding in self.findings}
        return outcomes.pop() if len(outcomes) == 1 else "mixed" if outcomes else "none"


def smallest_p(n: int) -> float:
    """Smallest two-sided p that a sign-flip test can reach on n paired images: 2 / 2^n (Fisher 1935)."""
    return min(1.0, 2 * 0.5**n)


def can_decide(n: int) -> bool:
    """Whether n images could bear a claim at all."""
    return smallest_p(n) <= LEVEL


def judge(comparison: Comparison) -> Outcome:
    """Read an interval."""
    if not can_decide(comparison.n):
        return "too-few-images"
    if comparison.low > 0:
        return "helped"
    if comparison.high < 0:
        return "worse"
    return "no-evidence"


def choose_basis(scored: Collection[str], sizes: Mapping[str, SplitSize]) -> Basis | None:
    """The most trustworthy split with scores; None if nothing was scored."""
    split = next((name for name in TRUST if name in scored), None)
    if split is None:
        return None
    size = sizes[split]
    if split == "test":
        part = (
            ""
            if size.num_labelled == size.num_images
            else f" (those {size.num_labelled} of {size.num_images} that have labels)"
        )
        why = f"They are the data set's own test images{part}, used for nothing else."
    elif split == "holdout":
        why = f"{_no_test_labels(sizes)}; these were cut from its training images and used for nothing else."
    else:
        why = (
            f"{_no_test_labels(sizes)}, and no training image was held out for scoring. These chose checkpoints, "
            "thresholds and the ensemble's rule."
        )
    return Basis(split, size.num_labelled, why)


def find_student(comparison: Comparison, student: str, control: str, noun: str) -> Finding:
    """What a student's difference from its control says of the synthetic images it was trained on."""
    outcome = judge(comparison)
    numbers = f"Dice {signed(comparison.difference)} against {control}"
    interval = interval_text(comparison)
    n = f"n = {comparison.n} {noun}"
    sentence = {
        "helped": f"Synthetic images helped {student}: {numbers}, {interval}, {n}.",
        "worse": f"Synthetic images made {student} worse: {numbers}, {interval}, {n}.",
        "no-evidence": f"No evidence that synthetic images help {student}: {numbers}, {interval}, {n}.",
        "too-few-images": f"No evidence that synthetic images help {student}: {numbers}, {interval}, "
        f"but {n} are too few for a claim.",
    }[outcome]
    return Finding(student, control, outcome, sentence, comparison)


def find_ensemble(comparison: Comparison, ensemble: str, teacher: str, noun: str) -> Finding:
    """How the ensemble stands against the teacher."""
    outcome = judge(comparison)
    if comparison.difference == comparison.low == comparison.high == 0:
        sentence = f"The {ensemble} scores exactly as the {teacher} does, n = {comparison.n} {noun}."
        return Finding(ensemble, teacher, outcome, sentence, comparison)
    silence = f"No evidence that the {ensemble} is better than the {teacher}"
    claim = {
        "helped": f"The {ensemble} is better than the {teacher}",
        "worse": f"The {ensemble} is worse than the {teacher}",
        "no-evidence": silence,
        "too-few-images": f"{silence}, on too few images for a claim",
    }[outcome]
    numbers = f"Dice {signed(comparison.difference)}, {interval_text(comparison)}, n = {comparison.n} {noun}"
    reading = "Averaging networks helps by itself, so this says nothing of the synthetic images."
    return Finding(ensemble, teacher, outcome, f"{claim}: {numbers}. {reading}", comparison)


def decide(
    basis: Basis | None, findings: Sequence[Finding], ensemble: Finding | None, origins: Collection[str]
) -> Verdict:
    """Put the findings under one headline.

    Args:
        basis: the images they stand on.
        findings: students against their controls.
        ensemble: the ensemble against the teacher.
        origins: origins of the scored images ("real", "phantom").
    """
    return Verdict(
        headline(basis, findings), basis, tuple(findings), ensemble, tuple(caveats(basis, findings, ensemble, origins))
    )


def headline(basis: Basis | None, findings: Sequence[Finding]) -> str:
    """One sentence for all findings."""
    if basis is None:
        return "No verdict: no labelled image was scored."
    if not findings:
        return "No verdict: no control was trained, so nothing tells what the synthetic images did."
    if len(findings) == 1:
        return findings[0].sentence
    counts = {outcome: sum(finding.outcome == outcome for finding in findings) for outcome in ("helped", "worse")}
    total = len(findings)
    silent = total - sum(counts.values())
    if silent == total:
        return f"No evidence that synthetic images help any of the {total} students."
    if counts["helped"] == total:
        return f"Synthetic images helped all {total} students."
    if counts["worse"] == total:
        return f"Synthetic images made all {total} students worse."
    parts = {"helped": f"helped {counts['helped']}", "worse": f"made {counts['worse']} worse"}
    said = " and ".join(part for outcome, part in parts.items() if counts[outcome])
    rest = f"; for {silent} there is no evidence" if silent else ""
    return f"Of {total} students, synthetic images {said}{rest}."


def caveats(
    basis: Basis | None, findings: Sequence[Finding], ensemble: Finding | None, origins: Collection[str]
) -> list[str]:
    """What a reader must know before quoting the headline, the gravest first."""
    compared = [*findings, *([ensemble] if ensemble else [])]
    if basis is None or not compared:
        return []
    n = min(finding.comparison.n for finding in compared)
    said = []
    if "phantom" in origins:
        said.append(
            "The images are phantoms, drawn by a program: the numbers show that the pipeline works and say nothing of "
            "photographs."
        )
    if basis.split == "val":
        said.append(
            "Only validation images were scored. They chose every model's checkpoint and threshold and the ensemble's "
            "rule, so all scores are optimistic, and their differences may be too."
        )
    if not can_decide(n):
        said.append(
            f"{n} {'image is' if n == 1 else 'images are'} too few for a claim in either direction: even if all "
            f"favoured one run, chance alone would do that with probability {smallest_p(n):.3g}, which is more than "
            f"{LEVEL:g}. At least {min_images()} are needed."
        )
    if n < FEW_IMAGES:
        said.append(
            f"An interval over {n} {'image' if n == 1 else 'images'} is too narrow: resampling so few cannot show how "
            "different others would be."
        )
    said.append(
        "Every model was trained once, from one seed. The interval covers the choice of images, not what another seed "
        "would have changed."
    )
    if len(findings) > 1:
        said.append(
            f"{len(findings)} students are compared and the intervals are not corrected for it: the more comparisons, "
            "the likelier one of them misleads."
        )
    return said


def min_images() -> int:
    """The fewest images that could bear a claim."""
    return next(n for n in range(1, 100) if can_decide(n))


def signed(value: float) -> str:
    """ "+0.0123" or "−0.0123"; a difference always shows its direction, unless there is none."""
    if value != value:
        return "not defined"
    return f"{value:+.4f}".replace("-", "−") if value else "0"


def interval_text(comparison: Comparison) -> str:
    """ "95 % interval [−0.0012, +0.0123]"."""
    if comparison.low != comparison.low:
        return "no interval"
    return f"95 % interval [{signed(comparison.low)}, {signed(comparison.high)}]"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values."""
    basis = verdict.basis
    return {
        "headline": verdict.headline,
        "outcome": verdict.outcome,
        "basis": basis and {"split": basis.split, "n": basis.n, "why": basis.why},
        "students": [_finding_json(finding, "student", "control") for finding in verdict.findings],
        "ensemble": verdict.ensemble and _finding_json(verdict.ensemble, "ensemble", "teacher"),
        "caveats": list(verdict.caveats),
    }


def _finding_json(finding: Finding, run: str, reference: str) -> dict[str, Any]:
    return {
        run: finding.run,
        reference: finding.reference,
        "outcome": finding.outcome,
        "sentence": finding.sentence,
        "comparison": to_json(finding.comparison),
    }


def _no_test_labels(sizes: Mapping[str, SplitSize]) -> str:
    num_test = sizes["test"].num_images if "test" in sizes else 0
    return f"The data set's {num_test} test images have no labels" if num_test else "The data set has no test images"
