import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan.augment import GEOMETRIES, SYM6, Geometry, draw, geometry_matrices, warp
from gan.augment.draws import Column
from gan.augment.geometry import translation
from tests.gan.augment.draws import draws_of, no_draws, rng
from tests.reference import gan_augment_numpy as reference


def where_from(geometry, draws, x, y, edge=32):
    """Source position, from the centre, of the output pixel at (x, y)."""
    matrix = geometry_matrices(geometry, 0.5, draws, edge)[0].numpy()
    return (matrix @ [x, y, 1])[:2]


EVERYTHING = GEOMETRIES["bg"]


def test_mirror_reads_from_the_other_side():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(Column.X_FLIP, (0.7, 0)), 3, 5), (-3, 5))
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(Column.X_FLIP, (0.3, 0)), 3, 5), (3, 5))


@pytest.mark.parametrize(("drawn", "source"), [(0.1, (3, 5)), (0.3, (-5, 3)), (0.6, (-3, -5)), (0.9, (5, -3))])
def test_quarter_turns_are_exact(drawn, source):
    np.testing.assert_array_equal(where_from(EVERYTHING, draws_of(Column.QUARTER_TURNS, (drawn, 0)), 3, 5), source)


def test_whole_shifts_are_whole_pixels_of_at_most_an_eighth():
    np.testing.assert_array_equal(where_from(EVERYTHING, draws_of(Column.WHOLE_SHIFT, (0.999, 0.4)), 0, 0), (-4, 1))


def test_scale_is_a_power_of_two_in_both_directions():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(Column.SCALE, normal=(5, 0)), 3, 5), (1.5, 2.5))


@pytest.mark.parametrize("column", [Column.FIRST_TURN, Column.SECOND_TURN])
def test_turns_go_half_a_circle_either_way(column):
    angle = 0.5 * math.pi  # (0.75 * 2 - 1) * 180 degrees
    expected = (math.cos(angle) * 3 - math.sin(angle) * 5, math.sin(angle) * 3 + math.cos(angle) * 5)
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(column, (0.75, 0)), 3, 5), expected, atol=1e-12)


def test_stretching_keeps_the_area():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(Column.STRETCH, normal=(5, 0)), 3, 5), (1.5, 10))


def test_shifts_are_shares_of_the_edge():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(Column.SHIFT, normal=(1, -0.5)), 0, 0), (-4, 2))


def test_transforms_multiply_in_the_papers_order():
    draws = draw(5, rng())
    draws.apply.zero_()
    expected = torch.eye(3, dtype=torch.float64).repeat(5, 1, 1)
    for column in range(8):
        alone = draws._replace(apply=no_draws(5).apply)
        alone.apply[:, column] = 0
        expected = expected @ geometry_matrices(EVERYTHING, 0.5, alone, 32)
    torch.testing.assert_close(geometry_matrices(EVERYTHING, 0.5, draws, 32), expected)


def test_each_transform_happens_with_its_chance():
    num_images, p = 20_000, 0.3
    draws = draw(num_images, rng())
    identity = torch.eye(3, dtype=torch.float64)

    def share(geometry):
        return (geometry_matrices(geometry, p, draws, 64) != identity).flatten(1).any(1).double().mean().item()

    assert share(Geometry(scale_std=0.2)) == pytest.approx(p, abs=0.01)
    assert share(Geometry(turn=180.0)) == pytest.approx(p, abs=0.01)  # by two turns together
    assert share(Geometry(x_flip=True)) == pytest.approx(p / 2, abs=0.01)
    assert share(Geometry(quarter_turns=True)) == pytest.approx(p * 3 / 4, abs=0.01)


def test_a_fundus_is_turned_and_scaled_slightly_only():
    matrices = geometry_matrices(GEOMETRIES["fundus"], 1.0, draw(2000, rng()), 64)
    scale = torch.linalg.det(matrices).abs().sqrt()
    assert 0.75 < scale.min().item() < scale.max().item() < 1.35
    turns = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0].abs() * matrices[:, 1, 1].sign()).abs()
    assert math.degrees(turns.max().item()) < 31  # two turns of at most 15 degrees


def smooth(n=2, edge=32):
    y, x = np.mgrid[:edge, :edge] - (edge - 1) / 2
    image = np.sin(x / 4 + 0.3) * np.cos(y / 5) + x / edge
    return torch.from_numpy(np.stack([[image, image**2]] * n))


TAPS = torch.tensor(SYM6, dtype=torch.float64) / sum(SYM6)


def test_warping_by_nothing_changes_a_smooth_image_little():
    image = smooth()
    result = warp(image, torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), TAPS)
    assert (result - image)[..., 3:-3, 3:-3].abs().max() < 0.01


