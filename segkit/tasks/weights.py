"""A trained model as a folder: `model.json` describes it, safetensors files hold its weights; it contains no code.

A network's folder holds `model.safetensors`. An ensemble's holds its members' folders under `members/`. An ONNX file of
a network is read like its folder.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segkit.core.classes import VESSEL, Classes
from segkit.core.config import Settings, validate
from segkit.core.errors import ConfigError, WeightsError
from segkit.core.files import atomic_path, read_json, sha256_file, sha256_json, write_json
from segkit.core.outputs import FINISHED
from segkit.data.settings import NO_PREPROCESSING, GeometrySettings, PreprocessingSettings
from segkit.metrics.score import ARGMAX, Cut
from segkit.models.batch_norm import fold_batch_norm
from segkit.models.settings import ModelSettings
from segkit.tasks.combine import Rule
from segkit.tasks.network import build_network
from segkit.tasks.onnx_file import SUFFIX, OnnxNetwork, read_onnx_card
from segkit.tasks.prediction import EnsemblePredictor, NetworkPredictor, Predictor

DESCRIPTION, TENSORS, MEMBERS = "model.json", "model.safetensors", "members"

S = TypeVar("S", bound=Settings)


class ModelCard(Settings):
    """The description of a model, `model.json`."""

    kind: Literal["network", "ensemble"]
    classes: Classes = VESSEL
    """Of the predictions."""
    threshold: float = Field(ge=0, le=1)
    """Binary tasks: the probability from which a pixel is positive."""
    threshold_source: str
    """"fixed-0.5", "given", "val-best-dice" or "out-of-fold-best-dice"; "argmax" of several classes."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits; the threshold is on the probabilities after it. 1 changes nothing."""
    val_dice: float | None
    """Pooled Dice inside the region on the validation images, at that threshold (of several classes the mean);
    optimistic, being chosen there."""
    tta: Literal["none", "flips", "d4"] = "none"
    """Test-time augmentation of `segkit predict` and `Model.predict` unless they are given another."""
    details: dict[str, Any]
    """Settings of a network, or rule and weights of an ensemble; and further information."""

    @property
    def cut(self) -> Cut:
        """The decision rule of the model: a threshold or the argmax."""
        return ARGMAX if self.classes.kind == "multiclass" else self.threshold


class NetworkDetails(Settings):
    """Settings that are needed to build a network."""

    model_config = ConfigDict(extra="ignore")

    model: ModelSettings
    geometry: GeometrySettings
    fov_diameters: tuple[int, int] | None = None
    """Smallest and largest diameter of the training images' fields of view, in pixels; None if they show no border. An
    image of another camera is scaled to this range."""
    preprocessing: PreprocessingSettings = NO_PREPROCESSING


class EnsembleDetails(Settings):
    """Settings that are needed to combine members."""

    model_config = ConfigDict(extra="ignore")

    members: tuple[str, ...] = Field(min_length=1)
    rule: Rule
    weights: tuple[float, ...]
    """One per member, for every rule."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> "EnsembleDetails":
        if len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.members)} members have {len(self.weights)} weights")
        return self


def save_network(
    folder: Path,
    state: Mapping[str, Tensor],
    model: ModelSettings,
    geometry: GeometrySettings,
    threshold: float = 0.5,
    threshold_source: str = "fixed-0.5",
    val_dice: float | None = None,
    classes: Classes = VESSEL,
    preprocessing: PreprocessingSettings = NO_PREPROCESSING,
    **record: object,
) -> None:
    """Write a network's folder; `record` is added to `model.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / TENSORS) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in state.items()}, temporary)
    sections = {"model": model, "geometry": geometry, "preprocessing": preprocessing}
    details = {name: section.model_dump(mode="json") for name, section in sections.items()} | record
    if preprocessing.normalization == "dataset":
        fitted = ("normalization.mean", "normalization.deviation")
        details["channel_mean"], details["channel_deviation"] = (state[name].tolist() for name in fitted)
    card = {"classes": classes, "threshold": threshold, "threshold_source": threshold_source, "details": details}
    _write_card(folder, "network", val_dice, card)


