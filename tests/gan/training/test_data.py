from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gan.settings import GanSettings
from gan.training.data import BatchStream, GanImages, epoch_order, fit_to_square, items_at, load_images
from gan.training.draws import BatchDraws
from segkit.core.errors import DatasetError


def tiny(**changes):
    return GanSettings(**({"resolution": 16, "batch_size": 4, "channel_base": 64, "kimg": 0.04} | changes))


def numbered(count):
    """Images that are told apart by their level; the left half is darker."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16).clone() + 100
    images[..., :8] -= 100
    return images


def test_padding_keeps_the_shape_of_things_and_adds_black():
    image = np.full((20, 10, 3), 200, np.uint8)
    square = fit_to_square(image, 20, "pad")
    np.testing.assert_array_equal(square[:, 5:15], 200)
    assert not square[:, :5].any()
    assert not square[:, 15:].any()


def test_cropping_takes_the_centre_and_squashing_takes_all():
    image = np.zeros((20, 10, 3), np.uint8)
    image[5:15] = 200
    assert (fit_to_square(image, 10, "crop") == 200).all()
    squashed = fit_to_square(image, 10, "squash")
    assert squashed.shape == (10, 10, 3)
    assert squashed[5].min() > 190
    assert squashed[0].max() < 10


def test_images_are_read_fitted_and_stacked(tmp_path):
    for i, size in enumerate([(20, 30), (16, 16)]):
        Image.fromarray(np.full((*size, 3), 10 * i + 50, np.uint8)).save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    images = load_images(paths, tiny())
    assert images.shape == (2, 3, 16, 16)
    assert (images[1] == 60).all()
    assert load_images(paths, tiny(image_channels=1)).shape == (2, 1, 16, 16)


def test_no_images_and_wrong_images_are_refused():
    with pytest.raises(DatasetError):
        load_images([], tiny())
    with pytest.raises(DatasetError):
        GanImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), tiny(), seed=0)


def test_every_pass_shows_every_image_once_in_an_order_of_its_own():
    shown = items_at(seed=1, position=0, count=21, num_items=7)
    assert [sorted(shown[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    assert shown[:7] != shown[7:14]
    assert shown[:7] == epoch_order(1, 0, 7).tolist()
    assert items_at(1, 5, 9, 7) == shown[5:14]
    assert items_at(2, 0, 7, 7) != shown[:7]


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_show_the_batch_of_one_process(world):
    whole = list(BatchStream(numbered(7), tiny(), 3, 10))
    shares = [list(BatchStream(numbered(7), tiny(), 3, 10, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        for rank in range(world):
            assert torch.equal(shares[rank][step], batch[rank::world])


def test_stream_goes_on_where_the_clock_stands():
    whole = list(BatchStream(numbered(7), tiny(), 3, 10))
    rest = list(BatchStream(numbered(7), tiny(), 3, 10, first_position=12))
    assert len(whole) == 10
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], rest, strict=True))


def test_x_flips_show_each_image_and_its_mirror_once_per_pass():
    batches = list(BatchStream(numbered(4), tiny(x_flips=True), 0, 2))
    shown = torch.cat(batches)
    dark_left = shown[:, 0, 0, 0] < shown[:, 0, 0, -1]
    levels = shown[:, 0].amax(dim=(1, 2)).tolist()
    assert sorted(zip(levels, dark_left.tolist(), strict=True)) == [
        (100 + i, b) for i in range(4) for b in (False, True)
    ]


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(DatasetError):
        BatchStream(numbered(4), tiny(), 0, 10, world=3)


def test_ranks_draw_different_numbers_that_together_are_those_of_one_process():
    whole = BatchDraws(5, 7, 0)
    z, augmentation, cutoff = whole.normal(8, 3), whole.augment(8), whole.mixing_cutoff(10, 0.9)
    for rank in range(2):
        share = BatchDraws(5, 7, 0, rank=rank, world=2)
        assert torch.equal(share.normal(8, 3), z[rank::2])
        assert torch.equal(share.augment(8).uniform, augmentation.uniform[rank::2])
        assert share.mixing_cutoff(10, 0.9) == cutoff
    assert not torch.equal(z[0::2], z[1::2])
    assert not torch.equal(BatchDraws(5, 8, 0).normal(8, 3), z)
    assert not torch.equal(BatchDraws(6, 7, 0).normal(8, 3), z)


def test_styles_mix_as_often_as_asked_at_every_layer():
    cutoffs = [BatchDraws(0, i, 0).mixing_cutoff(5, 0.9) for i in range(500)]
    assert set(cutoffs) == {1, 2, 3, 4, 5}
    assert 0.05 < cutoffs.count(5) / 500 < 0.15
    assert BatchDraws(0, 0, 0).mixing_cutoff(5, 0.0) == 5


@pytest.mark.parametrize(("device", "is_pinned"), [("cuda", True), ("cpu", False)])
def test_batches_lie_in_page_locked_memory_for_a_gpu_alone(monkeypatch, device, is_pinned):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda batch: pinned.append(batch) or batch)
    data = GanImages(numbered(4), tiny(), seed=0)
    data.trainer = SimpleNamespace(
        global_rank=0,
        world_size=1,
        max_steps=10,
        strategy=SimpleNamespace(root_device=torch.device(device)),
        lightning_module=SimpleNamespace(num_images_seen=0),
    )
    batch = next(iter(data.train_dataloader()))
    assert [torch.equal(batch, each) for each in pinned] == [True] * is_pinned
