"""Phantoms that are no fundi: sections under the electron microscope and stained patches, with exact label maps."""

import numpy as np

from segkit.core.arrays import Bools, Pixels
from segkit.core.images import from_unit

_STAIN = {  # red, green and blue of background, glomerulus, podocyte and other nuclei
    "tissue": (226, 178, 205),
    "glomerulus": (200, 138, 180),
    "podocyte": (150, 60, 70),
    "nucleus": (92, 70, 150),
}


def draw_section(seed: int, section: int, height: int, width: int) -> tuple[Pixels, Bools]:
    """An electron-microscope section: the gray image (h, w), and the interior of cells (h, w), the rest is membrane.

    `seed` is of the volume, whose sections show the same cells; these move slowly from one `section` to the next.
    """
    from scipy import ndimage, spatial

    rng = np.random.default_rng([seed, height, width])
    spacing = min(height, width) / 8
    num_cells = max(4, round(height * width / spacing**2))
    start, speed = rng.uniform(0, (height, width), (num_cells, 2)), rng.normal(0, spacing / 30, (num_cells, 2))
    grain = np.random.default_rng([seed, height, width, section])
    rows, columns = np.mgrid[:height, :width]
    near, _ = spatial.cKDTree(start + section * speed).query(np.stack([rows, columns], axis=-1), k=2)
    interior = near[..., 1] - near[..., 0] > max(1.5, spacing / 8)
    light = np.where(interior, 0.68, 0.22) + 0.10 * ndimage.gaussian_filter(grain.normal(0, 1, interior.shape), 2)
    light = ndimage.gaussian_filter(light, 0.7) + grain.normal(0, 0.03, interior.shape)
    return from_unit(light), interior


def draw_patch(slide: int, patch: int, height: int, width: int, seed: int = 0) -> tuple[Pixels, Pixels]:
    """A stained patch (h, w, 3) and its class indices (h, w): background, glomerulus, podocyte, other nuclei.

    Patches of one slide have one stain; `seed` is of the whole set.
    """
    from scipy import ndimage

    stain = np.random.default_rng([seed, slide]).uniform(0.85, 1.1, 3)
    rng = np.random.default_rng([seed, slide, patch, height, width])
    rows, columns = np.mgrid[:height, :width]
    side = min(height, width)
    centre = rng.uniform(0.35, 0.65, 2) * (height, width)
    from_centre = np.hypot(rows - centre[0], columns - centre[1])
    labels = np.where(from_centre < rng.uniform(0.25, 0.4) * side, 1, 0).astype(np.uint8)
    for _ in range(40):
        place, radius = rng.uniform(0, (height, width)), rng.uniform(0.02, 0.035) * side
        nucleus = np.hypot(rows - place[0], columns - place[1]) < max(radius, 1)
        inside = labels[int(place[0]), int(place[1])] == 1
        labels[nucleus & (labels < 2)] = 2 if inside and rng.random() < 0.5 else 3
    colors = np.array(list(_STAIN.values()))[labels] * stain
    colors = ndimage.gaussian_filter(colors, (0.8, 0.8, 0))
    colors += 6 * ndimage.gaussian_filter(rng.normal(0, 1, colors.shape), (1, 1, 0)) + rng.normal(0, 2, colors.shape)
    return np.rint(np.clip(colors, 0, 255)).astype(np.uint8), labels
