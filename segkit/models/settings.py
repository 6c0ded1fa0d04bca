"""Settings of the networks, and the table of them. Free of torch, so that the runner can read them.

To add a network: a module with the class, its settings here, one line in `MODELS`.
"""

from abc import abstractmethod
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from segkit.core.config import Settings
from segkit.core.errors import RequestError
from segkit.core.names import hint

Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)]
Norm = Literal["none", "batch", "group"]
Upsampling = Literal["transposed", "bilinear"]
Attention = Literal["none", "additive", "pointwise"]


class NetworkSettings(Settings):
    """Settings that all networks have."""

    paper: ClassVar[str] = ""
    """Where the idea was published."""
    authors_code: ClassVar[str] = ""
    """Where the authors published their code. The code here is written from the paper."""
    licence: ClassVar[str] = ""
    """Licence of the authors' code."""

    trainable: ClassVar[bool] = True
    """Whether it has weights to train."""

    name: str
    image_channels: int = Field(3, ge=1)
    """Channels of the input image."""
    auxiliary_weight: float = Field(0.0, ge=0)
    """Weight of the loss of each auxiliary output, beside that of the main output."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Image sides must be multiples of this."""

    def output_weights(self, num_auxiliary: int) -> tuple[float, ...]:
        """Weights of the losses of the main output and of each auxiliary output."""
        return (1.0, *[self.auxiliary_weight] * num_auxiliary)


class LevelledSettings(NetworkSettings):
    """A network of resolution levels, each half as large as the one above."""

    widths: Widths

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))


