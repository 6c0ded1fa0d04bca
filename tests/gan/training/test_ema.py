import pytest
import torch
from torch import nn

from gan.training.ema import ema_decay, update_ema


def test_half_is_forgotten_after_the_half_life():
    decay = ema_decay(batch_size=20, ema_kimg=10.0, num_images_seen=10**9, ema_rampup=None)
    assert decay ** (10_000 / 20) == pytest.approx(0.5)


def test_ramp_up_shortens_the_half_life_at_the_start():
    assert ema_decay(20, 10.0, num_images_seen=0, ema_rampup=0.05) == 0.0
    assert ema_decay(20, 10.0, num_images_seen=4000, ema_rampup=0.05) == pytest.approx(0.5 ** (20 / 200))
    assert ema_decay(20, 10.0, num_images_seen=10**6, ema_rampup=0.05) == ema_decay(20, 10.0, 0, None)


def test_average_moves_parameters_and_copies_buffers():
    average, network = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(network.weight, 3.0)
    network.running_mean.fill_(5.0)
    update_ema(average, network, decay=0.75)
    torch.testing.assert_close(average.weight.data, torch.tensor([1.5, 1.5]))
    torch.testing.assert_close(average.running_mean, torch.tensor([5.0, 5.0]))
