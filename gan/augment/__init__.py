"""Augmentation of the discriminator's images (Karras 2020b, Appendix B).

Each image's transform is a pure function of its row of random numbers (`draw`), so steps can be repeated exactly, ranks
and passes can share a batch, and each transform can be tested by itself. Transforms are applied in the order of the
paper, each only to the images for which it was drawn: geometry (`geometry` and
`resampling`), colour (`color`), frequency bands (`filters`), noise and cutout (`corruption`). `pipe` holds the presets
and the module.
"""

from gan.augment.draws import Draws, draw
from gan.augment.geometry import GEOMETRIES, Geometry, geometry_matrices
from gan.augment.pipe import PRESETS, AugmentPipe, Transforms
from gan.augment.resampling import warp
from gan.augment.wavelets import SYM2, SYM6

__all__ = [
    "GEOMETRIES",
    "PRESETS",
    "SYM2",
    "SYM6",
    "AugmentPipe",
    "Draws",
    "Geometry",
    "Transforms",
    "draw",
    "geometry_matrices",
    "warp",
]
