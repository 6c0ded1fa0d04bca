"""U-Net of any depth and width (Ronneberger 2015), with padded convolutions: the logits have the image's size."""

from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.blocks import check_size, conv_unit
from segkit.models.settings import UNetSettings


class UNet(nn.Module):
    """Two 3x3 convolutions per level, max-pooling down, transposed convolutions or interpolation up.

    With widths 64 to 1024, no norm, one input and one output channel it has 31,030,593 parameters. Image sides must be
    multiples of `settings.stride`.
    """

    def __init__(self, settings: UNetSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        unit = partial(conv_unit, drop_prob=settings.drop_prob, block_size=settings.drop_block_size, norm=settings.norm)
        self.encoder = nn.ModuleList(
            nn.Sequential(unit(a, b), unit(b, b)) for a, b in pairwise((settings.image_channels, *settings.widths))
        )
        self.pool = nn.MaxPool2d(2)
        ascent = list(pairwise(reversed(settings.widths)))
        self.up = nn.ModuleList(_upsampling(settings.upsampling, a, b) for a, b in ascent)
        self.decoder = nn.ModuleList(nn.Sequential(unit(2 * b, b), unit(b, b)) for _, b in ascent)
        self.head = nn.Conv2d(settings.widths[0], num_channels, 1)
        self.apply(_init)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        maps = [self.encoder[0](image)]
        for level in list(self.encoder)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits."""
        *skips, x = self.features(image)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            x = level(torch.cat([skip, up(x)], 1))
        logits: Tensor = self.head(x)
        return logits


def _upsampling(kind: str, in_channels: int, out_channels: int) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
    interpolation = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(interpolation, nn.Conv2d(in_channels, out_channels, 1))


def _init(module: nn.Module) -> None:
    """Normal weights of variance 2 / fan in (Ronneberger 2015, section 3; He 2015)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
