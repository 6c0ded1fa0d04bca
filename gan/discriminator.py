"""The discriminator: a residual network from image to one logit (Karras 2020a, Fig. 7c)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.generator import low_dtype, num_channels, resolutions_to
from gan.layers import Conv2dLayer, FullyConnectedLayer, MinibatchStdLayer
from gan.ops import fir_kernel
from gan.settings import GanSettings


class _LayerCounter:
    """Says of each layer in turn, from the highest resolution down, whether it is still free to learn."""

    def __init__(self, num_frozen: int) -> None:
        self.left = num_frozen

    def trainable(self) -> bool:
        self.left -= 1
        return self.left < 0


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip path that halve the resolution; the first block also reads the image."""

    resample_filter: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, resolution: int, settings: GanSettings, layers: _LayerCounter
    ) -> None:
        super().__init__()
        self.low_dtype, clamp = low_dtype(resolution, settings), settings.conv_clamp
        self.register_buffer("resample_filter", fir_kernel())
        self.fromrgb = None
        if resolution == settings.resolution:
            self.fromrgb = Conv2dLayer(
                settings.image_channels,
                in_channels,
                kernel_size=1,
                activation="lrelu",
                clamp=clamp,
                trainable=layers.trainable(),
            )
        self.conv0 = Conv2dLayer(
            in_channels, in_channels, kernel_size=3, activation="lrelu", clamp=clamp, trainable=layers.trainable()
        )
        self.conv1 = Conv2dLayer(
            in_channels,
            out_channels,
            kernel_size=3,
            activation="lrelu",
            down=2,
            gain=0.5**0.5,
            clamp=clamp,
            trainable=layers.trainable(),
        )
        self.skip = Conv2dLayer(
            in_channels, out_channels, kernel_size=1, bias=False, down=2, gain=0.5**0.5, trainable=layers.trainable()
        )

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h//2 w//2"]:
        x = x.to(self.low_dtype or self.conv0.weight.dtype)
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        skip = self.skip(x)
        return self.conv1(self.conv0(x)) + skip  # type: ignore[no-any-return]


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation, a last convolution at 4x4, and two fully connected layers to the logit."""

    def __init__(self, channels: int, settings: GanSettings) -> None:
        super().__init__()
        self.mbstd = MinibatchStdLayer(settings.mbstd_group_size)
        self.conv = Conv2dLayer(channels + 1, channels, kernel_size=3, activation="lrelu", clamp=settings.conv_clamp)
        self.fc = FullyConnectedLayer(channels * 4 * 4, channels, activation="lrelu")
        self.out = FullyConnectedLayer(channels, 1)

    def forward(self, x: Float[Tensor, "n c 4 4"]) -> Float[Tensor, "n 1"]:
        x = self.conv(self.mbstd(x.to(self.conv.weight.dtype)))
        return self.out(self.fc(x.flatten(1)))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Image to logit: positive for "photographed", negative for "drawn"."""

    def __init__(self, settings: GanSettings) -> None:
        super().__init__()
        layers = _LayerCounter(settings.freeze_d)
        self.resolutions = resolutions_to(settings.resolution)[::-1]
        for resolution in self.resolutions[:-1]:
            fine, coarse = (
                num_channels(r, settings.channel_base, settings.channel_max) for r in (resolution, resolution // 2)
            )
            self.add_module(f"b{resolution}", DiscriminatorBlock(fine, coarse, resolution, settings, layers))
        self.b4 = DiscriminatorEpilogue(num_channels(4, settings.channel_base, settings.channel_max), settings)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image_pm1: Float[Tensor, "n c r r"]) -> Float[Tensor, "n 1"]:
        x = image_pm1.contiguous(memory_format=torch.channels_last)
        for resolution in self.resolutions:
            x = self.get_submodule(f"b{resolution}")(x)
        return x
