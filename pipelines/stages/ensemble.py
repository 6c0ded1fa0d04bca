"""`ensemble`: combine models by the rule, weights and threshold that do best on validation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.execution.worker import Context
from pipelines.stage_types import EnsembleSettings
from pipelines.stages.predictions import cut_text, predict
from segkit.core.classes import VESSEL, Classes
from segkit.core.manifest import Manifest, read_manifest
from segkit.data.fov import read_region
from segkit.data.labels import Labels, probs_path, read_labels, read_probs, valid_pixels
from segkit.metrics.curves import quantise
from segkit.metrics.measure import pooled_value
from segkit.metrics.score import ARGMAX, ScoredImage, choose_cut, score_image, threshold_of
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
    maps, labels = _validation_pixels(val, [context.work / name for name in members])
    chooser = RuleChooser(maps, labels, [read_card(folder).threshold for folder in members.values()], val.classes)
    tried = {rule: chooser.score(rule) for rule in settings.rules}
    rule = max(settings.rules, key=lambda name: tried[name][0])
    val_dice, threshold, weights = tried[rule]
    source = "val-best-dice" if val.classes.kind == "binary" else ARGMAX
    candidates = {name: {"val_dice": score, "threshold": cut} for name, (score, cut, _) in tried.items()}
    save_ensemble(context.out, members, rule, weights, threshold, source, val_dice, candidates=candidates)
    context.tracker.summary({"rule": rule, "val/best-dice": val_dice, "threshold": threshold})
    cut = threshold if val.classes.kind == "binary" else ARGMAX
    print(f"{context.name}: rule {rule}, validation Dice {val_dice:.4f}, {cut_text(cut)}")


def _validation_pixels(val: Manifest, folders: Sequence[Path]) -> tuple[Maps, Labels]:
    """Members' probabilities (members, k, pixels) and labels (pixels,) inside the region, all images in one row."""
    maps, labels = [], []
    for row in val.rows:
        assert row.reference is not None
        truth = read_labels(row.reference, val.classes)
        counted = read_region(row, val.classes) & valid_pixels(truth, val.classes)
        paths = [probs_path(folder, row.name, val.classes) for folder in folders]
        maps.append(np.stack([read_probs(path, val.classes) for path in paths])[:, :, counted])
        labels.append(truth[counted])
    return np.concatenate(maps, axis=2), np.concatenate(labels)


class RuleChooser:
    """Rates rules on validation: by the best Dice any threshold gives them, or by the mean Dice of several classes."""

    def __init__(self, maps: Maps, labels: Labels, thresholds: Sequence[float], classes: Classes = VESSEL) -> None:
        self.maps, self.labels, self.thresholds, self.classes = maps, labels, thresholds, classes

    def score(self, rule: Rule) -> tuple[float, float, list[float]]:
        """Validation Dice, threshold, and weights of a rule."""
        weights = [1 / len(self.maps)] * len(self.maps)
        if rule == "weighted":
            weights = greedy_weights(len(self.maps), lambda tried: self.rate("weighted", tried)[0])
        return (*self.rate(rule, weights), weights)

    def rate(self, rule: Rule, weights: Sequence[float]) -> tuple[float, float]:
        """Dice and threshold of a rule with given weights."""
        combined = quantise(combine(self.maps, rule, weights, self.thresholds))
        pixels = combined[:, None] if len(combined) > 1 else combined
        everywhere = np.ones((1, len(self.labels)), bool)
        image = ScoredImage("validation", pixels, self.labels[None], everywhere, classes=self.classes)
        scores = [score_image(image, [], ["levels", "confusion"])]
        cut, _ = choose_cut(scores)
        return pooled_value(scores, "dice", cut), threshold_of(cut)
