"""What may be claimed: from paired differences in Dice to plain sentences.

Pure: images, models and files are somebody else's matter. Three rules keep it honest.

- "Helped" and "worse" are said only where the whole 95 % bootstrap interval lies on one side of zero.
- An interval over few patients is too narrow, and of several students one may seem to gain by chance. So a claim must
  also pass a sign-flip test, which is exact however few the patients: of k students each needs p <= 0.05 / k
  (Bonferroni). With n patients p is never below 2 / 2^n: a claim about one student takes six. Mostly each image is of
  another patient, and then the texts speak of images.
- The images are the most trustworthy labelled ones: test before holdout before val.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segkit.core.wording import counted
from segkit.metrics.score import Comparison, to_json

Outcome = Literal["helped", "worse", "no-evidence", "too-few-images"]

TRUST = ("test", "holdout", "val")
"""Splits from the most to the least trustworthy."""

PHANTOM_NOTE = " The images are drawn phantoms: this says nothing of photographs."
NOUNS = {"test": "test images", "holdout": "held-out images", "val": "validation images"}

LEVEL = 0.05
"""Chance of any false claim; what a 95 % interval stands for."""

FEW_IMAGES = 10
"""Below this an interval over images or patients is noticeably too narrow, and the report says so."""


@dataclass(frozen=True)
class SplitSize:
    """Images of a split, and those of them that have a manual vessel map."""

    num_images: int
    num_labelled: int
    num_groups: int
    """Patients that the labelled images are of."""


@dataclass(frozen=True)
class Basis:
    """The images a verdict stands on."""

    split: str
    n: int
    num_groups: int
    """Patients that the images are of."""
    why: str
    """Why these and no better ones, as a sentence."""

    @property
    def noun(self) -> str:
        """What to call the images, and of how many patients they are where these are fewer."""
        noun = NOUNS.get(self.split, f"images of split {self.split}")
        return noun if self.num_groups == self.n else f"{noun} of {counted(self.num_groups, 'patient')}"

    @property
    def unit(self) -> str:
        """What is independent: an image, or a patient where patients have several images."""
        return "image" if self.num_groups == self.n else "patient"


@dataclass(frozen=True)
class Finding:
    """What one comparison allows to say."""

    run: str
    reference: str
    outcome: Outcome
    sentence: str
    comparison: Comparison
    p: float
    """Of the sign-flip test."""
    num_compared: int = 1
    """Findings that share the chance of a false claim."""


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
    """Smallest two-sided p that a sign-flip test can reach on n paired patients: 2 / 2^n (Fisher 1935)."""
    return min(1.0, 2 * 0.5**n)


def can_decide(n: int, num_compared: int = 1) -> bool:
    """Whether n patients could bear a claim at all, about one of so many students."""
    return smallest_p(n) <= LEVEL / num_compared


def judge(comparison: Comparison, p: float, num_compared: int = 1) -> Outcome:
    """Read an interval and the p of a sign-flip test, one of so many."""
    if not can_decide(comparison.num_groups, num_compared):
        return "too-few-images"
    if p <= LEVEL / num_compared:
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
    return Basis(split, size.num_labelled, size.num_groups, why)


def find_student(
    comparison: Comparison, p: float, student: str, control: str, noun: str, num_compared: int = 1
) -> Finding:
    """What a student's difference from its control says of the synthetic images it was trained on.

    Args:
        comparison: student minus control, with its 95 % interval.
        p: of the sign-flip test of the same difference.
        student: the name.
        control: the name.
        noun: what the images are called.
        num_compared: students that are judged together.
    """
    outcome = judge(comparison, p, num_compared)
    claim = {
        "helped": f"Synthetic images helped {student}",
        "worse": f"Synthetic images made {student} worse",
        "no-evidence": f"No evidence that synthetic images help {student}",
        "too-few-images": f"No evidence that synthetic images help {student}, the images being too few for a claim",
    }[outcome]
    numbers = f"Dice {signed(comparison.difference)} against {control}, {numbers_text(comparison, p, noun)}"
    doubt = ""
    if outcome == "no-evidence" and (comparison.low > 0 or comparison.high < 0):
        doubt = f"; the interval leaves zero out, but p is above {_threshold_text(num_compared)}"
    return Finding(
        student, control, outcome, f"{claim}: {numbers}, one training seed{doubt}.", comparison, p, num_compared
    )


def find_ensemble(comparison: Comparison, p: float, ensemble: str, teacher: str, noun: str) -> Finding:
    """How the ensemble stands against the teacher."""
    outcome = judge(comparison, p)
    silence = f"No evidence that the {ensemble} is better than the {teacher}"
    claim = {
        "helped": f"The {ensemble} is better than the {teacher}",
        "worse": f"The {ensemble} is worse than the {teacher}",
        "no-evidence": silence,
        "too-few-images": f"{silence}, the images being too few for a claim",
    }[outcome]
    numbers = f"Dice {signed(comparison.difference)}, {numbers_text(comparison, p, noun)}"
    sentence = f"{claim}: {numbers}. Averaging networks helps by itself, so this says nothing of the synthetic images."
    if comparison.difference == comparison.low == comparison.high == 0:
        sentence = f"The {ensemble} scores exactly as the {teacher} does, n = {comparison.n} {noun}."
    return Finding(ensemble, teacher, outcome, sentence, comparison, p)


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
        headline(basis, findings) + PHANTOM_NOTE * ("phantom" in origins),
        basis,
        tuple(findings),
        ensemble,
        tuple(caveats(basis, findings, ensemble, origins)),
    )


def headline(basis: Basis | None, findings: Sequence[Finding]) -> str:
    """One sentence for all findings."""
    if basis is None:
        return "No verdict: no labelled image was scored."
    if not findings:
        return "No verdict: no control was trained, so nothing tells what the synthetic images did."
    if len(findings) == 1:
        return findings[0].sentence
    total = len(findings)
    counts = {outcome: sum(finding.outcome == outcome for finding in findings) for outcome in ("helped", "worse")}
    silent = total - sum(counts.values())
    images = f"(n = {basis.n} {basis.noun})"
    if silent == total:
        too_few = all(finding.outcome == "too-few-images" for finding in findings)
        why = f": {basis.n} {basis.noun} are too few for a claim" if too_few else f" {images}"
        return f"No evidence that synthetic images help any of the {total} students{why}."
    if counts["helped"] == total:
        return f"Synthetic images helped all {total} students {images}."
    if counts["worse"] == total:
        return f"Synthetic images made all {total} students worse {images}."
    parts = {"helped": f"helped {counts['helped']}", "worse": f"made {counts['worse']} worse"}
    said = " and ".join(part for outcome, part in parts.items() if counts[outcome])
    rest = f"; for {silent} there is no evidence" if silent else ""
    return f"Of {total} students, synthetic images {said}{rest} {images}."


def caveats(
    basis: Basis | None, findings: Sequence[Finding], ensemble: Finding | None, origins: Collection[str]
) -> list[str]:
    """What a reader must know before quoting the headline, the gravest first."""
    compared = [*findings, *([ensemble] if ensemble else [])]
    if basis is None or not compared:
        return []
    n, unit = min(finding.comparison.num_groups for finding in compared), basis.unit
    num_compared = max(finding.num_compared for finding in compared)
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
    if not can_decide(n, num_compared):
        about = f" about {num_compared} students" if num_compared > 1 else ""
        said.append(
            f"{counted(n, unit)} {'is' if n == 1 else 'are'} too few for a claim{about} in either direction: even "
            f"if all favoured one run, chance alone would do that with probability {smallest_p(n):.2g}, which is more "
            f"than {_threshold_text(num_compared)}. At least {min_images(num_compared)} are needed."
        )
    if n < FEW_IMAGES:
        said.append(
            f"An interval over {counted(n, unit)} is too narrow: resampling so few cannot show how different others "
            "would be."
        )
    said.append(
        f"Every model was trained once, from one seed. The interval covers the choice of {unit}s, not what another "
        "seed would have changed."
    )
    if num_compared > 1:
        said.append(
            f"{num_compared} students are compared. A claim about one needs p of at most "
            f"{_threshold_text(num_compared)}, so that the chance of any false claim stays at {100 * LEVEL:g} %; the "
            "intervals shown are not corrected."
        )
    return said


def min_images(num_compared: int = 1) -> int:
    """The fewest patients that could bear a claim in one of so many comparisons."""
    return next(n for n in range(1, 100) if can_decide(n, num_compared))


def signed(value: float) -> str:
    """ "+0.0123" or "−0.0123"; a difference always shows its direction, unless there is none."""
    if value != value:
        return "not defined"
    return f"{value:+.4f}".replace("-", "−") if value else "0"


def numbers_text(comparison: Comparison, p: float, noun: str) -> str:
    """ "95 % interval [−0.0012, +0.0123], p = 0.13, n = 20 test images"."""
    interval = f"95 % interval [{signed(comparison.low)}, {signed(comparison.high)}]"
    if comparison.low != comparison.low:
        interval = "no interval"
    return f"{interval}, p = {p:.2g}, n = {comparison.n} {noun}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain values."""
    basis = verdict.basis
    return {
        "headline": verdict.headline,
        "outcome": verdict.outcome,
        "basis": basis and {"split": basis.split, "n": basis.n, "num_groups": basis.num_groups, "why": basis.why},
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
        "sign_flip_p": finding.p,
        "num_compared": finding.num_compared,
    }


def _no_test_labels(sizes: Mapping[str, SplitSize]) -> str:
    num_test = sizes["test"].num_images if "test" in sizes else 0
    return f"The data set's {num_test} test images have no labels" if num_test else "The data set has no test images"


def _threshold_text(num_compared: int) -> str:
    """ "0.05", or "0.05 / 4 = 0.0125"."""
    return f"{LEVEL:g}" if num_compared == 1 else f"{LEVEL:g} / {num_compared} = {LEVEL / num_compared:.3g}"
