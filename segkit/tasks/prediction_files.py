"""The images that a model predicts, read one after the other, and the files of its maps."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import BasePredictionWriter

from segkit.core import images
from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import ImageError
from segkit.core.manifest import Row
from segkit.core.wording import counted
from segkit.data import labels
from segkit.data.fov import fov_diameter, is_blank, read_region
from segkit.metrics.curves import quantise
from segkit.tasks.prediction import predicted_labels


class InferenceImage(TypedDict):
    """One image to predict."""

    name: str
    image: Pixels
    """(h, w, 3)"""
    region: Bools
    """(h, w); pixels outside are not predicted."""


Report = Callable[[Row, str, str], None]
"""Called with a row, "error" or "warning", and the text."""

MIN_SIDE = 32
"""A picture with a shorter side than this, in pixels, is probably no image to segment."""


NOT_SCALED = "shows no border of a field of view, so it is predicted at its own size (--scale changes that)"

PALETTE = 256
"""Colours of a GIF or a palette PNG; a photograph converted to one has lost its thin vessels."""


def _num_colors(image: Pixels) -> int:
    """Different colours among at most 2^18 pixels, spread over the image."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // 2**16))
    packed = image[::step, ::step].astype(np.uint32) @ np.array([1, 2**8, 2**16], np.uint32)
    return len(np.unique(packed))


def image_warnings(row: Row, image: Pixels, classes: Classes, num_pages: int) -> list[str]:
    """Why a decoded picture (h, w, 3) may not be an image of the kind that a model was trained on; usually nothing.

    `classes` are the model's; `num_pages` of the picture's file are predicted.
    """
    height, width = image.shape[:2]
    warnings = []
    if min(height, width) < MIN_SIDE:
        warnings.append(f"only {width}x{height} pixels")
    if is_blank(image):
        warnings.append("blank, so nothing is predicted")
    elif (image == image[:, :, :1]).all():
        levels = len(np.unique(image[:, :, 0]))
        if levels <= 2:
            warnings.append(f"only {counted(levels, 'gray level')}, as in a label map")
        elif classes.field_of_view:
            warnings.append("gray, not in colour")
    elif _num_colors(image) <= PALETTE < height * width / 4:
        warnings.append(f"not more than {PALETTE} colours, as in a GIF; give the original photograph")
    if 0 < image.max() < 32:
        warnings.append(f"nearly black, its brightest level is {image.max()} of 255")
    if num_pages == 1 and (frames := images.num_frames(row.image.path)) > 1:
        warnings.append(f"the first of {frames} frames is used")
    return warnings


class ImageLoader:
    """Images of rows, decoded one after the other.

    Args:
        report: takes each image that cannot be read, which is left out, and each warning; without it the first image
            that cannot be read raises ImageError and nothing is warned of.
        classes: of the model; they state whether images have a field of view.
        auto_scale: whether images are scaled by their field of view; one that shows no border of it is warned of.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        report: Report | None = None,
        classes: Classes = VESSEL,
        auto_scale: bool = False,
    ) -> None:
        self.rows, self.classes, self.report, self.auto_scale = rows, classes, report, auto_scale

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[InferenceImage]:
        pages = Counter(row.image.path for row in self.rows)
        for row in self.rows:
            try:
                image = images.read_image(*row.image)
                region = read_region(row, self.classes, image)
                if region.shape != image.shape[:2]:
                    sizes = [f"{shape[1]}x{shape[0]}" for shape in (region.shape, image.shape)]
                    raise ImageError(
                        f"{row.region} is {sizes[0]} pixels, its image {sizes[1]}; give masks of that size"
                    )
            except ImageError as error:
                if self.report is None:
                    raise
                self.report(row, "error", str(error))
                continue
            if self.report is not None:
                for text in image_warnings(row, image, self.classes, pages[row.image.path]):
                    self.report(row, "warning", text)
                measured = self.auto_scale and self.classes.field_of_view and not is_blank(image)
                if measured and fov_diameter(region) is None:
                    self.report(row, "warning", NOT_SCALED)
            yield InferenceImage(name=row.name, image=image, region=region)


class MapWriter(BasePredictionWriter):
    """Writes each map when it is computed; every rank writes its own maps.

    Args:
        probs_dir: folder of the 16-bit probabilities (`segkit.data.labels.probs_path`).
        labels_dir: folder of the predictions as `<name>.png`: 255 where the stored probability reaches the threshold,
            or the index of the most probable class; None to write none.
    """

    def __init__(
        self, probs_dir: Path, classes: Classes = VESSEL, labels_dir: Path | None = None, threshold: float = 0.5
    ) -> None:
        super().__init__("batch")
        self.probs_dir, self.classes, self.labels_dir, self.threshold = probs_dir, classes, labels_dir, threshold

    def paths(self, name: str) -> list[Path]:
        """The output files of an image."""
        maps = [labels.probs_path(self.probs_dir, name, self.classes)]
        return maps if self.labels_dir is None else [*maps, self.labels_dir / f"{name}.png"]

    def missing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with a missing file; existing files are complete."""
        return [row for row in rows if not all(path.exists() for path in self.paths(row.name))]

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: object,
        prediction: Floats,
        batch_indices: object,
        batch: InferenceImage,
        *_: object,
    ) -> None:
        probs, *others = self.paths(batch["name"])
        labels.write_probs(probs, prediction)
        for path in others:
            labels.write_labels(
                path, predicted_labels(quantise(prediction), self.classes, self.threshold), self.classes
            )
