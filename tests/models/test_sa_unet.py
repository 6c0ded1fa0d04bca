import pytest
import torch

from segkit.core.config import validate
from segkit.core.errors import ConfigError, RequestError
from segkit.models import build_model
from segkit.models.settings import SAUNetSettings
from tests.reference.models_blocks import num_parameters


def build(**changes):
    torch.manual_seed(0)
    return build_model(SAUNetSettings(**({"widths": (4, 8, 8)} | changes)))


def count(network):
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_the_default_form_has_the_published_number_of_parameters():
    assert count(build_model(SAUNetSettings())) == num_parameters((16, 32, 64, 128)) == 537_299


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (5, 7)},
        {"widths": (4, 8, 12, 16, 20)},
        {"image_channels": 1},
        {"attention_size": 3, "norm": "group"},
    ],
)
def test_every_width_can_be_chosen(changes):
    settings = SAUNetSettings(**({"widths": (4, 8, 8)} | changes))
    network = build_model(settings)
    values = settings.model_dump()
    assert count(network) == num_parameters(values["widths"], values["image_channels"], values["attention_size"])
    side = 2 * settings.stride
    image = torch.rand(2, settings.image_channels, side, side + settings.stride)
    assert network(image).shape == (2, 1, side, side + settings.stride)
    assert settings.stride == 2 ** (len(values["widths"]) - 1)


def test_feature_maps_halve_from_level_to_level():
    shapes = [tuple(level.shape) for level in build().features(torch.rand(1, 3, 32, 24))]
    assert shapes == [(1, 4, 32, 24), (1, 8, 16, 12), (1, 8, 8, 6)]


def test_an_image_that_does_not_fit_the_stride_is_refused_with_what_would():
    with pytest.raises(RequestError, match=r"30x24 pixels do not fit the network: .* to multiples of 4"):
        build()(torch.rand(1, 3, 30, 24))


def test_group_norm_does_not_mix_the_images_of_a_batch():
    images = torch.rand(2, 3, 16, 16)
    network = build(norm="group", drop_prob=0.0).train()
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=1e-4, atol=1e-5)
    mixing = build(norm="batch", drop_prob=0.0).train()
    assert (mixing(images)[:1] - mixing(images[:1])).abs().max() > 1e-3


def test_gradient_reaches_every_parameter():
    for norm in ("batch", "group"):
        network = build(norm=norm).train()
        network(torch.rand(2, 3, 32, 32)).square().mean().backward()
        for name, parameter in network.named_parameters():
            # a batch norm takes away what the bias before it adds
            if not (norm == "batch" and name.endswith("0.bias")):
                assert parameter.grad.abs().max() > 0, name


def test_dropblock_acts_in_training_only():
    network, image = build(drop_prob=0.3), torch.rand(1, 3, 32, 32)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_skips_carry_the_finest_detail():
    """With the way through the bottleneck cut, the logits still depend on the image, by its skips."""
    network = build().eval()
    with torch.no_grad():
        network.up[-1].weight.zero_()
    a, b = network(torch.rand(1, 3, 16, 16)), network(torch.rand(1, 3, 16, 16))
    assert (a - b).abs().max() > 1e-3


def test_a_pixel_sees_far_around_it():
    network = build(norm="group", attention_size=3).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(image)[0, 0, 32, 32].backward()
    rows = image.grad[0].abs().sum(0).nonzero()[:, 0]
    assert rows.min() < 32 - 10
    assert rows.max() > 32 + 10


def test_new_weights_are_a_function_of_torchs_seed():
    first, again = build().state_dict(), build().state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    torch.manual_seed(1)
    other = build_model(SAUNetSettings(widths=(4, 8, 8))).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_biases_start_at_zero_and_attention_as_in_the_original():
    torch.manual_seed(0)
    networks = [build_model(SAUNetSettings(widths=(4, 8))) for _ in range(40)]
    biases = [value for name, value in networks[0].named_parameters() if name.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)
    kernels = torch.stack([network.attention.conv.weight for network in networks])
    # he-normal: variance 2 / fan-in of 2 x 7 x 7
    assert kernels.std().item() == pytest.approx((2 / 98) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"widths": [16]}, "widths = [16]: list should have at least 2 items, not 1"),
        ({"widths": [16, 0]}, "widths.1 = 0: input should be greater than or equal to 1"),
        ({"attention_size": 4}, "attention_size = 4: input should be odd, so that the kernel has a middle"),
        ({"drop_prob": 1}, "drop_prob = 1: input should be less than 1"),
        ({"width": [4, 8]}, "unknown key 'width' (value [4, 8]); did you mean 'widths'?"),
    ],
)
def test_settings_that_make_no_network_are_refused(raw, message):
    with pytest.raises(ConfigError) as caught:
        validate(SAUNetSettings, raw, "f")
    assert str(caught.value) == f"f: {message}"
