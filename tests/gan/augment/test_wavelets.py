import itertools
import math

import numpy as np
import pytest
import torch

from gan.augment import SYM2, SYM6
from gan.augment.wavelets import filter_bank, low_pass
from tests.reference import gan_augment_numpy as reference


def test_resampling_filter_is_the_orthonormal_symlet_with_six_vanishing_moments():
    taps = np.array(SYM6)
    for shift in range(6):
        assert (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum() == pytest.approx(float(shift == 0), abs=1e-9)
    high_pass = taps * (-1) ** np.arange(12)
    for moment in range(6):
        assert (high_pass * np.arange(12) ** moment).sum() == pytest.approx(0, abs=1e-4)
    assert taps.sum() == pytest.approx(math.sqrt(2))


def test_symlets_are_the_least_asymmetric_of_their_family():
    for ours, num_moments in ((SYM6, 6), (SYM2, 2)):
        best = min(reference.symlets(num_moments), key=reference.asymmetry)
        assert min(np.abs(best - ours).max(), np.abs(best[::-1] - ours).max()) < 1e-10


def test_resampling_keeps_the_mean():
    assert low_pass().shape == (12,)
    assert low_pass().sum().item() == pytest.approx(1, abs=1e-6)


def test_bands_are_what_the_wavelet_transform_splits_a_signal_into():
    bank = filter_bank()
    assert bank.shape == (4, 43)
    np.testing.assert_allclose(bank, reference.band_filters(np.array(SYM2), 43), atol=1e-7)


def test_bands_sum_to_the_signal_and_shift_nothing():
    bank = filter_bank()
    torch.testing.assert_close(bank.sum(dim=0), torch.eye(43)[21])
    torch.testing.assert_close(bank, bank.flip(1))


def test_each_band_passes_its_frequencies():
    edges = np.array([0, 1 / 8, 1 / 4, 1 / 2, 1]) * np.pi
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        middle = np.exp(1j * np.arange(-21, 22) * (low + high) / 2)
        assert np.abs(filter_bank().numpy() @ middle).argmax() == band
    gain_at_zero = filter_bank().sum(dim=1)
    torch.testing.assert_close(gain_at_zero, torch.tensor([1.0, 0, 0, 0]), atol=1e-6, rtol=0)
