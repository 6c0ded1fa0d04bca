"""Feature networks, whose outputs the measures compare."""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from gan.checkpoints.torchscript import load_script
from segkit.core.errors import SegkitError, WeightsError


class Features(Protocol):
    """A feature network: levels 0-255 in, one vector per image out."""

    def __call__(self, images: UInt8[Tensor, "n r r c"]) -> Float[Tensor, "n d"]: ...


class TorchScriptFeatures(nn.Module):
    """A network from a TorchScript file, as `inception-2015-12-05.pt` for the FID and KID of the papers.

    It is called as `module(images, return_features=True)` with uint8 (n, 3, r, r) and returns (n, d). Loading such a
    file runs code of whoever made it: only load one you trust. Grey images are repeated in three channels, and of
    four channels the first three count.

    Raises:
        WeightsError: as `load_script`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.network = load_script(path, torch.device("cpu"))

    @torch.inference_mode()
    def forward(self, images: UInt8[Tensor, "n r r c"]) -> Float[Tensor, "n d"]:
        rgb = images.expand(-1, -1, -1, 3) if images.shape[3] == 1 else images[..., :3]
        try:
            features = self.network(rgb.permute(0, 3, 1, 2).contiguous(), return_features=True)
        except (RuntimeError, TypeError) as error:
            raise WeightsError(
                f"{self.path} could not be called as module(uint8 images (n, 3, r, r), return_features=True): "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise WeightsError(f"{self.path} returned {shape} for {len(images)} images; (n, d) is expected")
        return features.float()


def stacked(features: list[Float[np.ndarray, " d"]], images: str) -> Float[np.ndarray, "n d"]:
    """Vectors of several images as one float64 array.

    Args:
        images: what they are, for the error.

    Raises:
        SegkitError: a feature is not finite.
    """
    rows = np.stack(features).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise SegkitError(
            f"the features of {len(broken)} of the {len(rows)} {images} are not finite (first: number {broken[0]}); "
            "the network or the images are broken"
        )
    return rows
