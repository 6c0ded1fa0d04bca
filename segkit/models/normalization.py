"""Normalisation in front of a network: part of the model, and so of its weights and of every export.

It is applied to the network's input, a crop in training and a tile in prediction. Numbers fitted on training images are
buffers, which are saved and averaged with the weights.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelNormalization(nn.Module):
    """Each channel minus its mean, divided by its standard deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_channels: int, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((num_channels,), mean))
        self.register_buffer("deviation", torch.full((num_channels,), deviation))

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        normalised: Tensor = (image - self.mean[:, None, None]) / self.deviation[:, None, None]
        return normalised


class PatchNormalization(nn.Module):
    """Each channel of each image minus its mean, divided by its standard deviation over the image."""

    EPSILON = 1e-6

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        centred = image - image.mean((2, 3), keepdim=True)
        deviation = centred.square().mean((2, 3), keepdim=True).sqrt()
        return centred / (deviation + self.EPSILON)


class ZCAWhitening(nn.Module):
    """All values of a patch decorrelated: matrix @ (values - mean) (Krizhevsky 2009)."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, num_channels: int, patch_size: int) -> None:
        super().__init__()
        num_values = num_channels * patch_size**2
        self.register_buffer("mean", torch.zeros(num_values))
        self.register_buffer("matrix", torch.eye(num_values))

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        # the matrix has entries of very different size, which half precision would round away
        with torch.autocast(image.device.type, enabled=False):
            whitened = (image.flatten(1) - self.mean) @ self.matrix.T
        return whitened.reshape(image.shape)


NETWORK, NORMALIZATION = "network.", "normalization."
"""Prefixes of the names of the tensors of a `NormalizedNetwork`."""


class NormalizedNetwork(nn.Module):
    """A normalisation followed by a network."""

    def __init__(self, normalization: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalization = normalization
        self.network = network

    def forward(self, image: Float[Tensor, "n c h w"]) -> object:
        """Image in [0, 1] to the network's output."""
        return self.network(self.normalization(image))

    @property
    def features(self) -> Callable[[Tensor], list[Tensor]]:
        """The feature maps of the network's encoder, finest first; an AttributeError for a network without one."""
        encoder: Callable[[Tensor], list[Tensor]] = self.network.features  # type: ignore[assignment]  # Tensor | Module
        return lambda image: encoder(self.normalization(image))


def without_normalization(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network alone, by their names in the network."""
    if not all(name.startswith((NETWORK, NORMALIZATION)) for name in weights):
        return dict(weights)
    return {name.removeprefix(NETWORK): value for name, value in weights.items() if name.startswith(NETWORK)}


def behind_normalization(weights: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict `whole` with the tensors of its network replaced by `weights`."""
    prefix = "" if weights.keys() <= whole.keys() else NETWORK
    return dict(whole) | {prefix + name: value for name, value in weights.items()}
