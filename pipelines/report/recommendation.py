"""Which model to use, and the commands that use it and repeat the run."""

from dataclasses import dataclass

import yaml

from pipelines.report.evidence import Evidence
from segkit.core.manifest import Split
from segkit.metrics.measure import Measurement, find_measurement


@dataclass(frozen=True)
class Recommendation:
    """A trained model for new images."""

    model: str
    reason: str
    """As a sentence."""
    command: str


def recommend(evidence: Evidence) -> Recommendation | None:
    """The model with the highest Dice on validation; the only model without validation scores; None if several.

    Test images do not choose the model: its test score would be optimistic.
    """
    models = [name for name in evidence.models if name in evidence.inputs]
    chosen_on = {name: dice for name in models if (dice := _dice(evidence, "val", name)) is not None}
    if len(models) == 1:
        model, reason = models[0], "It is the only model of this run."
    elif chosen_on:
        model = max(chosen_on, key=lambda name: chosen_on[name].value)
        reason = f"It has the highest Dice on the validation images ({chosen_on[model].value:.4f})."
    else:
        return None
    basis = evidence.verdict.basis
    if basis is not None and basis.split != "val" and len(models) > 1:
        scores = {name: dice for name in models if (dice := _dice(evidence, basis.split, name)) is not None}
        best = max(scores, key=lambda name: scores[name].value)
        also = "the highest there" if best == model else f"the highest there is {scores[best].value:.4f} ({best})"
        reason += f" On the {basis.noun} its Dice is {scores[model].value:.4f}, {also}; they do not choose the model."
    folder = evidence.inputs[model]
    place = f"{folder.resolve().parent.name}/{folder.resolve().name}"
    return Recommendation(model, reason, f"segkit predict --weights {place} --out predictions MY_IMAGES")


def _dice(evidence: Evidence, split: Split, model: str) -> Measurement | None:
    return find_measurement(evidence.measured.get(split, {}).get(model, []), "dice")


def settings_yaml(evidence: Evidence) -> str:
    """All settings of the run as a settings file."""
    return yaml.safe_dump(evidence.request.pipeline, sort_keys=False, allow_unicode=True, width=100)


def repeat_command(evidence: Evidence) -> str | None:
    """The command that repeats the run from `settings.yaml`; None if the recipe is not known."""
    if not evidence.request.recipe:
        return None
    source = str(evidence.stages["data"].record.get("settings", {}).get("source") or "NAME:DIR")
    reader = source.partition(":")[0]
    data = reader if reader == "phantom" else f"{reader}:DIR"
    return f"segkit pipeline run {evidence.request.recipe} -c settings.yaml --data {data}"
