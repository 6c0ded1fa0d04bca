"""A folder with CHASE_DB1's names: both eyes of each child, in noise."""

from pathlib import Path

import numpy as np

from segkit.core import images

NAMES = [f"Image_{child:02d}{eye}" for child in range(1, 15) for eye in "LR"]
SIZE = (12, 10)


def draw(path: Path, seed: int) -> None:
    """A photograph of noise."""
    images.write_image(path, np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def draw_labels(path: Path) -> None:
    """A label map with a diagonal vessel."""
    images.write_mask(path, np.eye(*SIZE, dtype=bool))


def write(root: Path, names: list[str] | None = None) -> Path:
    """Write `images/` and `masks/` of these names, 28 images of 14 children by default."""
    for number, name in enumerate(NAMES if names is None else names):
        draw(root / "images" / f"{name}.png", number)
        draw_labels(root / "masks" / f"{name}.png")
    return root


def child(name: str) -> str:
    """The child of an image: its number, whatever the eye."""
    return name.removeprefix("Image_")[:2]
