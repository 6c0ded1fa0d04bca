"""The verdict: claims from paired differences in Dice, as outcomes and sentences.

Three rules:

- "Helped" and "worse" need the whole 95 % bootstrap interval on one side of zero.
- An interval over few patients is too narrow, and one of several treated models may improve by chance. So a claim also
  needs a sign-flip test, which is exact for any number of patients: each of k models needs p <= 0.05 / k (Bonferroni).
  With n patients p is at least 2 / 2^n, so a claim about one model needs six patients. If each patient has one image,
  the texts mention images instead of patients.
- The most trustworthy labelled split is used: test, else out-of-fold, else holdout, else val.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pipelines.results.measurements import SCORED
from pipelines.stage_types import Roles
from segkit.core.manifest import Manifest, Split
from segkit.core.wording import counted, of_patients
from segkit.metrics.measure import Comparison, Measurement, has_interval, to_json
from segkit.metrics.significance import PairedDifference

Outcome = Literal["helped", "worse", "no-evidence", "too-few-images"]

PHANTOM_NOTE = " The images are phantoms, so this does not apply to photographs."
NOUNS: dict[Split, str] = {
    "test": "test images",
    "out-of-fold": "out-of-fold images",
    "holdout": "held-out images",
    "val": "validation images",
}

LEVEL = 0.05
"""Probability of any false claim, as of a 95 % interval."""

FEW_IMAGES = 10
"""With fewer images or patients an interval is noticeably too narrow, and there is a caveat."""


@dataclass(frozen=True)
class SplitSize:
    """Numbers of images of a split, and of those with labels."""

    num_images: int
    num_labelled: int
    num_groups: int
    """Patients of the labelled images."""

    @classmethod
    def of(cls, part: Manifest) -> "SplitSize":
        """The size of the images of one split."""
        labelled = part.labelled()
        return cls(len(part), len(labelled), labelled.num_groups)


@dataclass(frozen=True)
class Basis:
    """The images behind a verdict."""

    split: Split
    n: int
    num_groups: int
    """Patients of the images."""
    why: str
    """Reason for this choice, as sentences."""

    @property
    def noun(self) -> str:
        """Name of the images in sentences, with the number of patients if it differs."""
        return NOUNS[self.split] + of_patients(self.n, self.num_groups)

    @property
    def unit(self) -> str:
        """Unit of resampling: images, or patients if some have several images."""
        return "image" if self.num_groups == self.n else "patient"


@dataclass(frozen=True)
class Finding:
    """The result of one comparison."""

    run: str
    reference: str
    outcome: Outcome
    sentence: str
    comparison: Comparison
    p: float
    """Of the sign-flip test."""
    num_compared: int = 1
    """Number of findings that share the probability of a false claim."""


@dataclass(frozen=True)
class Verdict:
    """The answer to "did the treatment help?", with its caveats; for a recipe without one, the baseline's result."""

    headline: str
    basis: Basis | None
    findings: tuple[Finding, ...]
    """Each treated model against its control."""
    ensemble: Finding | None
    """The ensemble against the baseline; no evidence about the treatment."""
    caveats: tuple[str, ...]

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Including the ensemble's."""
        return (*self.findings, *([self.ensemble] if self.ensemble else []))

    @property
    def outcome(self) -> str:
        """Of all findings together."""
        return common_outcome(finding.outcome for finding in self.findings)


def common_outcome(outcomes: Iterable[Outcome]) -> str:
    """The outcome if all agree, else "mixed"; "none" without any."""
    distinct = set(outcomes)
    return distinct.pop() if len(distinct) == 1 else "mixed" if distinct else "none"


def smallest_p(n: int) -> float:
    """Smallest two-sided p that a sign-flip test can reach on n paired patients: 2 / 2^n (Fisher 1935)."""
    return min(1.0, 2 * 0.5**n)


def can_decide(n: int, num_compared: int = 1) -> bool:
    """Whether n patients can support a claim about one of `num_compared` models."""
    return smallest_p(n) <= LEVEL / num_compared


def judge(comparison: Comparison, p: float, num_compared: int = 1) -> Outcome:
    """The outcome of one of `num_compared` comparisons, from its interval and the p of its sign-flip test."""
    if not can_decide(comparison.num_groups, num_compared):
        return "too-few-images"
    if p <= LEVEL / num_compared:
        if comparison.low > 0:
            return "helped"
        if comparison.high < 0:
            return "worse"
    return "no-evidence"


