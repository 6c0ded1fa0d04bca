import numpy as np
import pytest
import torch
from torch import nn

from segkit.models.batch_norm import GlobalBatchNorm2d
from tests.models.on_ranks import run_on_ranks

SHARES = [[0, 1, 2], [3], [4, 5]]
"""The images of each rank, an uneven number."""


def features():
    """Six images of other means and deviations, with channels whose mean is far larger than their deviation."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 4, 5, 7, generator=generator)
    scale = torch.tensor([0.5, 1, 2, 3, 1, 0.2])[:, None, None, None]
    return noise * scale + scale + torch.tensor([0.0, 1.0, -30.0, 100.0])[:, None, None]


def train(layer, images, dtype=torch.float32):
    """Two steps of plain descent with a loss that is a sum over images; what is left of the second."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 1.5, -2.0]))
        layer.bias.copy_(torch.tensor([0.0, 0.1, -0.2, 0.3]))
    layout = torch.channels_last
    images = images.to(dtype).to(memory_format=layout).requires_grad_()
    target = torch.linspace(-1, 1, 35).view(5, 7)
    for _ in range(2):
        layer.zero_grad()
        images.grad = None
        normalised = layer(images)
        (normalised.float().sigmoid() - target).square().sum().backward()
    return {
        "output": normalised.detach(),
        "gradient": images.grad,
        "weight": layer.weight.grad,
        "bias": layer.bias.grad,
        "state": layer.state_dict(),
    }


def train_share(rank):
    """A rank's part, in fp32 and bf16."""
    share = features()[SHARES[rank]]
    return {str(dtype): train(GlobalBatchNorm2d(4), share, dtype) for dtype in (torch.float32, torch.bfloat16)}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_on_ranks(train_share, 3, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)])
def test_ranks_with_uneven_shares_normalise_as_one_process_with_all_images(ranks, dtype, tolerance):
    parts = [rank[str(dtype)] for rank in ranks]
    whole = train(nn.BatchNorm2d(4), features(), dtype)
    for name in ("output", "gradient"):
        together = torch.cat([part[name] for part in parts])
        assert together.dtype == dtype
        torch.testing.assert_close(together, whole[name], rtol=tolerance, atol=tolerance * whole[name].abs().max())
    for name in ("weight", "bias"):
        summed = sum(part[name] for part in parts)
        torch.testing.assert_close(summed, whole[name], rtol=tolerance, atol=tolerance * whole[name].abs().max())
    for part in parts:
        assert part["state"].keys() == whole["state"].keys()
        for name, value in whole["state"].items():
            torch.testing.assert_close(part["state"][name], value, rtol=1e-5, atol=1e-5)


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
