"""The classes of a data set, which also give the number of channels that a network predicts."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.config import Settings
from segkit.core.errors import DatasetError

_Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[_Level, _Level, _Level]
"""Red, green, blue."""

DEFAULT_COLORS: tuple[Color, ...] = (
    (0, 0, 0),
    *((230, 75, 53), (77, 187, 213), (0, 160, 135), (60, 84, 136), (243, 155, 127), (132, 145, 180), (126, 97, 72)),
)
"""Colours of class 0, 1, 2, ...; they repeat after class 0 where there are more classes."""


class Classes(Settings):
    """Names and kind of what is segmented: part of the data set, of its manifest and of the model card.

    A binary label map marks one class: bright pixels belong to it. A multi-class label map holds the index of each
    pixel's class, 0 to len(names) - 1.
    """

    kind: Literal["binary", "multiclass"] = "binary"
    names: tuple[str, ...] = Field(("vessel",), min_length=1)
    """Binary: the one class that is marked. Multi-class: every class, the background first."""
    colors: tuple[Color, ...] = ()
    """RGB of each class in pictures, and in label maps that are coded by colour, in the order of `names`. If empty, a
    default palette, and label maps hold indices."""
    ignored: int | None = Field(None, ge=0, le=255)
    """Multi-class: label of pixels that count neither in training nor in scoring, for example 255."""
    field_of_view: bool = True
    """Whether the images are fundus photographs, whose field of view is estimated where no map of it is given. If
    false, all pixels of such an image count."""

    @model_validator(mode="after")
    def _names_fit_the_kind(self) -> Classes:
        if self.kind == "binary" and len(self.names) != 1:
            raise ValueError(f"a binary label map marks one class, not {len(self.names)}; use kind: multiclass")
        if self.kind == "multiclass" and len(self.names) < 2:
            raise ValueError("multi-class label maps need at least two names, the background's among them")
        if len(set(self.names)) < len(self.names):
            raise ValueError("the names of the classes must differ")
        if self.colors and len(self.colors) != len(self.names):
            raise ValueError(f"{len(self.names)} classes have {len(self.colors)} colors; give one for each, or none")
        if len(set(self.colors)) < len(self.colors):
            raise ValueError("each class needs a color of its own")
        if self.ignored is not None and (self.kind == "binary" or self.ignored < len(self.names)):
            raise ValueError("`ignored` must be a label of a multi-class map that no class has")
        return self

    @property
    def num_channels(self) -> int:
        """Channels of logits, probabilities and targets: 1 for a binary task, one per class otherwise."""
        return 1 if self.kind == "binary" else len(self.names)

    @property
    def palette(self) -> tuple[Color, ...]:
        """One RGB colour per name."""
        if self.colors:
            return self.colors
        if self.kind == "binary":
            return DEFAULT_COLORS[1:2]
        repeated = DEFAULT_COLORS[1:]
        return (DEFAULT_COLORS[0], *(repeated[index % len(repeated)] for index in range(len(self.names) - 1)))

    def indices(self, colors: Pixels) -> Pixels:
        """A colour-coded label map (h, w, 3) as class indices (h, w); the gray of the level `ignored` is ignored.

        Raises:
            DatasetError: a pixel has a colour that is none of `colors`.
        """
        labels = dict(enumerate(self.colors)) | ({} if self.ignored is None else {self.ignored: (self.ignored,) * 3})
        indices, unknown = np.zeros(colors.shape[:2], np.uint8), np.ones(colors.shape[:2], bool)
        for label, color in labels.items():
            same = unknown & (colors == np.array(color, np.uint8)).all(axis=2)
            indices[same] = label
            unknown &= ~same
        if unknown.any():
            raise DatasetError(
                f"{unknown.sum()} pixels have a colour that is no class's, the first {colors[unknown][0].tolist()};"
                " list the colour of each class as `colors` in classes.yaml, and store label maps as PNG or TIFF"
            )
        return indices

    def known(self, labels: npt.NDArray[np.integer]) -> Bools:
        """Pixels of a multi-class label map whose label is a class's or the ignored one."""
        classes: Bools = labels < len(self.names)
        return classes if self.ignored is None else classes | (labels == self.ignored)

    def target(self, labels: npt.NDArray[np.integer]) -> Floats:
        """A multi-class label map (h, w) as one map per class (k, h, w), 0 or 1; ignored pixels are 0 in all.

        Raises:
            DatasetError: a pixel has a label that is neither a class nor the ignored one.
        """
        unknown = ~self.known(labels)
        if unknown.any():
            label = int(labels[unknown][0])
            raise DatasetError(
                f"label {label} is not one of the {len(self.names)} classes (0 to {len(self.names) - 1}: "
                f"{', '.join(self.names)}); add it to the classes, or name it as `ignored`"
            )
        maps: Floats = (labels == np.arange(len(self.names))[:, None, None]).astype(np.float32)
        return maps

    def valid_pixels(self, labels: npt.NDArray[np.integer]) -> Bools:
        """Which pixels (h, w) of a multi-class label map are not ignored."""
        return np.ones(labels.shape, bool) if self.ignored is None else np.asarray(labels != self.ignored)


VESSEL = Classes()
"""The one class of the fundus data sets."""
