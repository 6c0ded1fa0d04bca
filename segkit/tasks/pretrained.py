"""First weights of a training from a file: one of torchvision's `.pth` files, or the tensors of a trained model.

`python -m segkit.tasks.pretrained` checks that the weights fit, for the runner, which loads no torch. A `StartRequest`
as JSON comes in on standard input. The exit status is 0 where all fits; else it is that of the error, and its message
is on standard error.
"""

import pickle
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from segkit.core.errors import SegkitError, WeightsError
from segkit.models import build_model
from segkit.models.normalization import without_normalization
from segkit.models.settings import ModelSettings
from segkit.tasks.fine_tuning import check_modules
from segkit.tasks.settings import StartRequest
from segkit.tasks.weights import DESCRIPTION

BACKBONE = "backbone."
OPTIONAL = ("aux_classifier.", "backbone.fc.")
"""Modules of torchvision's files that a network may lack: the auxiliary head, and the head for ImageNet's classes."""


class FirstWeights(NamedTuple):
    """Weights to start from, and how the file contributed to them."""

    weights: dict[str, Tensor]
    """Every tensor of the network."""
    new: list[str]
    """Names of the tensors that are not from the file: those of heads for other classes."""
    unused: list[str]
    """Names in the file, of modules that the network lacks."""

    def __str__(self) -> str:
        num_loaded = len(self.weights) - len(self.new)
        text = f"{num_loaded} of {len(self.weights)} tensors are from the file"
        text += f"; newly initialised: {', '.join(_modules(self.new, self.weights))}" if self.new else ""
        return text + (f"; not used: {', '.join(_modules(self.unused, ()))}" if self.unused else "")


def first_weights(model: ModelSettings, own: Mapping[str, Tensor], path: Path) -> FirstWeights:
    """The weights of a file for a network, by name.

    Tensors whose shape depends on the number of classes keep their own values where the file's shape differs. So do all
    heads where the file holds a ResNet alone (ImageNet).

    Args:
        own: state dict of the new network without a normalisation; on the meta device it is enough for a check.

    Raises:
        WeightsError: the file is missing, damaged or holds code, or its tensors do not fit.
    """
    given = without_normalization(read_tensors(path))
    alone = not any(name in own for name in given) and any(BACKBONE + name in own for name in given)
    if alone:
        given = {BACKBONE + name: value for name, value in given.items()}
    unused = [name for name in given if name not in own]
    wrong = [name for name in unused if not name.startswith(OPTIONAL) or _has_module(own, name)]
    if wrong:
        raise _misfit(path, model, f"the network has no {wrong[0]}")
    depends_on_classes = class_tensors(model)
    weights, new = dict(own), []
    for name, value in own.items():
        if name in given and given[name].shape == value.shape:
            weights[name] = given[name]
        elif name in depends_on_classes or (alone and not name.startswith(BACKBONE)):
            new.append(name)
        elif name in given:
            shapes = f"{name} is {tuple(given[name].shape)} there, {tuple(value.shape)} in the network"
            raise _misfit(path, model, shapes)
        elif not name.endswith("num_batches_tracked"):  # older files lack these counters
            raise _misfit(path, model, f"it has no {name}")
    return FirstWeights(weights, new, unused)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name; of a checkpoint, those of its model. No code in the file is run.

    Raises:
        WeightsError: the file is missing, damaged, holds code, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path} is no weights file, or holds code, which is not run; give a state dict") from error
    except Exception as error:  # safetensors and torch raise many kinds for a damaged file
        raise WeightsError(f"{path} is damaged: {(str(error).splitlines() or ['empty'])[0]}") from error
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state dict: names and their tensors")
    return {str(name): value for name, value in content.items()}


def class_tensors(model: ModelSettings) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    one, two = (_blank(model, num_channels) for num_channels in (1, 2))
    return {name for name in one if one[name].shape != two[name].shape}


def _blank(model: ModelSettings, num_channels: int) -> dict[str, Tensor]:
    """A network's state dict without values."""
    with torch.device("meta"):
        return build_model(model, num_channels).state_dict()


def _has_module(own: Mapping[str, Tensor], name: str) -> bool:
    """Whether the network has the optional module that this tensor of a file belongs to."""
    prefix = next(module for module in OPTIONAL if name.startswith(module))
    return any(other.startswith(prefix) for other in own)


def _modules(names: list[str], all_names: Iterable[str]) -> list[str]:
    """Modules of the tensors: the outermost one where all of its tensors are among them, else the innermost one."""
    kept = {name.partition(".")[0] for name in all_names if name not in names}
    outer = ((name.partition(".")[0], name.rpartition(".")[0]) for name in names)
    return list(dict.fromkeys(inner if top in kept or top == "backbone" else top for top, inner in outer))


def _misfit(path: Path, model: ModelSettings, why: str) -> WeightsError:
    network = " ".join(str(part) for part in (model.name, getattr(model, "backbone", None)) if part)
    described = (path.parent / DESCRIPTION).is_file()
    hint = f"; {path.parent} is a model's folder: give it, and its settings are used" if described else ""
    return WeightsError(f"{path} does not fit {network}: {why}{hint}")


def main() -> None:
    """Read the weights as the training will, and find the modules that its settings name."""
    request = StartRequest.model_validate_json(sys.stdin.read())
    try:
        own = _blank(request.model, 1)
        check_modules(request.modules, own)
        if request.init_path is not None:
            first_weights(request.model, own, request.init_path)
    except SegkitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
