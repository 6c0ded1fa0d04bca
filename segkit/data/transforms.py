"""Augmentation by albumentations.

The result is a function of the input and the seed, in any process and order of calls. The library is imported at the
first call that needs it.
"""

import functools
import math
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.errors import ConfigError
from segkit.data.crops import Crops, T, cut
from segkit.data.settings import Augmentation

if TYPE_CHECKING:
    import albumentations as A


PRESETS: tuple[str, ...] = get_args(Augmentation)

# Side of the window around a crop, relative to the crop, that covers it after rotation, shrinking and shear.
_WINDOW = {
    "none": 1.0,
    "flips": 1.0,
    "symmetries": 1.0,
    "rotations": math.sqrt(2),
    "paper": math.sqrt(2),
    "strong": 2.0,
    "photo": 2.0,
    "camera": 2.0,
}


class Augmented(NamedTuple):
    """An image and its maps after the same transformation."""

    image: Pixels
    """(h, w, c)"""
    target: Floats
    """(k, h, w) in [0, 1]; only 0 and 1 if the input has no other values."""
    region: Bools
    """(h, w); False where a pixel comes from outside the image."""
    confidence: Floats | None
    """(h, w) in [0, 1]"""


@dataclass(frozen=True)
class Transform:
    """A preset, optionally with a random crop."""

    preset: str
    crops: Crops | None

    def __call__(
        self,
        image: Pixels,
        target: Floats,
        region: Bools,
        confidence: Floats | None = None,
        seed: int = 0,
    ) -> Augmented:
        """Transform an image and its maps by the transformation of the seed.

        Args:
            image: (h, w, c), of 3 channels or 1.
            target: (k, h, w) in [0, 1]; resampled by nearest neighbour if the crop has only 0 and 1, else linearly.
            region: (h, w).
            confidence: (h, w) in [0, 1]; resampled like the target.
            seed: not negative.
        """
        num_channels = len(target)
        layers = [*target, region] if confidence is None else [*target, region, confidence]
        if self.crops is not None:
            top, left = self.crops.corner(target, region, np.random.default_rng([seed, 0xC209]))
            image, layers = self._window(image, top, left), [self._window(layer, top, left) for layer in layers]
        maps = np.stack(layers, axis=2).astype(np.float32)
        soft = bool(((maps[..., :num_channels] > 0) & (maps[..., :num_channels] < 1)).any())
        if self.preset != "none":
            compose = _compose(self.preset, self.crops and self.crops.size, soft, image.shape[2] == 3)
            # set_random_seed would give every step the same seed, so both flips would always coincide.
            compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            moved = compose(image=image, mask=maps)
            image, maps = moved["image"], moved["mask"]
        # After linear resampling only pixels completely inside the region remain.
        inside = maps[..., num_channels] > (0.99 if soft else 0.5)
        return Augmented(
            image=np.ascontiguousarray(image),
            target=np.ascontiguousarray(maps[..., :num_channels].transpose(2, 0, 1)),
            region=inside,
            confidence=None if confidence is None else np.ascontiguousarray(maps[..., num_channels + 1]),
        )

    def _window(self, array: npt.NDArray[T], top: int, left: int) -> npt.NDArray[T]:
        """Cut the window around a crop that the preset needs; transforming the whole image is slower."""
        assert self.crops is not None
        margin = math.ceil((_WINDOW[self.preset] - 1) * self.crops.size / 2)
        return cut(array, top - margin, left - margin, self.crops.size + 2 * margin)


def build(preset: str, crops: Crops | None = None) -> Transform:
    """The transform of a preset.

    Args:
        preset: `none`; `flips` (both, each with probability 0.5); `symmetries` (flips and quarter turns, the eight of
            a square); `rotations` (by any angle, in four of five draws); `paper` (flips and the offline operations of
            the paper: rotation, colour or neither, each in a third of the draws); `strong` (flips, any rotation,
            scale, shear, elastic bending, light, colour, blur, noise); `photo` (flips, rotation with scale and shift
            in half of the draws, light, colour, a little blur); `camera` (as `photo`, then blur, noise and JPEG
            compression as of poorer cameras, each in a part of the draws).
        crops: the random square crop; the whole image if None.

    Raises:
        ConfigError: no preset has this name.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no augmentation is called {preset!r}; there are: {', '.join(PRESETS)}")
    return Transform(preset, crops)


@functools.cache
def _compose(preset: str, crop_size: int | None, soft: bool, colour: bool) -> "A.Compose":
    """The albumentations pipeline; cached, because building it takes longer than running it."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it looks up its newest version online
    import albumentations as A
    import cv2

    crop = [] if crop_size is None else [A.CenterCrop(crop_size, crop_size)]
    flips = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    steps = {
        "flips": lambda: [*flips, *crop],
        "symmetries": lambda: [A.SquareSymmetry(p=1), *crop],
        "rotations": lambda: [A.Affine(rotate=(0, 360), p=0.8), *crop],
        "paper": lambda: _paper(flips, crop),
        "strong": lambda: _strong(flips, crop, colour),
        "photo": lambda: _photo(flips, crop),
        "camera": lambda: [*_photo(flips, crop), *_degradation()],
    }
    linear = cv2.INTER_LINEAR if soft else cv2.INTER_NEAREST
    return A.Compose(steps[preset](), mask_interpolation=linear)


