import numpy as np
import pytest
import torch
from torch import nn

from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from segkit.tasks.inference import VIEWS, probabilities
from segkit.tasks.settings import InferenceSettings


def small_net(seed=0):
    """Two 3x3 convolutions: a pixel sees two pixels around it."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)).eval()


def image(height=40, width=32, num=1, seed=1):
    return torch.rand(num, 3, height, width, generator=torch.Generator().manual_seed(seed))


def look(network, picture, **settings):
    with torch.inference_mode():
        return probabilities(network, picture, InferenceSettings(**settings))


TURNS = {
    "left to right": lambda a: a.flip(-1),
    "upside down": lambda a: a.flip(-2),
    "half turn": lambda a: a.rot90(2, (-2, -1)),
    "quarter turn": lambda a: a.rot90(1, (-2, -1)),
    "three quarters": lambda a: a.rot90(3, (-2, -1)),
    "transposed": lambda a: a.transpose(-2, -1),
}


def test_without_views_and_tiles_it_is_the_sigmoid_of_the_logits():
    network, picture = small_net(), image()
    logits = network(picture).detach().numpy().astype(np.float64)
    np.testing.assert_allclose(look(network, picture).numpy(), 1 / (1 + np.exp(-logits)), atol=1e-6)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_averaged_over_d4_a_turned_image_gives_the_turned_map(turn):
    for network in (small_net(), build_model(SAUNetSettings(widths=(4, 8))).eval()):
        straight = look(network, image(), tta="d4")
        turned = look(network, turn(image()), tta="d4")
        torch.testing.assert_close(turned, turn(straight), rtol=0, atol=1e-5)
        plain = look(network, turn(image())), turn(look(network, image()))
        assert (plain[0] - plain[1]).abs().max() > 1e-3


@pytest.mark.parametrize("turn", ["left to right", "upside down", "half turn"])
def test_averaged_over_flips_a_flipped_image_gives_the_flipped_map(turn):
    network = small_net()
    straight, turned = (look(network, picture, tta="flips") for picture in (image(), TURNS[turn](image())))
    torch.testing.assert_close(turned, TURNS[turn](straight), rtol=0, atol=1e-6)


def test_views_are_averaged_as_probabilities():
    network, picture = small_net(), image()
    flipped = [picture, picture.flip(-1), picture.flip(-2), picture.flip(-2, -1)]
    maps = [network(view).sigmoid().detach() for view in flipped]
    back = [maps[0], maps[1].flip(-1), maps[2].flip(-2), maps[3].flip(-2, -1)]
    expected = np.mean([one.numpy() for one in back], axis=0)
    np.testing.assert_allclose(look(network, picture, tta="flips").numpy(), expected, atol=1e-6)


def test_the_views_are_all_different():
    marked = torch.arange(6.0).reshape(1, 1, 2, 3)
    for name, number in (("none", 1), ("flips", 4), ("d4", 8)):
        seen = set()
        for turns, mirrored in VIEWS[name]:
            view = marked.rot90(turns, (-2, -1))
            seen.add(str((view.flip(-1) if mirrored else view).tolist()))
        assert len(seen) == len(VIEWS[name]) == number


def near_a_border(size, tile=64, reach=2):
    """Pixels (h, w) that some tile looks at without all that lies within `reach` of them."""
    near = [np.zeros(side, bool) for side in size]
    for side, marks in zip(size, near, strict=True):
        for start in {min(start, max(side - tile, 0)) for start in range(0, side, tile // 2)}:
            if start > 0:
                marks[start : start + reach] = True
            if start + tile < side:
                marks[start + tile - reach : start + tile] = True
    return torch.from_numpy(near[0][:, None] | near[1])


@pytest.mark.parametrize("size", [(200, 168), (160, 64), (64, 192), (72, 72)])
@pytest.mark.parametrize("tta", ["none", "d4"])
def test_tiles_give_what_the_whole_image_gives(size, tta):
    network, picture = small_net(), image(*size)
    whole = look(network, picture, tta=tta)
    tiled = look(network, picture, tta=tta, tile=64)
    assert tiled.shape == whole.shape == (1, 1, *size)
    difference = (tiled - whole).abs()[0, 0]
    near = near_a_border(size)
    assert near.float().mean() < 0.5
    assert difference[~near].max() < 1e-6
    assert whole.std() > 0.004
    # a border lies in another tile's middle and weighs next to nothing, but where the last tile is pushed back
    assert difference[near].max() < (1e-4 if all(side % 32 == 0 for side in size) else 2e-3)


def test_tiles_are_predicted_in_batches_of_limited_size():
    sizes = []
    network = small_net()

    def noting(part):
        sizes.append(tuple(part.shape))
        return network(part)

    look(noting, image(360, 328), tile=64)
    # steps of half a tile: 64 + 10 x 32 reach 360 rows, 64 + 9 x 32 reach 328 columns
    assert sizes == [(64, 3, 64, 64), (46, 3, 64, 64)]
    sizes.clear()
    look(noting, image(360, 328), tile=64, tta="flips")
    assert sum(size[0] for size in sizes) == 4 * 110
    sizes.clear()
    look(noting, image(800, 512), tile=512)
    assert sizes == [(1, 3, 512, 512)] * 3


def test_an_image_within_one_tile_is_looked_at_whole():
    sizes = []
    look(lambda part: (sizes.append(part.shape), part[:, :1])[1], image(64, 40), tile=64)
    assert sizes == [(1, 3, 64, 40)]


def test_an_image_narrower_than_a_tile_gets_narrower_tiles():
    sizes = set()
    look(lambda part: (sizes.add(tuple(part.shape)), part[:, :1])[1], image(24, 200), tile=64)
    assert {size[1:] for size in sizes} == {(3, 24, 64)}


@pytest.mark.parametrize("scale", [1.0, 1e3, -1e3])
def test_probabilities_stay_in_range(scale):
    for settings in ({}, {"tta": "d4"}, {"tile": 64}, {"tta": "flips", "tile": 64}):
        probs = look(lambda part: part[:, :1] * scale, image(150, 90), **settings)
        assert probs.dtype == torch.float32
        assert probs.min() >= 0
        assert probs.max() <= 1
        assert torch.isfinite(probs).all()


def test_the_images_of_a_batch_do_not_mix():
    network, pair = small_net(), image(130, 96, num=2)
    for settings in ({"tta": "d4"}, {"tile": 64}):
        together = look(network, pair, **settings)
        alone = torch.cat([look(network, pair[i : i + 1], **settings) for i in range(2)])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_logits_in_bf16_give_probabilities_in_fp32():
    probs = look(lambda part: part[:, :1].bfloat16(), image(), tta="d4")
    assert probs.dtype == torch.float32
