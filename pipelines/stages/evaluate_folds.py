"""`evaluate-folds`: the model of each fold predicts the images that the fold left out; all of them are scored together.

The threshold of a fold's images is the one with the best pooled Dice on the out-of-fold predictions of all other folds,
so that no image takes part in the choice of its own threshold. Several models of a fold are also averaged: the mean of
their probabilities is scored like another model.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.execution.worker import Context
from pipelines.results.calibration import CALIBRATION, FOLDS, calibration_text, read_calibration
from pipelines.results.measurements import OUT_OF_FOLD
from pipelines.stage_types import ENSEMBLE_OF_FOLDS, MODEL, EvaluateSettings
from pipelines.stages.evaluate import measure_observer, write_measured
from pipelines.stages.predictions import cut_text, predict, scored
from segkit.core.files import write_json
from segkit.core.manifest import Manifest, read_manifest, write_manifest
from segkit.data import labels
from segkit.metrics.curves import first_positive_level
from segkit.metrics.measure import Measurement, measure, pooled_value
from segkit.metrics.score import ARGMAX, OWN, Cut, ImageScore, at_own_threshold, choose_threshold, save_scores
from segkit.tasks.combine import combine

OTHER_FOLDS = "other-folds-best-dice"


def run(context: Context[EvaluateSettings]) -> None:
    """Write `predictions/`, `scores/`, `manifest.json`, `folds.json`, `calibration.json` and the measurements."""
    numbers = range(sum(name.startswith("fold-") for name in context.inputs))
    folds = [read_manifest(context.inputs[f"fold-{number}"]).split(OUT_OF_FOLD) for number in numbers]
    names = [name.removesuffix("-0") for name in context.inputs if name.endswith("-0") and name != "fold-0"]
    for name in names:
        probs = context.out / "predictions" / name / "probs"
        for number, rows in enumerate(folds):
            label = f"{name}, fold {number}"
            predict(context, context.inputs[f"{name}-{number}"], rows, probs, context.settings.inference, label=label)
    if not context.first_rank:
        return
    pooled = replace(folds[0], rows=tuple(row for rows in folds for row in rows.rows))
    write_manifest(pooled.rows, context.out, pooled.classes)
    (context.out / "scores").mkdir(parents=True, exist_ok=True)
    if len(names) > 1:
        _write_means(pooled, [context.out / "predictions" / name / "probs" for name in names], context.out)
        names.append(ENSEMBLE_OF_FOLDS)
    measured, calibrations = {}, {}
    for name in names:
        print(f"{name}:")
        records, measured[name] = _measure(context, folds, name)
        write_json(context.out / (FOLDS if name == MODEL else f"folds-{name}.json"), records)
        calibrations[name] = read_calibration(context.out, name)
        print(calibration_text(calibrations[name]))
    write_json(context.out / CALIBRATION, calibrations)
    write_measured(context, {OUT_OF_FOLD: {**measured, **measure_observer(context, pooled, OUT_OF_FOLD)}})


def _write_means(pooled: Manifest, members: Sequence[Path], out: Path) -> None:
    """The mean of the members' probabilities of each image, as the prediction of the ensemble."""
    for row in pooled.rows:
        paths = [labels.probs_path(member, row.name, pooled.classes) for member in members]
        maps = np.stack([labels.read_probs(path, pooled.classes) for path in paths])
        path = labels.probs_path(out / "predictions" / ENSEMBLE_OF_FOLDS / "probs", row.name, pooled.classes)
        labels.write_probs(path, combine(maps, "mean", [], []))


def _measure(
    context: Context[EvaluateSettings], folds: Sequence[Manifest], name: str
) -> tuple[list[dict[str, object]], list[Measurement]]:
    """Score the maps of one run and write its label maps and scores; the records of its folds, and its numbers."""
    maps = context.out / "predictions" / name
    scores, cuts = _scored(folds, maps / "probs")
    for rows, cut in zip(folds, cuts, strict=True):
        _write_labels(rows, cut, maps)
    everything = [score for part in scores for score in part]
    save_scores(everything, context.out / "scores" / f"{OUT_OF_FOLD}-{name}.npz")
    cut, source = (ARGMAX, ARGMAX) if folds[0].classes.kind == "multiclass" else (OWN, OTHER_FOLDS)
    num_resamples, seed = context.settings.num_resamples, context.runtime.seed
    return _folds(scores, cuts, cut), measure(everything, cut, source, num_resamples=num_resamples, seed=seed)


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


def _folds(scores: Sequence[Sequence[ImageScore]], cuts: Sequence[Cut], cut: Cut) -> list[dict[str, object]]:
    """Images, cut and Dice of each fold; printed too."""
    records: list[dict[str, object]] = []
    for number, (part, fold_cut) in enumerate(zip(scores, cuts, strict=True)):
        dice = pooled_value(part, "dice", cut)
        records.append({"fold": number, "images": [score.name for score in part], "cut": fold_cut, "dice": dice})
        print(f"fold {number}: Dice {dice:.4f}, n = {len(part)}, {cut_text(fold_cut)}")
    return records
