import warnings

import numpy as np
import pytest
import torch

from gan.drawing.distances import as_rgb, feature_measure, laplacian_levels, pyramid_measure, script_features, sum_of
from segkit.core.errors import WeightsError
from tests.reference.gan_numpy import TAPS, upfirdn

CPU = torch.device("cpu")


def image(seed=0, channels=3, edge=16):
    return torch.rand(1, channels, edge, edge, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def pyramid(x):
    """The Laplacian pyramid down to 4 pixels, in float64."""
    levels = []
    while x.shape[-1] > 4:
        halved = upfirdn(x, TAPS, down=2, pad=(1, 1))
        levels.append(x - upfirdn(halved, 2 * TAPS, up=2, pad=(2, 1)))
        x = halved
    return [*levels, x]


def test_the_pyramid_is_that_of_halving_and_doubling():
    found, expected = laplacian_levels(image()), pyramid(image().double().numpy())
    assert [level.shape[-1] for level in found] == [16, 8, 4]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_distance_is_the_mean_absolute_difference_of_each_level_summed():
    a, b = image(0), image(1)
    levels = zip(pyramid((a.numpy() + 1) / 2), pyramid((b.numpy() + 1) / 2), strict=True)
    expected = sum(np.abs(one - other).mean() for one, other in levels)
    assert pyramid_measure(a)(b).item() == pytest.approx(expected, rel=1e-5)
    assert pyramid_measure(a)(a).item() == 0


def test_details_count_on_their_own_scale():
    flat = torch.zeros(1, 1, 32, 32)
    fine = flat.clone()
    fine[..., ::2, ::2] = 0.5
    blurred = torch.nn.functional.avg_pool2d(fine, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    distance = pyramid_measure(fine)
    assert distance(flat) > distance(blurred) > 0.05


class Maps(torch.nn.Module):
    """Two outputs: a map with four channels, and a vector."""

    def forward(self, rgb: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([rgb, rgb[:, :1] * rgb[:, 1:2] + 1], 1), rgb.mean(dim=(2, 3))]


def test_features_are_compared_by_direction_at_each_pixel_and_vectors_as_they_are():
    a, b = image(0), image(1)
    maps, vectors = zip(*(Maps()((x + 1) / 2) for x in (a, b)), strict=True)
    one, other = (m.double().numpy()[0].reshape(4, -1) for m in maps)
    lengths = np.linalg.norm(one, axis=0), np.linalg.norm(other, axis=0)
    by_map = ((one / lengths[0] - other / lengths[1]) ** 2).sum(axis=0).mean()
    by_vector = float(((vectors[0] - vectors[1]) ** 2).sum())
    found = feature_measure(Maps())(a)(b)
    assert found.item() == pytest.approx((by_map + by_vector) / 2, rel=1e-4)
    assert feature_measure(Maps())(a)(a).item() == 0


def test_measures_add_up_and_have_gradients():
    a, b = image(0), image(1).requires_grad_()
    both = sum_of([pyramid_measure, feature_measure(Maps())])(a)
    total = both(b)
    assert total.item() == pytest.approx((pyramid_measure(a)(b) + feature_measure(Maps())(a)(b)).item())
    total.backward()
    step = 1e-3
    change = torch.randn(b.shape, generator=torch.Generator().manual_seed(2))
    there, back = (both((b + sign * step * change).detach()) for sign in (1, -1))
    assert (b.grad * change).sum().item() == pytest.approx(((there - back) / (2 * step)).item(), rel=2e-2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_channels_are_shown_as_rgb(channels):
    x = image(channels=channels)
    rgb = as_rgb(x)
    expected = x[:, :3] if channels > 2 else x[:, :1].repeat(1, 3, 1, 1)
    torch.testing.assert_close(rgb * 2 - 1, expected)


# networks in files ----------------------------------------------------------------------------------------------------


class Lpips(torch.nn.Module):
    """Called as NVIDIA's VGG16 is."""

    def forward(self, img: torch.Tensor, resize_images: bool = True, return_lpips: bool = False) -> torch.Tensor:
        assert return_lpips
        assert not resize_images
        return img.mean(dim=3).flatten(1)


class Stretching(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(7, -1)


class Named(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"x": x}


def saved(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


def test_a_network_in_a_file_sees_levels_of_at_most_256_pixels(tmp_path):
    features = script_features(saved(Lpips(), tmp_path / "vgg.pt"), CPU)
    (small,) = features(torch.full((1, 3, 16, 16), 0.5))
    assert small.shape == (1, 48)
    assert (small == 127.5).all()
    large = as_rgb(image(edge=512))
    (found,) = features(large)
    halved = torch.nn.functional.avg_pool2d(large, 2)
    torch.testing.assert_close(found, halved.mean(dim=3).flatten(1) * 255)


def test_a_network_in_a_file_may_give_several_outputs(tmp_path):
    features = script_features(saved(Maps(), tmp_path / "maps.pt"), CPU)
    a, b = image(0), image(1)
    scaled = [Maps()(as_rgb(x) * 255) for x in (a, b)]
    maps = [torch.nn.functional.normalize(outputs[0], dim=1) for outputs in scaled]
    by_map, by_vector = (maps[0] - maps[1]).square().sum(1).mean(), (scaled[0][1] - scaled[1][1]).square().sum()
    torch.testing.assert_close(feature_measure(features)(a)(b), (by_map + by_vector) / 2)


@pytest.mark.parametrize(
    ("module", "words"),
    [(Stretching(), "does not take float RGB"), (Named(), "returns neither vectors")],
)
def test_a_network_that_takes_or_gives_something_else_is_told(tmp_path, module, words):
    features = script_features(saved(module, tmp_path / "n.pt"), CPU)
    with pytest.raises(WeightsError, match=words):
        features(torch.zeros(1, 3, 16, 16))
