"""The calibration of the out-of-fold predictions of a cross-validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.results.measurements import OUT_OF_FOLD
from pipelines.stage_types import MODEL
from segkit.core.files import read_json
from segkit.core.manifest import read_manifest
from segkit.data.fov import read_region
from segkit.data.labels import probs_path, read_labels, read_levels
from segkit.metrics.calibration import Pixels, calibration
from segkit.metrics.score import load_scores, pool

FOLDS, CALIBRATION = "folds.json", "calibration.json"


def read_calibration(folder: Path, run: str = MODEL) -> dict[str, Any]:
    """The calibration of the predictions that the stage `evaluate-folds` wrote, `segkit.metrics.calibration`.

    Args:
        folder: with `folds.json`, `manifest.json`, `scores/` and `predictions/`.
        run: of one model in every fold, or of their ensemble.
    """
    images = [record["images"] for record in read_json(folder / FOLDS)]
    manifest = read_manifest(folder)
    classes = manifest.classes
    if classes.kind == "binary":
        scores = {score.name: score for score in load_scores(folder / "scores" / f"{OUT_OF_FOLD}-{run}.npz")}
        folds = [Pixels.of_levels(pool([scores[name] for name in names], "fov")) for names in images]
        return calibration(folds, classes.names)
    pixels = {}
    for row in manifest.labelled().rows:
        assert row.reference is not None
        labels = read_labels(row.reference, classes)
        counted = read_region(row, classes) & classes.valid_pixels(labels)
        levels = read_levels(probs_path(folder / "predictions" / run / "probs", row.name, classes), classes)
        pixels[row.name] = Pixels.of_map(levels, labels, counted)
    return calibration([Pixels.pool([pixels[name] for name in names]) for names in images], classes.names)


def calibration_text(calibrated: Mapping[str, Any]) -> str:
    """The temperature, and log loss and calibration error before and after it, in one line."""
    before, after = calibrated["before"], calibrated["after"]
    changes = [
        f"{name} {before[key]:.4f} to {after[key]:.4f}" for key, name in (("log_loss", "log loss"), ("ece", "ECE"))
    ]
    return f"temperature {calibrated['temperature']:.3f}, chosen on other folds: {', '.join(changes)}"
