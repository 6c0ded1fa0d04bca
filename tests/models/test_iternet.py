import pytest
import torch

from segkit.models import build_model
from segkit.models.settings import IterNetSettings


@pytest.mark.parametrize(("width", "published"), [(32, 8_244_356), (16, 2_062_404), (8, 516_260)])
def test_the_published_sizes_are_met(width, published):
    network = build_model(IterNetSettings(widths=tuple(width * 2**level for level in range(5))))
    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_passes_share_the_small_network_and_have_a_fusion_and_a_head_each():
    def sizes(num_passes):
        network = build_model(IterNetSettings(widths=(4, 6), num_passes=num_passes))
        return sum(p.numel() for p in network.small.parameters()), sum(p.numel() for p in network.parameters())

    (small, one), (small_again, two) = sizes(1), sizes(2)
    assert small == small_again
    assert two - one == (3 * 4 * 4 + 4) + (4 + 1)


def test_each_pass_has_logits_of_which_only_the_last_predict():
    network = build_model(IterNetSettings(widths=(4, 6), num_passes=2, drop_prob=0))
    image = torch.rand(1, 3, 8, 8)
    result = network.train()(image)
    assert len(result.auxiliary) == 2
    assert torch.equal(result.logits, network.eval()(image))
    first = network.heads[0](network.base.decode(network.base.encode(image)))
    assert torch.equal(result.auxiliary[0], first)


def test_a_pass_gets_the_finest_maps_of_all_networks_before():
    """The fusion of the last pass is an average here: of three finest maps, computed by hand."""
    network = build_model(IterNetSettings(widths=(2, 3), num_passes=2)).eval()
    image = torch.rand(1, 3, 8, 8)
    maps = network.base.encode(image)
    before = [maps[0]]
    x = network.base.decode(maps)
    for fuse in network.fuse:
        before.append(network.small.encoder[0](x))
        weight = fuse.weight[:, :, 0, 0]
        joined = torch.cat(before, 1)
        fused = torch.einsum("oc,nchw->nohw", weight, joined) + fuse.bias[:, None, None]
        below = network.small.encoder[1](network.small.pool(fused))
        x = network.small.decoder[0](torch.cat([fused, network.small.up[0](below)], 1))
    torch.testing.assert_close(network(image), network.heads[-1](x), rtol=1e-4, atol=1e-5)
