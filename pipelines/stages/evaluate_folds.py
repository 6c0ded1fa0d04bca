"""`evaluate-folds`: the model of each fold predicts the images that the fold left out; all of them are scored together.

The threshold of a fold's images is the one with the best pooled Dice on the out-of-fold predictions of all other folds,
so that no image takes part in the choice of its own threshold.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.results.measurements import OUT_OF_FOLD
from pipelines.stage_types import EvaluateSettings
from pipelines.stages.evaluate import measure_observer, write_measured
from pipelines.stages.predictions import cut_text, predict, scored
from pipelines.worker import Context
from segkit.core.files import write_json
from segkit.core.manifest import Manifest, read_manifest, write_manifest
from segkit.data import labels
from segkit.metrics.curves import first_positive_level
from segkit.metrics.measure import measure, pooled_value
from segkit.metrics.score import ARGMAX, OWN, Cut, ImageScore, at_own_threshold, choose_threshold, save_scores

MODEL = "model"
"""Name of the run that pools the models of all folds."""
OTHER_FOLDS = "other-folds-best-dice"


def run(context: Context[EvaluateSettings]) -> None:
    """Write `predictions/model/`, `scores/`, `manifest.json`, `measurements.json`, `tables.txt` and `folds.json`."""
    settings = context.settings
    numbers = range(sum(name.startswith("fold-") for name in context.inputs))
    folds = [read_manifest(context.inputs[f"fold-{number}"]).split(OUT_OF_FOLD) for number in numbers]
    maps = context.out / "predictions" / MODEL
    for number, rows in enumerate(folds):
        folder = context.inputs[f"model-{number}"]
        predict(context, folder, rows, maps / "probs", settings.inference, label=f"fold {number}")
    if not context.first_rank:
        return
    pooled = replace(folds[0], rows=tuple(row for rows in folds for row in rows.rows))
    write_manifest(pooled.rows, context.out, pooled.classes)
    scores, cuts = _scored(folds, maps / "probs")
    for rows, cut in zip(folds, cuts, strict=True):
        _write_labels(rows, cut, maps)
    everything = [score for part in scores for score in part]
    (context.out / "scores").mkdir(parents=True, exist_ok=True)
    save_scores(everything, context.out / "scores" / f"{OUT_OF_FOLD}-{MODEL}.npz")
    cut, source = (ARGMAX, ARGMAX) if pooled.classes.kind == "multiclass" else (OWN, OTHER_FOLDS)
    own = measure(everything, cut, source, num_resamples=settings.num_resamples, seed=context.runtime.seed)
    _report_folds(context, scores, cuts, cut)
    write_measured(context, {OUT_OF_FOLD: {MODEL: own, **measure_observer(context, pooled, OUT_OF_FOLD)}})


def _scored(folds: Sequence[Manifest], probs: Path) -> tuple[list[list[ImageScore]], list[Cut]]:
    """The scores of each fold's images, and what cuts their probabilities."""
    scores = [scored(rows, probs) for rows in folds]
    if folds[0].classes.kind == "multiclass":
        return scores, [ARGMAX] * len(folds)
    thresholds = [
        choose_threshold([score for other, part in enumerate(scores) if other != number for score in part])
        for number in range(len(folds))
    ]
    cut_scores = [
        [at_own_threshold(score, threshold) for score in scored(rows, probs, [threshold])]
        for rows, threshold in zip(folds, thresholds, strict=True)
    ]
    return cut_scores, list(thresholds)


def _write_labels(rows: Manifest, cut: Cut, maps: Path) -> None:
    """The predicted label map of each image."""
    for row in rows.rows:
        levels = labels.read_levels(labels.probs_path(maps / "probs", row.name, rows.classes), rows.classes)
        predicted = (
            levels >= first_positive_level(cut) if isinstance(cut, float) else levels.argmax(axis=0).astype(np.uint8)
        )
        labels.write_labels(maps / "binary" / f"{row.name}.png", predicted, rows.classes)


def _report_folds(
    context: Context[EvaluateSettings], scores: Sequence[Sequence[ImageScore]], cuts: Sequence[Cut], cut: Cut
) -> None:
    """Write and print the Dice of each fold by itself."""
    records = []
    for number, (part, fold_cut) in enumerate(zip(scores, cuts, strict=True)):
        dice = pooled_value(part, "dice", cut)
        records.append({"fold": number, "images": [score.name for score in part], "cut": fold_cut, "dice": dice})
        print(f"fold {number}: Dice {dice:.4f}, n = {len(part)}, {cut_text(fold_cut)}")
    write_json(context.out / "folds.json", records)
