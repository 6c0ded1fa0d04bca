"""A classical vessel segmenter without training: contrast-equalised green channel and a ridge filter."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.core.arrays import Floats
from segkit.core.errors import RequestError
from segkit.models.settings import RidgeFilterSettings

DARK = 0.06
"""Pixels whose brightest channel is below this are outside the field of view."""


class RidgeFilter(nn.Module):
    """Green channel, CLAHE, and the Frangi or Sato filter of scikit-image, normalised within each image.

    The response is divided by its 99.5th percentile, so that the threshold chosen on validation images is one of the
    relative response. Nothing is trained; the scales are a parameter without gradient.

    Raises:
        RequestError: the data have several classes.
    """

    def __init__(self, settings: RidgeFilterSettings, num_channels: int) -> None:
        super().__init__()
        if num_channels != 1:
            raise RequestError(
                f"{settings.name} segments dark ridges, which is one class, and the data have {num_channels}; "
                "choose another model"
            )
        self.settings = settings
        self.sigmas = nn.Parameter(torch.tensor(settings.sigmas), requires_grad=False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
        """Image in [0, 1] to logits of the relative response; computed on the CPU in fp32."""
        planes = image.detach().float().cpu().numpy()
        probs = torch.from_numpy(np.stack([self._relative_response(channels) for channels in planes]))[:, None]
        return torch.logit(probs.to(image.device), eps=1e-6)

    def _relative_response(self, channels: Float[Floats, "c h w"]) -> Floats:
        """Response (h, w) of one image, in [0, 1]."""
        from scipy.ndimage import binary_erosion
        from skimage.exposure import equalize_adapthist
        from skimage.filters import frangi, sato

        green = channels[1 if len(channels) == 3 else 0]
        sigmas = self.sigmas.tolist()
        inside = binary_erosion(channels.max(0) >= DARK, iterations=int(np.ceil(max(sigmas))))
        if self.settings.clip_limit is not None:
            green = equalize_adapthist(green.clip(0, 1), clip_limit=self.settings.clip_limit)
        ridges = frangi if self.settings.filter == "frangi" else sato
        response = np.where(inside, ridges(green, sigmas=sigmas, black_ridges=True, mode="reflect"), 0)
        scale = np.percentile(response[inside], 99.5) if inside.any() else 0.0
        return (response / scale if scale > 0 else response).clip(0, 1).astype(np.float32)
