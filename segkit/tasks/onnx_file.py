"""A network as one ONNX file: preprocessed image in [0, 1] to probabilities, with the model's card in its metadata."""

import json
import logging
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim

from segkit.core.errors import RequestError, WeightsError
from segkit.core.files import atomic_path
from segkit.metrics.calibration import tempered_threshold
from segkit.models import heads

SUFFIX = ".onnx"
CARD = "model.json"
"""Key of the metadata that holds the whole card."""


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return heads.probabilities(heads.as_outputs(self.network(image)).logits)


def write_onnx(
    path: Path, network: nn.Module, channels: int, stride: int, patch_size: int | None, card: dict[str, Any]
) -> None:
    """Write a network: input `image` (n, c, h, w) in [0, 1], output `probs` (n, k, h, w), any batch and any size.

    `network` returns logits; `card` goes into the metadata, under "model.json".

    Args:
        stride: the sides are multiples of it.
        patch_size: the only side that a network of patches takes.

    Raises:
        RequestError: a package is missing, or the network cannot be exported.
    """
    _package("onnx")
    _package("onnxscript")
    whole = _Probabilities(network).eval()
    shapes: dict[int, Dim] = {0: Dim("n", min=1)}
    if patch_size is None:
        shapes |= {2: stride * Dim("rows", min=1), 3: stride * Dim("columns", min=1)}
    height, width = (patch_size, patch_size) if patch_size is not None else (4 * stride, 5 * stride)
    example = torch.rand(2, channels, height, width)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it names each operator of torchvision that is not installed
        with warnings.catch_warnings(action="ignore"):  # torch's use of its own deprecated functions
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                dynamic_shapes={"image": shapes},
                input_names=["image"],
                output_names=["probs"],
                verbose=False,
            )
    except Exception as error:  # torch wraps errors of many kinds
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise RequestError(f"torch cannot export this network to ONNX: {reason}") from error
    finally:
        logger.setLevel(level)
    assert program is not None
    sides = f"multiples of {stride}" if patch_size is None else str(patch_size)
    program.model.metadata_props.update(
        {
            CARD: json.dumps(card),
            "image": f"(n, {channels}, h, w) in [0, 1], preprocessed; h and w are {sides}",
            "probs": "probabilities (n, k, h, w), not yet calibrated with the temperature",
            "temperature": str(card["temperature"]),
            "classes": ", ".join(card["classes"]["names"]),
            "threshold": str(tempered_threshold(card["threshold"], 1 / card["temperature"])),  # of the file's output
            "stride": str(stride),
            "preprocessing": json.dumps(card["details"]["preprocessing"]),
        }
    )
    with atomic_path(path) as temporary:
        program.save(temporary)


class OnnxNetwork(nn.Module):
    """A network of an ONNX file, computed by onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = _session(path)
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # has the device that callers ask for

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Logits, whose probabilities are those of the file."""
        [values] = self.session.run(None, {"image": image.cpu().contiguous().numpy()})
        probs = torch.from_numpy(values).to(image.device)
        return probs.logit() if probs.shape[1] == 1 else probs.log()


def read_onnx_card(path: Path) -> dict[str, object]:
    """The card in the metadata of an ONNX file.

    Raises:
        WeightsError: the file is damaged, or `segkit export --onnx` has not written it.
    """
    metadata = _session(path).get_modelmeta().custom_metadata_map
    if CARD not in metadata:
        raise WeightsError(f"{path} has no {CARD} in its metadata; give a file that `segkit export --onnx` wrote")
    card: dict[str, object] = json.loads(metadata[CARD])
    return card


def _session(path: Path) -> Any:
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # as in `segkit.core.determinism`
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an error type for each kind of damage
        raise WeightsError(f"{path} is not a whole ONNX file: {str(error).splitlines()[0]}") from error


def _package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"ONNX files need the package {name}; run: pip install onnx onnxscript onnxruntime"
        ) from error
