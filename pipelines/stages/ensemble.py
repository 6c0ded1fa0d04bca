"""`ensemble`: combine models by the rule, weights and threshold that do best on validation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.stage_types import EnsembleSettings
from pipelines.stages.predictions import predict
from pipelines.worker import Context
from segkit.core import images
from segkit.core.manifest import Manifest, read_manifest
from segkit.data.fov import read_fov
from segkit.metrics.confusion import dice
from segkit.metrics.curves import best_dice_threshold, confusion_at, count_levels, quantise
from segkit.tasks.combine import Maps, Rule, combine, greedy_weights
from segkit.tasks.weights import read_card, save_ensemble


def run(context: Context[EnsembleSettings]) -> None:
    """Write the ensemble's `model.json` and a copy of its members."""
    settings = context.settings
    members = {name: folder for name, folder in context.inputs.items() if name != "data"}
    val = read_manifest(context.inputs["data"]).split("val").labelled()
    for name, folder in members.items():
        predict(context, folder, val, context.work / name, settings.inference, label=f"member {name}")
    if not context.first_rank:
        return
    maps, vessels = _validation_pixels(val, [context.work / name for name in members])
    chooser = RuleChooser(maps, vessels, [read_card(folder).threshold for folder in members.values()])
    tried = {rule: chooser.score(rule) for rule in settings.rules}
    rule = max(settings.rules, key=lambda name: tried[name][0])
    val_dice, threshold, weights = tried[rule]
    candidates = {name: {"val_dice": score, "threshold": cut} for name, (score, cut, _) in tried.items()}
    save_ensemble(context.out, members, rule, weights, threshold, "val-best-dice", val_dice, candidates=candidates)
    context.tracker.summary({"rule": rule, "val/best-dice": val_dice, "threshold": threshold})
    print(f"{context.name}: rule {rule}, validation Dice {val_dice:.4f} at threshold {threshold:.3f}")


def _validation_pixels(val: Manifest, folders: Sequence[Path]) -> tuple[Maps, npt.NDArray[np.bool_]]:
    """Members' probabilities (members, pixels) and labels (pixels,) inside the field of view, all images in one row."""
    maps, vessels = [], []
    for row in val.rows:
        assert row.vessels is not None
        fov = read_fov(row)
        maps.append(np.stack([images.read_probs(folder / f"{row.name}.png") for folder in folders])[:, fov])
        vessels.append(images.read_mask(row.vessels)[fov])
    return np.concatenate(maps, axis=1), np.concatenate(vessels)


class RuleChooser:
    """Rates rules by the best Dice any threshold gives them on validation."""

    def __init__(self, maps: Maps, vessels: npt.NDArray[np.bool_], thresholds: Sequence[float]) -> None:
        self.maps, self.vessels, self.thresholds = maps, vessels, thresholds
        self.everywhere = np.ones(vessels.shape, bool)

    def score(self, rule: Rule) -> tuple[float, float, list[float]]:
        """Validation Dice, threshold, and weights of a rule."""
        weights = [1 / len(self.maps)] * len(self.maps)
        if rule == "weighted":
            weights = greedy_weights(len(self.maps), lambda tried: self.rate("weighted", tried)[0])
        return (*self.rate(rule, weights), weights)

    def rate(self, rule: Rule, weights: Sequence[float]) -> tuple[float, float]:
        """Dice and threshold of a rule with given weights."""
        combined = combine(self.maps, rule, weights, self.thresholds)
        counts = count_levels(quantise(combined), self.vessels, self.everywhere)
        threshold = best_dice_threshold(counts)
        at = confusion_at(counts, threshold)
        return float(dice(at.tp, at.fp, at.fn)), threshold
