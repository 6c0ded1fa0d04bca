"""Settings of the networks and losses, and the tables of both. Free of torch, so that the runner can read them.

To add a network: a module with the class, its settings here, one line in `MODELS`. A loss: likewise, in `LOSSES`.
"""

from abc import abstractmethod
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from segkit.core.config import Settings
from segkit.core.errors import RequestError

Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)]


class NetworkSettings(Settings):
    """What every network's settings have."""

    name: str
    image_channels: int = Field(3, ge=1)
    """Channels of the input image."""
    auxiliary_weight: float = Field(0.0, ge=0)
    """Weight of the mean loss of a network's auxiliary outputs, beside that of its main output."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Image sides must be multiples of this."""


class _UShapedSettings(NetworkSettings):
    """A network of resolution levels, each half as large as the one above."""

    widths: Widths
    norm: Literal["none", "batch", "group"] = "batch"
    """`group` does not mix the images of a batch."""
    drop_prob: float = Field(0.0, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training (DropBlock); 0 removes none."""
    drop_block_size: int = Field(7, ge=1)
    """Side of the square that DropBlock removes, in feature-map pixels."""

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))


class SAUNetSettings(_UShapedSettings):
    """SA-UNet (Guo 2021, "SA-UNet: Spatial Attention U-Net for Retinal Vessel Segmentation")."""

    name: Literal["sa-unet"] = "sa-unet"
    widths: Widths = (16, 32, 64, 128)
    """Channels of each level, finest first; the last is the bottleneck."""
    drop_prob: float = Field(0.18, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training (DropBlock); 0 removes none."""
    attention_size: int = Field(7, ge=1)
    """Side of the spatial attention's kernel; odd."""

    @field_validator("attention_size")
    @classmethod
    def _is_odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("input should be odd, so that the kernel has a middle")
        return size


class UNetSettings(_UShapedSettings):
    """U-Net (Ronneberger 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation"), with padding."""

    name: Literal["unet"] = "unet"
    widths: Widths = (64, 128, 256, 512, 1024)
    """Channels of each level, finest first; the last is the bottleneck."""
    upsampling: Literal["transposed", "bilinear"] = "transposed"
    """`transposed`: a 2x2 transposed convolution (the paper); `bilinear`: interpolation and a 1x1 convolution."""


class LittleWNetSettings(NetworkSettings):
    """Little W-Net (Galdran 2022, "State-of-the-art retinal vessel segmentation with minimalistic models")."""

    name: Literal["little-wnet"] = "little-wnet"
    widths: Widths = (8, 16, 32)
    """Channels of each level, finest first; the last is the bottleneck."""
    num_stages: int = Field(2, ge=1)
    """Networks in a row; 1 is the little U-Net, 2 the W-Net of the paper."""
    auxiliary_weight: float = Field(1.0, ge=0)
    """Weight of the mean loss of the earlier stages, beside that of the last; the paper adds both in full."""

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))


MODELS: dict[type[NetworkSettings], str] = {
    LittleWNetSettings: "segkit.models.little_wnet:LittleWNet",
    SAUNetSettings: "segkit.models.sa_unet:SAUNet",
    UNetSettings: "segkit.models.unet:UNet",
}
"""Every network: its settings and its class, `module:name`, which is built from settings and a number of channels."""


def default_settings(name: str) -> NetworkSettings:
    """The default settings of a network.

    Raises:
        RequestError: no network has this name.
    """
    by_name = {kind.model_fields["name"].default: kind for kind in MODELS}
    if name not in by_name:
        raise RequestError(f"no network is called {name!r}; there are: {', '.join(sorted(by_name))}")
    return by_name[name](name=name)


class LossTerm(Settings):
    """One term of a loss."""

    name: str
    weight: float = Field(1.0, gt=0)
    """Factor on this term."""


class CrossEntropySettings(LossTerm):
    """Cross-entropy: binary for one channel, categorical for several."""

    name: Literal["ce"] = "ce"


class DiceSettings(LossTerm):
    """1 - soft Dice, the mean over classes."""

    name: Literal["dice"] = "dice"
    background: bool = True
    """Count class 0 of a multi-class task too."""


class MccSettings(LossTerm):
    """1 - soft Matthews correlation, the mean over classes (Guo 2025)."""

    name: Literal["mcc"] = "mcc"


LOSSES: dict[type[LossTerm], str] = {
    CrossEntropySettings: "segkit.models.losses:cross_entropy",
    DiceSettings: "segkit.models.losses:soft_dice",
    MccSettings: "segkit.models.losses:soft_mcc",
}
"""Every loss term: its settings and its function, `module:name`."""

NAMED_LOSSES: dict[str, tuple[LossTerm, ...]] = {
    "bce": (CrossEntropySettings(),),
    "dice": (DiceSettings(),),
    "bce-dice": (CrossEntropySettings(weight=0.5), DiceSettings(weight=0.5)),
    "bce-mcc": (CrossEntropySettings(weight=0.5), MccSettings(weight=0.5)),
}
"""Losses that have a name of their own."""


def _with_default_name(value: Any) -> Any:
    return {"name": "sa-unet", **value} if isinstance(value, dict) else value


def _by_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in NAMED_LOSSES:
        raise ValueError(f"input should be {', '.join(NAMED_LOSSES)}, or a list of terms such as [{{name: ce}}]")
    return NAMED_LOSSES[value]


if TYPE_CHECKING:
    ModelSettings = NetworkSettings
    LossSettings = tuple[LossTerm, ...]
else:
    ModelSettings = Annotated[reduce(or_, MODELS), Field(discriminator="name"), BeforeValidator(_with_default_name)]
    _Term = Annotated[reduce(or_, LOSSES), Field(discriminator="name")]
    LossSettings = Annotated[tuple[_Term, ...], Field(min_length=1), BeforeValidator(_by_name)]
