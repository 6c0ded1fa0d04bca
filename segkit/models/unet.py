"""U-Net of any depth and width (Ronneberger 2015), with padded convolutions: the logits have the image's size."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.attention import attention_gate
from segkit.models.blocks import ConvUnit, check_size, conv_unit_of, double_conv, init_for_relu, upsampling
from segkit.models.settings import Attention, UNetSettings, Upsampling


class UShape(nn.Module):
    """A U-Net without its head: from an image or feature maps (n, c, h, w) to feature maps (n, widths[0], h, w).

    Two 3x3 convolutions per level, max-pooling down, transposed convolutions or interpolation up. Each skip connection
    passes through an attention gate, which may be the identity.
    """

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        unit: ConvUnit,
        up: Upsampling = "transposed",
        attention: Attention = "none",
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(double_conv(unit, a, b) for a, b in pairwise((in_channels, *widths)))
        self.pool = nn.MaxPool2d(2)
        ascent = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(upsampling(up, a, b) for a, b in ascent)
        self.gates = nn.ModuleList(attention_gate(attention, b, a) for a, b in ascent)
        self.decoder = nn.ModuleList(double_conv(unit, 2 * b, b) for _, b in ascent)

    def encode(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last."""
        return self.encode_below(self.encoder[0](image))

    def encode_below(self, finest: Float[Tensor, "n d h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, given those of the finest."""
        maps = [finest]
        for level in list(self.encoder)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def decode(self, maps: list[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n d h w"]:
        """The decoder's finest feature maps, from the encoder's."""
        *skips, x = maps
        for up, gate, level, skip in zip(self.up, self.gates, self.decoder, reversed(skips), strict=True):
            x = level(torch.cat([gate(skip, x), up(x)], 1))
        return x


class UNet(UShape):
    """A U-Net with a 1x1 convolution to logits.

    With widths 64 to 1024, no norm, one input and one output channel it has 31,030,593 parameters. Image sides must be
    multiples of `settings.stride`.
    """

    def __init__(self, settings: UNetSettings, num_channels: int) -> None:
        unit = conv_unit_of(settings)
        super().__init__(settings.image_channels, settings.widths, unit, settings.upsampling, settings.attention)
        self.settings = settings
        self.head = nn.Conv2d(settings.widths[0], num_channels, 1)
        self.apply(init_for_relu)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        return self.encode(image)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits."""
        logits: Tensor = self.head(self.decode(self.features(image)))
        return logits
