"""SA-UNet: a small U-Net with DropBlock and spatial attention at the bottleneck (Guo 2021)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.attention import SpatialAttention
from segkit.models.blocks import check_size, conv_unit_of, double_conv, init_like_keras
from segkit.models.settings import SAUNetSettings


class SAUNet(nn.Module):
    """The original's form: biased convolutions, 3x3 transposed convolutions, attention inside the bottleneck.

    With the default widths and one output channel it has 537,299 trainable parameters. Image sides must be multiples of
    `settings.stride`.
    """

    activation: type[nn.Module] = nn.ReLU

    def __init__(self, settings: SAUNetSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        unit = conv_unit_of(settings, self.activation)
        *widths, bottom = settings.widths
        self.encoder = nn.ModuleList(double_conv(unit, a, b) for a, b in pairwise((settings.image_channels, *widths)))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck_in = unit(widths[-1], bottom)
        self.attention = SpatialAttention(settings.attention_size)
        self.bottleneck_out = unit(bottom, bottom)
        ascent = list(pairwise(reversed(settings.widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1) for a, b in ascent)
        self.decoder = nn.ModuleList(double_conv(unit, 2 * b, b) for _, b in ascent)
        self.head = nn.Conv2d(widths[0], num_channels, 1)
        self.apply(init_like_keras)
        nn.init.kaiming_normal_(self.attention.conv.weight)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        maps, x = [], image
        for level in self.encoder:
            x = level(x)
            maps.append(x)
            x = self.pool(x)
        x = self.bottleneck_out(self.attention(self.bottleneck_in(x)))
        return [*maps, x]

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits."""
        *skips, x = self.features(image)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = level(torch.cat([up(x), skip], 1))
        logits: Tensor = self.head(x)
        return logits
