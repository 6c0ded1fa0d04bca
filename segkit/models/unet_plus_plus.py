"""U-Net++: a U-Net whose skip connections are dense rows of nodes, with deep supervision (Zhou 2018, Zhou 2020)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.attention import attention_gate
from segkit.models.blocks import check_size, conv_unit_of, double_conv, init_for_relu, upsampling
from segkit.models.heads import Outputs, logits_of_mean
from segkit.models.settings import UNetPlusPlusSettings


class Node(nn.Module):
    """Two convolutions of the upsampled next coarser map and of the gated maps of the node's own level."""

    def __init__(self, settings: UNetPlusPlusSettings, width: int, width_below: int, num_skips: int) -> None:
        super().__init__()
        self.up = upsampling(settings.upsampling, width_below, width)
        self.gates = nn.ModuleList(attention_gate(settings.attention, width, width_below) for _ in range(num_skips))
        self.convs = double_conv(conv_unit_of(settings), (num_skips + 1) * width, width)

    def forward(
        self, coarse: Float[Tensor, "n d h2 w2"], skips: list[Float[Tensor, "n c h w"]]
    ) -> Float[Tensor, "n c h w"]:
        gated = [gate(skip, coarse) for gate, skip in zip(self.gates, skips, strict=True)]
        result: Tensor = self.convs(torch.cat([self.up(coarse), *gated], 1))
        return result


class UNetPlusPlus(nn.Module):
    """Node X[i][j] of level i and column j gets the upsampled X[i+1][j-1] and X[i][0] to X[i][j-1] (Zhou 2018, Eq. 1).

    Column 0 is the encoder. With deep supervision each of X[0][1], X[0][2], ... has a head, otherwise only the last.
    With widths 32 to 512, no norm, three input channels and one class it has 9,042,276 parameters. Image sides must be
    multiples of `settings.stride`.
    """

    def __init__(self, settings: UNetPlusPlusSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        unit, widths = conv_unit_of(settings), settings.widths
        self.encoder = nn.ModuleList(double_conv(unit, a, b) for a, b in pairwise((settings.image_channels, *widths)))
        self.pool = nn.MaxPool2d(2)
        last = len(widths) - 1
        places = [(level, column) for column in range(1, last + 1) for level in range(last + 1 - column)]
        self.node_levels = [level for level, _ in places]
        self.nodes = nn.ModuleList(Node(settings, widths[i], widths[i + 1], num_skips=j) for i, j in places)
        num_heads = last if settings.deep_supervision else 1
        self.heads = nn.ModuleList(nn.Conv2d(widths[0], num_channels, 1) for _ in range(num_heads))
        self.apply(init_for_relu)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level of the encoder, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        maps = [self.encoder[0](image)]
        for level in list(self.encoder)[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def forward(self, image: Float[Tensor, "n c h w"]) -> Tensor | Outputs:
        """Image in [0, 1] to logits (n, k, h, w); in training those of the last head, the others being auxiliary."""
        grid = [[encoded] for encoded in self.features(image)]
        for level, node in zip(self.node_levels, self.nodes, strict=True):
            grid[level].append(node(grid[level + 1][-1], grid[level]))
        all_logits = [head(x) for head, x in zip(self.heads, grid[0][-len(self.heads) :], strict=True)]
        if self.training:
            return Outputs(all_logits[-1], tuple(all_logits[:-1]))
        return logits_of_mean(all_logits) if self.settings.prediction == "mean" else all_logits[-1]
