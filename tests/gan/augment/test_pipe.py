from typing import get_args

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from gan.augment import GEOMETRIES, PRESETS, AugmentPipe, Geometry, draw, geometry_matrices, warp
from gan.augment.color import Color, color_matrices, recolor
from gan.augment.corruption import add_noise, cut_out, cutout_bounds, noise_stds
from gan.augment.draws import Column
from gan.augment.filters import amplify, band_gains
from gan.settings import AugmentTransforms
from gan.training.draws import BatchDraws
from tests.gan.augment.draws import no_draws, rng

SINGLE = ["blit", "geom", "color", "filter", "noise", "cutout"]


def images(n=4, channels=3, edge=16, dtype=torch.float32, seed=0):
    return torch.randn(n, channels, edge, edge, generator=rng(seed)).to(dtype)


def test_every_preset_of_the_settings_exists():
    assert set(PRESETS) == set(get_args(AugmentTransforms))


def test_presets_add_up():
    parts = {name: PRESETS[name] for name in SINGLE}
    everything = PRESETS["bgcfnc"]
    b, g = parts["blit"].geometry, parts["geom"].geometry
    assert everything.geometry == Geometry(*(x or y for x, y in zip(b, g, strict=True))) == GEOMETRIES["bg"]
    assert everything.color == parts["color"].color == Color(0.2, 0.5, True, 180.0, 1.0)
    assert (everything.band_std, everything.noise_std, everything.cutout_size) == (1.0, 0.1, 0.5)
    assert PRESETS["bgcfn"] == everything._replace(cutout_size=0.0)
    assert PRESETS["bgcf"] == PRESETS["bgcfn"]._replace(noise_std=0.0)
    assert PRESETS["bgc"] == PRESETS["bgcf"]._replace(band_std=0.0)
    assert PRESETS["bg"] == PRESETS["bgc"]._replace(color=Color())
    assert PRESETS["fundus"]._replace(geometry=Geometry()) == PRESETS["geom"]._replace(geometry=Geometry())


def test_transforms_follow_each_other_in_the_papers_order():
    pipe, x, draws = AugmentPipe("bgcfnc", 1.0).double(), images(dtype=torch.float64), draw(4, rng(1))
    t = pipe.transforms
    expected = warp(x, geometry_matrices(t.geometry, 1.0, draws, 16), pipe.Hz_geom)
    expected = recolor(expected, color_matrices(t.color, 1.0, draws, 3))
    expected = amplify(expected, band_gains(1.0, 1.0, draws), pipe.Hz_fbank)
    expected = add_noise(expected, noise_stds(0.1, 1.0, draws), draws.noise_seed)
    expected = cut_out(expected, cutout_bounds(0.5, 1.0, draws, 16))
    torch.testing.assert_close(pipe(x, draws), expected)


def test_the_same_numbers_give_the_same_geometry_whatever_the_preset():
    x, draws = images(), draw(4, rng(1))
    moved = AugmentPipe("bg", 0.7)(x, draws)
    longer = AugmentPipe("bgc", 0.7)(x, draws)
    recolored = recolor(moved, color_matrices(PRESETS["color"].color, 0.7, draws, 3))
    torch.testing.assert_close(longer, recolored, atol=1e-4, rtol=1e-4)
    assert not torch.equal(longer, moved)


@pytest.mark.parametrize("name", SINGLE)
def test_each_transform_alone_changes_images(name):
    x = images()
    changed = AugmentPipe(name, 1.0)(x, draw(4, rng(1)))
    assert changed.shape == x.shape
    assert (changed != x).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("name", PRESETS)
def test_images_without_a_transform_pass_untouched(name):
    pipe, x = AugmentPipe(name, 0.15), images(24)
    draws = draw(24, rng(1))
    result = pipe(x, draws)
    t = pipe.transforms
    drawn = (geometry_matrices(t.geometry, 0.15, draws, 16) != torch.eye(3)).flatten(1).any(1)
    drawn |= (color_matrices(t.color, 0.15, draws, 3) != torch.eye(4)).flatten(1).any(1)
    drawn |= (band_gains(t.band_std, 0.15, draws) != 1).any(1)
    drawn |= noise_stds(t.noise_std, 0.15, draws) > 0
    drawn |= (cutout_bounds(t.cutout_size, 0.15, draws, 16).diff(dim=2) > 0).flatten(1).any(1)
    assert (result == x).flatten(1).all(1).tolist() == (~drawn).tolist()
    assert 0 < drawn.sum() < 24


