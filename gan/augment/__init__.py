"""Augmentation of what the discriminator sees (Karras 2020b, Appendix B).

The random numbers come from outside (`draw`) and what happens to an image is a pure function of its row of them, so a
step can be repeated exactly, ranks and passes can share a batch, and every transform can be checked by itself. They are
applied in the order of the paper, each to those images alone for which it was drawn: geometry (`geometry` and
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
