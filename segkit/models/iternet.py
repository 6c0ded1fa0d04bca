"""IterNet: a U-Net whose output small U-Nets refine several times (Li 2020)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.blocks import check_size, conv_unit_of, init_for_relu
from segkit.models.heads import Outputs
from segkit.models.settings import IterNetSettings
from segkit.models.unet import UShape


class IterNet(nn.Module):
    """A U-Net, then passes of one small U-Net of its first three widths, which shares its weights among the passes.

    Each pass gets the last feature maps of the network before. Its finest encoder maps are joined with those of all
    networks before, and a 1x1 convolution of its own fuses them. A head follows the U-Net and every pass. With the
    default settings and one class it has 8,244,356 parameters. Image sides must be multiples of `settings.stride`.
    """

    def __init__(self, settings: IterNetSettings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        unit, width = conv_unit_of(settings), settings.widths[0]
        self.base = UShape(settings.image_channels, settings.widths, unit)
        self.small = UShape(width, settings.widths[:3], unit)
        self.fuse = nn.ModuleList(nn.Conv2d((2 + number) * width, width, 1) for number in range(settings.num_passes))
        self.heads = nn.ModuleList(nn.Conv2d(width, num_channels, 1) for _ in range(settings.num_passes + 1))
        self.apply(init_for_relu)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of every level of the first U-Net, finest first, the bottleneck last.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        return self.base.encode(image)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Tensor | Outputs:
        """Image in [0, 1] to logits (n, k, h, w) of the last pass; in training the earlier heads are auxiliary."""
        maps = self.features(image)
        x, finest = self.base.decode(maps), maps[:1]
        decoded = [x]
        for fuse in self.fuse:
            finest.append(self.small.encoder[0](x))
            x = self.small.decode(self.small.encode_below(fuse(torch.cat(finest, 1))))
            decoded.append(x)
        if not self.training:
            logits: Tensor = self.heads[-1](x)
            return logits
        *auxiliary, last = (head(x) for head, x in zip(self.heads, decoded, strict=True))
        return Outputs(last, tuple(auxiliary))
