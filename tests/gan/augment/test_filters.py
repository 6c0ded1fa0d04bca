import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import SYM2, draw
from gan.augment.draws import Column
from gan.augment.filters import amplify, band_gains
from gan.augment.wavelets import filter_bank
from tests.gan.augment.draws import draws_of, no_draws, rng
from tests.gan.networks.convolutions_seen import Seen
from tests.reference import gan_augment_numpy as reference

BANK = filter_bank().double()


def images(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("edge", [8, 16, 48])  # smaller than the filter, which then meets both borders, and larger
def test_images_are_filtered_row_by_row_and_column_by_column(edge):
    x, gains = images(2, 3, edge, edge), torch.tensor([[0.5, 2, 1, 0.3], [1.2, 0, 3, 1]], dtype=torch.float64)
    bands = reference.band_filters(np.array(SYM2), 43)
    expected = [reference.amplify(*pair, bands) for pair in zip(x.numpy(), gains.numpy(), strict=True)]
    np.testing.assert_allclose(amplify(x, gains, BANK), np.stack(expected), atol=1e-6)


def test_gains_of_one_change_nothing():
    x = images(2, 3, 16, 16)
    torch.testing.assert_close(amplify(x, torch.ones(2, 4, dtype=torch.float64), BANK), x)


def test_one_gain_for_all_bands_is_a_factor():
    x = images(1, 1, 16, 16)
    doubled = amplify(x, torch.full((1, 4), 2.0, dtype=torch.float64), BANK)
    torch.testing.assert_close(doubled, 4 * x)  # along both axes


def test_constant_images_know_the_lowest_band_only():
    x = torch.ones(1, 2, 24, 24, dtype=torch.float64)
    filtered = amplify(x, torch.tensor([[0.5, 7, 8, 9]], dtype=torch.float64), BANK)
    torch.testing.assert_close(filtered, x / 4, atol=1e-6, rtol=0)


@pytest.mark.parametrize("band", range(4))
def test_gains_keep_the_power_of_an_expected_image(band):
    gains = band_gains(1.0, 0.5, draws_of(Column(Column.LOWEST_BAND + band), normal=(1.5, 0)))[0].numpy()
    factors = [2**1.5 if k == band else None for k in range(4)]
    np.testing.assert_allclose(gains, reference.normalised_gains(factors))
    assert (gains**2 * [10, 1, 1, 1]).sum() == pytest.approx(13)


def test_gains_of_several_bands_multiply():
    draws, normal = no_draws(), (0.5, -1.0, 2.0, 0.25)
    for band in range(4):
        draws = draws_of(Column(Column.LOWEST_BAND + band), normal=(normal[band], 0), others=draws)
    expected = reference.normalised_gains([2**amount for amount in normal])
    np.testing.assert_allclose(band_gains(1.0, 0.5, draws)[0], expected)


def test_each_band_is_amplified_with_a_chance_of_its_own():
    num_images, p = 20_000, 0.3
    draws = draw(num_images, rng())
    changed = (band_gains(1.0, p, draws) != 1).any(dim=1).double().mean().item()
    assert changed == pytest.approx(1 - (1 - p) ** 4, abs=0.01)
    for band in range(4):
        alone = draws._replace(apply=draws.apply.clone())
        alone.apply[:, [Column.LOWEST_BAND + k for k in range(4) if k != band]] = 1
        gains = band_gains(1.0, p, alone)
        gains = gains[(gains != 1).any(dim=1)]
        assert len(gains) / num_images == pytest.approx(p, abs=0.01)
        factor = (gains[:, band] / gains[:, (band + 1) % 4]).log2()
        assert (factor.mean().item(), factor.std().item()) == pytest.approx((0, 1), abs=0.05)


def test_without_a_range_nothing_is_amplified():
    assert torch.equal(band_gains(0.0, 1.0, draw(3, rng())), torch.ones(3, 4, dtype=torch.float64))


def test_filtering_is_twice_differentiable():
    gains = band_gains(1.0, 1.0, draw(2, rng()))
    x = images(2, 2, 4, 4).requires_grad_()

    def filtered_squares(x):
        return amplify(x**2, gains, BANK)

    assert gradcheck(filtered_squares, x)
    assert gradgradcheck(filtered_squares, x)


def test_no_gradient_by_the_kernels_is_computed_whose_own_kernels_would_be_whole_images():
    x = images(2, 3, 24, 24).requires_grad_()
    with Seen() as seen:
        filtered = amplify(x, band_gains(1.0, 1.0, draw(2, rng())), BANK)
        (slope,) = torch.autograd.grad(filtered.square().sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert seen.kernels == {(1, 43), (43, 1)}
    assert seen.gradients == 0
