import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gan import augment
from gan.augment import GEOMETRIES, AugmentPipe, Draws, Geometry, draw, geometry_matrices, warp


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draws_of(column, uniform=(0.5, 0.5), normal=(0.0, 0.0)):
    """One image for which only the transform of this column is drawn."""
    apply = torch.ones(1, 8, dtype=torch.float64)
    apply[0, column] = 0.0
    rows = torch.zeros(1, 8, 2, dtype=torch.float64), torch.zeros(1, 8, 2, dtype=torch.float64)
    rows[0][0, column], rows[1][0, column] = torch.tensor(uniform), torch.tensor(normal)
    return Draws(apply, *rows)


def where_from(geometry, draws, x, y, edge=32):
    """Source position, from the centre, of the output pixel at (x, y)."""
    matrix = geometry_matrices(geometry, 0.5, draws, edge)[0].numpy()
    return (matrix @ [x, y, 1])[:2]


EVERYTHING = GEOMETRIES["bg"]


def test_mirror_reads_from_the_other_side():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(0, (0.7, 0)), 3, 5), (-3, 5))
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(0, (0.3, 0)), 3, 5), (3, 5))


@pytest.mark.parametrize(("drawn", "source"), [(0.1, (3, 5)), (0.3, (5, -3)), (0.6, (-3, -5)), (0.9, (-5, 3))])
def test_quarter_turns_are_exact(drawn, source):
    np.testing.assert_array_equal(where_from(EVERYTHING, draws_of(1, (drawn, 0)), 3, 5), source)


def test_whole_shifts_are_whole_pixels_of_at_most_an_eighth():
    np.testing.assert_array_equal(where_from(EVERYTHING, draws_of(2, (0.999, 0.4)), 0, 0), (-4, 1))


def test_scale_is_a_power_of_two_in_both_directions():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(3, normal=(5, 0)), 3, 5), (1.5, 2.5))


@pytest.mark.parametrize("column", [4, 6])
def test_turns_go_half_a_circle_either_way(column):
    angle = -0.5 * math.pi  # (0.75 * 2 - 1) * 180 degrees, undone
    expected = (math.cos(angle) * 3 - math.sin(angle) * 5, math.sin(angle) * 3 + math.cos(angle) * 5)
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(column, (0.75, 0)), 3, 5), expected, atol=1e-12)


def test_stretching_keeps_the_area():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(5, normal=(5, 0)), 3, 5), (1.5, 10))


def test_shifts_are_shares_of_the_edge():
    np.testing.assert_allclose(where_from(EVERYTHING, draws_of(7, normal=(1, -0.5)), 0, 0), (-4, 2))


def test_transforms_multiply_in_the_papers_order():
    draws = draw(5, rng())
    draws.apply.zero_()
    expected = torch.eye(3, dtype=torch.float64).repeat(5, 1, 1)
    for column in range(8):
        alone = draws._replace(apply=torch.ones(5, 8, dtype=torch.float64))
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


def test_filter_is_the_orthonormal_symlet_with_six_vanishing_moments():
    taps = np.array(augment.SYM6)
    for shift in range(6):
        assert (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum() == pytest.approx(float(shift == 0), abs=1e-9)
    high_pass = taps * (-1) ** np.arange(12)
    for moment in range(6):
        assert (high_pass * np.arange(12) ** moment).sum() == pytest.approx(0, abs=1e-4)
    assert taps.sum() == pytest.approx(math.sqrt(2))


def smooth(n=2, edge=32):
    y, x = np.mgrid[:edge, :edge] - (edge - 1) / 2
    image = np.sin(x / 4 + 0.3) * np.cos(y / 5) + x / edge
    return torch.from_numpy(np.stack([[image, image**2]] * n))


TAPS = torch.tensor(augment.SYM6, dtype=torch.float64) / sum(augment.SYM6)


def test_warping_by_nothing_changes_a_smooth_image_little():
    image = smooth()
    result = warp(image, torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), TAPS)
    assert (result - image)[..., 3:-3, 3:-3].abs().max() < 0.01


def test_warping_by_a_mirror_a_quarter_turn_or_a_whole_shift_does_just_that():
    image = smooth()
    mirrored = warp(image, torch.diag(torch.tensor([-1.0, 1, 1])).double().repeat(2, 1, 1), TAPS)
    assert (mirrored - image.flip(3))[..., 4:-4, 4:-4].abs().max() < 0.01
    quarter = geometry_matrices(EVERYTHING, 0.5, draws_of(1, (0.3, 0)), 32).repeat(2, 1, 1)
    # reads (x, y) from (y, -x): the picture turns clockwise, as y points down
    assert (warp(image, quarter, TAPS) - image.rot90(-1, (2, 3)))[..., 4:-4, 4:-4].abs().max() < 0.01
    shift = geometry_matrices(EVERYTHING, 0.5, draws_of(2, (0.999, 0.4)), 32).repeat(2, 1, 1)
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
    shifted = warp(image, augment.translation(*torch.full((2, 1), 5.3, dtype=torch.float64)), TAPS)
    torch.testing.assert_close(shifted, image, atol=1e-6, rtol=0)


def test_images_without_a_transform_pass_untouched():
    pipe, image = AugmentPipe("bg", 0.2), torch.randn(16, 3, 16, 16)
    draws = draw(16, rng(1))
    result = pipe(image, draws)
    same = (result == image).flatten(1).all(1)
    moved = (geometry_matrices(pipe.geometry, 0.2, draws, 16) != torch.eye(3)).flatten(1).any(1)
    assert same.tolist() == (~moved).tolist()
    assert 0 < same.sum() < 16
    for i in moved.nonzero()[:3, 0]:  # and the others do not depend on their neighbours, but for how far borders reach
        alone = pipe(image[i : i + 1], draws.share(slice(int(i), int(i) + 1)))
        assert alone.shape == (1, 3, 16, 16)
    assert torch.equal(AugmentPipe("bg", 0.0)(image, draws), image)


def test_pipe_is_twice_differentiable_in_the_images():
    pipe = AugmentPipe("bg", 0.8).double()
    draws = draw(2, rng(2))
    image = torch.randn(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)

    def augmented(image):
        return pipe(image**2, draws)

    assert gradcheck(augmented, image)
    assert gradgradcheck(augmented, image, atol=1e-4)


def test_chance_survives_a_checkpoint_exactly():
    pipe = AugmentPipe("fundus")
    pipe.set_p(0.1)
    other = AugmentPipe("fundus")
    other.load_state_dict(pipe.state_dict())
    assert other.chance == pipe.chance == pytest.approx(0.1)
