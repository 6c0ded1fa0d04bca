"""Probabilities of a network, with test-time augmentation and tiles."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from segkit.models import heads
from segkit.tasks.settings import InferenceSettings

View = tuple[int, bool]
"""Quarter turns, and whether the view is mirrored left to right afterwards."""

VIEWS: dict[str, tuple[View, ...]] = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "d4": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}

PIXELS_AT_ONCE = 512 * 512
"""Tiles are predicted in batches of about this many pixels; a larger tile alone."""


def probabilities(
    network: Callable[[Tensor], Tensor],
    image: Float[Tensor, "n c h w"],
    settings: InferenceSettings,
    patch_size: int | None = None,
) -> Float[Tensor, "n k h w"]:
    """Class probabilities of `image` in [0, 1], averaged over views, in float32.

    `network` returns logits. With `settings.tile` the views are averaged in each tile, and the tiles are blended. With
    `patch_size` the network gets only tiles of this side, also of smaller images.
    """

    def predict(part: Tensor) -> Tensor:
        views = [heads.probabilities(network(turned)) for turned in _views(part, settings.tta)]
        return torch.stack([_undo(probs, view) for probs, view in zip(views, VIEWS[settings.tta], strict=True)]).mean(0)

    if patch_size is not None:
        height = width = patch_size  # a smaller image is padded
    elif settings.tile is not None and max(image.shape[-2:]) > settings.tile:
        height, width = (min(settings.tile, side) for side in image.shape[-2:])
    else:
        return predict(image)
    from monai.inferers.utils import sliding_window_inference

    blended = sliding_window_inference(
        inputs=image,
        roi_size=(height, width),
        sw_batch_size=max(1, PIXELS_AT_ONCE // (height * width)),
        predictor=predict,
        overlap=settings.tile_overlap,
        roi_weight_map=_blending(settings.tile_weights, height, width, image),
    )
    assert isinstance(blended, Tensor)
    return blended.clamp(0, 1)


def _blending(weights: str, height: int, width: int, like: Tensor) -> Tensor:
    """Weights (h, w) of a tile, 1 at the centre. MONAI's Gaussian is at least 0.001, visible at borders."""
    if weights == "uniform":
        return torch.ones(height, width, device=like.device)
    across = [torch.linspace(-4, 4, side, dtype=torch.float32, device=like.device) for side in (height, width)]
    rows, columns = (torch.exp(-(sigmas**2) / 2) for sigmas in across)
    return rows[:, None] * columns


def _views(image: Tensor, tta: str) -> Iterator[Tensor]:
    for turns, mirrored in VIEWS[tta]:
        turned = torch.rot90(image, turns, (-2, -1))
        yield turned.flip(-1) if mirrored else turned


def _undo(probs: Tensor, view: View) -> Tensor:
    turns, mirrored = view
    return torch.rot90(probs.flip(-1) if mirrored else probs, -turns, (-2, -1))