def choose_basis(scored: Collection[Split], sizes: Mapping[Split, SplitSize]) -> Basis | None:
    """The most trustworthy split with scores; None if nothing was scored."""
    split = next((name for name in SCORED if name in scored), None)
    if split is None:
        return None
    size = sizes[split]
    if split == "test":
        labelled = f" (those {size.num_labelled} of {size.num_images} that have labels)"
        part = labelled if size.num_labelled < size.num_images else ""
        why = f"They are the data set's own test images{part}, used for nothing else."
    elif split == "out-of-fold":
        why = (
            "Each image was predicted by a network that it neither trained nor validated, and cut at the threshold "
            "that is best on the images of the other folds."
        )
    elif split == "holdout":
        why = f"{_no_test_labels(sizes)}; these images were cut from its training images and used for nothing else."
    else:
        why = (
            f"{_no_test_labels(sizes)}, and no training image was held out for scoring. These images chose "
            "checkpoints, thresholds and the ensemble's rule."
        )
    return Basis(split, size.num_labelled, size.num_groups, why)


def judge_treated(
    comparison: Comparison, p: float, treated: str, control: str, noun: str, treatment: str, num_compared: int = 1
) -> Finding:
    """The finding about a treated model, from its difference to the control.

    `p` is of the sign-flip test of the same difference; `num_compared` treated models are judged together.
    """
    outcome = judge(comparison, p, num_compared)
    numbers = f"Dice {signed(comparison.difference)} against {control}, {numbers_text(comparison, p, noun)}"
    doubt = ""
    if outcome == "no-evidence" and (comparison.low > 0 or comparison.high < 0):
        doubt = f"; the interval excludes zero, but p is above {_level_text(num_compared)}"
    sentence = f"{treatment_claim(outcome, treatment, treated)}: {numbers}, one training seed{doubt}."
    return Finding(treated, control, outcome, sentence, comparison, p, num_compared)


def treatment_claim(outcome: Outcome, treatment: str, treated: str) -> str:
    """The claim about a treated model, as the beginning of a sentence."""
    return claim(
        outcome,
        f"{capital(treatment)} helped {treated}",
        f"{capital(treatment)} made {treated} worse",
        f"No evidence that {treatment} help {treated}",
    )


def claim(outcome: Outcome, better: str, worse: str, no_evidence: str) -> str:
    """One of three claims; the last one also where there are too few images."""
    too_few = f"{no_evidence} (too few images for a claim)"
    return {"helped": better, "worse": worse, "no-evidence": no_evidence, "too-few-images": too_few}[outcome]


def judge_ensemble(
    comparison: Comparison, p: float, ensemble: str, baseline: str, noun: str, treatment: str
) -> Finding:
    """The finding about the ensemble, from its difference to the baseline; `treatment` is empty if none is tested."""
    outcome = judge(comparison, p)
    claimed = claim(
        outcome,
        f"The {ensemble} is better than the {baseline}",
        f"The {ensemble} is worse than the {baseline}",
        f"No evidence that the {ensemble} is better than the {baseline}",
    )
    numbers = f"Dice {signed(comparison.difference)}, {numbers_text(comparison, p, noun)}"
    about = f" Averaging networks helps by itself, so this is no evidence about {treatment}." if treatment else ""
    sentence = f"{claimed}: {numbers}.{about}"
    if comparison.difference == comparison.low == comparison.high == 0:
        sentence = f"The {ensemble} has exactly the scores of the {baseline}, n = {comparison.n} {noun}."
    return Finding(ensemble, baseline, outcome, sentence, comparison, p)


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def decide(
    roles: Roles,
    basis: Basis | None,
    findings: Sequence[Finding],
    ensemble: Finding | None,
    origins: Collection[str],
    baseline: Measurement | None = None,
) -> Verdict:
    """The verdict from all findings.

    `baseline` is its Dice on these images, for the headline of a recipe without treated models.
    """
    return Verdict(
        headline(roles, basis, findings, baseline) + PHANTOM_NOTE * ("phantom" in origins),
        basis,
        tuple(findings),
        ensemble,
        tuple(caveats(basis, findings, ensemble, origins)),
    )


def headline(
    roles: Roles, basis: Basis | None, findings: Sequence[Finding], baseline: Measurement | None = None
) -> str:
    """One sentence for all findings."""
    if basis is None:
        return "No verdict: no labelled image was scored."
    if not findings and roles.treated:
        return f"No verdict: no control was trained, so the effect of the {roles.treatment} is unknown."
    if not findings:
        if baseline is None:
            return f"No result: {roles.baseline} was not scored."
        interval = f", 95 % interval [{baseline.low:.4f}, {baseline.high:.4f}]" if has_interval(baseline) else ""
        return f"{capital(roles.baseline)}: Dice {baseline.value:.4f}{interval}, n = {basis.n} {basis.noun}."
    if len(findings) == 1:
        return findings[0].sentence
    helped, worse, too_few = (
        sum(finding.outcome == outcome for finding in findings) for outcome in ("helped", "worse", "too-few-images")
    )
    number = counted(basis.num_groups, basis.unit)
    why = f": {number} are too few for a claim" if too_few == len(findings) else ""
    return (
        f"Of {len(findings)} models, {roles.treatment} helped {helped} and made {worse} worse; for "
        f"{len(findings) - helped - worse} there is no evidence{why} (n = {basis.n} {basis.noun})."
    )


