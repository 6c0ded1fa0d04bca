"""Settings of the networks, free of torch so that the runner can read them."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from segkit.core.config import Settings
from segkit.core.errors import RequestError


class SAUNetSettings(Settings):
    """SA-UNet (Guo 2021, "SA-UNet: Spatial Attention U-Net for Retinal Vessel Segmentation")."""

    name: Literal["sa-unet"] = "sa-unet"
    image_channels: int = Field(3, ge=1)
    """Channels of the input image."""
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field((16, 32, 64, 128), min_length=2)
    """Channels of each level, finest first; the last is the bottleneck. Each further level halves the size."""
    drop_block_size: int = Field(7, ge=1)
    """Side of the square that DropBlock removes, in feature-map pixels."""
    drop_prob: float = Field(0.18, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training; 0 switches DropBlock off."""
    norm: Literal["batch", "group"] = "batch"
    """`batch` as published; `group` does not mix the images of a batch."""
    attention_size: int = Field(7, ge=1)
    """Side of the spatial attention's kernel; odd."""

    @field_validator("attention_size")
    @classmethod
    def _has_a_middle(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("input should be odd, so that the kernel has a middle")
        return size

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))


ModelSettings = SAUNetSettings
"""Every network's settings; tagged by `name` once there is a second."""

MODEL_SETTINGS: dict[str, type[ModelSettings]] = {"sa-unet": SAUNetSettings}
"""The settings of each network, by name; `segkit.models.MODELS` holds the networks."""


def default_settings(name: str) -> ModelSettings:
    """The default settings of a network.

    Raises:
        RequestError: no network has this name.
    """
    if name not in MODEL_SETTINGS:
        raise RequestError(f"no network is called {name!r}; there are: {', '.join(sorted(MODEL_SETTINGS))}")
    return MODEL_SETTINGS[name]()
