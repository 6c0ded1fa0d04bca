import numpy as np
import torch

from segkit.models.attention import SpatialAttention
from tests.reference.models_blocks import spatial_attention


def test_spatial_attention_equals_plain_numpy():
    for seed, kernel_size in enumerate((3, 7)):
        torch.manual_seed(seed)
        attention = SpatialAttention(kernel_size)
        features = torch.randn(2, 5, 9, 12)
        weighed = attention(features).detach().numpy()
        kernel = attention.conv.weight[0].detach().numpy()
        expected = np.stack([spatial_attention(image, kernel) for image in features.numpy()])
        np.testing.assert_allclose(weighed, expected, atol=1e-5)


def test_attention_only_weakens():
    torch.manual_seed(0)
    features = torch.randn(1, 4, 16, 16)
    weighed = SpatialAttention()(features)
    assert (weighed.abs() < features.abs()).all()
    assert (weighed.sign() == features.sign()).all()


def test_its_kernel_is_all_it_learns():
    attention = SpatialAttention(7)
    assert [tuple(parameter.shape) for parameter in attention.parameters()] == [(1, 2, 7, 7)]
    attention(torch.randn(1, 4, 16, 16)).sum().backward()
    assert attention.conv.weight.grad.abs().min() > 0
