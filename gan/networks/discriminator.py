"""The discriminator: a residual network from image to one logit (Karras 2020a, Fig. 7c)."""

from jaxtyping import Float
from torch import Tensor, nn

from gan.networks.generator import low_dtype, num_channels, resolutions_to
from gan.networks.layers import FAST_LAYERS, Conv2dLayer, LayerTypes, MinibatchStdLayer
from gan.networks.ops import fir_kernel
from gan.settings import GanSettings


class _FreezeCounter:
    """Counts layers from the highest resolution down: the first `num_frozen` are not trainable."""

    def __init__(self, num_frozen: int) -> None:
        self.left = num_frozen

    def trainable(self) -> bool:
        self.left -= 1
        return self.left < 0


class DiscriminatorBlock(nn.Module):
    """Two convolutions that halve the resolution, with a skip path unless the architecture is "orig".

    The first block also converts the image to features.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resolution: int,
        settings: GanSettings,
        layers: LayerTypes,
        freezing: _FreezeCounter,
    ) -> None:
        super().__init__()
        self.low_dtype = low_dtype(resolution, settings)
        self.register_buffer("resample_filter", fir_kernel())
        has_skip = settings.d_architecture == "resnet"
        gain = 0.5**0.5 if has_skip else 1.0  # the sum of two branches keeps the variance

        def conv(
            ins: int, outs: int, size: int, down: int = 1, gain: float = 1.0, is_skip: bool = False
        ) -> Conv2dLayer:
            activation, clamp = ("linear", None) if is_skip else ("lrelu", settings.conv_clamp)
            trainable = freezing.trainable()
            return layers.conv(ins, outs, size, not is_skip, activation, down, gain, clamp, trainable)

        has_fromrgb = resolution == settings.resolution
        self.fromrgb = conv(settings.image_channels, in_channels, 1) if has_fromrgb else None
        self.conv0 = conv(in_channels, in_channels, 3)
        self.conv1 = conv(in_channels, out_channels, 3, down=2, gain=gain)
        self.skip = conv(in_channels, out_channels, 1, down=2, gain=gain, is_skip=True) if has_skip else None

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h//2 w//2"]:
        x = x.to(self.low_dtype or self.conv0.weight.dtype)
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        y: Tensor = self.conv1(self.conv0(x))
        return y if self.skip is None else y + self.skip(x)


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation, a last convolution at 4x4, and two fully connected layers to the logit."""

    def __init__(self, channels: int, settings: GanSettings, layers: LayerTypes) -> None:
        super().__init__()
        self.mbstd = MinibatchStdLayer(settings.mbstd_group_size)
        self.conv = layers.conv(channels + 1, channels, kernel_size=3, activation="lrelu", clamp=settings.conv_clamp)
        self.fc = layers.fully_connected(channels * 4 * 4, channels, activation="lrelu")
        self.out = layers.fully_connected(channels, 1)

    def forward(self, x: Float[Tensor, "n c 4 4"]) -> Float[Tensor, "n 1"]:
        x = self.conv(self.mbstd(x.to(self.conv.weight.dtype)))
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits


class Discriminator(nn.Module):
    """Image to logit: positive for "photograph", negative for "generated"."""

    def __init__(self, settings: GanSettings, layers: LayerTypes = FAST_LAYERS) -> None:
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
