"""Self-attention adversarial segmentation: a residual U-Net with self-attention, and the discriminator of its maps.

From image generation with self-attention (Zhang 2019, "Self-Attention Generative Adversarial Networks") and spectral
norm (Miyato 2018, "Spectral Normalization for Generative Adversarial Networks").
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from segkit.models.attention import SelfAttention
from segkit.models.blocks import check_size, norm_layer
from segkit.models.settings import DiscriminatorSettings, Norm, SAGANUNetSettings


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a norm and an activation, plus a 1x1 shortcut; all with spectral norm.

    A leaky slope of 0 is a ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm = "none", slope: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm_layer(norm, in_channels),
            nn.LeakyReLU(slope),
            spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1)),
            norm_layer(norm, out_channels),
            nn.LeakyReLU(slope),
            spectral_norm(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.shortcut = spectral_norm(nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        total: Tensor = self.body(features) + self.shortcut(features)
        return total


class SAGANUNet(nn.Module):
    """The generator: a U-Net of residual blocks with spectral norm, and self-attention at one level.

    Average pooling down, 2x2 transposed convolutions up; norms in the decoder only. Self-attention comes before the
    encoder's block and after the decoder's block of `settings.attention_level`. The 1x1 convolution to logits has no
    spectral norm, which would bound the logits. Image sides must be multiples of `settings.stride`.
    """

    def __init__(self, settings: SAGANUNetSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        widths = settings.widths
        descent, ascent = list(pairwise((settings.image_channels, *widths))), list(pairwise(reversed(widths)))
        self.encoder = nn.ModuleList(ResidualBlock(a, b) for a, b in descent)
        self.encoder_attention = _attention_at(settings.attention_level, [a for a, _ in descent])
        self.up = nn.ModuleList(spectral_norm(nn.ConvTranspose2d(a, b, 2, stride=2)) for a, b in ascent)
        self.decoder = nn.ModuleList(ResidualBlock(2 * b, b, settings.norm) for _, b in ascent)
        self.decoder_attention = _attention_at(settings.attention_level, widths[:-1])
        self.head = nn.Sequential(
            norm_layer(settings.norm, widths[0]), nn.ReLU(), nn.Conv2d(widths[0], num_channels, 1)
        )

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        maps: list[Tensor] = []
        for attention, block in zip(self.encoder_attention, self.encoder, strict=True):
            maps.append(block(attention(F.avg_pool2d(maps[-1], 2) if maps else image)))
        return maps

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits."""
        *skips, x = self.features(image)
        levels = zip(self.up, self.decoder, reversed(self.decoder_attention), reversed(skips), strict=True)
        for up, block, attention, skip in levels:
            x = attention(block(torch.cat([skip, up(x)], 1)))
        logits: Tensor = self.head(x)
        return logits


class Discriminator(nn.Module):
    """Separates label maps from probabilities: residual blocks, average pooling, self-attention, one logit per image.

    It has spectral norm in every layer and no batch norm. The mean over positions before the last layer lets it take
    images of any size.
    """

    def __init__(self, settings: DiscriminatorSettings, image_channels: int, num_channels: int) -> None:
        super().__init__()
        pairs = list(pairwise((image_channels + num_channels, *settings.widths)))
        self.blocks = nn.ModuleList(ResidualBlock(a, b, slope=settings.slope) for a, b in pairs)
        self.attention = _attention_at(settings.attention_level, [a for a, _ in pairs])
        self.slope = settings.slope
        self.head = spectral_norm(nn.Linear(settings.widths[-1], 1))

    def forward(self, image: Float[Tensor, "n c h w"], segmentation: Float[Tensor, "n k h w"]) -> Float[Tensor, " n"]:
        """One logit per image: positive for a label map, negative for a network's probabilities.

        Args:
            image: in [0, 1].
            segmentation: a label map, or probabilities. A prediction (the most probable class) has no gradient.
        """
        x = torch.cat([image, segmentation.to(image.dtype)], 1)
        for level, (attention, block) in enumerate(zip(self.attention, self.blocks, strict=True)):
            # an odd side's last row or column is a window of its own, so that any size fits
            x = block(attention(F.avg_pool2d(x, 2, ceil_mode=True) if level else x))
        pooled = F.leaky_relu(x, self.slope).mean((2, 3))
        logits: Tensor = self.head(pooled)
        return logits[:, 0]


def _attention_at(level: int | None, channels: "list[int] | tuple[int, ...]") -> nn.ModuleList:
    """Self-attention at one level, and nothing at the others, given the channels of all."""
    return nn.ModuleList(SelfAttention(c) if index == level else nn.Identity() for index, c in enumerate(channels))
