"""DRIVE cut into 16 training, 4 validation and 20 test images, in the layout of a public article on DeepLabV3.

    train_images/21_training.tif   train_masks/21_manual1.gif
    valid_images/31_training.tif   valid_masks/31_manual1.gif
    test_images/01_test.tif                                        test_masks/ if there are any

Files are paired by the number that their names begin with; any image format is read. The validation part is kept as it
is, `data.num_val` cuts none; with `data.num_folds` it takes part in the folds. There are no fields of view; they are
estimated.
"""

from segkit.core.manifest import Split
from segkit.data import pairing
from segkit.data.pairing import Kind
from segkit.data.readers import Published

LAYOUT = "train_images/21_training.tif with train_masks/21_manual1.gif, valid_images/ and valid_masks/"
PARTS: dict[Split, str] = {"train": "train", "val": "valid", "test": "test"}
KINDS: dict[Kind, str] = {"image": "images", "reference": "masks"}
PATTERNS: pairing.Patterns = {
    (split, kind): rf"{part}_{folder}/(\d+)(?:\D.*)?" for split, part in PARTS.items() for kind, folder in KINDS.items()
}

read = pairing.reader("drive-article", PATTERNS, LAYOUT, published=Published(20, height=584, width=565))
