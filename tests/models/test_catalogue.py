import pytest

from segkit.models.catalogue import DEFAULT_COSTS, describe
from segkit.models.cost import SIDE, of_network
from segkit.models.settings import (
    MODELS,
    DeepLabV3Settings,
    IterNetSettings,
    LittleWNetSettings,
    SAUNetSettings,
    UNetSettings,
)


def test_multiply_adds_are_those_of_the_convolutions():
    parameters, multiply_adds = of_network(UNetSettings(widths=(4, 6), image_channels=2, norm="none"))
    fine, coarse = SIDE**2, (SIDE // 2) ** 2
    # per pixel of the output; a 2x2 transposed convolution of stride 2 has one tap for each
    encoder = fine * 9 * (2 * 4 + 4 * 4) + coarse * 9 * (4 * 6 + 6 * 6)
    decoder = fine * 6 * 4 + fine * 9 * (8 * 4 + 4 * 4)
    assert multiply_adds == encoder + decoder + fine * 4
    kernels = 9 * (2 * 4 + 4 * 4 + 4 * 6 + 6 * 6 + 8 * 4 + 4 * 4) + 4 * 6 * 4 + 4
    assert parameters == kernels + 5 * 4 + 2 * 6 + 1


@pytest.mark.parametrize(
    ("settings", "published"),
    [
        (LittleWNetSettings(), 10.3),
        (SAUNetSettings(), 24.6),
        (IterNetSettings(), 336),
        (UNetSettings(widths=(32, 64, 128, 256, 512)), 122),
    ],
)
def test_costs_agree_with_published_ones(settings, published):
    """Given in 10^9 operations, two per multiply-add, for an image of 584 x 565 pixels."""
    _, multiply_adds = of_network(settings)
    assert 2 * multiply_adds / 1e9 * (584 * 565) / SIDE**2 == pytest.approx(published, rel=0.06)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind.trainable])
def test_the_stored_costs_are_those_of_the_default_networks(kind):
    settings = kind(name=kind.model_fields["name"].default)
    assert DEFAULT_COSTS[settings.name] == of_network(settings)


def test_an_entry_holds_the_settings_as_json():
    entry = describe(DeepLabV3Settings(output_stride=16)).to_json()
    assert entry["settings"]["output_stride"] == entry["stride"] == 16
    assert entry["implementation"] == "segkit.models.deeplab:DeepLabV3"
