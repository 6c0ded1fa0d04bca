"""A model made ready to be given away: a folder whose card says how it was trained and scored, or an ONNX file."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from segkit.core.errors import RequestError
from segkit.core.files import read_json, sha256_file, write_json
from segkit.core.run_folder import read_done
from segkit.tasks.onnx_file import write_onnx
from segkit.tasks.prediction import NetworkPredictor
from segkit.tasks.prediction_folder import refuse_threshold
from segkit.tasks.weights import DESCRIPTION, TENSORS, copy_model, load_predictor, read_card


@dataclass(frozen=True)
class OutOfFold:
    """What a cross-validation of the same training gives a model whose images all trained it."""

    threshold: float
    """On the calibrated probabilities."""
    threshold_source: str
    temperature: float
    record: dict[str, JsonValue]
    """For the card: scores with intervals, calibration, and how the folds' training differed."""


CARD_METRICS = ("dice", "auroc", "mcc", "cldice", "sensitivity", "specificity", "accuracy")


def export_model(
    folder: Path,
    out: Path,
    evaluation: Path | None = None,
    notes: str = "",
    out_of_fold: OutOfFold | None = None,
    threshold: float | None = None,
    tta: str | None = None,
) -> None:
    """Copy the model of a finished stage, with its training and its scores in the card.

    Args:
        folder: of a finished stage that trained the model.
        out: the new folder.
        evaluation: of a finished stage `evaluate` that scored the model.
        notes: kept in the card: data, terms, limits.
        out_of_fold: replaces threshold and temperature of the model.
        threshold: of a binary model, in [0, 1]; the model's own if None.
        tta: test-time augmentation by default: "none", "flips" or "d4"; the model's own if None.

    Raises:
        WeightsError: `folder` holds no model.
        RequestError: `folder` or `evaluation` is not a finished stage, or the model was not scored there.
    """
    card = read_card(folder)
    done = read_done(folder)
    if done is None:
        raise RequestError(f"{folder} is not a finished stage; give a folder such as runs/teacher-0123456789ab")
    record: dict[str, JsonValue] = {
        "notes": notes,
        "sha256": {path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob(TENSORS))},
        "training": {
            key: done.get(key)
            for key in ("stage", "type", "version", "fingerprint", "settings", "git_commit", "versions", "seconds")
        },
        "scores": [] if evaluation is None else [*_scores(evaluation, done["stage"])],
    }
    raw = card.model_dump(mode="json")
    if tta is not None:
        raw["tta"] = tta
    if threshold is not None:
        refuse_threshold(card.classes)
        raw |= {"threshold": threshold, "threshold_source": "given"}
    if out_of_fold is not None:
        record["out_of_fold"] = out_of_fold.record
        raw |= {
            "threshold": out_of_fold.threshold,
            "threshold_source": out_of_fold.threshold_source,
            "temperature": out_of_fold.temperature,
            "val_dice": None,
        }
    copy_model(folder, out)
    write_json(out / DESCRIPTION, raw | {"details": raw["details"] | {"card": record}})


def export_onnx(folder: Path, path: Path) -> None:
    """Write the network of a model's folder as an ONNX file, `segkit.tasks.onnx_file.write_onnx`.

    Raises:
        WeightsError: `folder` holds no model.
        RequestError: the model is an ensemble or has no weights, or a package is missing.
    """
    card, predictor = read_card(folder), load_predictor(folder)
    if not isinstance(predictor, NetworkPredictor):
        raise RequestError(f"{folder} is an ensemble; an ONNX file holds one network, such as one in {folder}/members")
    if not next(predictor.parameters(), torch.empty(0)).numel():
        raise RequestError(f"{folder} has no weights to export; give the folder of a trained network")
    preprocessing = predictor.preprocessing
    write_onnx(
        path,
        predictor.network,
        preprocessing.num_channels,
        predictor.stride,
        preprocessing.patch_size,
        card.model_dump(mode="json"),
    )


def _scores(evaluation: Path, name: str) -> list[dict[str, JsonValue]]:
    path = evaluation / "measurements.json"
    splits = read_json(path) if path.is_file() else {}
    scores = [
        {"split": split, **measurement}
        for split, models in splits.items()
        for measurement in models.get(name, [])
        if measurement["metric"] in CARD_METRICS
    ]
    if not scores:
        raise RequestError(f"{evaluation} holds no score of {name}; give the stage `evaluate` of the same run")
    return scores
