"""SA-UNetv2: SA-UNet with group norm, SiLU, and an attention block in every skip connection (Guo 2025)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.attention import CrossScaleAttention
from segkit.models.blocks import init_for_relu
from segkit.models.sa_unet import SAUNet
from segkit.models.settings import SAUNetV2Settings


class SAUNetV2(SAUNet):
    """With the default settings and one output channel it has 260,521 parameters."""

    activation = nn.SiLU

    def __init__(self, settings: SAUNetV2Settings, num_channels: int) -> None:
        super().__init__(settings, num_channels)
        self.skip_attention = nn.ModuleList(CrossScaleAttention(settings.attention_size) for _ in self.up)
        self.apply(init_for_relu)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Image in [0, 1] to logits."""
        *skips, x = self.features(image)
        for up, attention, level, skip in zip(self.up, self.skip_attention, self.decoder, reversed(skips), strict=True):
            x = up(x)
            x = level(torch.cat([x, attention(skip, x)], 1))
        logits: Tensor = self.head(x)
        return logits
