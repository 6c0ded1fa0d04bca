import numpy as np
import pytest
import torch

from segkit.models import dropblock
from segkit.models.dropblock import DropBlock2d, image_seeds, keep_mask, seed_prob
from tests.reference import models_dropblock as reference

WAYS = {"listed": dropblock._listed_blocks, "dilated": dropblock._dilated}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def dropped(way, shape, drop_prob=0.18, block_size=7, layout=torch.contiguous_format, seed=0):
    """Where one of the ways drops, as numpy."""
    torch.manual_seed(seed)
    keep = way(torch.randn(shape).to(memory_format=layout), drop_prob, block_size, image_seeds(shape[0]))
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    return keep.numpy() == 0


@pytest.mark.parametrize("size", [(64, 48), (7, 9), (512, 512)])
def test_the_chance_of_a_seed_is_ghiasis(size):
    assert seed_prob(0.18, 7, *size) == pytest.approx(reference.seed_prob(0.18, 7, *size), rel=1e-12)


@every_way
@every_layout
def test_about_the_wanted_share_is_dropped(way, layout):
    share = dropped(way, (4, 64, 64, 64), layout=layout).mean()
    expected = reference.drop_profile(0.18, 7, 64, 64).mean()
    # blocks overlap, so the share stays a little below drop_prob; 256 maps of 64 x 64 leave some 0.0012 to chance
    assert expected == pytest.approx(0.165, abs=0.01)
    assert share == pytest.approx(expected, abs=0.004)


