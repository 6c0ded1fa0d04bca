"""Differentiable distances of an image from a target: of pixels on all scales, or of a network's features."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gan.checkpoints.torchscript import load_script
from gan.networks.ops import downsample2d, fir_kernel, upsample2d
from segkit.core.errors import WeightsError

Distance = Callable[[Tensor], Tensor]
"""Takes an image in [-1, 1] (1, c, r, r) and returns a number that is 0 for the target."""

Measure = Callable[[Tensor], Distance]
"""Takes a target in [-1, 1] (1, c, r, r) and returns the distance from it."""

Features = Callable[[Tensor], Sequence[Tensor]]
"""Takes RGB in [0, 1] (1, 3, r, r) and returns maps (1, f, h, w) or vectors (1, f)."""


class FeatureSource(NamedTuple):
    """Features that a file or a model's folder provides."""

    path: Path
    sha256: str
    function: Features


_SCRIPT_EDGE = 256  # as in Karras 2020a, appendix D


def laplacian_levels(image: Float[Tensor, "n c r r"], smallest: int = 4) -> list[Float[Tensor, "n c _ _"]]:
    """Laplacian pyramid (Burt 1983): the details lost at each halving of the resolution, and the smallest image.

    Args:
        image: its edge is a power of two.
        smallest: edge of the smallest image.
    """
    kernel = fir_kernel().to(image)
    levels = []
    while image.shape[-1] > smallest:
        halved = downsample2d(image, kernel)
        levels.append(image - upsample2d(halved, kernel))
        image = halved
    return [*levels, image]


def pyramid_measure(target_pm1: Float[Tensor, "1 c r r"]) -> Distance:
    """Mean absolute difference of each level of the Laplacian pyramid, summed over levels, of levels in [0, 1].

    The "Lap1" distance (Bojanowski 2018), which needs no network.
    """

    def distance(image_pm1: Float[Tensor, "1 c r r"]) -> Float[Tensor, ""]:
        # the pyramid is linear
        levels = laplacian_levels((image_pm1 - target_pm1) / 2)
        return torch.stack([level.abs().mean() for level in levels]).sum()

    return distance


def feature_measure(features: Features) -> Measure:
    """Squared difference of a network's features, averaged over its outputs.

    Maps are scaled to unit length over channels and averaged over pixels, as in LPIPS without its weights (Zhang 2018,
    Eq. 1); vectors are compared as they are.
    """

    def measure(target_pm1: Float[Tensor, "1 c r r"]) -> Distance:
        with torch.no_grad():
            target = [_comparable(output) for output in features(as_rgb(target_pm1))]

        def distance(image_pm1: Float[Tensor, "1 c r r"]) -> Float[Tensor, ""]:
            outputs = [_comparable(output) for output in features(as_rgb(image_pm1))]
            squares = [(a - b).square().sum(dim=1).mean() for a, b in zip(outputs, target, strict=True)]
            return torch.stack(squares).mean()

        return distance

    return measure


def _comparable(output: Tensor) -> Tensor:
    return F.normalize(output, dim=1, eps=1e-10) if output.ndim == 4 else output


def sum_of(measures: Sequence[Measure]) -> Measure:
    """The distances of several measures added up."""

    def measure(target_pm1: Float[Tensor, "1 c r r"]) -> Distance:
        distances = [part(target_pm1) for part in measures]
        return lambda image_pm1: torch.stack([distance(image_pm1) for distance in distances]).sum()

    return measure


def as_rgb(image_pm1: Float[Tensor, "n c r r"]) -> Float[Tensor, "n 3 r r"]:
    """RGB in about [0, 1]: gray repeated, alpha left out."""
    rgb_pm1 = image_pm1[:, :1].expand(-1, 3, -1, -1) if image_pm1.shape[1] < 3 else image_pm1[:, :3]
    return (rgb_pm1 + 1) / 2


def script_features(path: Path, device: torch.device) -> Features:
    """The features of a TorchScript file's network.

    It is called with float RGB (1, 3, r, r) of levels 0 to 255, at most 256 pixels wide as in the paper, and returns
    tensors. Where its `forward` takes `resize_images` and `return_lpips`, as the VGG16 that NVIDIA publishes
    with StyleGAN2 does, they are False and True, and the distance is LPIPS.

    Raises:
        WeightsError: as `load_script`, or the network has other inputs or outputs.
    """
    network = load_script(path, device)
    known = {argument.name for argument in network.forward.schema.arguments}  # type: ignore[attr-defined]
    options = {name: value for name, value in (("resize_images", False), ("return_lpips", True)) if name in known}

    def features(rgb: Float[Tensor, "1 3 r r"]) -> list[Tensor]:
        if rgb.shape[-1] > _SCRIPT_EDGE:
            rgb = F.interpolate(rgb, size=(_SCRIPT_EDGE, _SCRIPT_EDGE), mode="area")
        try:
            result = network(rgb * 255, **options)
        except RuntimeError as error:
            raise WeightsError(
                f"{path} does not take float RGB (1, 3, {rgb.shape[-1]}, {rgb.shape[-1]}) of 0 to 255: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        outputs = [result] if isinstance(result, Tensor) else list(result)
        if not outputs or not all(isinstance(output, Tensor) and output.ndim in (2, 4) for output in outputs):
            raise WeightsError(f"{path} returns neither vectors (1, f) nor maps (1, f, h, w)")
        return outputs

    return features
