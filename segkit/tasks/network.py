"""The network of a model: its architecture behind its normalisation, and the fitting of the latter."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from segkit.core.arrays import Pixels
from segkit.core.seeding import derive_seed
from segkit.data.crops import Crops, cut
from segkit.data.preprocessing import IMAGE_DEVIATION, IMAGE_MEAN, Floats, channel_statistics, whitening
from segkit.data.settings import PreprocessingSettings
from segkit.models import build_model
from segkit.models.normalization import ChannelNormalization, NormalizedNetwork, PatchNormalization, ZCAWhitening
from segkit.models.settings import ModelSettings

if TYPE_CHECKING:
    from segkit.data.datamodule import LabelledImage  # imports Lightning, which takes seconds

PATCHES_AT_ONCE = 256


def build_network(model: ModelSettings, preprocessing: PreprocessingSettings, num_channels: int = 1) -> nn.Module:
    """A freshly initialised network: preprocessed image (n, c, h, w) in [0, 1] to logits (n, num_channels, h, w).

    A normalisation in front of it that is fitted (`dataset`, `zca`) changes nothing until `fit_normalization`.
    """
    network = build_model(model, num_channels)
    normalization = _normalization(preprocessing)
    return network if normalization is None else NormalizedNetwork(normalization, network)


def _normalization(preprocessing: PreprocessingSettings) -> nn.Module | None:
    match preprocessing.normalization:
        case "image":  # what `segkit.data.preprocessing` left in 8 bits becomes mean 0 and deviation 1
            return ChannelNormalization(preprocessing.num_channels, IMAGE_MEAN, IMAGE_DEVIATION)
        case "patch":
            return PatchNormalization()
        case "dataset":
            return ChannelNormalization(preprocessing.num_channels)
        case "zca":
            assert preprocessing.patch_size is not None
            return ZCAWhitening(preprocessing.num_channels, preprocessing.patch_size)
        case _:
            return None


def fit_normalization(
    networks: Iterable[nn.Module], preprocessing: PreprocessingSettings, images: Sequence["LabelledImage"]
) -> None:
    """Set what the normalisation of networks takes from training images, where it takes anything.

    `images` are preprocessed training images; with validation or test images their scores would be too good.
    """
    if preprocessing.normalization == "dataset":
        mean, deviation = channel_statistics((labelled.image, labelled.region) for labelled in images)
        # a channel that never changes becomes 0
        _set(networks, mean=mean, deviation=np.maximum(deviation, 1e-6))
    elif preprocessing.normalization == "zca":
        mean, matrix = whitening(random_patches(images, preprocessing), preprocessing.zca_epsilon)
        _set(networks, mean=mean, matrix=matrix)


def _set(networks: Iterable[nn.Module], **values: Floats) -> None:
    for network in networks:
        assert isinstance(network, NormalizedNetwork)
        for name, value in values.items():
            network.normalization.get_buffer(name).copy_(torch.from_numpy(value))


def random_patches(images: Sequence["LabelledImage"], preprocessing: PreprocessingSettings) -> Iterator[list[Pixels]]:
    """Batches of `zca_num_patches` patches (h, w, c) in all, from anywhere in the regions of random images."""
    assert preprocessing.patch_size is not None
    rng = np.random.default_rng(derive_seed(0, "zca"))
    crops = Crops(preprocessing.patch_size)
    for start in range(0, preprocessing.zca_num_patches, PATCHES_AT_ONCE):
        batch = []
        for _ in range(min(PATCHES_AT_ONCE, preprocessing.zca_num_patches - start)):
            labelled = images[int(rng.integers(len(images)))]
            top, left = crops.corner(labelled.target, labelled.region, rng)
            batch.append(cut(labelled.image, top, left, crops.size))
        yield batch
