from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from segkit.models import build_model
from segkit.models.heads import probabilities
from segkit.models.settings import UNetPlusPlusSettings
from tests.reference import models_losses


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({"norm": "none", "deep_supervision": False}, 9_042_177),
        ({"norm": "none"}, 9_042_276),
        ({"norm": "none", "deep_supervision": False, "image_channels": 1}, 9_041_601),
        ({"widths": (16, 32, 64, 128), "deep_supervision": False}, 553_777),
    ],
)
def test_the_published_sizes_are_met(changes, published):
    assert count(build_model(UNetPlusPlusSettings(**changes))) == published


@pytest.mark.parametrize("kind", ["additive", "pointwise"])
def test_each_node_has_a_gate_for_every_skip_connection(kind):
    widths = (4, 6, 8, 10)
    gated = count(build_model(UNetPlusPlusSettings(widths=widths, attention=kind)))
    plain = count(build_model(UNetPlusPlusSettings(widths=widths)))
    # level i has nodes in columns 1 to 3 - i; the node in column j has j skip connections
    num_gates = [sum(range(1, 4 - level)) for level in range(3)]

    def size(here, below):
        inner = here // 2
        return here + 1 if kind == "pointwise" else 4 * here * inner + below * inner + inner + inner + 1

    sizes = [size(here, below) for here, below in pairwise(widths)]
    assert gated - plain == sum(np.multiply(num_gates, sizes))


class Sum(nn.Module):
    """In place of a node: one channel, the sum of all channels that come in."""

    def forward(self, features):
        return features.sum(1, keepdim=True)


def test_nodes_are_wired_as_in_the_papers_first_equation():
    network = build_model(UNetPlusPlusSettings(widths=(1, 1, 1, 1))).eval()
    image = torch.rand(1, 1, 16, 16)
    network.encoder = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Identity(), nn.Identity()])
    for node in network.nodes:
        node.convs, node.up = Sum(), nn.Upsample(scale_factor=2)
    for head in network.heads:
        nn.init.ones_(head.weight)
        nn.init.zeros_(head.bias)
    result = network.train()(image)

    x = {(0, 0): image.numpy()[0, 0]}
    for level in range(1, 4):
        above = x[level - 1, 0]
        x[level, 0] = above.reshape(len(above) // 2, 2, len(above) // 2, 2).max((1, 3))
    for column in range(1, 4):
        for level in range(4 - column):
            up = x[level + 1, column - 1].repeat(2, 0).repeat(2, 1)
            x[level, column] = up + sum(x[level, earlier] for earlier in range(column))
    for column, logits in enumerate((*result.auxiliary, result.logits), start=1):
        np.testing.assert_allclose(logits.detach().numpy()[0, 0], x[0, column], rtol=1e-5)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_prediction_is_the_mean_of_the_probabilities_of_all_heads(num_channels):
    settings = UNetPlusPlusSettings(widths=(3, 4, 6, 8), norm="none")
    network = build_model(settings, num_channels)
    image = torch.rand(2, 3, 16, 8)
    result = network.train()(image)
    of_heads = [logits.detach().double().numpy() for logits in (*result.auxiliary, result.logits)]
    assert len(of_heads) == 3
    to_probs = (
        models_losses.probabilities if num_channels == 1 else lambda x: np.stack(list(map(models_losses.softmax, x)))
    )
    expected = np.mean([to_probs(logits) for logits in of_heads], axis=0)
    with torch.no_grad():
        predicted = probabilities(network.eval()(image))
    np.testing.assert_allclose(predicted.numpy(), expected, atol=1e-6)


def test_the_prediction_can_be_that_of_the_last_head():
    settings = UNetPlusPlusSettings(widths=(3, 4, 6), norm="none", prediction="last")
    network = build_model(settings)
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(network.train()(image).logits, network.eval()(image))


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, [0.25] * 4), (0.0, [1, 0, 0, 0]), (2.0, [1 / 7, 2 / 7, 2 / 7, 2 / 7])]
)
def test_the_losses_of_all_heads_are_averaged(weight, expected):
    assert UNetPlusPlusSettings(auxiliary_weight=weight).output_weights(3) == pytest.approx(expected)