def caveats(
    basis: Basis | None, findings: Sequence[Finding], ensemble: Finding | None, origins: Collection[str]
) -> list[str]:
    """Limits of the headline, the most important first."""
    if basis is None:
        return []
    compared = [*findings, *([ensemble] if ensemble else [])]
    n = min((finding.comparison.num_groups for finding in compared), default=basis.num_groups)
    num_compared = max((finding.num_compared for finding in compared), default=1)
    limits = image_caveats(basis, n, "phantom" in origins, num_compared if compared else None)
    limits.append(
        f"Every model was trained once, from one seed. The interval covers the choice of {basis.unit}s, not the "
        "variation between seeds."
    )
    if num_compared > 1:
        limits.append(
            f"{num_compared} models are compared. A claim about one needs p of at most {_level_text(num_compared)}, so "
            f"that the probability of any false claim is {100 * LEVEL:g} %; the intervals shown are not corrected."
        )
    return limits


def image_caveats(basis: Basis, n: int, phantoms: bool, num_compared: int | None) -> list[str]:
    """Limits that come from the images: `n` patients; `num_compared` is None without comparisons."""
    unit, number = basis.unit, counted(n, basis.unit)
    possible = {
        "The images are phantoms, made by a program: the numbers show that the pipeline works and do not apply to "
        "photographs.": phantoms,
        "Only validation images were scored. They chose checkpoints, thresholds and the ensemble's rule, so all scores "
        "are optimistic, and their differences may be too.": basis.split == "val",
        f"{number} {'is' if n == 1 else 'are'} too few for a claim in either direction: even if the same run is better "
        f"on all, p is {smallest_p(n):.2g}, which is more than {_level_text(num_compared or 1)}. At least "
        f"{min_images(num_compared or 1)} {unit}s are needed.": num_compared is not None
        and not can_decide(n, num_compared),
        f"An interval over {number} is too narrow: it underestimates the variation between {unit}s.": n < FEW_IMAGES,
    }
    return [sentence for sentence, applies in possible.items() if applies]


def min_images(num_compared: int = 1) -> int:
    """The smallest number of images, each of another patient, that can support a claim in one comparison."""
    return next(n for n in range(1, 100) if can_decide(n, num_compared))


def signed(value: float) -> str:
    """ "+0.0123", "−0.0123" or "0"."""
    if math.isnan(value):
        return "not defined"
    return f"{value:+.4f}".replace("-", "−") if value else "0"


def difference_text(comparison: PairedDifference) -> str:
    """ "+0.0056 [−0.0012, +0.0123]", without brackets if it has no interval."""
    interval = f" [{signed(comparison.low)}, {signed(comparison.high)}]" if has_interval(comparison) else ""
    return signed(comparison.difference) + interval


def numbers_text(comparison: Comparison, p: float, noun: str) -> str:
    """ "95 % interval [−0.0012, +0.0123], p = 0.13, n = 20 test images"."""
    ends = f"95 % interval [{signed(comparison.low)}, {signed(comparison.high)}]"
    interval = ends if has_interval(comparison) else "no interval"
    return f"{interval}, p = {p:.2g}, n = {comparison.n} {noun}"


def as_json(verdict: Verdict) -> dict[str, object]:
    """The verdict as plain values; treated models have the key "students", the baseline "teacher"."""
    return {
        "headline": verdict.headline,
        "outcome": verdict.outcome,
        "basis": verdict.basis and asdict(verdict.basis),
        "students": [_finding_json(finding, "student", "control") for finding in verdict.findings],
        "ensemble": verdict.ensemble and _finding_json(verdict.ensemble, "ensemble", "teacher"),
        "caveats": list(verdict.caveats),
    }


def _finding_json(finding: Finding, run: str, reference: str) -> dict[str, object]:
    return {
        run: finding.run,
        reference: finding.reference,
        "outcome": finding.outcome,
        "sentence": finding.sentence,
        "comparison": to_json(finding.comparison),
        "sign_flip_p": finding.p,
        "num_compared": finding.num_compared,
    }


def _no_test_labels(sizes: Mapping[Split, SplitSize]) -> str:
    num_test = sizes["test"].num_images if "test" in sizes else 0
    return f"The data set's {num_test} test images have no labels" if num_test else "The data set has no test images"


def _level_text(num_compared: int) -> str:
    """ "0.05", or "0.05 / 4 = 0.0125"."""
    return f"{LEVEL:g}" if num_compared == 1 else f"{LEVEL:g} / {num_compared} = {LEVEL / num_compared:.3g}"
