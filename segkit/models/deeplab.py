"""DeepLabV3 on ResNet-50 or ResNet-101 (Chen 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation").

Modules and tensors have torchvision's names and shapes, so that its weight files fit.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.blocks import check_size
from segkit.models.dropblock import DropBlock2d
from segkit.models.heads import Outputs
from segkit.models.ranks import rank_and_world_size
from segkit.models.resnet import EXPANSION, ResNet
from segkit.models.settings import DeepLabV3Settings

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the images that torchvision's weights were trained on, R, G, B in [0, 1]."""


class DeepLabV3(nn.Module):
    """A dilated ResNet, parallel convolutions at several dilation rates, and interpolation to the image's size.

    With ResNet-50, one class and no auxiliary head it has 39,633,729 parameters, with ResNet-101 58,625,857. Image
    sides must be multiples of `settings.stride`.
    """

    def __init__(self, settings: DeepLabV3Settings, num_channels: int) -> None:
        super().__init__()
        self.settings = settings
        width, output_stride = settings.width, settings.output_stride
        self.backbone = ResNet(settings.backbone, settings.image_channels, width, output_stride)
        stage3, stage4 = 4 * EXPANSION * width, 8 * EXPANSION * width
        rates = tuple(rate * 8 // output_stride for rate in (12, 24, 36))  # Chen 2017, section 4
        inner = 4 * width
        self.classifier = nn.Sequential(
            PyramidPooling(stage4, inner, rates), *_unit(inner, inner, 3), nn.Conv2d(inner, num_channels, 1)
        )
        self.aux_classifier: nn.Sequential | None = None
        if settings.auxiliary_head:
            inner = stage3 // 4
            self.aux_classifier = nn.Sequential(
                *_unit(stage3, inner, 3), DropBlock2d(0.1, block_size=1), nn.Conv2d(inner, num_channels, 1)
            )
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def features(self, image: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Feature maps of the ResNet's stem and of its four stages, finest first.

        Raises:
            RequestError: a side of the image is not a multiple of the stride.
        """
        check_size(image, self.settings.stride)
        if self.settings.imagenet_normalization and self.settings.image_channels == 3:
            image = (image - self.get_buffer("mean")) / self.get_buffer("std")
        maps: list[Tensor] = self.backbone(image)
        return maps

    def forward(self, image: Float[Tensor, "n c h w"]) -> Tensor | Outputs:
        """Image in [0, 1] to logits (n, k, h, w); in training with those of the auxiliary head."""
        *_, stage3, stage4 = self.features(image)
        size = image.shape[-2:]
        logits = _resized(self.classifier(stage4), size)
        if not self.training or self.aux_classifier is None:
            return logits
        return Outputs(logits, (_resized(self.aux_classifier(stage3), size),))


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 convolution, 3x3 convolutions at several rates, and the image's mean."""

    def __init__(self, in_channels: int, out_channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        branches: list[nn.Module] = [nn.Sequential(*_unit(in_channels, out_channels, 1))]
        branches += [nn.Sequential(*_unit(in_channels, out_channels, 3, rate)) for rate in rates]
        branches.append(ImagePooling(in_channels, out_channels))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(
            *_unit(len(branches) * out_channels, out_channels, 1), DropBlock2d(0.5, block_size=1)
        )

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        projected: Tensor = self.project(torch.cat([branch(features) for branch in self.convs], 1))
        return projected


class ImagePooling(nn.Sequential):
    """The mean over an image, a 1x1 convolution, batch norm and ReLU, spread over the map again.

    A batch of one image has no variance here. Its batch norm uses the running statistics, as in prediction.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_unit(in_channels, out_channels, 1))

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        pool, conv, norm, relu = self
        x = conv(pool(features))
        _, world_size = rank_and_world_size()
        if self.training and len(features) * world_size == 1:
            known = cast(nn.BatchNorm2d, norm)
            x = F.batch_norm(x, known.running_mean, known.running_var, known.weight, known.bias, eps=known.eps)
        else:
            x = norm(x)
        return _resized(relu(x), features.shape[-2:])


def _unit(in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> list[nn.Module]:
    """Convolution without bias, batch norm, ReLU."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, bias=False)
    return [conv, GlobalBatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _resized(maps: Float[Tensor, "n d _ _"], size: torch.Size) -> Float[Tensor, "n d h w"]:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
