"""A trained model as a folder: `model.json` says what it is, safetensors files hold its numbers; nothing in it can run.

A network's folder holds `model.safetensors`. An ensemble's holds its members' folders under `members/`.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import load_file, save_file
from torch import Tensor

from segkit.core.config import validate
from segkit.core.errors import WeightsError
from segkit.core.files import atomic_path, read_json, write_json
from segkit.data.settings import GeometrySettings
from segkit.models import build_model
from segkit.models.settings import ModelSettings, SAUNetSettings
from segkit.tasks.combine import Rule
from segkit.tasks.prediction import EnsemblePredictor, NetworkPredictor, Predictor

DESCRIPTION, TENSORS, MEMBERS = "model.json", "model.safetensors", "members"


@dataclass(frozen=True)
class ModelCard:
    """What a model folder says of itself."""

    kind: Literal["network", "ensemble"]
    threshold: float
    """Probability from which a pixel is vessel."""
    threshold_source: str
    """"fixed-0.5" or "val-best-dice"."""
    val_dice: float | None
    """Pooled Dice inside the fov on the validation images, at that threshold; optimistic, being chosen there."""
    details: Mapping[str, Any]
    """A network's settings, or an ensemble's rule and weights."""


def save_network(
    folder: Path,
    state: Mapping[str, Tensor],
    model: ModelSettings,
    geometry: GeometrySettings,
    threshold: float = 0.5,
    threshold_source: str = "fixed-0.5",
    val_dice: float | None = None,
    **record: Any,
) -> None:
    """Write a network's folder; `record` is kept in `model.json` for the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / TENSORS) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in state.items()}, temporary)
    card = {"model": model.model_dump(mode="json"), "geometry": geometry.model_dump(mode="json"), **record}
    _write_card(folder, ModelCard("network", threshold, threshold_source, val_dice, card))


def save_ensemble(
    folder: Path,
    members: Mapping[str, Path],
    rule: Rule,
    weights: Sequence[float],
    threshold: float,
    threshold_source: str,
    val_dice: float | None,
    **record: Any,
) -> None:
    """Write an ensemble's folder with a copy of each member's."""
    for name, member in members.items():
        copy_model(member, folder / MEMBERS / name)
    details = {"members": list(members), "rule": rule, "weights": list(weights), **record}
    _write_card(folder, ModelCard("ensemble", threshold, threshold_source, val_dice, details))


def copy_model(source: Path, folder: Path) -> None:
    """Copy a model's folder and nothing else that lies beside it."""
    card = read_card(source)
    folder.mkdir(parents=True, exist_ok=True)
    if card.kind == "network":
        with atomic_path(folder / TENSORS) as temporary:
            shutil.copyfile(source / TENSORS, temporary)
    else:
        for name in card.details["members"]:
            copy_model(source / MEMBERS / name, folder / MEMBERS / name)
    with atomic_path(folder / DESCRIPTION) as temporary:
        shutil.copyfile(source / DESCRIPTION, temporary)


def _write_card(folder: Path, card: ModelCard) -> None:
    write_json(folder / DESCRIPTION, card.__dict__)


def read_card(folder: Path) -> ModelCard:
    """What the model in `folder` is.

    Raises:
        WeightsError: there is none, or its description is damaged.
    """
    try:
        return ModelCard(**read_json(folder / DESCRIPTION))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(
            f"{folder} holds no model ({DESCRIPTION}); give a folder such as a teacher's or an ensemble's"
        ) from error
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{folder / DESCRIPTION} does not describe a model: {error}") from error


def load_predictor(folder: Path) -> Predictor:
    """The model in `folder`, ready to look at images.

    Raises:
        WeightsError: the folder holds no model, or its tensors do not fit its description.
    """
    card = read_card(folder)
    if card.kind == "ensemble":
        members = [load_predictor(folder / MEMBERS / name) for name in card.details["members"]]
        return EnsemblePredictor(
            members, card.details["rule"], card.details["weights"], [m.threshold for m in members], card.threshold
        )
    settings = validate(SAUNetSettings, card.details["model"], str(folder / DESCRIPTION))
    geometry = validate(GeometrySettings, card.details["geometry"], str(folder / DESCRIPTION))
    network = build_model(settings)
    load_tensors(network, folder / TENSORS)
    return NetworkPredictor(network, geometry, settings.stride, card.threshold)


def load_tensors(network: Any, path: Path) -> None:
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
    except Exception as error:  # safetensors raises its own kind for a damaged file
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error
