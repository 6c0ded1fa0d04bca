import numpy as np
import pytest
import torch
from torch import nn

from segkit.models.batch_norm import GlobalBatchNorm2d
from tests.models.on_ranks import run_on_ranks

SHARES = [[0, 1, 2], [3], [4, 5]]
"""The images of each rank, an uneven number."""

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""For each type, the share of the largest entry by which results may differ."""


def features():
    """Six images of other means and deviations, with channels whose mean is far larger than their deviation."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 4, 5, 7, generator=generator)
    scale = torch.tensor([0.5, 1, 2, 3, 1, 0.2])[:, None, None, None]
    return noise * scale + scale + torch.tensor([0.0, 1.0, -30.0, 100.0])[:, None, None]


def train(layer, images, dtype=torch.float32):
    """Two passes forth and back with a loss that is a sum over images; results of the second."""
    if dtype == torch.float64:
        layer.double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 1.5, -2.0]))
        layer.bias.copy_(torch.tensor([0.0, 0.1, -0.2, 0.3]))
    layout = torch.channels_last
    images = images.to(dtype).to(memory_format=layout).requires_grad_()
    target = torch.linspace(-1, 1, 35, dtype=layer.weight.dtype).view(5, 7)
    for _ in range(2):
        layer.zero_grad()
        images.grad = None
        normalised = layer(images)
        (normalised.to(target.dtype).sigmoid() - target).square().sum().backward()
    return {
        "output": normalised.detach(),
        "gradient": images.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "state": layer.state_dict(),
    }


def train_share(rank):
    """A rank's part, in each type."""
    share = features()[SHARES[rank]]
    return {str(dtype): train(GlobalBatchNorm2d(4), share, dtype) for dtype in TOLERANCES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_on_ranks(train_share, 3, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_ranks_with_uneven_shares_normalise_as_one_process_with_all_images(ranks, dtype):
    def compare(together, alone):
        assert together.dtype == alone.dtype
        torch.testing.assert_close(together, alone, rtol=0, atol=TOLERANCES[dtype] * alone.abs().max())

    parts = [rank[str(dtype)] for rank in ranks]
    whole = train(nn.BatchNorm2d(4), features(), dtype)
    for name in ("output", "gradient"):
        compare(torch.cat([part[name] for part in parts]), whole[name])
    for name in ("weight", "bias"):
        compare(sum(part[name] for part in parts), whole[name])
    for part in parts:
        assert part["state"].keys() == whole["state"].keys()
        for name, value in whole["state"].items():
            compare(part["state"][name], value)


@pytest.mark.slow
def test_the_running_statistics_are_the_global_batchs(ranks):
    values = features().double().numpy().transpose(1, 0, 2, 3).reshape(4, -1)
    state = ranks[1]["torch.float32"]["state"]  # the rank with one image
    # two updates by a tenth from 0 and 1
    np.testing.assert_allclose(state["running_mean"], 0.19 * values.mean(1), rtol=1e-5)
    np.testing.assert_allclose(state["running_var"], 0.81 + 0.19 * values.var(1, ddof=1), rtol=1e-5)
    assert state["num_batches_tracked"] == 2


def test_without_other_ranks_it_is_torchs_batch_norm():
    ours, torchs = (train(kind(4), features()) for kind in (GlobalBatchNorm2d, nn.BatchNorm2d))
    assert torch.equal(ours["output"], torchs["output"])
    assert torch.equal(ours["gradient"], torchs["gradient"])
    assert all(torch.equal(value, torchs["state"][name]) for name, value in ours["state"].items())


def test_on_gpus_torchs_synchronised_batch_norm_takes_its_place():
    layer = GlobalBatchNorm2d(4)
    train(layer, features())
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))[0]
    assert isinstance(synchronised, nn.SyncBatchNorm)
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in synchronised.state_dict().items())
