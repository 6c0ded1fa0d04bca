import numpy as np
import pytest
import torch

from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.networks.noise import stored_noise
from gan.settings import GanSettings
from tests.gan.small_networks import networks
from tests.reference import gan_networks_numpy as reference

# The counts of the official networks, from their checkpoints.
OFFICIAL = [
    (512, 32768, 8, 30_276_583, 28_982_849),
    (512, 32768, 2, 28_700_647, 28_982_849),
    (256, 16384, 8, 24_767_458, 24_001_089),
    (1024, 32768, 8, 30_370_060, 29_012_513),
]


def tiny(**changes):
    values = {"resolution": 32, "batch_size": 4, "channel_base": 256, "channel_max": 16, "z_dim": 8, "w_dim": 8}
    return GanSettings(**(values | {"num_mapping_layers": 2} | changes))


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("resolution", "channel_base", "num_mapping_layers", "generator", "discriminator"), OFFICIAL)
def test_networks_have_the_official_numbers_of_parameters(
    resolution, channel_base, num_mapping_layers, generator, discriminator
):
    settings = GanSettings(
        resolution=resolution, channel_base=channel_base, num_mapping_layers=num_mapping_layers, batch_size=4
    )
    with torch.device("meta"):
        assert num_parameters(Generator(settings)) == generator
        assert num_parameters(Discriminator(settings)) == discriminator


def test_tensors_have_the_official_names_and_shapes():
    with torch.device("meta"):
        settings = GanSettings(resolution=512, batch_size=4)
        shapes = {name: tuple(value.shape) for name, value in Generator(settings).state_dict().items()}
        shapes |= {f"D.{name}": tuple(value.shape) for name, value in Discriminator(settings).state_dict().items()}
    conv = {
        "weight": (512, 512, 3, 3),
        "bias": (512,),
        "noise_strength": (),
        "noise_const": (8, 8),
        "resample_filter": (4, 4),
        "affine.weight": (512, 512),
        "affine.bias": (512,),
    }
    expected = {f"synthesis.b8.conv0.{name}": shape for name, shape in conv.items()}
    expected |= {
        "synthesis.b4.const": (512, 4, 4),
        "synthesis.b4.conv1.weight": (512, 512, 3, 3),
        "synthesis.b512.resample_filter": (4, 4),
        "synthesis.b512.torgb.weight": (3, 64, 1, 1),
        "synthesis.b512.torgb.affine.weight": (64, 512),
        "mapping.fc7.weight": (512, 512),
        "mapping.w_avg": (512,),
        "D.b512.fromrgb.weight": (64, 3, 1, 1),
        "D.b512.conv0.weight": (64, 64, 3, 3),
        "D.b512.conv1.weight": (128, 64, 3, 3),
        "D.b512.skip.weight": (128, 64, 1, 1),
        "D.b4.conv.weight": (512, 513, 3, 3),
        "D.b4.fc.weight": (512, 8192),
        "D.b4.out.weight": (1, 512),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    absent = {"synthesis.b4.conv0.weight", "mapping.fc8.weight", "D.b512.skip.bias", "D.b256.fromrgb.weight"}
    assert not absent & shapes.keys()
    assert next(iter(shapes)).startswith("synthesis.")


def in_numpy(network):
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture(scope="module")
def moved():
    """Networks none of whose tensors is what it starts as, in double precision."""
    return {name: network.double() for name, network in networks(tiny(num_mapping_layers=3)).items()}


def test_the_mapping_network_is_the_papers(moved):
    generator = moved["generator"]
    with torch.no_grad():
        for name, bias in generator.mapping.named_parameters():
            if name.endswith("bias"):
                bias.mul_(1000)  # they count for a hundredth
    z = random(4, 8)
    expected = reference.mapping(in_numpy(generator), z)
    found = generator.mapping.map(torch.from_numpy(z)).detach()
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("size", [1.0, 300.0])  # the larger one reaches the clamps
def test_the_synthesis_network_is_the_papers(moved, size):
    generator = moved["generator"]
    ws = random(2, generator.num_ws, 8) * size
    expected = reference.synthesis(in_numpy(generator), ws)
    found = generator.synthesis(torch.from_numpy(ws), "const").detach()
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("size", [1.0, 3000.0])
def test_the_discriminator_is_the_papers(moved, size):
    images = random(8, 3, 32, 32) * size
    expected = reference.discriminator(in_numpy(moved["discriminator"]), images, group_size=4)
    found = moved["discriminator"](torch.from_numpy(images)).detach()
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


def test_styles_are_shared_by_an_image_layer_and_the_next_block():
    settings = GanSettings(resolution=512, batch_size=4)
    with torch.device("meta"):
        assert Generator(settings).num_ws == 16
    network = Generator(tiny())
    ws = torch.randn(1, network.num_ws, 8, requires_grad=True)
    used = []
    for name in ("b4.torgb", "b8.conv0", "b32.torgb"):
        layer = network.synthesis.get_submodule(name)
        hook = layer.affine.register_forward_hook(lambda _, inputs, __: used.append(inputs[0]))
        network.synthesis(ws, "none")
        hook.remove()
    assert torch.equal(used[0], ws[:, 1])
    assert torch.equal(used[1], ws[:, 1])
    assert torch.equal(used[2], ws[:, -1])


def test_latents_of_any_length_give_the_same_image():
    network, z = Generator(tiny()), torch.randn(2, 8)
    torch.testing.assert_close(network(z, noise_mode="none"), network(5 * z, noise_mode="none"))


def test_truncation_pulls_w_towards_its_mean_up_to_the_cutoff():
    mapping, z = Generator(tiny()).mapping, torch.randn(2, 8)
    torch.nn.init.normal_(mapping.w_avg)
    full, half = mapping(z), mapping(z, truncation_psi=0.5, truncation_cutoff=3)
    torch.testing.assert_close(half[:, :3], (full[:, :3] + mapping.w_avg) / 2)
    torch.testing.assert_close(half[:, 3:], full[:, 3:])
    torch.testing.assert_close(mapping(z, truncation_psi=0.0), mapping.w_avg.expand(2, mapping.num_ws, 8))


def test_running_mean_of_w_moves_by_one_two_hundredth():
    mapping = Generator(tiny()).mapping
    mapping.update_w_avg(torch.full([8], 2.0))
    torch.testing.assert_close(mapping.w_avg, torch.full([8], 0.01))


def test_noise_modes_differ_only_in_noise():
    network, z = Generator(tiny()), torch.randn(2, 8)
    for name, parameter in network.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.5)
    stored = torch.cat([value.flatten() for value in stored_noise(network.synthesis).values()])
    constant, none = (network(z, noise_mode=mode) for mode in ("const", "none"))
    assert not torch.equal(constant, none)
    ws = network.mapping(z)
    for image, noise in ((constant, stored), (none, torch.zeros_like(stored))):
        torch.testing.assert_close(network.synthesis(ws, noise.expand(2, -1)), image)


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="random"):
        Generator(tiny())(torch.randn(1, 8), noise_mode="random")


