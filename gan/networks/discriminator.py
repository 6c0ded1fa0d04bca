"""The discriminator: a residual network from image to one logit (Karras 2020a, Fig. 7c)."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from gan.networks.generator import low_dtype, num_channels, resolutions_to
from gan.networks.layers import FAST_LAYERS, Conv2dLayer, LayerKinds, MinibatchStdLayer
from gan.networks.ops import fir_kernel
from gan.settings import GanSettings


class _FreezeCounter:
    """Says of each layer in turn, from the highest resolution down, whether it is still free to learn."""

    def __init__(self, num_frozen: int) -> None:
        self.left = num_frozen

    def trainable(self) -> bool:
        self.left -= 1
        return self.left < 0


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the resolution, and beside them a skip path unless the architecture is "orig".

    The first block also reads the image.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resolution: int,
        settings: GanSettings,
        layers: LayerKinds,
        freezing: _FreezeCounter,
    ) -> None:
        super().__init__()
        self.low_dtype = low_dtype(resolution, settings)
        self.register_buffer("resample_filter", fir_kernel())
        has_skip = settings.d_architecture == "resnet"
        gain = 0.5**0.5 if has_skip else 1.0  # the sum of two branches keeps the variance
        activated = {"activation": "lrelu", "clamp": settings.conv_clamp}

        def conv(ins: int, outs: int, size: int, **options: Any) -> Conv2dLayer:
            return layers.conv(ins, outs, size, trainable=freezing.trainable(), **options)

        reads_image = resolution == settings.resolution
        self.fromrgb = conv(settings.image_channels, in_channels, 1, **activated) if reads_image else None
        self.conv0 = conv(in_channels, in_channels, 3, **activated)
        self.conv1 = conv(in_channels, out_channels, 3, down=2, gain=gain, **activated)
        self.skip = conv(in_channels, out_channels, 1, bias=False, down=2, gain=gain) if has_skip else None

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h//2 w//2"]:
        x = x.to(self.low_dtype or self.conv0.weight.dtype)
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        y: Tensor = self.conv1(self.conv0(x))
        return y if self.skip is None else y + self.skip(x)


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation, a last convolution at 4x4, and two fully connected layers to the logit."""

    def __init__(self, channels: int, settings: GanSettings, layers: LayerKinds) -> None:
        super().__init__()
        self.mbstd = MinibatchStdLayer(settings.mbstd_group_size)
        self.conv = layers.conv(channels + 1, channels, kernel_size=3, activation="lrelu", clamp=settings.conv_clamp)
        self.fc = layers.fully_connected(channels * 4 * 4, channels, activation="lrelu")
        self.out = layers.fully_connected(channels, 1)

    def forward(self, x: Float[Tensor, "n c 4 4"]) -> Float[Tensor, "n 1"]:
        x = self.conv(self.mbstd(x.to(self.conv.weight.dtype)))
        return self.out(self.fc(x.flatten(1)))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Image to logit: positive for "photographed", negative for "drawn"."""

    def __init__(self, settings: GanSettings, layers: LayerKinds = FAST_LAYERS) -> None:
        super().__init__()
        self.memory_format = layers.memory_format
        freezing = _FreezeCounter(settings.freeze_d)
        self.resolutions = resolutions_to(settings.resolution)[::-1]
        for resolution in self.resolutions[:-1]:
            fine, coarse = (
                num_channels(r, settings.channel_base, settings.channel_max) for r in (resolution, resolution // 2)
            )
            block = DiscriminatorBlock(fine, coarse, resolution, settings, layers, freezing)
            self.add_module(f"b{resolution}", block)
        self.b4 = DiscriminatorEpilogue(num_channels(4, settings.channel_base, settings.channel_max), settings, layers)
        self.to(memory_format=layers.memory_format)  # type: ignore[call-overload]

    def forward(self, image_pm1: Float[Tensor, "n c r r"]) -> Float[Tensor, "n 1"]:
        x = image_pm1.contiguous(memory_format=self.memory_format)
        for resolution in self.resolutions:
            x = self.get_submodule(f"b{resolution}")(x)
        return x
