"""Networks that turn a fundus image into vessel logits, by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from segkit.models.settings import ModelSettings

if TYPE_CHECKING:
    from torch import nn

MODELS = {"sa-unet": "segkit.models.sa_unet:SAUNet"}


def build_model(settings: ModelSettings) -> "nn.Module":
    """The freshly initialised network these settings describe: image (n, c, h, w) in [0, 1] to logits (n, 1, h, w)."""
    module, _, name = MODELS[settings.name].partition(":")
    network: nn.Module = getattr(import_module(module), name)(settings)
    return network