def save_ensemble(
    folder: Path,
    members: Mapping[str, Path],
    rule: Rule,
    weights: Sequence[float],
    threshold: float,
    threshold_source: str,
    val_dice: float | None,
    **record: object,
) -> None:
    """Write an ensemble's folder with a copy of each member's.

    Raises:
        WeightsError: the members predict different classes.
    """
    classes = {name: read_card(member).classes for name, member in members.items()}
    first, *others = classes.values()
    if any(other.names != first.names for other in others):
        listed = "; ".join(f"{name}: {', '.join(of.names)}" for name, of in classes.items())
        raise WeightsError(f"the members of an ensemble predict the same classes, and these do not: {listed}")
    for name, member in members.items():
        copy_model(member, folder / MEMBERS / name)
    details = {"members": list(members), "rule": rule, "weights": list(weights), **record}
    card = {"classes": first, "threshold": threshold, "threshold_source": threshold_source, "details": details}
    _write_card(folder, "ensemble", val_dice, card)


def copy_model(source: Path, folder: Path) -> None:
    """Copy the files of a model and no other files of its folder."""
    card = read_card(source)
    folder.mkdir(parents=True, exist_ok=True)
    if card.kind == "network":
        with atomic_path(folder / TENSORS) as temporary:
            shutil.copyfile(source / TENSORS, temporary)
    else:
        for member in _members(source, card):
            copy_model(member, folder / MEMBERS / member.name)
    with atomic_path(folder / DESCRIPTION) as temporary:
        shutil.copyfile(source / DESCRIPTION, temporary)


def _write_card(
    folder: Path, kind: Literal["network", "ensemble"], val_dice: float | None, fields: dict[str, Any]
) -> None:
    score = None if val_dice is None or math.isnan(val_dice) else val_dice  # nan where no image shows the class
    write_json(folder / DESCRIPTION, ModelCard(kind=kind, val_dice=score, **fields).model_dump(mode="json"))


def read_card(folder: Path) -> ModelCard:
    """The description of the model in `folder`.

    Raises:
        WeightsError: there is none, or its description is damaged.
    """
    if folder.suffix == SUFFIX and folder.is_file():
        return _described(ModelCard, read_onnx_card(folder), folder)
    try:
        raw = read_json(folder / DESCRIPTION)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(
            f"{folder} holds no model ({DESCRIPTION}); give a folder such as a teacher's or an ensemble's"
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder / DESCRIPTION} does not describe a model: {error}") from error
    return _described(ModelCard, raw, folder)


def _described(cls: type[S], raw: Any, folder: Path) -> S:
    try:
        return validate(cls, raw, "it says")
    except ConfigError as error:
        reason = "; ".join(str(error).splitlines())
        raise WeightsError(f"{folder / DESCRIPTION} does not describe a model: {reason}") from error


def describe_model(folder: Path) -> dict[str, Any]:
    """What identifies the model in `folder`, as JSON.

    Keys: `weights` (the folder), `weights_sha256` (of all its files), `kind`, `stage` and `fingerprint` (None outside a
    finished stage), `classes`, `threshold`, `threshold_source`, `files` (sha256 by path), and `images`: "train" or
    "val" by the sha256 of each image file that the model was trained on or chosen with, None if it does not record it.

    Raises:
        WeightsError: as `read_card`, or a file of the model is missing.
    """
    card = read_card(folder)
    digests = {}
    for path in _files(folder):
        if not path.is_file():
            raise WeightsError(f"{path} does not exist")
        digests[path.name if path == folder else path.relative_to(folder).as_posix()] = sha256_file(path)
    finished = folder / FINISHED
    stage = read_json(finished) if finished.is_file() else {}
    return {
        "weights": str(folder.resolve()),
        "weights_sha256": sha256_json(digests),
        "kind": card.kind,
        "stage": stage.get("stage"),
        "fingerprint": stage.get("fingerprint"),
        "classes": card.classes.model_dump(mode="json"),
        "threshold": card.threshold,
        "threshold_source": card.threshold_source,
        "files": digests,
        "images": _image_splits(folder),
    }


