"""What a finished cross-validation gives a model that was trained on all its images."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from pipelines.results.calibration import read_calibration
from pipelines.results.measurements import OUT_OF_FOLD, read_measurements
from pipelines.results.settings_diff import flatten
from pipelines.stage import StageRecord, read_record
from pipelines.stage_types import EVALUATE_FOLDS, MODEL
from segkit.core.config import validate
from segkit.core.errors import RequestError
from segkit.metrics.calibration import tempered_threshold
from segkit.metrics.measure import to_json
from segkit.metrics.score import choose_threshold, load_scores
from segkit.tasks.export import CARD_METRICS, OutOfFold
from segkit.tasks.settings import TrainSettings
from segkit.tasks.weights import ModelCard, read_card

SOURCE = "out-of-fold-best-dice"

LENGTH = ("epochs", "images_per_epoch", "val_interval_epochs", "early_stop_epochs", "schedule", "ema_decay")
"""Settings of a phase that are about the length of training."""
CHOICE = ("keep", "monitor", "threshold", "seed_offset")
"""Settings of a training that choose its checkpoint, threshold or seed."""


def out_of_fold(folder: Path, weights: Path) -> OutOfFold:
    """What a cross-validation says of a model that was trained in the same way on all its images.

    `folder` is of the stage that scored the cross-validation, `weights` of the finished stage that trained the model.

    Raises:
        RequestError: `folder` is not such a stage, the networks of its folds no longer exist, or they differ from the
            model in more than the length of training.
    """
    record = read_record(folder)
    if record is None or record["type"] != EVALUATE_FOLDS.name:
        raise RequestError(f"{folder} is not the stage that scored a cross-validation; give RUNS/evaluate-...")
    models = {
        name: (folder / entry["folder"]).resolve()
        for name, entry in record["inputs"].items()
        if name.startswith("model-")
    }
    done = {name: read_record(path) for name, path in models.items()}
    if missing := [str(models[name]) for name, found in done.items() if found is None]:
        raise RequestError(f"{missing[0]}, a network of the cross-validation, no longer exists; run it again")
    card, own = read_card(weights), read_record(weights)
    if own is None or own["type"] != "train":
        raise RequestError(
            f"{weights} is not a finished training of one network; a cross-validation says nothing of it"
        )
    first = next(found for found in done.values() if found is not None)
    differing = _differences(_complete(first), _complete(own))
    if refused := [text for key, text in differing.items() if not _allowed(key)]:
        raise RequestError(f"the networks of {folder} differ from {weights}: {'; '.join(refused)}")
    _check_images([read_card(path) for path in models.values()], card, folder, weights)
    scores = list(load_scores(folder / "scores" / f"{OUT_OF_FOLD}-{MODEL}.npz"))
    calibrated = read_calibration(folder)
    temperature = calibrated["temperature"]
    assert isinstance(temperature, float)
    binary = card.classes.kind == "binary"
    return OutOfFold(
        threshold=tempered_threshold(choose_threshold(scores), temperature) if binary else card.threshold,
        threshold_source=SOURCE if binary else card.threshold_source,
        temperature=temperature,
        record=_record(record, folder, len(models), differing) | {"calibration": calibrated},
    )


def _record(record: StageRecord, folder: Path, num_folds: int, differing: Mapping[str, str]) -> dict[str, JsonValue]:
    measured = read_measurements(folder)[OUT_OF_FOLD][MODEL]
    return {
        "fingerprint": record["fingerprint"],
        "git_commit": record["git_commit"],
        "num_folds": num_folds,
        "inference": record["settings"]["inference"],
        "differs_from_this_training": [*differing.values()],
        "scores": [to_json(m) for m in measured if m.metric in (*CARD_METRICS, "ece", "log_loss")],
    }


def _complete(record: StageRecord) -> dict[str, object]:
    """The settings of a training, with the defaults of those that are newer than its record."""
    return validate(TrainSettings, record["settings"], record["stage"]).model_dump(mode="json")


def _differences(folds: Mapping[str, object], own: Mapping[str, object]) -> dict[str, str]:
    """Settings that differ, by dotted key, as "phases.0.epochs is 10 in the folds and 20 in the model"."""
    a, b = flatten(folds), flatten(own)
    return {
        key: f"{key} is {a.get(key)} in the folds and {b.get(key)} in the model"
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    }


def _allowed(key: str) -> bool:
    first, *rest = key.split(".")
    return first in CHOICE or (first == "phases" and len(rest) > 1 and rest[1] in LENGTH)


def _check_images(folds: list[ModelCard], card: ModelCard, folder: Path, weights: Path) -> None:
    """The folds and the model must be of the same images."""
    cards = [*folds, card]
    images = [{digest for part in of.details.get("images", {}).values() for digest in part} for of in cards]
    if set().union(*images[:-1]) != images[-1]:
        raise RequestError(
            f"{weights} was made of {len(images[-1])} images and the networks of {folder} of "
            f"{len(set().union(*images[:-1]))}, not the same ones; run the cross-validation on the images of the model"
        )
    if any(of.classes != card.classes for of in folds):
        raise RequestError(f"the networks of {folder} predict other classes than {weights}")
