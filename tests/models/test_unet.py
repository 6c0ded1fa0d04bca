import pytest
import torch

from segkit.core.errors import RequestError
from segkit.models import build_model
from segkit.models.settings import UNetSettings


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def num_parameters(widths, image_channels=3, num_channels=1, norm=True):
    """Counted from the paper's Figure 1: two 3x3 convolutions a level, 2x2 transposed convolutions, a 1x1 head."""

    def unit(a, b):
        return 9 * a * b + b + (2 * b if norm else 0)

    down = sum(unit(a, b) + unit(b, b) for a, b in zip((image_channels, *widths), widths, strict=False))
    pairs = list(zip(widths[1:], widths, strict=False))
    up = sum(4 * a * b + b + unit(2 * b, b) + unit(b, b) for a, b in pairs)
    return down + up + widths[0] * num_channels + num_channels


@pytest.mark.parametrize(
    ("changes", "num_channels"),
    [({}, 1), ({"norm": "none", "image_channels": 1}, 1), ({"widths": (8, 16, 24)}, 4), ({"widths": (4, 8)}, 12)],
)
def test_the_number_of_parameters_follows_from_the_papers_figure(changes, num_channels):
    settings = UNetSettings(**changes)
    expected = num_parameters(settings.widths, settings.image_channels, num_channels, settings.norm != "none")
    assert count(build_model(settings, num_channels)) == expected


def test_the_published_size_is_met():
    # the number that the common Keras form of the paper's network prints, with one input and one output channel
    assert count(build_model(UNetSettings(norm="none", image_channels=1))) == 31_030_593


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_logits_have_the_images_size_at_any_depth(depth, upsampling, norm):
    settings = UNetSettings(widths=tuple(range(4, 4 + depth)), upsampling=upsampling, norm=norm)
    height, width = 2 * settings.stride, 3 * settings.stride
    logits = build_model(settings, 5)(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 5, height, width)


def test_features_are_given_level_by_level():
    settings = UNetSettings(widths=(4, 6, 8))
    maps = build_model(settings).features(torch.rand(1, 3, 16, 24))
    assert [tuple(level.shape[1:]) for level in maps] == [(4, 16, 24), (6, 8, 12), (8, 4, 6)]


def test_a_size_that_the_levels_do_not_divide_is_refused():
    with pytest.raises(RequestError, match="multiples of 4"):
        build_model(UNetSettings(widths=(4, 6, 8)))(torch.rand(1, 3, 16, 18))


def test_every_parameter_receives_a_gradient():
    network = build_model(UNetSettings(widths=(4, 6, 8)), 3)
    network(torch.rand(2, 3, 16, 16)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
