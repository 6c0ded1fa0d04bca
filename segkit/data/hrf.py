"""HRF (Budai et al. 2013): 45 photographs of 3504x2336, 15 each of healthy, diabetic and glaucomatous patients.

    images/01_h.jpg   manual1/01_h.tif   mask/01_h_mask.tif      also 01_dr and 01_g

The number counts the patients of a disease: 01_h, 01_dr and 01_g are three patients. The data set has no test part:
hold images out with `data.num_holdout`, or use cross-validation.
"""

from segkit.data import pairing
from segkit.data.readers import Published

LAYOUT = "images/01_h.jpg with manual1/01_h.tif and mask/01_h_mask.tif"
_PATIENT = r"(\d+_(?:h|dr|g))"
PATTERNS: pairing.Patterns = {
    ("train", "image"): f"images/{_PATIENT}",
    ("train", "reference"): f"manual1/{_PATIENT}",
    ("train", "region"): f"mask/{_PATIENT}_mask",
}

read = pairing.reader("hrf", PATTERNS, LAYOUT, published=Published(45, height=2336, width=3504))
