"""`evaluate`: every model predicts the images that it was not trained on; the labelled ones are scored."""

import os
from collections.abc import Mapping, Sequence

from pipelines.execution.worker import Context
from pipelines.results.final_numbers import evaluation_numbers
from pipelines.results.measurements import OBSERVER, SCORED, SPLIT_NOTES, Measured
from pipelines.stage_types import EvaluateSettings
from pipelines.stages.predictions import predict, scored
from segkit.core.files import write_json, write_text
from segkit.core.manifest import Manifest, Split, read_manifest
from segkit.data.fov import read_region
from segkit.data.labels import read_labels
from segkit.metrics.measure import Measurement, measure, to_json
from segkit.metrics.metrics import METRICS, reductions_for, with_default
from segkit.metrics.score import ScoredImage, binary_probs, save_scores, score_images
from segkit.metrics.tables import MAX_WIDTH, render, tabulate
from segkit.tasks.prediction_folder import RECORD, prediction_record
from segkit.tasks.weights import ModelCard, describe_model, read_card

BRIEF = ("dice", "sensitivity", "specificity", "auroc")
"""The metrics printed in the terminal; the files contain all."""


def run(context: Context[EvaluateSettings]) -> None:
    """Write `predictions/<model>/` (maps and their record), `scores/`, `measurements.json` and `tables.txt`."""
    settings = context.settings
    rows = read_manifest(context.inputs["data"]).split(*SCORED)
    models = {name: folder for name, folder in context.inputs.items() if name != "data"}
    for name, folder in models.items():
        maps = context.out / "predictions" / name
        predict(context, folder, rows, maps / "probs", settings.inference, label=name, labels_dir=maps / "binary")
    if not context.first_rank:
        return
    measured: Measured = {}
    for split in SCORED:
        part = rows.split(split).labelled()
        if len(part):
            measured[split] = {name: _measure(context, part, split, name, read_card(models[name])) for name in models}
            measured[split] |= measure_observer(context, part, split)
    for name, folder in models.items():
        record = prediction_record(describe_model(folder), rows.rows, settings.inference)
        record["weights"] = os.path.relpath(folder, context.out)
        write_json(context.out / "predictions" / name / RECORD, record)
    write_measured(context, measured)


def write_measured(context: Context[EvaluateSettings], measured: Measured) -> None:
    """Write and print the measurements, by split and run; the first split is the main one. There may be none."""
    raw = {split: {name: [to_json(m) for m in ms] for name, ms in runs.items()} for split, runs in measured.items()}
    write_json(context.out / "measurements.json", raw)
    write_text(context.out / "tables.txt", "\n\n".join(_text(split, runs) for split, runs in measured.items()) + "\n")
    context.tracker.summary(evaluation_numbers(measured))
    main = next(iter(measured), None)
    if main is None:
        print("nothing to score: no labelled image was left out of training")
    else:
        print(_text(main, measured[main], BRIEF, "pooled"))


def _measure(
    context: Context[EvaluateSettings], part: Manifest, split: Split, name: str, card: ModelCard
) -> list[Measurement]:
    settings = context.settings
    folder = context.out / "predictions" / name / "probs"
    metrics = with_default(settings.metrics)
    scores = scored(part, folder, sorted({0.5, card.threshold}), reductions_for(metrics))
    path = context.out / "scores" / f"{split}-{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_scores(scores, path)
    num_resamples, seed = settings.num_resamples, context.runtime.seed
    return measure(scores, card.cut, card.threshold_source, metrics=metrics, num_resamples=num_resamples, seed=seed)


def measure_observer(context: Context[EvaluateSettings], part: Manifest, split: Split) -> dict[str, list[Measurement]]:
    """The human baseline: the second observer scored against the first, if the data are binary and have one."""
    rows = [row for row in part.rows if row.reference is not None and "observer2" in row.labels]
    if len(rows) < len(part) or part.classes.kind != "binary":
        return {}
    settings = context.settings
    observed = (
        ScoredImage(
            row.name,
            binary_probs(read_labels(row.labels["observer2"], part.classes)),
            read_labels(row.labels["reference"], part.classes),
            read_region(row, part.classes),
            row.group,
        )
        for row in rows
    )
    metrics = with_default(settings.metrics)
    scores = score_images(observed, [0.5], reductions_for(metrics))
    save_scores(scores, context.out / "scores" / f"{split}-{OBSERVER.replace(' ', '-')}.npz")
    num_resamples, seed = settings.num_resamples, context.runtime.seed
    return {OBSERVER: measure(scores, 0.5, "fixed-0.5", metrics=metrics, num_resamples=num_resamples, seed=seed)}


def _text(
    split: Split,
    runs: Mapping[str, list[Measurement]],
    metrics: Sequence[str] = tuple(METRICS),
    averaging: str | None = None,
) -> str:
    """The tables of a split; with `averaging` only those of the main region with this averaging."""
    kept = {
        name: [m for m in ms if averaging is None or (m.averaging, m.region) == (averaging, ms[0].region)]
        for name, ms in runs.items()
    }
    return f"== {SPLIT_NOTES[split]}\n" + "\n\n".join(render(table, MAX_WIDTH) for table in tabulate(kept, metrics))