def test_networks_keep_the_scale_of_their_signals():
    torch.manual_seed(0)
    settings = tiny(resolution=64, channel_base=2048, channel_max=64)
    image = Generator(settings)(torch.randn(8, 8))
    logits = Discriminator(settings)(torch.randn(8, 3, 1, 1).expand(-1, -1, 64, 64))  # noise would average out
    assert 0.3 < image.std().item() < 3
    assert 0.1 < logits.std().item() < 3


@pytest.mark.parametrize("image_channels", [1, 2, 4])
def test_images_may_have_one_to_four_channels(image_channels):
    settings = tiny(image_channels=image_channels)
    image = Generator(settings)(torch.randn(4, 8))
    assert image.shape == (4, image_channels, 32, 32)
    assert Discriminator(settings)(image).shape == (4, 1)


def test_frozen_layers_are_counted_from_the_highest_resolution_down():
    discriminator = Discriminator(tiny(freeze_d=5))
    free = {name.rsplit(".", 1)[0] for name, _ in discriminator.named_parameters()}
    assert {"b32.fromrgb", "b32.conv0", "b32.conv1", "b32.skip", "b16.conv0"}.isdisjoint(free)
    assert {"b16.conv1", "b16.skip", "b8.conv0", "b4.conv", "b4.out"} <= free
    assert discriminator.state_dict().keys() == Discriminator(tiny()).state_dict().keys()


def test_the_plain_discriminator_has_no_skip_path_and_all_else_by_the_same_names():
    with_skip, plain = (Discriminator(tiny(d_architecture=name)).state_dict() for name in ("resnet", "orig"))
    assert {name for name in with_skip if ".skip." not in name} == plain.keys()
    assert all(plain[name].shape == with_skip[name].shape for name in plain)


def test_a_plain_block_is_the_branch_of_a_residual_one_without_its_factor():
    """The factor sqrt(1/2) keeps the variance of a sum of two branches; here there is one."""
    torch.manual_seed(0)
    residual, plain = (Discriminator(tiny(d_architecture=name)) for name in ("resnet", "orig"))
    plain.load_state_dict({name: value for name, value in residual.state_dict().items() if ".skip." not in name})
    x = torch.randn(4, 16, 16, 16)
    branch = residual.b16.conv1(residual.b16.conv0(x.clone()))
    torch.testing.assert_close(plain.b16(x.clone()), 2**0.5 * branch)


def test_layers_of_the_plain_discriminator_freeze_in_the_same_order():
    discriminator = Discriminator(tiny(d_architecture="orig", freeze_d=5))
    free = {name.rsplit(".", 1)[0] for name, _ in discriminator.named_parameters()}
    assert {"b32.fromrgb", "b32.conv0", "b32.conv1", "b16.conv0", "b16.conv1"}.isdisjoint(free)
    assert {"b8.conv0", "b8.conv1", "b4.conv", "b4.out"} <= free
