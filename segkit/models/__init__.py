"""Networks that turn a fundus image into vessel logits, by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from segkit.models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import nn

MODELS = {"sa-unet": "segkit.models.sa_unet:SAUNet"}


def channels_last(network: "nn.Module") -> "nn.Module":
    """The network with each pixel's channels side by side, which halves its memory traffic on CPUs and GPUs alike."""
    import torch

    moved: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # left out of stubs
    return moved


def build_model(settings: ModelSettings) -> "nn.Module":
    """The freshly initialised network these settings describe: image (n, c, h, w) in [0, 1] to logits (n, 1, h, w)."""
    module, _, name = MODELS[settings.name].partition(":")
    network: nn.Module = getattr(import_module(module), name)(settings)
    return network
