"""Detection of drawn images that are copies of training images, under flips, shifts, turns and changes of scale.

GANs on few images can memorise them (Feng 2021), and measures of quality then rate them well. As in Carlini 2023, an
image is a copy if it is much nearer to one training image than to the next ones. The criterion is a ratio of distances,
as in Lowe 2004, so neither a blurred image that is near to all nor a common shade counts as a copy. The threshold comes
from the distances among the training images, as in Dar 2024.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy import ndimage
from torch import Tensor, nn

from gan.fidelity.structure import shrink, structure
from segkit.core.groups import patients_of

MIN_TRAINING_IMAGES = 3
"""Minimum for comparing distances among training images."""

NUM_NEXT = 5
"""Number of the next nearest training images, whose mean distance is the denominator of the ratio."""

SMALLEST_THRESHOLD, LARGEST_THRESHOLD = 0.5, 0.8
"""Limits of the threshold on the ratio. 0.8 is Lowe's. Of DRIVE's 40 photographs at 64x64, cut at random into
10 (or 20) training images and the rest, no other photograph came below 0.82 (0.87) in 200 cuts; training images that
were mirrored, turned, shifted, scaled, blurred, made noisy or compressed came to 0.70 at most."""

NUM_DEVIATIONS = 3.0
"""Standard deviations from the median of the training images' own ratios down to the threshold."""

SHIFT_RANGE = 1 / 8
"""Maximum shift in either direction, in edges."""

_ANGLES, _ZOOMS = (-16.0, -8.0, 0.0, 8.0, 16.0), (0.85, 0.92, 1.0, 1.08, 1.16)
_MANY = 100
"""With more training images only flips, quarter turns and shifts are searched, to save time."""


class Transform(NamedTuple):
    """Transform of a training image: mirror, then quarter turns, then rotation and scaling about its centre.

    Turns are counter-clockwise.
    """

    mirrored: bool = False
    quarter_turns: int = 0
    degrees: float = 0.0
    zoom: float = 1.0

    def apply(self, image: UInt8[np.ndarray, "r r c"]) -> UInt8[np.ndarray, "r r c"]:
        """The transformed image; pixels from outside are black."""
        turned = np.rot90(image[:, ::-1] if self.mirrored else image, self.quarter_turns)
        if self.degrees == 0 and self.zoom == 1:
            return np.ascontiguousarray(turned)
        angle = math.radians(self.degrees)
        cos, sin = math.cos(angle) / self.zoom, math.sin(angle) / self.zoom
        matrix = np.array([[cos, sin], [-sin, cos]])  # rows and columns here to rows and columns there
        middle = np.full(2, (len(image) - 1) / 2)
        offset = middle - matrix @ middle
        planes = [ndimage.affine_transform(plane, matrix, offset, order=1) for plane in np.moveaxis(turned, 2, 0)]
        return np.stack(planes, axis=2)

    def __str__(self) -> str:
        parts = ["mirrored"] if self.mirrored else []
        parts += [f"turned {90 * self.quarter_turns}°"] if self.quarter_turns else []
        parts += [f"turned {self.degrees:+g}°"] if self.degrees else []
        parts += [f"scaled {self.zoom:g}"] if self.zoom != 1 else []
        return ", ".join(parts)


FLIPS = tuple(Transform(mirrored, turns) for mirrored, turns in product((False, True), range(4)))
SLIGHT = tuple(
    Transform(mirrored, 0, degrees, zoom)
    for mirrored, degrees, zoom in product((False, True), _ANGLES, _ZOOMS)
    if (degrees, zoom) != (0, 1)
)


class Match(NamedTuple):
    """Distances of an image to all training images, and the transform of the nearest one."""

    distances: Float[np.ndarray, " n"]
    """Between structures of length 1: 0 for the same image, about 1.4 for unrelated ones, 2 for the negative."""
    transform: Transform
    """Of the nearest training image."""
    shift: tuple[int, int]
    """Rows and columns by which it is moved, in pixels of the image."""

    @property
    def nearest(self) -> int:
        """Number of the nearest training image."""
        return int(self.distances.argmin())