@every_way
@every_layout
def test_each_position_is_dropped_as_often_as_blocks_can_cover_it(way, layout):
    num = 20_000
    profile = dropped(way, (20, num // 20, 11, 14), 0.3, 5, layout).mean((0, 1))
    expected = reference.drop_profile(0.3, 5, 11, 14)
    assert expected.min() < 0.1 * expected.max()  # corners are covered by one block only
    # binomial noise of five deviations, and 0.003 for seeds drawn with replacement
    assert (np.abs(profile - expected) < 5 * np.sqrt(expected * (1 - expected) / num) + 0.003).all()


@every_way
@every_layout
def test_only_whole_blocks_are_dropped(way, layout):
    maps = dropped(way, (3, 4, 24, 17), 0.3, 5, layout).reshape(-1, 24, 17)
    assert all(reference.is_union_of_blocks(one, 5) for one in maps)
    assert all(0 < one.mean() < 0.8 for one in maps)
    assert not reference.is_union_of_blocks(np.eye(24, 17, dtype=bool), 5)


@every_way
def test_images_and_channels_are_dropped_independently(way):
    maps = dropped(way, (40, 50, 16, 16), 0.3, 5).reshape(40, 50, -1)
    center = maps[..., 8 * 16 + 8].astype(float)
    for first, second in ((center[:, :-1], center[:, 1:]), (center[:-1], center[1:])):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    assert center.mean() == pytest.approx(reference.drop_profile(0.3, 5, 16, 16)[8, 8], abs=0.05)


@every_way
def test_pixels_of_one_block_go_together_and_distant_ones_do_not(way):
    maps = dropped(way, (40, 50, 24, 24), 0.2, 5).reshape(-1, 24, 24).astype(float)
    correlation = [np.corrcoef(maps[:, 12, 6], maps[:, 12, 6 + gap])[0, 1] for gap in (1, 3, 5, 9)]
    # pixels a gap apart share 5 - gap of 5 columns of seeds
    assert correlation[:2] == pytest.approx([0.78, 0.37], abs=0.08)
    assert correlation[2:] == pytest.approx([0, 0], abs=0.08)


@every_way
def test_a_block_as_large_as_the_map_drops_all_of_it(way):
    maps = dropped(way, (10, 500, 4, 4), 0.2, 4).reshape(-1, 16)
    assert (maps.all(1) | ~maps.any(1)).all()
    assert maps.all(1).mean() == pytest.approx(0.2, abs=0.03)


@every_way
@every_layout
def test_the_seed_of_torch_fixes_the_mask(way, layout):
    first, again = (dropped(way, (2, 8, 32, 32), layout=layout, seed=3) for _ in range(2))
    assert (first == again).all()
    assert (first != dropped(way, (2, 8, 32, 32), layout=layout, seed=4)).any()


@every_way
def test_an_images_mask_depends_on_its_own_seed_alone(way):
    like = torch.randn(4, 8, 32, 32)
    whole = way(like, 0.2, 5, [5, 6, 7, 8])
    assert torch.equal(whole[2:], way(like[2:], 0.2, 5, [7, 8]))
    assert len({tuple(mask.flatten().tolist()) for mask in whole}) == 4


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_draw_the_noise_of_one_process(monkeypatch, world_size):
    torch.manual_seed(0)
    features = torch.randn(8, 4, 32, 32)
    layers = [DropBlock2d(0.2, 5), DropBlock2d(0.3, 3)]

    def noise(rank, world_size):
        monkeypatch.setattr(dropblock, "rank_and_world_size", lambda: (rank, world_size))
        torch.manual_seed(9)
        share = features.chunk(world_size)[rank]
        return [layer(share) for layer in layers]

    shares = [noise(rank, world_size) for rank in range(world_size)]
    for whole, *parts in zip(noise(0, 1), *shares, strict=True):
        assert torch.equal(torch.cat(parts), whole)


def test_the_layout_of_memory_does_not_change_the_mask():
    contiguous, last = (dropped(WAYS["listed"], (2, 8, 20, 30), layout=layout) for layout in LAYOUTS.values())
    assert (contiguous == last).all()


def test_the_listed_way_serves_the_cpu_and_any_strides():
    like = torch.randn(3, 12, 20, 40)[:, ::2, :, ::2]
    seeds = [3, 1, 4]
    keep = keep_mask(like, 0.2, 5, seeds)
    assert torch.equal(keep, WAYS["listed"](like, 0.2, 5, seeds))
    assert all(reference.is_union_of_blocks(one, 5) for one in (keep.numpy() == 0).reshape(-1, 20, 20))


@every_layout
def test_the_expected_activation_is_kept(layout):
    torch.manual_seed(0)
    features = torch.ones(4, 16, 64, 64).to(memory_format=layout)
    seen = DropBlock2d(0.18)(features)
    for image in seen:
        assert image.mean().item() == pytest.approx(1, abs=1e-5)
        kept = image[image > 0]
        assert kept.min() == kept.max() > 1.1
    assert seen.is_contiguous(memory_format=layout)


def test_kept_features_are_scaled_and_dropped_ones_get_no_gradient():
    torch.manual_seed(0)
    features = torch.randn(2, 4, 32, 32, requires_grad=True)
    seen = DropBlock2d(0.2, 5)(features)
    seen.sum().backward()
    torch.testing.assert_close(seen, features.detach() * features.grad)
    for gradient in features.grad:
        scale = gradient.max()
        assert set(gradient.unique().tolist()) == {0.0, scale.item()}
        assert scale.item() == pytest.approx(1 / (gradient > 0).float().mean().item(), rel=1e-6)


def test_evaluation_and_a_drop_prob_of_zero_leave_features_alone():
    features = torch.randn(1, 2, 16, 16)
    assert DropBlock2d(0.5).eval()(features) is features
    assert DropBlock2d(0.0).train()(features) is features
    assert DropBlock2d(0.5).train()(features) is not features


def test_a_map_smaller_than_the_block_is_dropped_whole_or_kept():
    torch.manual_seed(0)
    layer = DropBlock2d(0.3, 7)
    seen = torch.stack([layer(torch.ones(1, 1, 3, 5)) for _ in range(300)])
    assert torch.isfinite(seen).all()
    columns = (seen == 0).all(-2)  # three rows, so a block is three wide and as high as the map
    assert columns.any()
    assert ((seen == 0).any(-2) == columns).all()


def test_a_map_of_which_nothing_is_left_is_zero_and_not_nan():
    torch.manual_seed(0)
    seen = torch.stack([DropBlock2d(0.9, 4)(torch.ones(1, 1, 4, 4)) for _ in range(50)])
    assert torch.isfinite(seen).all()
    assert (seen.flatten(1) == 0).all(1).any()


def test_low_precision_masks_stay_masks():
    torch.manual_seed(0)
    seen = DropBlock2d(0.2)(torch.ones(2, 8, 64, 64, dtype=torch.bfloat16))
    assert seen.dtype == torch.bfloat16
    assert seen.float().mean().item() == pytest.approx(1, abs=5e-3)


def test_blocks_of_one_pixel_are_dropout():
    torch.manual_seed(0)
    features = torch.ones(4, 8, 50, 50)
    dropped = DropBlock2d(0.3, block_size=1).train()(features)
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / features.numel()) ** 0.5)
    assert dropped.max().item() == pytest.approx(1 / 0.7, rel=0.02)
    # neighbours are dropped independently
    mask = (dropped == 0).double()
    assert (mask[..., 1:] * mask[..., :-1]).mean().item() == pytest.approx(0.09, abs=0.005)