def test_warping_by_a_mirror_a_quarter_turn_or_a_whole_shift_does_just_that():
    image = smooth()
    # what is mirrored or turned lies a tenth of a pixel beside: the filter's centre is taken for half a doubled pixel
    mirrored = warp(image, torch.diag(torch.tensor([-1.0, 1, 1])).double().repeat(2, 1, 1), TAPS)
    assert (mirrored - image.flip(3))[..., 4:-4, 4:-4].abs().max() < 0.04
    quarter = geometry_matrices(EVERYTHING, 0.5, draws_of(Column.QUARTER_TURNS, (0.3, 0)), 32).repeat(2, 1, 1)
    # reads (x, y) from (-y, x): the picture turns counterclockwise, as y points down
    assert (warp(image, quarter, TAPS) - image.rot90(1, (2, 3)))[..., 4:-4, 4:-4].abs().max() < 0.04
    shift = geometry_matrices(EVERYTHING, 0.5, draws_of(Column.WHOLE_SHIFT, (0.999, 0.4)), 32).repeat(2, 1, 1)
    assert (warp(image, shift, TAPS) - image.roll((-1, 4), (2, 3)))[..., 6:-6, 6:-6].abs().max() < 0.01


def test_warping_by_any_matrix_samples_where_the_matrix_says():
    edge = 48
    matrices = geometry_matrices(
        Geometry(scale_std=0.1, turn=30.0, stretch_std=0.1, shift_std=0.05), 1.0, draw(3, rng(3)), edge
    )
    y, x = np.mgrid[:edge, :edge] - (edge - 1) / 2

    def picture(x, y):
        return np.sin(x / 5 + 0.3) * np.cos(y / 6)

    image = torch.from_numpy(np.stack([[picture(x, y)]] * 3))
    source = np.einsum("nij,jhw->nihw", matrices.numpy(), np.stack([x, y, np.ones_like(x)]))
    inside = (np.abs(source[:, :2]) < edge / 2 - 3).all(axis=1)
    expected = picture(source[:, 0], source[:, 1])
    error = np.abs(warp(image, matrices, TAPS)[:, 0].numpy() - expected)
    assert inside.mean() > 0.5
    assert error[inside].max() < 0.02


def test_borders_are_reflected_not_black():
    image = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    shifted = warp(image, translation(*torch.full((2, 1), 5.3, dtype=torch.float64)), TAPS)
    torch.testing.assert_close(shifted, image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("edge", [24, 17, 8])
@pytest.mark.parametrize("zoom", [1.0, 1.6, 5.0])
@pytest.mark.parametrize("preset", ["fundus", "bg"])
def test_warping_equals_the_papers_long_way_however_far_it_reads(preset, zoom, edge):
    num_images = 3
    matrices = geometry_matrices(GEOMETRIES[preset], 0.7, draw(num_images, rng(5)), edge)
    matrices[:, :2] *= zoom
    image = np.random.default_rng(0).standard_normal((num_images, 2, edge, edge))
    expected = np.stack([reference.warp(*pair, TAPS.numpy()) for pair in zip(image, matrices.numpy(), strict=True)])
    np.testing.assert_allclose(warp(torch.from_numpy(image), matrices, TAPS), expected, rtol=0, atol=1e-12)


def test_beyond_the_borders_lies_the_mirrored_image_however_far():
    edge, half = 48, 23.5
    matrices = torch.diag_embed(torch.tensor([[-4.3, 4.3, 1], [0.4, 3.7, 1]], dtype=torch.float64))
    matrices[1, :2, 2] = torch.tensor([130.0, -30.0])

    def picture(x, y):  # has no slope at the borders, so that its mirror images continue it smoothly
        return np.cos(np.pi * (x + half) / (2 * half)) * np.cos(np.pi * (y + half) / (2 * half))

    y, x = np.mgrid[:edge, :edge] - half
    image = torch.from_numpy(np.stack([[picture(x, y)]] * 2))
    source = np.einsum("nij,jhw->nihw", matrices.numpy(), np.stack([x, y, np.ones_like(x)]))
    assert np.abs(source).max() > 4 * half  # mirrored more than once
    np.testing.assert_allclose(warp(image, matrices, TAPS)[:, 0], picture(source[:, 0], source[:, 1]), atol=0.02)


def test_an_image_is_warped_the_same_whatever_lies_beside_it():
    matrices = geometry_matrices(EVERYTHING, 0.8, draw(4, rng(4)), 32)
    image = torch.randn(4, 3, 32, 32, generator=rng(1))
    taps = TAPS.float()
    alone = torch.cat([warp(image[i : i + 1], matrices[i : i + 1], taps) for i in range(4)])
    torch.testing.assert_close(warp(image, matrices, taps), alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_warping_is_twice_differentiable(memory_format):
    matrices = geometry_matrices(EVERYTHING, 0.8, draw(2, rng(2)), 6)
    image = torch.randn(2, 2, 6, 6, dtype=torch.float64, generator=rng()).contiguous(memory_format=memory_format)

    def warped(image):
        return warp(image**2, matrices, TAPS)

    assert gradcheck(warped, image.requires_grad_(), fast_mode=True)
    assert gradgradcheck(warped, image, fast_mode=True)