def _paper(flips: "list[A.BasicTransform]", crop: "list[A.BasicTransform]") -> "list[A.BasicTransform]":
    """The augmentation of the paper's code: one of three operations, and flips.

    The third operation adds noise of mean 0.2 and deviation 0.3 to values from 0 to 255, which rounding removes; it is
    the identity here.
    """
    import albumentations as A
    import cv2

    class Enhance(A.ImageOnlyTransform):
        """Pillow's saturation, brightness, contrast and sharpness in the paper's order, with factors in tenths."""

        def get_params(self) -> dict[str, list[float]]:
            ranges = ((0, 30), (10, 20), (10, 20), (0, 30))
            return {"factors": [self.py_random.randint(*limits) / 10 for limits in ranges]}

        def apply(self, img: Pixels, factors: list[float], **params: object) -> Pixels:
            picture = Image.fromarray(img if img.shape[2] == 3 else img[..., 0])
            kinds = (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Sharpness)
            for kind, factor in zip(kinds, factors, strict=True):
                picture = kind(picture).enhance(factor)
            return np.array(picture).reshape(img.shape)

    rotation = A.Affine(rotate=(1, 359), interpolation=cv2.INTER_CUBIC, p=1)
    choices = [[rotation, *crop], [*crop, Enhance(p=1)], [*crop, A.NoOp(p=1)]]
    return [*flips, A.OneOf([A.Sequential(steps, p=1) for steps in choices], p=1)]


def _strong(flips: "list[A.BasicTransform]", crop: "list[A.BasicTransform]", colour: bool) -> "list[A.BasicTransform]":
    import albumentations as A

    hue, saturation = (8, 25) if colour else (0, 0)
    return [
        *flips,
        A.Affine(rotate=(-180, 180), scale=(0.85, 1.2), shear=(-6, 6), p=0.8),
        A.ElasticTransform(alpha=60, sigma=6, p=0.25),
        *crop,
        A.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.25, p=0.7),
        A.RandomGamma(gamma_limit=(70, 140), p=0.4),
        A.HueSaturationValue(hue_shift_limit=hue, sat_shift_limit=saturation, val_shift_limit=15, p=0.5),
        A.Illumination(intensity_range=(0.02, 0.2), p=0.3),
        A.OneOf([A.GaussianBlur(sigma_limit=(0.4, 1.2)), A.GaussNoise(std_range=(0.01, 0.04))], p=0.3),
    ]


def _photo(flips: "list[A.BasicTransform]", crop: "list[A.BasicTransform]") -> "list[A.BasicTransform]":
    """Differences between photographs of a fundus: pose, distance, exposure, white balance, focus.

    Half of the images are not resampled, because interpolation thins the finest vessels.
    """
    import albumentations as A
    import cv2

    pose = A.Affine(
        rotate=(-180, 180),
        scale=(0.8, 1.25),
        translate_percent=(-0.05, 0.05),
        keep_ratio=True,
        interpolation=cv2.INTER_CUBIC,
        p=0.5,
    )
    return [
        *flips,
        pose,
        *crop,
        A.ColorJitter(
            brightness=(0.75, 1.25), contrast=(0.75, 1.25), saturation=(0.75, 1.25), hue=(-0.01, 0.01), p=0.8
        ),
        A.RandomGamma(gamma_limit=(80, 125), p=0.3),
        A.MultiplicativeNoise(multiplier=(0.9, 1.1), per_channel=True, elementwise=False, p=0.5),
        A.GaussianBlur(sigma_limit=(0.3, 1.0), blur_limit=0, p=0.1),
    ]


def _degradation() -> "list[A.BasicTransform]":
    """What poorer cameras and files add: defocus, noise of the sensor, compression."""
    import albumentations as A

    return [
        A.GaussianBlur(sigma_limit=(0.5, 1.5), blur_limit=0, p=0.05),
        A.GaussNoise(std_range=(0.005, 0.05), p=0.1),
        A.ImageCompression(quality_range=(20, 90), p=0.1),
    ]