@pytest.mark.parametrize("name", ["bg", "bgcfnc"])
def test_without_a_chance_the_images_themselves_come_back(name):
    x = images()
    assert AugmentPipe(name, 0.0)(x, draw(4, rng())) is x
    assert AugmentPipe(name, 0.9)(x, no_draws(4)) is x  # nor where nothing is drawn


@pytest.mark.parametrize("p", [0.15, 0.7])  # a few of the images go through each transform, or most
def test_images_do_not_depend_on_those_beside_them(p):
    pipe, x, draws = AugmentPipe("bgcfnc", p), images(12), draw(12, rng(2))
    together = pipe(x, draws)
    for part in (slice(0, None, 2), *(slice(i, i + 1) for i in range(12))):  # a rank of two, and passes of one image
        torch.testing.assert_close(pipe(x[part], draws.share(part)), together[part], atol=1e-4, rtol=1e-4)


def test_ranks_draw_their_rows_of_one_batch():
    whole = BatchDraws(3, 1, 0).augment(8)
    for rank in range(2):
        share = BatchDraws(3, 1, 0, rank=rank, world=2).augment(8)
        assert all(torch.equal(ours, column[rank::2]) for ours, column in zip(share, whole, strict=True))
    assert len(set(whole.noise_seed.tolist())) == 8


def test_numbers_are_drawn_for_every_column():
    draws = draw(1000, rng())
    assert draws.apply.shape == (1000, len(Column))
    assert draws.apply.mean(dim=0).sub(0.5).abs().max() < 0.04
    assert draws.uniform.std(dim=0).sub(12**-0.5).abs().max() < 0.02
    assert draws.normal.std(dim=0).sub(1).abs().max() < 0.1


@pytest.mark.parametrize("name", ["bg", "bgcfnc"])
def test_images_of_one_channel(name):
    changed = AugmentPipe(name, 1.0)(images(channels=1), draw(4, rng(1)))
    assert changed.shape == (4, 1, 16, 16)
    assert changed.isfinite().all()


def test_a_gray_image_in_color_ends_as_its_one_channel_does():
    preset, draws, gray = "bgc", draw(4, rng(1)), images(channels=1, dtype=torch.float64)
    in_color = AugmentPipe(preset, 1.0).double()(gray.repeat(1, 3, 1, 1), draws)
    torch.testing.assert_close(
        AugmentPipe(preset, 1.0).double()(gray, draws), in_color.mean(dim=1, keepdim=True), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("name", [*SINGLE, "bgcfnc"])
def test_pipe_is_twice_differentiable_in_the_images(name):
    pipe = AugmentPipe(name, 0.8).double()
    draws = draw(2, rng(2))
    x = images(2, 3 if name == "color" else 1, 6, torch.float64).requires_grad_()

    def augmented(x):
        return pipe(x**2, draws)

    assert gradcheck(augmented, x, fast_mode=True)
    assert gradgradcheck(augmented, x, fast_mode=True)


def test_buffers_are_those_of_the_official_checkpoints():
    shapes = {name: list(tensor.shape) for name, tensor in AugmentPipe("bgcfnc").state_dict().items()}
    assert shapes == {"p": [], "Hz_geom": [12], "Hz_fbank": [4, 43]}


def test_chance_survives_a_checkpoint_exactly():
    pipe = AugmentPipe("fundus")
    pipe.set_p(0.1)
    other = AugmentPipe("fundus")
    other.load_state_dict(pipe.state_dict())
    assert other.chance == pipe.chance == pytest.approx(0.1)


class NoWaiting(TorchDispatchMode):
    """Refuses copies to a device that would wait for it."""

    num_copies = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("device", args[0].device) != args[0].device:
            assert kwargs.get("non_blocking"), "a blocking copy"
            self.num_copies += 1
        return func(*args, **kwargs)


def test_nothing_asks_the_device_and_nothing_waits_for_it():
    pipe = AugmentPipe("bgcf", 0.6).to("meta")  # a device without values: whatever asks for one fails
    x = images(8).to("meta")
    with NoWaiting() as copies:
        assert pipe(x, draw(8, rng(1))).device.type == "meta"
    assert copies.num_copies > 3


@pytest.mark.gpu
def test_nothing_waits_for_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pipe, x = AugmentPipe("bgcfnc", 0.6).cuda(), images(8).cuda().requires_grad_()
    expected = AugmentPipe("bgcf", 0.6)(images(8), draw(8, rng(1)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        pipe(x, draw(8, rng(1))).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    same = AugmentPipe("bgcf", 0.6).cuda()(images(8).cuda(), draw(8, rng(1)))
    torch.testing.assert_close(same.cpu(), expected, atol=1e-2, rtol=1e-2)
