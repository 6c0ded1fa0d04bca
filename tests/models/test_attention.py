import numpy as np
import pytest
import torch

from segkit.models import build_model
from segkit.models.attention import AdditiveGate, CrossScaleAttention, PointwiseGate, SpatialAttention
from segkit.models.settings import UNetSettings
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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_cross_scale_attention_weighs_by_the_means_of_both_maps():
    torch.manual_seed(0)
    attention = CrossScaleAttention(3)
    skip, up = torch.randn(1, 3, 6, 5), torch.randn(1, 7, 6, 5)
    kernel = attention.conv.weight[0].detach().double().numpy()
    padded = np.pad(np.stack([skip.numpy()[0].mean(0), up.numpy()[0].mean(0)]), ((0, 0), (1, 1), (1, 1)))
    weight = [[sigmoid((padded[:, i : i + 3, j : j + 3] * kernel).sum()) for j in range(5)] for i in range(6)]
    np.testing.assert_allclose(attention(skip, up).detach().numpy()[0], skip.numpy()[0] * weight, atol=1e-5)


def test_a_pointwise_gate_is_a_logistic_regression_of_each_position():
    torch.manual_seed(0)
    gate, skip = PointwiseGate(3), torch.randn(2, 3, 4, 6)
    score = np.einsum("nchw,c->nhw", skip.numpy(), gate.conv.weight.detach().numpy()[0, :, 0, 0])
    expected = skip.numpy() * sigmoid(score + gate.conv.bias.item())[:, None]
    np.testing.assert_allclose(gate(skip, torch.randn(2, 5, 2, 3)).detach().numpy(), expected, atol=1e-5)


def test_an_additive_gate_equals_oktays_equations():
    torch.manual_seed(0)
    gate, skip, coarse = AdditiveGate(4, 6), torch.randn(1, 4, 8, 6), torch.randn(1, 6, 4, 3)
    values = {name: value.detach().double().numpy() for name, value in gate.named_parameters()}
    blocks = skip.numpy()[0].reshape(4, 4, 2, 3, 2)
    q = np.einsum("chawb,icab->ihw", blocks, values["skip.weight"])
    q = q + np.einsum("chw,ic->ihw", coarse.numpy()[0], values["coarse.weight"][:, :, 0, 0])
    q = np.maximum(q + values["coarse.bias"][:, None, None], 0)
    alpha = sigmoid(np.einsum("ihw,i->hw", q, values["psi.weight"][0, :, 0, 0]) + values["psi.bias"])
    # bilinear interpolation to twice the size: 3/4 of the nearest value and 1/4 of the next one, also at the border
    for axis in (0, 1):
        edge = np.pad(alpha, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge").swapaxes(0, axis)
        rows = np.empty((2 * (len(edge) - 2), edge.shape[1]))
        rows[0::2] = 0.75 * edge[1:-1] + 0.25 * edge[:-2]
        rows[1::2] = 0.75 * edge[1:-1] + 0.25 * edge[2:]
        alpha = rows.swapaxes(0, axis)
    np.testing.assert_allclose(gate(skip, coarse).detach().numpy()[0], skip.numpy()[0] * alpha, atol=1e-5)


@pytest.mark.parametrize("kind", ["additive", "pointwise"])
def test_a_gate_closes_a_skip_connection_of_a_unet(kind):
    """With the way through the bottleneck cut and the gates shut, the logits do not depend on the image any more."""
    network = build_model(UNetSettings(widths=(4, 8), attention=kind, norm="none")).eval()
    a, b = torch.rand(2, 1, 3, 16, 16)
    with torch.no_grad():
        network.up[0].weight.zero_()
        assert (network(a) - network(b)).abs().max() > 1e-4
        last = network.gates[0].psi if kind == "additive" else network.gates[0].conv
        last.weight.zero_()
        last.bias.fill_(-100)
        assert torch.equal(network(a), network(b))