class UShapedSettings(LevelledSettings):
    """A network of levels made of the shared convolution unit."""

    norm: Norm = "batch"
    """`group` does not mix the images of a batch."""
    drop_prob: float = Field(0.0, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training (DropBlock); 0 removes none."""
    drop_block_size: int = Field(7, ge=1)
    """Side of the square that DropBlock removes, in feature-map pixels; 1 is plain dropout."""


class SAUNetSettings(UShapedSettings):
    """SA-UNet: DropBlock, and spatial attention at the bottleneck."""

    paper = "Guo 2021, SA-UNet: Spatial Attention U-Net for Retinal Vessel Segmentation"
    authors_code = "clguo/SA-UNet"
    licence = "none given"
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


class SAUNetV2Settings(SAUNetSettings):
    """SA-UNetv2: SA-UNet with group norm, SiLU, and attention in every skip connection."""

    paper = "Guo 2025, SA-UNetv2: Rethinking Spatial Attention U-Net for Retinal Vessel Segmentation"
    authors_code = "clguo/SA-UNetv2"
    licence = "none given"
    name: Literal["sa-unet-v2"] = "sa-unet-v2"  # type: ignore[assignment]  # another name than SA-UNet's
    widths: Widths = (16, 32, 48, 64)
    """Channels of each level, finest first; the last is the bottleneck."""
    norm: Norm = "group"
    """`group` does not mix the images of a batch."""
    drop_prob: float = Field(0.15, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training (DropBlock); 0 removes none."""


class UNetSettings(UShapedSettings):
    """U-Net, with padded convolutions.

    A U-Net for small patches has fewer levels, interpolation and dropout, such as widths [32, 64, 128, 256], upsampling
    bilinear, drop_prob 0.2 and drop_block_size 1. With attention gates it is Attention U-Net (Oktay 2018).
    """

    paper = "Ronneberger 2015, U-Net: Convolutional Networks for Biomedical Image Segmentation"
    authors_code = "a Caffe fork; attention gates: ozan-oktay/Attention-Gated-Networks"
    licence = "not known; attention gates: MIT"
    name: Literal["unet"] = "unet"
    widths: Widths = (64, 128, 256, 512, 1024)
    """Channels of each level, finest first; the last is the bottleneck."""
    upsampling: Upsampling = "transposed"
    """`transposed`: a 2x2 transposed convolution (the paper); `bilinear`: interpolation and a 1x1 convolution."""
    attention: Attention = "none"
    """Gates in the skip connections. `additive`: weights from the skip connection and the next coarser map (Oktay
    2018); `pointwise`: weights from a 1x1 convolution of the skip connection alone."""


class UNetPlusPlusSettings(UShapedSettings):
    """U-Net++: dense rows of nodes in place of skip connections, and deep supervision."""

    paper = "Zhou 2018, UNet++: A Nested U-Net Architecture for Medical Image Segmentation"
    authors_code = "MrGiovanni/UNetPlusPlus"
    licence = "non-commercial (ASU), patent pending"
    name: Literal["unet++"] = "unet++"
    widths: Widths = (32, 64, 128, 256, 512)
    """Channels of each level, finest first; the last is the bottleneck."""
    upsampling: Upsampling = "transposed"
    """`transposed`: a 2x2 transposed convolution; `bilinear`: interpolation and a 1x1 convolution."""
    attention: Attention = "none"
    """Gates in the skip connections. `additive`: weights from the skip connection and the next coarser map (Oktay
    2018); `pointwise`: weights from a 1x1 convolution of the skip connection alone."""
    deep_supervision: bool = True
    """A head on each node of the finest level; otherwise only on the last."""
    auxiliary_weight: float = Field(1.0, ge=0)
    """Weight of the loss of each further head relative to the last; at 1 the loss is the mean over the heads."""
    prediction: Literal["mean", "last"] = "mean"
    """Probabilities are the mean over the heads, or those of the last head."""

    def output_weights(self, num_auxiliary: int) -> tuple[float, ...]:
        """Weights of the losses of the last head and of each further head; their sum is 1."""
        total = 1 + num_auxiliary * self.auxiliary_weight
        return tuple(weight / total for weight in super().output_weights(num_auxiliary))


class IterNetSettings(UShapedSettings):
    """IterNet: a U-Net, and passes of a small U-Net that refine its output."""

    paper = "Li 2020, IterNet: Retinal Image Segmentation Utilizing Structural Redundancy in Vessel Networks"
    authors_code = "conscienceli/IterNet"
    licence = "MIT"
    name: Literal["iternet"] = "iternet"
    widths: Widths = (32, 64, 128, 256, 512)
    """Channels of each level, finest first; the last is the bottleneck. The small U-Net has the first three."""
    norm: Norm = "none"
    """`group` does not mix the images of a batch."""
    drop_prob: float = Field(0.1, ge=0, lt=1)
    """Chance of a feature-map pixel to be removed in training; 0 removes none."""
    drop_block_size: int = Field(1, ge=1)
    """Side of the square that is removed, in feature-map pixels; 1 is plain dropout."""
    num_passes: int = Field(3, ge=1)
    """Passes of the small U-Net."""
    auxiliary_weight: float = Field(1.0, ge=0)
    """Weight of the loss of each earlier head beside the last; the paper adds all in full."""


class LittleWNetSettings(LevelledSettings):
    """Little W-Net: two very small U-Nets in a row."""

    paper = "Galdran 2022, State-of-the-art retinal vessel segmentation with minimalistic models"
    authors_code = "agaldran/lwnet"
    licence = "MIT"
    name: Literal["little-wnet"] = "little-wnet"
    widths: Widths = (8, 16, 32)
    """Channels of each level, finest first; the last is the bottleneck."""
    num_stages: int = Field(2, ge=1)
    """Networks in a row; 1 is the little U-Net, 2 the W-Net of the paper."""
    auxiliary_weight: float = Field(1.0, ge=0)
    """Weight of the loss of each earlier stage beside the last; the paper adds both in full."""


class DeepLabV3Settings(NetworkSettings):
    """DeepLabV3: a dilated ResNet and parallel convolutions at several dilation rates."""

    paper = "Chen 2017, Rethinking Atrous Convolution for Semantic Image Segmentation"
    authors_code = "tensorflow/models; names and weight files: pytorch/vision"
    licence = "Apache-2.0; BSD-3-Clause"
    name: Literal["deeplabv3"] = "deeplabv3"
    backbone: Literal["resnet50", "resnet101"] = "resnet50"
    """Depth of the ResNet: 50 or 101 layers."""
    width: int = Field(64, ge=1)
    """Channels of the ResNet's first stage; everything else scales with it. Weight files are for 64."""
    output_stride: Literal[8, 16] = 8
    """Pixels of the image per pixel of the last feature maps, along a side. 8 as in torchvision; 16 is faster."""
    imagenet_normalization: bool = True
    """Shift and scale images of three channels by ImageNet's mean and deviation, as the weight files need it."""
    auxiliary_head: bool = True
    """A second head on the third stage, which only the loss uses."""
    auxiliary_weight: float = Field(0.5, ge=0)
    """Weight of the auxiliary head's loss beside that of the main head; 0.5 in torchvision's training."""

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return self.output_stride


class SAGANUNetSettings(LevelledSettings):
    """A residual U-Net with spectral norm and self-attention: the generator of adversarial segmentation."""

    paper = "Zhang 2019, Self-Attention Generative Adversarial Networks, applied to a U-Net"
    authors_code = "brain-research/self-attention-gan"
    licence = "Apache-2.0"
    name: Literal["sagan-unet"] = "sagan-unet"
    widths: Widths = (32, 64, 128, 256, 256, 512, 512)
    """Channels of each level, finest first; the last is the bottleneck."""
    norm: Norm = "batch"
    """Of the decoder. `group` does not mix the images of a batch."""
    attention_level: int | None = Field(2, ge=1)
    """Level of the self-attention, the finest being 0: 2 is 64x64 positions of a 256x256 image. None has none."""

    @model_validator(mode="after")
    def _attention_exists(self) -> "SAGANUNetSettings":
        check_attention_level(self.attention_level, self.widths)
        return self


class DiscriminatorSettings(Settings):
    """The discriminator of adversarial segmentation."""

    widths: Widths = (32, 64, 128, 256, 256, 512, 512)
    """Channels of each level, finest first."""
    attention_level: int | None = Field(2, ge=1)
    """Level of the self-attention, the finest being 0. None has none."""
    slope: float = Field(0.2, ge=0, lt=1)
    """Slope of the activations below 0."""

    @model_validator(mode="after")
    def _attention_exists(self) -> "DiscriminatorSettings":
        check_attention_level(self.attention_level, self.widths)
        return self


def check_attention_level(level: int | None, widths: tuple[int, ...]) -> None:
    """Raise ValueError unless a network of these widths has this level."""
    if level is not None and level >= len(widths):
        raise ValueError(f"attention_level {level} is not among the {len(widths)} levels of widths, counted from 0")


class RidgeFilterSettings(NetworkSettings):
    """A ridge filter on the green channel, without training: the floor that networks are compared with."""

    paper = "Frangi 1998, Multiscale vessel enhancement filtering; Sato 1998, Three-dimensional multi-scale line filter"
    authors_code = "none; computed by scikit-image"
    licence = "none given; scikit-image: BSD-3-Clause"
    trainable = False
    name: Literal["ridge-filter"] = "ridge-filter"
    filter: Literal["frangi", "sato"] = "sato"
    """Measure of dark ridges, from the eigenvalues of the image's second derivatives."""
    sigmas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (1.5, 2.5, 3.5)
    """Scales in pixels, about half the widths of the vessels; the largest response counts."""
    clip_limit: float | None = Field(0.01, gt=0, le=1)
    """Limit of the contrast equalisation (CLAHE) of the green channel; none without."""

    @property
    def stride(self) -> int:
        """Image sides must be multiples of this."""
        return 1


MODELS: dict[type[NetworkSettings], str] = {
    DeepLabV3Settings: "segkit.models.deeplab:DeepLabV3",
    IterNetSettings: "segkit.models.iternet:IterNet",
    LittleWNetSettings: "segkit.models.little_wnet:LittleWNet",
    RidgeFilterSettings: "segkit.models.ridge_filter:RidgeFilter",
    SAGANUNetSettings: "segkit.models.sagan:SAGANUNet",
    SAUNetSettings: "segkit.models.sa_unet:SAUNet",
    SAUNetV2Settings: "segkit.models.sa_unet_v2:SAUNetV2",
    UNetPlusPlusSettings: "segkit.models.unet_plus_plus:UNetPlusPlus",
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
        raise RequestError(f"no network is called {name!r}; {hint(name, sorted(by_name))}")
    return by_name[name](name=name)


def _with_default_name(value: object) -> object:
    return {"name": "sa-unet", **value} if isinstance(value, dict) else value


if TYPE_CHECKING:
    ModelSettings = NetworkSettings
else:
    ModelSettings = Annotated[reduce(or_, MODELS), Field(discriminator="name"), BeforeValidator(_with_default_name)]
