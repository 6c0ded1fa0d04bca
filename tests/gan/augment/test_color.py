import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import PRESETS, draw
from gan.augment.color import Color, color_matrices, hue, luma_flip, recolor
from gan.augment.draws import Column
from tests.gan.augment.draws import draws_of, no_draws, rng
from tests.reference import gan_augment_numpy as reference

COLOR = PRESETS["color"].color
# numbers drawn, and what they mean for the pixels
ALONE = {
    "brightness": ({"column": Column.BRIGHTNESS, "normal": (1.5, 0)}, {"added": 0.3}),
    "contrast": ({"column": Column.CONTRAST, "normal": (-2, 0)}, {"factor": 0.5}),
    "flipped": ({"column": Column.LUMA_FLIP, "uniform": (0.5, 0)}, {"flipped": True}),
    "not flipped": ({"column": Column.LUMA_FLIP, "uniform": (0.49, 0)}, {"flipped": False}),
    "hue": ({"column": Column.HUE, "uniform": (0.9, 0)}, {"theta": 0.8 * math.pi}),
    "hue the other way": ({"column": Column.HUE, "uniform": (0.25, 0)}, {"theta": -0.5 * math.pi}),
    "saturation": ({"column": Column.SATURATION, "normal": (1.2, 0)}, {"saturation": 2**1.2}),
}


def image(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def recolored(pixels, draws):
    """One image, with what is drawn at a chance of 0.5."""
    matrices = color_matrices(COLOR, 0.5, draws, pixels.shape[0])
    return recolor(torch.from_numpy(pixels)[None], matrices)[0].numpy()


@pytest.mark.parametrize("name", ALONE)
def test_each_transform_does_to_pixels_what_its_name_says(name):
    drawn, meaning = ALONE[name]
    pixels = image(3, 4, 5)
    np.testing.assert_allclose(recolored(pixels, draws_of(**drawn)), reference.recolor(pixels, **meaning), atol=1e-12)


def test_together_they_follow_each_other_in_the_papers_order():
    draws, meaning = no_draws(), {}
    for drawn, means in (ALONE[name] for name in ALONE if name not in ("not flipped", "hue the other way")):
        draws, meaning = draws_of(**drawn, others=draws), meaning | means
    assert len(meaning) == 5
    pixels = image(3, 4, 5)
    np.testing.assert_allclose(recolored(pixels, draws), reference.recolor(pixels, **meaning), atol=1e-12)


def test_a_third_of_the_hue_circle_turns_red_into_green():
    turn = hue(torch.tensor([2 * math.pi / 3], dtype=torch.float64))[0]
    green = turn @ torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(green, torch.tensor([0.0, 1, 0, 1], dtype=torch.float64))


def test_luma_flip_is_its_own_inverse_and_keeps_differences_between_channels():
    flip = luma_flip(torch.ones(1, dtype=torch.float64))[0]
    torch.testing.assert_close(flip @ flip, torch.eye(4, dtype=torch.float64))
    color = torch.tensor([0.7, -0.2, 0.1, 1], dtype=torch.float64)
    torch.testing.assert_close((flip @ color)[:3].diff(), color[:3].diff())
    assert (flip @ color)[:3].sum().item() == pytest.approx(-0.6)


def test_gray_images_stay_gray_under_hue_and_saturation():
    draws = draws_of(Column.SATURATION, normal=(3, 0), others=draws_of(Column.HUE, (0.8, 0)))
    gray = np.repeat(image(1, 4, 5), 3, axis=0)
    np.testing.assert_allclose(recolored(gray, draws), gray, atol=1e-12)


def test_one_channel_becomes_the_mean_of_what_its_gray_would_become():
    draws = draw(1, rng())
    draws.apply.zero_()
    pixels = image(1, 4, 5)
    in_color = recolored(np.repeat(pixels, 3, axis=0), draws)
    np.testing.assert_allclose(recolored(pixels, draws), in_color.mean(axis=0, keepdims=True), atol=1e-12)


def test_one_channel_has_neither_hue_nor_saturation():
    only = Color(hue=180.0, saturation_std=1.0)
    matrices = color_matrices(only, 1.0, draw(10, rng()), 1)
    assert torch.equal(matrices, torch.eye(4, dtype=torch.float64).expand(10, 4, 4))
    assert not torch.equal(color_matrices(only, 1.0, draw(10, rng()), 3), matrices)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_have_no_colors(channels):
    with pytest.raises(ValueError, match=f"{channels} channels"):
        recolor(torch.zeros(1, channels, 2, 2), torch.eye(4)[None])


def test_each_transform_happens_with_its_chance_and_in_its_range():
    num_images, p = 20_000, 0.3
    draws = draw(num_images, rng())
    identity = torch.eye(4, dtype=torch.float64)

    def chosen(**only):
        matrices = color_matrices(Color(**only), p, draws, 3)
        return matrices[(matrices != identity).flatten(1).any(1)]

    brightness = chosen(brightness_std=0.2)[:, 0, 3]
    contrast = chosen(contrast_std=0.5)[:, 0, 0].log2()
    turned = chosen(hue=180.0)
    saturation = (chosen(saturation_std=1.0)[:, 0, 0] * 1.5 - 0.5).log2()
    for amounts, std in ((brightness, 0.2), (contrast, 0.5), (saturation, 1.0)):
        assert len(amounts) / num_images == pytest.approx(p, abs=0.01)
        assert amounts.std().item() == pytest.approx(std, rel=0.05)
        assert amounts.mean().item() == pytest.approx(0, abs=0.05 * std)
    assert len(turned) / num_images == pytest.approx(p, abs=0.01)
    cosine = (turned[:, :3, :3].diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    assert cosine.mean().item() == pytest.approx(0, abs=0.02)  # even over the whole circle
    assert (cosine**2).mean().item() == pytest.approx(0.5, abs=0.02)
    assert len(chosen(luma_flip=True)) / num_images == pytest.approx(p / 2, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_recoloring_is_twice_differentiable(channels):
    matrices = color_matrices(COLOR, 1.0, draw(2, rng()), channels)
    pixels = torch.from_numpy(image(2, channels, 3, 3)).requires_grad_()

    def recolored_squares(pixels):
        return recolor(pixels**2, matrices)

    assert gradcheck(recolored_squares, pixels)
    assert gradgradcheck(recolored_squares, pixels)
