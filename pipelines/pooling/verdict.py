"""The verdict of a repeated experiment, from differences averaged over its seeds."""

from collections.abc import Sequence

from pipelines.pooling.pool import Difference, Pooled, Score
from pipelines.report.model_table import Tested
from pipelines.report.verdict import (
    FEW_IMAGES,
    PHANTOM_NOTE,
    Outcome,
    can_decide,
    capital,
    difference_text,
)
from segkit.core.wording import counted

FEW_SEEDS = 5
"""With fewer seeds the interval is noticeably too narrow, and there is a caveat."""


def outcome(pooled: Pooled) -> str:
    """Of all settings if they agree, else "mixed"; "none" if no models are compared."""
    outcomes = {tested(item).outcome for item in pooled.verdict_differences}
    return outcomes.pop() if len(outcomes) == 1 else "mixed" if outcomes else "none"


def tested(difference: Difference) -> Tested:
    """The test of a difference in pooled Dice."""
    assert difference.tested is not None
    return difference.tested


def headline(pooled: Pooled) -> str:
    """One sentence for all settings."""
    compared, noun = pooled.verdict_differences, pooled.basis.noun
    note = PHANTOM_NOTE * pooled.phantoms
    if not compared:
        return " ".join(_score_text(score) for score in _baseline_scores(pooled)) + note
    if len(compared) == 1:
        return sentence(compared[0], pooled) + note
    outcomes: list[Outcome] = [tested(item).outcome for item in compared]
    best = max(compared, key=lambda item: item.comparison.difference)
    helped, worse = outcomes.count("helped"), outcomes.count("worse")
    where = f" ({best.setting.label})" if best.setting.label else ""
    return (
        f"{_subject(pooled)} helped in {helped} of {len(compared)} comparisons and made {worse} worse; for "
        f"{len(compared) - helped - worse} there is no evidence. The largest difference in Dice is "
        f"{numbers(best)}, {best.run} against {best.reference}{where} (n = {pooled.basis.n} {noun})." + note
    )


def _subject(pooled: Pooled) -> str:
    roles = pooled.request.roles
    return capital(roles.treatment) if roles.controls else "The other network"


def _baseline_scores(pooled: Pooled) -> list[Score]:
    baseline = pooled.request.roles.baseline
    return [s for s in pooled.scores if (s.model, s.metric, s.region) == (baseline, "dice", pooled.region)]


def _score_text(score: Score) -> str:
    mean = score.mean
    interval = f", 95 % interval [{mean.low:.4f}, {mean.high:.4f}]" if mean.low == mean.low else ""
    where = f" ({score.setting.label})" if score.setting.label else ""
    return f"{capital(score.model)}{where}: Dice {mean.value:.4f}{interval}, {counted(len(mean.by_seed), 'seed')}."


def numbers(difference: Difference) -> str:
    """ "+0.0123 [−0.0012, +0.0250], better in 2 of 3 seeds"."""
    better = sum(value > 0 for value in difference.by_seed)
    seeds = counted(len(difference.by_seed), "seed")
    return f"{difference_text(difference.comparison)}, better in {better} of {seeds}"


def sentence(difference: Difference, pooled: Pooled) -> str:
    """The finding about one model under one choice of settings."""
    result, model = tested(difference), difference.run
    where = f" with {difference.setting.label}" if difference.setting.label else ""
    treatment = pooled.request.roles.treatment
    if pooled.request.roles.controls and difference.is_verdict:
        claim = {
            "helped": f"{capital(treatment)} helped {model}{where}",
            "worse": f"{capital(treatment)} made {model} worse{where}",
            "no-evidence": f"No evidence that {treatment} help {model}{where}",
            "too-few-images": f"No evidence that {treatment} help {model}{where} (too few images for a claim)",
        }[result.outcome]
    else:
        claim = {
            "helped": f"{capital(model)} is better than {difference.reference}{where}",
            "worse": f"{capital(model)} is worse than {difference.reference}{where}",
            "no-evidence": f"No evidence that {model} differs from {difference.reference}{where}",
            "too-few-images": f"No evidence that {model} differs from {difference.reference}{where} (too few images)",
        }[result.outcome]
    return (
        f"{claim}: Dice {numbers(difference)}, against {difference.reference}, p = {result.p:.2g}, "
        f"{result.corrected_p:.2g} after Holm's correction."
    )


def caveats(pooled: Pooled) -> list[str]:
    """Limits of the headline, the most important first."""
    basis = pooled.basis
    num_seeds = min((len(setting.runs) for setting in pooled.settings), default=0)
    failed = len(pooled.failed)
    possible = {
        "The images are phantoms, made by a program: the numbers show that the pipeline works and do not apply to "
        "photographs.": pooled.phantoms,
        f"{failed} of {counted(len(pooled.cells), 'cell')} {'is' if failed == 1 else 'are'} not complete and left out; "
        "the same command runs only what is missing.": failed > 0,
        "Only validation images were scored. They chose checkpoints, thresholds and the ensemble's rule, so all scores "
        "are optimistic, and their differences may be too.": basis.split == "val",
        f"{counted(basis.num_groups, basis.unit)} {'is' if basis.num_groups == 1 else 'are'} too few for a claim in "
        "either direction.": not can_decide(basis.num_groups),
        "Each network was trained from one seed. The interval does not contain the variation between seeds.": num_seeds
        == 1,
        f"An interval over {num_seeds} seeds is too narrow: it underestimates the variation between seeds.": 1
        < num_seeds
        < FEW_SEEDS,
        f"An interval over {counted(basis.num_groups, basis.unit)} is too narrow: it underestimates the variation "
        f"between {basis.unit}s.": basis.num_groups < FEW_IMAGES,
    }
    return [text for text, applies in possible.items() if applies]


def sentences(pooled: Pooled) -> Sequence[str]:
    """A finding for each comparison that gives the verdict, unless the headline is it."""
    compared = pooled.verdict_differences
    return [sentence(item, pooled) for item in compared] if len(compared) > 1 else []
