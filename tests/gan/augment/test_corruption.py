import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import draw
from gan.augment.corruption import add_noise, cut_out, cutout_bounds, noise_stds
from gan.augment.draws import Column
from tests.gan.augment.draws import draws_of, no_draws, rng
from tests.reference import gan_augment_numpy as reference


def images(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_noise_is_as_strong_as_half_a_normal_number():
    assert noise_stds(0.1, 0.5, draws_of(Column.NOISE, normal=(-2, 0))).tolist() == pytest.approx([0.2])
    assert noise_stds(0.1, 0.5, no_draws()).tolist() == [0]
    stds = noise_stds(0.1, 0.3, draw(20_000, rng()))
    assert (stds > 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert (stds[stds > 0] ** 2).mean().sqrt().item() == pytest.approx(0.1, rel=0.05)


def test_noise_is_white_and_different_in_each_channel_and_image():
    x = torch.zeros(2, 3, 64, 64)
    noise = add_noise(x, torch.tensor([0.1, 0.3]), torch.tensor([5, 6]))
    torch.testing.assert_close(noise.std(dim=(1, 2, 3)), torch.tensor([0.1, 0.3]), atol=0, rtol=0.02)
    planes = noise.flatten(2).flatten(0, 1)
    assert (planes.corrcoef() - torch.eye(6)).abs().max() < 0.06
    assert (noise[..., 1:] * noise[..., :-1]).mean(dim=(1, 2, 3)).abs().max() < 0.002
    assert noise.mean(dim=(1, 2, 3)).abs().max() < 0.01


def test_noise_depends_on_the_images_seed_alone():
    x, stds, seeds = images(4, 3, 8, 8), torch.tensor([0.1, 0.0, 0.2, 0.3]), torch.tensor([7, 8, 9, 2**62])
    together = add_noise(x, stds, seeds)
    for part in (slice(2, 3), slice(1, None, 2)):
        assert torch.equal(add_noise(x[part], stds[part], seeds[part]), together[part])
    planes_last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(add_noise(planes_last, stds, seeds), together)
    assert torch.equal(together[1], x[1])
    assert not torch.equal(add_noise(x, stds, seeds + 1)[0], together[0])


def test_noise_is_added_whatever_the_image():
    x, stds, seeds = images(2, 3, 8, 8), torch.tensor([0.1, 0.2]), torch.tensor([7, 8])
    torch.testing.assert_close(add_noise(x, stds, seeds), x + add_noise(torch.zeros_like(x), stds, seeds))


def test_noise_leaves_the_callers_random_numbers_alone():
    before = torch.get_rng_state()
    add_noise(images(1, 1, 4, 4), torch.ones(1), torch.zeros(1, dtype=torch.long))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("edge", [8, 64])
def test_cutout_grays_a_square_of_half_the_edge_around_its_centre(edge):
    draws = draw(6, rng(edge))
    x = images(6, 2, edge, edge)
    result = cut_out(x, cutout_bounds(0.5, 1.0, draws, edge))
    centres = draws.uniform[:, Column.CUTOUT].tolist()
    expected = [reference.cut_out(pixels, *centre) for pixels, centre in zip(x.numpy(), centres, strict=True)]
    np.testing.assert_array_equal(result, np.stack(expected))


def test_cutout_in_the_middle_takes_a_quarter_of_the_image_and_in_a_corner_a_sixteenth():
    ones = torch.ones(1, 3, 32, 32)
    middle = cut_out(ones, cutout_bounds(0.5, 0.5, draws_of(Column.CUTOUT, (0.5, 0.5)), 32))
    corner = cut_out(ones, cutout_bounds(0.5, 0.5, draws_of(Column.CUTOUT, (0.0, 0.0)), 32))
    assert (1 - middle.mean()).item() == pytest.approx(1 / 4)
    assert (1 - corner.mean()).item() == pytest.approx(1 / 16)
    assert corner[..., :8, :8].abs().max() == 0


def test_x_comes_before_y():
    cut = cut_out(torch.ones(1, 1, 8, 8), cutout_bounds(0.5, 0.5, draws_of(Column.CUTOUT, (0.25, 0.75)), 8))
    assert cut[0, 0, 4:, :4].abs().max() == 0
    assert cut.sum() == 48


def test_cutout_happens_with_its_chance():
    bounds = cutout_bounds(0.5, 0.3, draw(20_000, rng()), 64)
    assert (bounds[:, 0, 1] > bounds[:, 0, 0]).double().mean().item() == pytest.approx(0.3, abs=0.01)


def test_corruption_is_twice_differentiable():
    bounds = cutout_bounds(0.5, 1.0, draw(2, rng()), 4)
    x = images(2, 2, 4, 4).requires_grad_()

    def corrupted_squares(x):
        return cut_out(add_noise(x**2, torch.tensor([0.1, 0.0]), torch.tensor([1, 2])), bounds)

    assert gradcheck(corrupted_squares, x)
    assert gradgradcheck(corrupted_squares, x)
