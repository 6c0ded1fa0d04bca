"""ResNet with bottleneck blocks and dilation (He 2016; Yu 2017), with torchvision's module and tensor names."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segkit.models.batch_norm import GlobalBatchNorm2d

NUM_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Blocks of each stage."""

EXPANSION = 4
"""Output channels of a block per channel inside it."""

STAGES = ("layer1", "layer2", "layer3", "layer4")


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the 3x3 convolution carries stride and dilation."""

    def __init__(self, in_channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = GlobalBatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = GlobalBatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = GlobalBatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, GlobalBatchNorm2d(out_channels))

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        shortcut = features if self.downsample is None else self.downsample(features)
        x = self.relu(self.bn1(self.conv1(features)))
        x = self.relu(self.bn2(self.conv2(x)))
        total: Tensor = self.relu(self.bn3(self.conv3(x)) + shortcut)
        return total


class ResNet(nn.Module):
    """The convolutional part of ResNet-50 or ResNet-101: image (n, c, h, w) to feature maps of its five stages.

    Args:
        width: channels of the first stage; 64 in the paper. The last stage returns 32 times as many.
        output_stride: 8 or 16; later stages dilate their convolutions in place of striding (Yu 2017).
    """

    def __init__(
        self, depth: Literal["resnet50", "resnet101"], in_channels: int, width: int, output_stride: Literal[8, 16]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = GlobalBatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, total_stride, dilation = width, 4, 1
        for number, (name, num_blocks) in enumerate(zip(STAGES, NUM_BLOCKS[depth], strict=True)):
            inner = width * 2**number
            stride = 2 if number > 0 and total_stride < output_stride else 1
            blocks = [Bottleneck(channels, inner, stride, dilation)]  # a stage's own dilation begins with its second
            if number > 0 and stride == 1:
                dilation *= 2
            channels, total_stride = EXPANSION * inner, total_stride * stride
            blocks += [Bottleneck(channels, inner, dilation=dilation) for _ in range(num_blocks - 1)]
            self.add_module(name, nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of the stem and of the four stages, finest first."""
        maps = [self.relu(self.bn1(self.conv1(image)))]
        x = self.maxpool(maps[0])
        for name in STAGES:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps
