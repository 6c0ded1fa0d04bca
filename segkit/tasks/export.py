"""A model made ready to be given away: a folder whose card says how it was trained and scored, or an ONNX file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def exported_card(
    folder: Path,
    evaluation: Path | None = None,
    notes: str = "",
    out_of_fold: OutOfFold | None = None,
    threshold: float | None = None,
    tta: str | None = None,
) -> dict[str, object]:
    """The card of a model with its training and its scores, as JSON. An exported model's card keeps those it has.

    Args:
        folder: of a finished stage that trained the model, or of a shipped or exported model.
        evaluation: of a finished stage `evaluate` that scored the model of a finished stage.
        notes: kept in the card: data, terms, limits.
        out_of_fold: replaces threshold and temperature of the model.
        threshold: of a binary model, in [0, 1]; the model's own if None.
        tta: test-time augmentation by default: "none", "flips" or "d4"; the model's own if None.

    Raises:
        WeightsError: `folder` holds no model.
        RequestError: `folder` is an ONNX file, or the model was not scored in `evaluation`.
    """
    card, done = read_card(folder), read_done(folder)
    if folder.is_file():
        raise RequestError(f"{folder} is an ONNX file; give the folder or the name of the model that it was made from")
    record: dict[str, JsonValue] = dict(card.details.get("card", {}))
    record["sha256"] = {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob(TENSORS))
    }
    if notes or "notes" not in record:
        record["notes"] = notes
    if done is not None:
        record["training"] = {
            key: done.get(key)
            for key in ("stage", "type", "version", "fingerprint", "settings", "git_commit", "versions", "seconds")
        }
        record["scores"] = [] if evaluation is None else [*_scores(evaluation, done["stage"])]
    elif evaluation is not None:
        raise RequestError(f"{folder} is not a finished stage, so {evaluation} has no scores of it; leave that out")
    raw = card.model_dump(mode="json")
    if tta is not None:
        raw["tta"] = tta
    if threshold is not None:
        refuse_threshold(card.classes)
        raw |= {"threshold": threshold, "threshold_source": "given"}
        if not notes:
            record["notes"] = f"{record['notes']}\nThe threshold {threshold:g} was given at a later export.".strip()
    if out_of_fold is not None:
        record["out_of_fold"] = out_of_fold.record
        raw |= {
            "threshold": out_of_fold.threshold,
            "threshold_source": out_of_fold.threshold_source,
            "temperature": out_of_fold.temperature,
            "val_dice": None,
        }
    return raw | {"details": raw["details"] | {"card": record}}


def export_model(folder: Path, out: Path, card: Mapping[str, object]) -> None:
    """Copy the model of a folder into a new one, with the card of `exported_card`."""
    copy_model(folder, out)
    write_json(out / DESCRIPTION, card)


def export_onnx(folder: Path, path: Path, card: Mapping[str, Any]) -> None:
    """Write the network of a model's folder as an ONNX file with a card, `segkit.tasks.onnx_file.write_onnx`.

    Raises:
        WeightsError: `folder` holds no model.
        RequestError: the model is an ensemble or has no weights, or a package is missing.
    """
    predictor = load_predictor(folder)
    if not isinstance(predictor, NetworkPredictor):
        raise RequestError(f"{folder} is an ensemble; an ONNX file holds one network, such as one in {folder}/members")
    if not next(predictor.parameters(), torch.empty(0)).numel():
        raise RequestError(f"{folder} has no weights to export; give the folder of a trained network")
    preprocessing = predictor.preprocessing
    write_onnx(
        path, predictor.network, preprocessing.num_channels, predictor.stride, preprocessing.patch_size, dict(card)
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