def _members(folder: Path, card: ModelCard) -> list[Path]:
    """The folders of an ensemble's members; none for a network."""
    if card.kind == "network":
        return []
    return [folder / MEMBERS / name for name in _described(EnsembleDetails, card.details, folder).members]


def _files(folder: Path) -> list[Path]:
    """The files of a model's folder, its members' among them."""
    if folder.is_file():
        return [folder]
    card = read_card(folder)
    own = [folder / DESCRIPTION] + ([folder / TENSORS] if card.kind == "network" else [])
    return own + [path for member in _members(folder, card) for path in _files(member)]


def _image_splits(folder: Path) -> dict[str, str] | None:
    """ "train" or "val" by an image file's sha256; an image that one member was trained on is "train"."""
    card = read_card(folder)
    if card.kind == "ensemble":
        parts = [_image_splits(member) for member in _members(folder, card)]
    else:
        recorded = card.details.get("images")
        parts = [recorded and {digest: split for split in ("val", "train") for digest in recorded.get(split, ())}]
    splits: dict[str, str] = {}
    for part in parts:
        if part is None:
            return None
        splits |= {digest: split for digest, split in part.items() if splits.get(digest) != "train"}
    return splits


def load_predictor(folder: Path) -> Predictor:
    """The model in `folder`, for prediction.

    Raises:
        WeightsError: the folder holds no model, or its tensors do not fit its description.
    """
    card = read_card(folder)
    if card.kind == "ensemble":
        ensemble = _described(EnsembleDetails, card.details, folder)
        members = [load_predictor(folder / MEMBERS / name) for name in ensemble.members]
        thresholds = [member.threshold for member in members]
        combined = EnsemblePredictor(members, ensemble.rule, ensemble.weights, thresholds, card.threshold)
        combined.temperature = card.temperature
        known = [member.fov_diameters for member in members if member.fov_diameters is not None]
        if len(known) == len(members):
            combined.fov_diameters = min(low for low, _ in known), max(high for _, high in known)
        return combined
    details = _described(NetworkDetails, card.details, folder)
    if folder.is_file():
        network: nn.Module = OnnxNetwork(folder)
    else:
        network = build_network(details.model, details.preprocessing, card.classes.num_channels)
        load_tensors(network, folder / TENSORS)
        fold_batch_norm(network)
    stride, preprocessing = details.model.stride, details.preprocessing
    predictor = NetworkPredictor(network, details.geometry, stride, card.threshold, preprocessing)
    predictor.fov_diameters, predictor.temperature = details.fov_diameters, card.temperature
    return predictor


def load_encoder(folder: Path) -> NetworkPredictor:
    """The model in `folder`, whose network has an encoder: `network.features`.

    Raises:
        WeightsError: as `load_predictor`; or the model is an ensemble, or has no encoder.
    """
    predictor = load_predictor(folder)
    if not isinstance(predictor, NetworkPredictor):
        raise WeightsError(f"{folder} is an ensemble; features come from one network, such as a member or a teacher")
    if not hasattr(predictor.network, "features"):
        kind = read_card(folder).details["model"]["name"]
        raise WeightsError(f"{folder} is a {kind}, which has no encoder (features); give another network")
    return predictor


def load_tensors(network: nn.Module, path: Path) -> None:
    """Load a safetensors file, every tensor of it and of the network.

    Raises:
        WeightsError: the file is damaged, or names or shapes differ.
    """
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not fit the network it is for: {str(error).splitlines()[-1].strip()}"
        ) from error
    except Exception as error:  # safetensors raises its own error type for a damaged file
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error
