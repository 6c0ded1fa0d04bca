"""Trained models in Python: `segkit.load` a model, `predict` images, look at and save the result."""

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.config import validate
from segkit.core.determinism import deterministic, move_to
from segkit.core.errors import RequestError
from segkit.core.outputs import check_folder
from segkit.data import labels
from segkit.data.fov import default_region
from segkit.metrics.curves import LEVEL_PROBS, quantise
from segkit.tasks.overlay import draw_classes
from segkit.tasks.prediction import PREDICTION_THREADS, Predictor, predicted_labels
from segkit.tasks.scaling import predict_image
from segkit.tasks.settings import InferenceSettings
from segkit.tasks.weights import ModelCard, load_predictor, read_card
from segkit.weights import DEFAULT, model_folder

ImageLike: TypeAlias = str | Path | npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """The prediction of one image; the same numbers that `segkit predict` writes."""

    image: npt.NDArray[np.uint8]
    """(h, w, 3)"""
    probs: npt.NDArray[np.float32]
    """Probabilities in [0, 1]: (h, w) of the one class of a binary model, else (k, h, w). Multiples of 1/65535, as the
    16-bit files hold them. Outside the region 0, or 1 for the background of several classes."""
    mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]
    """(h, w): whether a pixel belongs to the class (bool), or the index of the most probable class (uint8)."""
    region: npt.NDArray[np.bool_]
    """(h, w): the field of view. Pixels outside are not predicted."""
    threshold: float
    """Of a binary model: pixels with at least this probability belong to the class."""
    classes: Classes

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {getattr(self, name).shape}" for name in ("image", "probs", "mask", "region"))
        return f"<segkit prediction of {', '.join(self.classes.names)}: {shapes}>"

    def overlay(self) -> npt.NDArray[np.uint8]:
        """The image in dimmed grey (h, w, 3) with the predicted classes in their colours."""
        return draw_classes(self.image, self.mask, self.classes)

    def save(self, folder: str | Path, name: str = "image") -> dict[str, Path]:
        """Write the files that `segkit predict` writes, and the overlay.

        Args:
            folder: made if it does not exist.
            name: of the files, without suffix; may name sub-folders, as in "left/07".

        Returns:
            The paths of "probs" (16 bit), "binary" and "overlay".

        Raises:
            RequestError: the folder cannot be written, or the name is empty or leads out of it.
        """
        folder = Path(folder)
        check_folder(folder)
        if not Path(name).name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise RequestError(f"name is {name!r}; give a file name without suffix, as in 'photo' or 'left/07'")
        paths = {
            "probs": labels.probs_path(folder / "probs", name, self.classes),
            "binary": folder / "binary" / f"{name}.png",
            "overlay": folder / "overlay" / f"{name}.png",
        }
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        labels.write_probs(paths["probs"], self.probs.reshape(-1, *self.probs.shape[-2:]))
        labels.write_labels(paths["binary"], self.mask, self.classes)
        images.write_image(paths["overlay"], self.overlay())
        return paths


class Model:
    """A trained network or ensemble."""

    def __init__(self, predictor: Predictor, card: ModelCard, folder: Path) -> None:
        self._predictor = predictor.eval().requires_grad_(False)
        self.card = card
        self.folder = folder

    def __repr__(self) -> str:
        return f"<segkit model {self.folder}: {', '.join(self.classes.names)}>"

    @property
    def classes(self) -> Classes:
        """What the model predicts."""
        return self.card.classes

    @property
    def threshold(self) -> float:
        """Of a binary model: the threshold that was chosen on validation images."""
        return self.card.threshold

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self._predictor.parameters()).device

    def to(self, device: str | torch.device) -> "Model":
        """Move the model to a device, for example "cuda".

        Raises:
            RequestError: there is no such device.
        """
        move_to(self._predictor, device)
        return self

    def predict(
        self,
        image: ImageLike,
        *,
        region: npt.NDArray[np.bool_] | None = None,
        tta: str | None = None,
        tile: int | None = None,
        scale: Literal["auto"] | float = "auto",
        threshold: float | None = None,
    ) -> Prediction:
        """Predict one image at its own size.

        Args:
            image: path of an image file, or uint8 array (h, w, 3) or (h, w).
            region: bool (h, w), the field of view; estimated from the image by default, or all of it if
                the model's images have no field of view.
            tta: test-time augmentation: "none", "flips" (4 views) or "d4" (8 views); the card's by default.
            tile: side of overlapping tiles for images too large for memory; the whole image by default.
            scale: factor on the image's size before it is predicted; "auto" brings the field of view's diameter into
                the range of the training images, 1 scales nothing.
            threshold: in [0, 1], of a binary model; the model's own by default.

        Raises:
            RequestError: an argument has the wrong type, shape or value.
            ImageError: the file cannot be read.
        """
        views = self.card.tta if tta is None else tta
        inference = validate(InferenceSettings, {"tta": views, "tile": tile, "scale": scale}, "predict()")
        binary = self.classes.kind == "binary"
        if threshold is not None and not (binary and isinstance(threshold, Real) and 0 <= threshold <= 1):
            raise RequestError(f"threshold is {threshold!r}; a binary model takes one in [0, 1], others none")
        cut = self.threshold if threshold is None else float(threshold)
        pixels = images.read_image(Path(image)) if isinstance(image, str | Path) else _checked_image(image)
        inside = default_region(pixels, self.classes) if region is None else _checked_region(region, pixels)
        with torch.inference_mode(), deterministic(self.device, PREDICTION_THREADS):
            levels = quantise(predict_image(self._predictor, pixels, inside, inference))
        probs = LEVEL_PROBS[levels].astype(np.float32)
        mask = predicted_labels(levels, self.classes, cut)
        return Prediction(pixels, probs[0] if binary else probs, mask, inside, cut, self.classes)


def load(model: str | Path = DEFAULT, device: str | torch.device = "cpu") -> Model:
    """Load a trained model.

    Args:
        model: name of a shipped model, folder of a model such as a finished stage's or an ensemble's, or ONNX file.
        device: where to compute, for example "cuda".

    Raises:
        RequestError: `model` is neither text nor a path, or there is no such device.
        WeightsError: no shipped model has this name, and no folder of it holds a whole model.
    """
    if not isinstance(model, str | Path):
        raise RequestError(f"model is {model!r}; give the name of a shipped model, or a path")
    folder = model_folder(model)
    return Model(load_predictor(folder), read_card(folder), folder).to(device)


def _checked_image(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise RequestError(
            f"the image is an array of {array.dtype} with shape {array.shape}; give uint8 (h, w, 3) in RGB, or (h, w)"
        )
    if 0 in array.shape:
        raise RequestError(f"the image has no pixels: its shape is {array.shape}")
    return images.as_rgb(array if array.ndim == 3 else array[..., None])


def _checked_region(region: npt.NDArray[np.bool_], image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    array = np.asarray(region)
    if array.dtype != np.bool_ or array.shape != image.shape[:2]:
        raise RequestError(
            f"the region is an array of {array.dtype} with shape {array.shape}; give bool {image.shape[:2]}"
        )
    return array
