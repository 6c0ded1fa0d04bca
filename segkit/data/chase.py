"""CHASE_DB1 (Fraz et al. 2012): both eyes of 14 children, 28 photographs of 999x960, labelled by two observers.

    Image_01L.jpg   Image_01L_1stHO.png   Image_01L_2ndHO.png      in one folder or in sub-folders

The left and the right eye of a child are one group. There are no fields of view; they are estimated. The data set has
no test part: hold images out with `data.num_holdout`, or use cross-validation.
"""

from segkit.data import groups, pairing
from segkit.data.readers import Published

LAYOUT = "Image_01L.jpg with Image_01L_1stHO.png"
_IMAGE = r"(?:.*/)?(Image_\d+[LR])"
PATTERNS: pairing.Patterns = {
    ("train", "image"): _IMAGE,
    ("train", "reference"): _IMAGE + "_1stHO",
    ("train", "observer2"): _IMAGE + "_2ndHO",
}

read = pairing.reader("chase", PATTERNS, LAYOUT, published=Published(28, height=960, width=999), group_of=groups.child)
