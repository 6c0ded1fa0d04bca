import numpy as np
import pytest
import torch
from torch import nn

from segkit.models.batch_norm import GlobalBatchNorm2d
from segkit.models.blocks import conv_unit, init_like_keras, norm_layer
from segkit.models.dropblock import DropBlock2d
from tests.reference.models_blocks import group_norm


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (12, 4), (7, 1), (8, 8)])
def test_group_norm_equals_plain_numpy(channels, groups):
    torch.manual_seed(0)
    features = torch.randn(3, channels, 5, 6) * 4 + 2
    normed = norm_layer("group", channels)(features).detach().numpy()
    np.testing.assert_allclose(normed, group_norm(features.numpy(), groups), atol=1e-5)


def test_a_unit_is_convolution_dropblock_norm_relu():
    unit = conv_unit(3, 8, drop_prob=0.2, block_size=5, norm="batch")
    assert [type(layer) for layer in unit] == [nn.Conv2d, DropBlock2d, GlobalBatchNorm2d, nn.ReLU]
    assert (unit[1].drop_prob, unit[1].block_size) == (0.2, 5)
    assert unit[0].bias is not None
    assert unit(torch.randn(2, 3, 9, 9)).min() == 0


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 64, 3)
    init_like_keras(layer)
    bound = np.sqrt(6 / (9 * 32 + 9 * 64))
    kernel = layer.weight.detach().numpy()
    assert np.abs(kernel).max() == pytest.approx(bound, rel=1e-2)
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=2e-2)
    assert (layer.bias == 0).all()
