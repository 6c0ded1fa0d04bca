from functools import partial

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel

from segkit.models import build_model, channels_last
from segkit.models.settings import SAUNetSettings
from tests.models.on_ranks import run_on_ranks


def train(rank, world_size):
    """Five steps of Adam with the shipped network in float64, where rounding hides nothing; the state it ends in."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, 32, 48, generator=generator, dtype=torch.float64).chunk(world_size)[rank]
    vessels = (torch.rand(4, 1, 32, 48, generator=generator) < 0.2).double().chunk(world_size)[rank]
    torch.manual_seed(2)
    network = channels_last(build_model(SAUNetSettings())).double()
    model = DistributedDataParallel(network) if world_size > 1 else network
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(5):
        torch.manual_seed(step)
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(image), vessels).backward()
        optimizer.step()
    return network.state_dict()


@pytest.fixture(scope="module")
def alone():
    return train(0, 1)


@pytest.mark.slow
def test_the_shipped_network_takes_the_same_steps_on_two_ranks(alone, tmp_path):
    for state in run_on_ranks(partial(train, world_size=2), 2, tmp_path):
        for name, value in alone.items():
            torch.testing.assert_close(
                state[name], value, rtol=0, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )
