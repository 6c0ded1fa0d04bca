"""STARE (Hoover et al. 2000): 20 photographs of 700x605, labelled by two observers.

    im0001.ppm   im0001.ah.ppm   im0001.vk.ppm      in one folder or in sub-folders, also packed as .ppm.gz

A. Hoover's map is the reference, V. Kouznetsova's the second observer's. There are no fields of view; they are
estimated. The names state no patients, so each image is its own group. The data set has no test part: hold images out
with `data.num_holdout`, or use cross-validation.
"""

from segkit.data import pairing
from segkit.data.readers import Published

LAYOUT = "im0001.ppm with im0001.ah.ppm"
_IMAGE = r"(?:.*/)?(im\d+)"
PATTERNS: pairing.Patterns = {
    ("train", "image"): _IMAGE,
    ("train", "reference"): _IMAGE + r"\.ah",
    ("train", "observer2"): _IMAGE + r"\.vk",
}

read = pairing.reader("stare", PATTERNS, LAYOUT, published=Published(20, height=605, width=700))
