from itertools import pairwise

import numpy as np
import pytest
import torch

from gan.drawing.sampling import draw_styles, generate, latent, levels_8bit, styles
from gan.drawing.walks import between, film_positions, mix, parse_layers, slerp, strip_positions
from segkit.core.errors import RequestError
from tests.gan.small_networks import networks, tiny


@pytest.fixture(scope="module")
def generator():
    return networks(tiny())["generator_ema"].requires_grad_(False)


def test_an_open_film_goes_from_the_first_image_to_the_last():
    assert film_positions((4, 7, 5), 2, closed=False) == [(4, 7, 0), (4, 7, 0.5), (7, 5, 0), (7, 5, 0.5), (5, 5, 0)]


def test_a_closed_film_ends_a_step_before_its_beginning():
    assert film_positions((4, 7), 2, closed=True) == [(4, 7, 0), (4, 7, 0.5), (7, 4, 0), (7, 4, 0.5)]


def test_a_strip_has_a_row_for_each_way_with_both_its_ends():
    assert strip_positions((4, 7, 5), 2, closed=False) == [
        [(4, 7, 0), (4, 7, 0.5), (4, 7, 1)],
        [(7, 5, 0), (7, 5, 0.5), (7, 5, 1)],
    ]
    assert [row[0][:2] for row in strip_positions((4, 7, 5), 2, closed=True)] == [(4, 7), (7, 5), (5, 4)]


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_walk_passes_through_the_very_images_of_its_seeds(generator, space):
    for t, seed in ((0.0, 3), (1.0, 8)):
        ws = between(generator, 3, 8, t, space, 0.7)
        assert torch.equal(ws, styles(generator, seed, 0.7))
        drawn = levels_8bit(draw_styles(generator, ws))
        np.testing.assert_array_equal(drawn, generate(generator, seed, 0.7))


def test_the_way_through_w_is_straight_and_its_steps_are_even(generator):
    ws = torch.stack([between(generator, 3, 8, t / 4, "w", 0.7) for t in range(5)])
    steps = ws.diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ws[4], styles(generator, 8, 0.7))


def test_the_way_through_z_turns_by_even_angles_in_the_plane_of_its_ends():
    a, b = latent(3, 8), latent(8, 8)
    points = [slerp(a, b, t / 5)[0].double().numpy() for t in range(6)]
    units = [point / np.linalg.norm(point) for point in points]
    angles = [np.arccos(np.clip(p @ q, -1, 1)) for p, q in pairwise(units)]
    np.testing.assert_allclose(angles, np.arccos(units[0] @ units[-1]) / 5, rtol=1e-4)
    lengths = [np.linalg.norm(point) for point in points]
    np.testing.assert_allclose(lengths, np.linspace(float(a.norm()), float(b.norm()), 6), rtol=1e-5)
    assert np.linalg.svd(np.stack(points))[1][2] < 1e-5


def test_between_equal_or_opposite_latents_the_way_is_straight():
    a = latent(3, 8)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(a, -a, 0.25), a / 2)


def test_the_two_spaces_give_different_ways(generator):
    w, z = (between(generator, 3, 8, 0.5, space, 1.0) for space in ("w", "z"))
    assert (w - z).abs().max() > 1e-3


def test_mixing_takes_the_named_styles_and_no_others(generator):
    base, other = styles(generator, 1), styles(generator, 2)
    before = base.clone()
    mixed = mix(base, other, [0, 4])
    for layer in range(generator.num_ws):
        assert torch.equal(mixed[:, layer], (other if layer in (0, 4) else base)[:, layer])
    assert torch.equal(base, before)
    assert torch.equal(mix(base, other, range(generator.num_ws)), other)


@pytest.mark.parametrize(
    ("text", "resolution", "layers"),
    [
        ("coarse", 1024, [0, 1, 2, 3]),
        ("middle", 1024, [4, 5, 6, 7]),
        ("fine", 1024, [*range(8, 18)]),
        ("fine", 64, [8, 9]),
        ("middle", 16, [4, 5]),
        ("0-6", 64, [0, 1, 2, 3, 4, 5, 6]),
        ("9,0-1,1", 64, [0, 1, 9]),
    ],
)
def test_layers_go_by_resolution_or_by_number(text, resolution, layers):
    assert parse_layers(text, resolution) == layers


def test_the_named_layers_are_all_there_are_and_none_twice(generator):
    for resolution in (64, 256):
        named = [layer for name in ("coarse", "middle", "fine") for layer in parse_layers(name, resolution)]
        assert named == [*range(networks_num_ws(resolution))]
    assert generator.num_ws == networks_num_ws(16)


def networks_num_ws(resolution):
    return 2 * len([edge for edge in (4, 8, 16, 32, 64, 128, 256) if edge <= resolution])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fine", "fine styles are those of 64 pixels and more; this network draws 16"),
        ("0-6", "a network of 16 pixels has the styles 0-5"),
        ("3-1", "'3-1' is reversed; write 1-3"),
        ("5-2,1", "'5-2' is reversed"),
        ("", "neither coarse, middle or fine nor numbers"),
        ("all", "neither coarse"),
        ("1,,2", "neither coarse"),
        ("-1", "neither coarse"),
    ],
)
def test_layers_that_there_are_not_are_told(text, words):
    with pytest.raises(RequestError, match=words):
        parse_layers(text, 16)
