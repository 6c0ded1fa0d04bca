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


def probabilities(
    network: Callable[[Tensor], Tensor], image: Float[Tensor, "n c h w"], settings: InferenceSettings
) -> Float[Tensor, "n k h w"]:
    """Class probabilities of `image` in [0, 1], averaged over views, in float32.

    `network` returns logits. With `settings.tile` the views are averaged in each tile, and the tiles are blended with
    Gaussian weights.
    """

    def predict(part: Tensor) -> Tensor:
        views = [heads.probabilities(network(turned)) for turned in _views(part, settings.tta)]
        return torch.stack([_undo(probs, view) for probs, view in zip(views, VIEWS[settings.tta], strict=True)]).mean(0)

    if settings.tile is None or max(image.shape[-2:]) <= settings.tile:
        return predict(image)
    from monai.inferers.utils import sliding_window_inference

    height, width = (min(settings.tile, side) for side in image.shape[-2:])
    blended = sliding_window_inference(
        inputs=image,
        roi_size=(height, width),
        sw_batch_size=1,
        predictor=predict,
        overlap=0.5,
        roi_weight_map=_blending(height, width, image),
    )
    assert isinstance(blended, Tensor)
    return blended.clamp(0, 1)


def _blending(height: int, width: int, like: Tensor) -> Tensor:
    """Gaussian weights (h, w) of a tile, 1 at the centre. MONAI's are at least 0.001, visible at borders."""
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
