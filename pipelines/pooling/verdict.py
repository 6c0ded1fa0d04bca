"""The verdict of a repeated experiment, from differences averaged over its seeds."""

from pipelines.pooling.pool import Difference, Pooled, Score
from pipelines.report.verdict import (
    PHANTOM_NOTE,
    capital,
    claim,
    common_outcome,
    difference_text,
    image_caveats,
    treatment_claim,
)
from segkit.core.wording import counted
from segkit.metrics.measure import has_interval

FEW_SEEDS = 5
"""With fewer seeds the interval is noticeably too narrow, and there is a caveat."""

MAX_LISTED = 6
"""Of more comparisons, those without evidence are in the table of differences only."""


def outcome(pooled: Pooled) -> str:
    """Of all settings together."""
    return common_outcome(item.outcome for item in pooled.verdict_differences)


def headline(pooled: Pooled) -> str:
    """One sentence for all settings."""
    return _headline(pooled) + PHANTOM_NOTE * pooled.phantoms


def _headline(pooled: Pooled) -> str:
    compared, roles = pooled.verdict_differences, pooled.request.roles
    if not compared:
        baseline = roles.baseline, "dice", pooled.region
        scores = [score for score in pooled.scores if (score.model, score.metric, score.region) == baseline]
        return " ".join(map(_score_text, scores))
    if len(compared) == 1:
        return sentence(compared[0], pooled)
    outcomes = [item.outcome for item in compared]
    helped, worse = outcomes.count("helped"), outcomes.count("worse")
    lowest, *_, highest = sorted(compared, key=lambda item: item.comparison.difference)
    if set(outcomes) == {"too-few-images"}:
        number = counted(pooled.basis.num_groups, pooled.basis.unit)
        claimed = f"Undecided: {number} are too few for a claim in {len(compared)} comparisons"
    else:
        treatment = capital(roles.treatment) if roles.controls else "The other network"
        without = len(compared) - helped - worse
        claimed = (
            f"{treatment} helped in {helped} of {len(compared)} comparisons and did harm in {worse}; for {without} "
            "there is no evidence"
        )
    return (
        f"{claimed}. The differences in Dice are between {_numbers_of_setting(lowest)} and "
        f"{_numbers_of_setting(highest)} (n = {pooled.basis.n} {pooled.basis.noun})."
    )


def _numbers_of_setting(difference: Difference) -> str:
    where = f", {difference.setting.label}" if difference.setting.label else ""
    return f"{difference_text(difference.comparison)} ({difference.run}{where})"


def _score_text(score: Score) -> str:
    mean = score.mean
    interval = f", 95 % interval [{mean.low:.4f}, {mean.high:.4f}]" if has_interval(mean) else ""
    where = f" ({score.setting.label})" if score.setting.label else ""
    return f"{capital(score.model)}{where}: Dice {mean.value:.4f}{interval}, {counted(len(mean.by_seed), 'seed')}."


def numbers(difference: Difference) -> str:
    """ "+0.0123 [−0.0012, +0.0250], better in 2 of 3 seeds"."""
    seeds = counted(len(difference.by_seed), "seed")
    return f"{difference_text(difference.comparison)}, better in {difference.num_better} of {seeds}"


def sentence(difference: Difference, pooled: Pooled) -> str:
    """The finding about one model under one choice of settings."""
    model, roles = difference.run, pooled.request.roles
    where = f" with {difference.setting.label}" if difference.setting.label else ""
    if roles.controls and difference.is_verdict:
        claimed = treatment_claim(difference.outcome, roles.treatment, model + where)
    else:
        claimed = claim(
            difference.outcome,
            f"{capital(model)} is better than {difference.reference}{where}",
            f"{capital(model)} is worse than {difference.reference}{where}",
            f"No evidence that {model} differs from {difference.reference}{where}",
        )
    return (
        f"{claimed}: Dice {numbers(difference)}, against {difference.reference}, p = {difference.p:.2g}, "
        f"{difference.corrected_p:.2g} after Holm's correction."
    )


def caveats(pooled: Pooled) -> list[str]:
    """Limits of the headline, the most important first."""
    num_seeds = min((len(setting.runs) for setting in pooled.settings), default=0)
    failed = len(pooled.failed)
    possible = {
        f"{failed} of {counted(len(pooled.cells), 'cell')} {'is' if failed == 1 else 'are'} not complete and left out; "
        "the same command runs only what is missing.": failed > 0,
        "Each network was trained from one seed. The interval does not contain the variation between seeds.": num_seeds
        == 1,
        f"An interval over {num_seeds} seeds is too narrow: it underestimates the variation between seeds.": 1
        < num_seeds
        < FEW_SEEDS,
    }
    num_compared = len(pooled.verdict_differences) or None
    limits = image_caveats(pooled.basis, pooled.basis.num_groups, pooled.phantoms, num_compared)
    return limits + [text for text, applies in possible.items() if applies]


def sentences(pooled: Pooled) -> list[str]:
    """A finding for each comparison that gives the verdict, unless the headline is it; of many, those with evidence."""
    compared = pooled.verdict_differences
    listed = [item for item in compared if len(compared) <= MAX_LISTED or item.outcome in {"helped", "worse"}]
    return [sentence(item, pooled) for item in listed] if len(compared) > 1 else []
