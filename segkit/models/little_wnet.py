"""Little U-Net and W-Net: very small networks in one or several stages (Galdran 2022).

"State-of-the-art retinal vessel segmentation with minimalistic models".
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.blocks import check_size
from segkit.models.heads import Outputs
from segkit.models.settings import LittleWNetSettings


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each followed by ReLU and batch norm, plus a 1x1 shortcut; no activation after the sum."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_unit(in_channels, out_channels), *_unit(out_channels, out_channels))
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), GlobalBatchNorm2d(out_channels)
        )

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        total: Tensor = self.body(features) + self.shortcut(features)
        return total


class LittleUNet(nn.Module):
    """A U-Net of residual blocks; each skip connection passes one more convolution.

    With widths (8, 16, 32), three input channels and one output channel it has 34,201 parameters.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], num_channels: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(ResidualBlock(a, b) for a, b in pairwise((in_channels, *widths)))
        self.pool = nn.MaxPool2d(2)
        ascent = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ascent)
        self.bridge = nn.ModuleList(nn.Sequential(*_unit(b, b)) for _, b in ascent)
        self.decoder = nn.ModuleList(ResidualBlock(2 * b, b) for _, b in ascent)
        self.head = nn.Conv2d(widths[0], num_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last."""
        maps = [self.encoder[0](image)]
        for level in list(self.encoder)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        *skips, x = self.features(image)
        for up, bridge, level, skip in zip(self.up, self.bridge, self.decoder, reversed(skips), strict=True):
            x = level(torch.cat([up(x), bridge(skip)], 1))
        logits: Tensor = self.head(x)
        return logits


class LittleWNet(nn.Module):
    """Little U-Nets in a row: each after the first gets the image and the logits of the one before.

    With two stages, widths (8, 16, 32) and one output channel it has 68,482 parameters. In training the logits of the
    earlier stages are auxiliary outputs. Image sides must be multiples of `settings.stride`.
    """

    def __init__(self, settings: LittleWNetSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        channels = [settings.image_channels] + [settings.image_channels + num_channels] * (settings.num_stages - 1)
        self.stages = nn.ModuleList(LittleUNet(count, settings.widths, num_channels) for count in channels)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of the first stage, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        first = self.stages[0]
        assert isinstance(first, LittleUNet)
        return first.features(image)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Tensor | Outputs:
        """Image in [0, 1] to logits (n, k, h, w); in training with those of the earlier stages."""
        check_size(image, self.settings.stride)
        all_logits: list[Tensor] = []
        for stage in self.stages:
            all_logits.append(stage(torch.cat([image, *all_logits[-1:]], 1)))
        return Outputs(all_logits[-1], tuple(all_logits[:-1])) if self.training else all_logits[-1]


def _unit(in_channels: int, out_channels: int) -> list[nn.Module]:
    """3x3 convolution, ReLU, batch norm: the norm comes after the activation here."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return [conv, nn.ReLU(inplace=True), GlobalBatchNorm2d(out_channels)]