class CopySearch(nn.Module):
    """Searches the nearest training image over all transforms and all whole-pixel shifts.

    Args:
        training: the training images as the discriminator receives them, at least `MIN_TRAINING_IMAGES`.
    """

    spectra: Tensor

    def __init__(self, training: UInt8[np.ndarray, "n r r c"]) -> None:
        super().__init__()
        self.num_images, self.resolution = len(training), training.shape[1]
        self.transforms: Sequence[Transform] = FLIPS if len(training) > _MANY else FLIPS + SLIGHT
        small = [shrink(image) for image in training]
        templates = np.stack([[structure(transform.apply(image)) for transform in self.transforms] for image in small])
        self.edge = templates.shape[-1]
        self.reach = max(1, round(SHIFT_RANGE * self.edge))
        self.padded = self.edge + 2 * self.reach  # zero padding, since the cross-correlation is circular
        shifts = torch.arange(-self.reach, self.reach + 1)
        self.register_buffer("shifts", shifts % self.padded, persistent=False)
        spectra = torch.fft.rfft2(torch.from_numpy(templates), (self.padded, self.padded)).conj().resolve_conj()
        self.register_buffer("spectra", spectra, persistent=False)

    @torch.inference_mode()
    def match(self, image: UInt8[np.ndarray, "r r c"]) -> Match:
        """Compare one image with all training images, under all transforms and shifts at once.

        The squared distance of two structures of length 1 is 2 - 2 x their product, and the products for all shifts are
        one cross-correlation, computed by Fourier transforms.
        """
        picture = torch.from_numpy(structure(image)).to(self.spectra.device)
        spectrum = torch.fft.rfft2(picture, (self.padded, self.padded))
        products = torch.fft.irfft2(spectrum * self.spectra, (self.padded, self.padded))
        shifts: Tensor = self.get_buffer("shifts")
        products = products[..., shifts[:, None], shifts].flatten(1).cpu()
        best, where = products.max(dim=1)
        distances = (2 - 2 * best.double()).clamp(min=0).sqrt().numpy()
        nearest = int(distances.argmin())
        width = 2 * self.reach + 1
        transform, shift = divmod(int(where[nearest]), width * width)
        scale = self.resolution // self.edge
        down, right = ((moved - self.reach) * scale for moved in divmod(shift, width))
        return Match(distances, self.transforms[transform], (down, right))


def closeness(distances: Float[np.ndarray, "m n"], groups: Sequence[str] | None = None) -> Float[np.ndarray, " m"]:
    """Distance to the nearest training image over the mean distance to the `NUM_NEXT` next ones, in [0, 1].

    0 if an image equals its nearest one. `groups` is the patient of each training image, by default a different one for
    each. The next images are of other patients than the nearest one, since the other eye of a copied patient is near
    too. Images at an infinite distance do not count.
    """
    patients = patients_of(distances.shape[1], groups)
    nearest = distances.argmin(axis=1)
    others = np.where(patients != patients[nearest][:, None], distances, np.inf)
    following = np.sort(others, axis=1)[:, :NUM_NEXT]
    known = np.isfinite(following)
    mean = np.where(known, following, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    ratio: np.ndarray = distances.min(axis=1) / np.where(mean > 0, mean, 1.0)
    return ratio


def among_themselves(
    distances: Float[np.ndarray, "n n"], groups: Sequence[str] | None = None
) -> Float[np.ndarray, " n"]:
    """`closeness` of each training image to all those of other patients, as if it were drawn."""
    patients = patients_of(len(distances), groups)
    return closeness(np.where(patients[:, None] == patients, np.inf, distances), groups)


def copy_threshold(training_closeness: Float[np.ndarray, " n"]) -> float:
    """The closeness below which an image counts as a copy.

    Three standard deviations below the middle of the training images' closeness among themselves, limited to 0.5 to
    0.8. Middle and deviation are the median and 1.48 x the median absolute deviation, which are robust to some pairs of
    similar training images.
    """
    middle = float(np.median(training_closeness))
    deviation = 1.4826 * float(np.median(np.abs(training_closeness - middle)))
    return min(max(middle - NUM_DEVIATIONS * deviation, SMALLEST_THRESHOLD), LARGEST_THRESHOLD)
