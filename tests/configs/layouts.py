"""Phantoms in the public layouts of the data sets that shipped settings files are for."""

from collections.abc import Callable
from pathlib import Path

from segkit.core import images
from segkit.data import phantom

SIDE = 64


def drive(root: Path) -> None:
    """Images 21 to 40 for training and two test images."""
    phantom.write_dataset(root, num_train=20, num_test=2, height=SIDE, width=SIDE)


def drive_article(root: Path) -> None:
    """Four training, two validation and two test images in folders of their own."""
    for part, numbers in {"train": range(21, 25), "valid": range(37, 39), "test": range(1, 3)}.items():
        for number in numbers:
            drawn = phantom.draw(number, SIDE, SIDE)
            images.write_image(root / f"{part}_images" / f"{number:02d}.png", drawn.image)
            images.write_mask(root / f"{part}_masks" / f"{number:02d}.png", drawn.vessels)


def hrf(root: Path) -> None:
    """Two photographs of each disease, and those that the slides' test part names."""
    names = ["07_dr", "05_g", "08_h", "14_h", "01_g", "15_dr", "01_h", "02_h", "01_dr", "02_dr", "02_g", "03_g"]
    for number, name in enumerate(names):
        drawn = phantom.draw(number, SIDE, SIDE)
        images.write_image(root / "images" / f"{name}.png", drawn.image)
        images.write_mask(root / "manual1" / f"{name}.png", drawn.vessels)
        images.write_mask(root / "mask" / f"{name}_mask.png", drawn.fov)


def isbi2012(root: Path) -> None:
    """Eight sections, one file each."""
    for number in range(8):
        drawn = phantom.draw(number, SIDE, SIDE)
        images.write_image(root / "train" / "image" / f"{number}.png", drawn.image[..., 1])
        images.write_mask(root / "train" / "label" / f"{number}.png", ~drawn.vessels)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "drive": drive,
    "drive-article": drive_article,
    "hrf": hrf,
    "isbi2012": isbi2012,
}
"""By the name of the reader."""
