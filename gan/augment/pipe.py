"""The presets of transforms, and the module that applies one of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gan.augment.color import Color, color_matrices, recolor
from gan.augment.corruption import add_noise, cut_out, cutout_bounds, noise_stds
from gan.augment.draws import Draws
from gan.augment.filters import amplify, band_gains
from gan.augment.geometry import GEOMETRIES, Geometry, geometry_matrices
from gan.augment.resampling import warp
from gan.augment.transfer import to_device_of
from gan.augment.wavelets import filter_bank, low_pass


class Transforms(NamedTuple):
    """Strengths of all transforms; the default of each field disables it."""

    geometry: Geometry = Geometry()
    color: Color = Color()
    band_std: float = 0.0
    """Amplify each of four frequency bands by 2^N(0, this)."""
    noise_std: float = 0.0
    """Add noise of standard deviation |N(0, this)|."""
    cutout_size: float = 0.0
    """Cut out a square whose edge is this share of the image's."""


_COLOR = Color(brightness_std=0.2, contrast_std=0.5, luma_flip=True, hue=180.0, saturation_std=1.0)
_BG = Transforms(geometry=GEOMETRIES["bg"])
PRESETS: dict[str, Transforms] = {
    "blit": Transforms(geometry=GEOMETRIES["blit"]),
    "geom": Transforms(geometry=GEOMETRIES["geom"]),
    "color": Transforms(color=_COLOR),
    "filter": Transforms(band_std=1.0),
    "noise": Transforms(noise_std=0.1),
    "cutout": Transforms(cutout_size=0.5),
    "bg": _BG,
    "bgc": _BG._replace(color=_COLOR),
    "bgcf": _BG._replace(color=_COLOR, band_std=1.0),
    "bgcfn": _BG._replace(color=_COLOR, band_std=1.0, noise_std=0.1),
    "bgcfnc": _BG._replace(color=_COLOR, band_std=1.0, noise_std=0.1, cutout_size=0.5),
    "fundus": Transforms(geometry=GEOMETRIES["fundus"]),
}


class AugmentPipe(nn.Module):
    """The transforms of a preset, each applied with chance `p`, which is part of a checkpoint.

    The buffers have the names and shapes of those in the official checkpoints.
    """

    p: Tensor
    Hz_geom: Tensor
    Hz_fbank: Tensor

    def __init__(self, transforms: str, p: float = 0.0) -> None:
        super().__init__()
        self.transforms = PRESETS[transforms]
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("Hz_geom", low_pass())
        self.register_buffer("Hz_fbank", filter_bank())
        self.chance = 0.0  # p as a number, so reading it waits for no device
        self.set_p(p)
        self.register_load_state_dict_post_hook(lambda module, _: module.set_p(float(module.p)))

    def set_p(self, p: float) -> None:
        """Set the chance of each transform, in [0, 1]."""
        self.p.fill_(p)
        self.chance = torch.tensor(p, dtype=torch.float32).item()  # rounded like the buffer

    def forward(self, images: Float[Tensor, "n c r r"], draws: Draws) -> Float[Tensor, "n c r r"]:
        """Augment images in [-1, 1]; images for which no transform was drawn are not changed."""
        if not self.chance:
            return images
        t, p, (_, channels, _, edge) = self.transforms, self.chance, images.shape
        placed = geometry_matrices(t.geometry, p, draws, edge)
        images = _change(images, placed, torch.eye(3), lambda x, matrices: warp(x, matrices, self.Hz_geom))
        colored = color_matrices(t.color, p, draws, channels)
        images = _change(images, colored, torch.eye(4), recolor)
        gains = band_gains(t.band_std, p, draws)
        images = _change(images, gains, torch.ones(4), lambda x, gains: amplify(x, gains, self.Hz_fbank))
        images = add_noise(images, noise_stds(t.noise_std, p, draws), draws.noise_seed)
        return cut_out(images, cutout_bounds(t.cutout_size, p, draws, edge))


def _change(
    images: Float[Tensor, "n c r r"],
    amounts: Float[Tensor, "n ..."],
    nothing: Float[Tensor, "..."],
    transform: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, "n c r r"]:
    """Transform only the images that these amounts would change."""
    changed: Bool[Tensor, " n"] = (amounts != nothing).flatten(1).any(dim=1)
    if not changed.any():
        return images
    if changed.all():
        return transform(images, amounts)
    index = changed.nonzero()[:, 0]
    there = to_device_of(images, index)
    return images.index_copy(0, there, transform(images.index_select(0, there), amounts[index]))
