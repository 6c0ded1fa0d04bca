"""All images of a data set on one picture, with labels and fields of view drawn in."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segkit.core import images
from segkit.core.arrays import Floats, Pixels
from segkit.core.classes import Classes
from segkit.core.errors import DatasetError, ImageError
from segkit.core.manifest import Row
from segkit.data.fov import read_region
from segkit.data.labels import read_labels, target_maps

SIDE = 288
"""Pixels of a thumbnail's longer side."""
MAX_IMAGES = 60
POSITIVE = (0, 229, 255)
"""Colour of the class of a binary task, which shows on retina, tissue and gray."""
GIVEN, ESTIMATED = (255, 255, 255), (255, 221, 64)
"""Outline of a field of view with a map, and of an estimated one."""

_LINE = 18
_TINT = 0.3


def contact_sheet(rows: Sequence[Row], classes: Classes) -> Pixels:
    """A picture (h, w, 3) of thumbnails with their names; the images are decoded one at a time.

    Label maps are tinted and outlined in their classes' colours, of several classes all but the first; fields of view
    are outlined. Of more than `MAX_IMAGES` images evenly spaced ones are shown.
    """
    shown = [rows[round(at)] for at in np.linspace(0, len(rows) - 1, min(len(rows), MAX_IMAGES))]
    columns = max(3, math.ceil(math.sqrt(1.5 * len(shown))))
    cell = (SIDE + 8, SIDE + _LINE + 8)
    canvas = Image.new(
        "RGB", (columns * cell[0] + 8, math.ceil(len(shown) / columns) * cell[1] + 2 * _LINE), (24, 24, 24)
    )
    pen = ImageDraw.Draw(canvas)
    _write_legend(pen, classes, f"{len(shown)} of {len(rows)} images")
    for number, row in enumerate(shown):
        left, top = 8 + number % columns * cell[0], 2 * _LINE + number // columns * cell[1]
        try:
            canvas.paste(Image.fromarray(_thumbnail(row, classes)), (left, top + _LINE))
            caption = row.name
        except (DatasetError, ImageError):
            caption = f"{row.name}: wrong, see the check"
        pen.text((left, top + 2), caption, (230, 230, 230), _font())
    return np.asarray(canvas)


def _write_legend(pen: ImageDraw.ImageDraw, classes: Classes, counts: str) -> None:
    parts = [(counts, (230, 230, 230)), *zip(classes.names, _colors(classes), strict=True)]
    if classes.field_of_view:
        parts += [("field of view", GIVEN), ("estimated field of view", ESTIMATED)]
    left = 8.0
    for text, color in parts:
        visible = color if sum(color) > 120 else (150, 150, 150)
        pen.text((left, 8), text, visible, _font())
        left += pen.textlength(text, _font()) + 18


def _colors(classes: Classes) -> Sequence[tuple[int, int, int]]:
    return (POSITIVE,) if classes.kind == "binary" else classes.palette


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _thumbnail(row: Row, classes: Classes) -> Pixels:
    image = images.read_image(*row.image)
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX), np.float32)
    if row.reference is not None:
        targets = target_maps(read_labels(row.reference, classes), classes)
        marked = list(zip(targets, _colors(classes), strict=True))
        for target, color in marked if classes.kind == "binary" else marked[1:]:
            drawn = _marked(drawn, _resized(target, size), color, tint=_TINT)
    if classes.field_of_view or row.region is not None:
        region = read_region(row, classes, image).astype(np.float32)
        drawn = _marked(drawn, _resized(region, size), ESTIMATED if row.region is None else GIVEN, tint=0)
    return np.rint(drawn).astype(np.uint8)


def _resized(values: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BOX), np.float32)


def _marked(drawn: Floats, share: Floats, color: tuple[int, int, int], tint: float) -> Floats:
    """A picture (h, w, 3) with a map (h, w) of shares tinted and its border drawn."""
    from scipy import ndimage

    inside = share >= 0.5
    # the picture's frame is no border of what it cuts
    border = inside & ~ndimage.binary_erosion(inside, border_value=1)
    opacity = np.where(border, 0.85, tint * share)[:, :, None]
    return np.asarray(drawn * (1 - opacity) + np.array(color, np.float32) * opacity, np.float32)
