import copy

import numpy as np
import pytest
import torch
from torch import nn

from segkit.models import build_model
from segkit.models.normalization import (
    ChannelNormalization,
    NormalizedNetwork,
    PatchNormalization,
    ZCAWhitening,
    behind_normalization,
    without_normalization,
)
from segkit.models.settings import SAUNetSettings


def image(num=2, channels=3, height=16, width=16):
    return torch.rand(num, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_a_patch_is_normalised_as_the_slides_print_it():
    patches = image(height=12).numpy()
    mu = np.mean(patches, axis=(2, 3), keepdims=True)
    sigma = np.std(patches, axis=(2, 3), keepdims=True) + 1e-6
    np.testing.assert_allclose(PatchNormalization()(image(height=12)), (patches - mu) / sigma, atol=1e-5)


def test_a_patch_of_one_colour_becomes_zero():
    assert (PatchNormalization()(torch.full((1, 3, 8, 8), 0.25)) == 0).all()


def test_channels_are_normalised_by_their_own_numbers():
    normalization = ChannelNormalization(2)
    normalization.load_state_dict({"mean": torch.tensor([0.2, 0.5]), "deviation": torch.tensor([0.1, 0.25])})
    expected = (image(channels=2).numpy() - [[[0.2]], [[0.5]]]) / [[[0.1]], [[0.25]]]
    np.testing.assert_allclose(normalization(image(channels=2)), expected, rtol=1e-5, atol=1e-6)


def test_whitening_is_a_matrix_product_over_channels_rows_and_columns():
    whitening, rng = ZCAWhitening(2, 4), np.random.default_rng(0)
    mean, matrix = rng.random(32), rng.normal(size=(32, 32))
    whitening.load_state_dict({"mean": torch.from_numpy(mean), "matrix": torch.from_numpy(matrix)})
    patch = image(1, 2, 4, 4)
    expected = np.einsum("ij,j->i", matrix, patch.numpy().astype(float).ravel() - mean).reshape(1, 2, 4, 4)
    np.testing.assert_allclose(whitening(patch), expected, rtol=1e-4, atol=1e-4)


def test_whitening_is_not_rounded_to_half_precision():
    whitening = ZCAWhitening(1, 8)
    with torch.autocast("cpu", torch.bfloat16):
        whitened = whitening(image(1, 1, 8, 8))
    torch.testing.assert_close(whitened, image(1, 1, 8, 8))


@pytest.mark.parametrize(
    "normalization", [ChannelNormalization(3, 0.5, 0.1), PatchNormalization(), ZCAWhitening(3, 16)], ids=str
)
def test_a_normalised_network_sees_the_normalised_image(normalization):
    network = build_model(SAUNetSettings(widths=(4, 8))).eval()
    whole = NormalizedNetwork(normalization, network)
    with torch.inference_mode():
        torch.testing.assert_close(whole(image()), network(normalization(image())))
        for ours, expected in zip(whole.features(image()), network.features(normalization(image())), strict=True):
            torch.testing.assert_close(ours, expected)
    assert copy.deepcopy(whole).state_dict().keys() == whole.state_dict().keys()


def test_a_network_without_an_encoder_has_none_behind_a_normalisation():
    assert not hasattr(NormalizedNetwork(PatchNormalization(), nn.Conv2d(3, 1, 3)), "features")


@pytest.mark.parametrize("normalization", [None, ChannelNormalization(3), PatchNormalization()], ids=str)
def test_first_weights_replace_the_network_and_leave_its_normalisation(normalization):
    network = build_model(SAUNetSettings(widths=(4, 8)))
    whole = network if normalization is None else NormalizedNetwork(normalization, network)
    before = whole.state_dict()
    bare = without_normalization(before)
    assert bare.keys() == network.state_dict().keys()
    changed = {name: value + 1 for name, value in bare.items()}
    whole.load_state_dict(behind_normalization(changed, before))
    assert all(torch.equal(value, changed[name]) for name, value in network.state_dict().items())
    assert without_normalization(bare).keys() == bare.keys()
