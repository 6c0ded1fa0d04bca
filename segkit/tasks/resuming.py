"""Resume training from the checkpoint of a killed run, if this version of the code can read it."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from segkit.core.errors import CheckpointError
from segkit.core.versions import TASK_FORMAT_KEY
from segkit.tasks.callbacks import CHECKPOINT_FORMAT, FORMAT_KEY

_ADVICE = "remove this file: the same command then restarts the training"


def fit(trainer: L.Trainer, task: L.LightningModule, data: L.LightningDataModule, checkpoint: Path) -> None:
    """Train, from the checkpoint if it exists.

    Raises:
        CheckpointError: it is damaged, or another version of the code wrote it.
    """
    if not checkpoint.exists():
        trainer.fit(task, datamodule=data)
        return
    _check(checkpoint, task)
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)


def read_weights(path: Path, network: torch.nn.Module) -> dict[str, Tensor]:
    """Weights of a finished phase, for a network of this form.

    Raises:
        CheckpointError: as `fit`.
    """
    weights = _read(path)
    _compare(path, weights, network.state_dict())
    return weights


def _check(checkpoint: Path, task: L.LightningModule) -> None:
    content = _read(checkpoint, mmap=True)  # only names and shapes are needed
    formats = {FORMAT_KEY: CHECKPOINT_FORMAT, TASK_FORMAT_KEY: getattr(task, "checkpoint_format", 1)}
    for key, own in formats.items():
        if (number := content.get(key, 1)) != own:
            raise _of_another_version(checkpoint, f"its format is {number}, here it is {own}")
    _compare(checkpoint, content.get("state_dict", {}), task.state_dict())


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    try:
        return dict(torch.load(path, map_location="cpu", mmap=mmap, weights_only=True))
    except (RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or ["empty"])[0]
        raise CheckpointError(f"{path} is damaged ({reason}); {_ADVICE}") from error


def _compare(path: Path, stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Check names, shapes and order of the tensors; optimisers identify them by order."""
    for name in own:
        if name not in stored:
            raise _of_another_version(path, f"{name} is not in it")
        if stored[name].shape != own[name].shape:
            shapes = f"{tuple(stored[name].shape)}, here it is {tuple(own[name].shape)}"
            raise _of_another_version(path, f"{name} is {shapes}")
    if list(stored) != list(own):
        unknown = next((name for name in stored if name not in own), None)
        raise _of_another_version(path, f"{unknown} is unknown here" if unknown else "its tensors are in another order")


def _of_another_version(path: Path, difference: str) -> CheckpointError:
    return CheckpointError(
        f"{path} was written by another version of segkit ({difference}); resume with that version, or {_ADVICE}"
    )
