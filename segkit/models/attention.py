"""Attention blocks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Weighs each position by its channel mean and maximum (Woo 2018, CBAM, Eq. 3; Guo 2021, section II-C)."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        pooled = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], 1)
        gate: Tensor = self.conv(pooled).sigmoid()
        return features * gate
