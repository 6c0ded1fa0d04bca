import pytest
import torch
from safetensors.torch import load_file, save_file

from gan import weights
from gan.discriminator import Discriminator
from gan.generator import Generator
from gan.settings import GanSettings
from segkit.core.errors import WeightsError


def tiny(**changes):
    values = {"resolution": 16, "batch_size": 4, "channel_base": 128, "channel_max": 16, "z_dim": 8, "w_dim": 8}
    return GanSettings(**(values | {"num_mapping_layers": 2} | changes))


def networks(settings):
    return {
        "generator": Generator(settings),
        "discriminator": Discriminator(settings),
        "generator_ema": Generator(settings),
    }


@pytest.fixture
def saved(tmp_path):
    nets = networks(tiny())
    weights.save(tmp_path / "w", nets, tiny())
    return tmp_path / "w", nets


def same(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_networks_come_back_as_they_were(saved):
    folder, nets = saved
    files = ["discriminator.safetensors", "generator.safetensors", "generator_ema.safetensors", "settings.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    others = networks(tiny())
    weights.load_all(folder, tiny(), others)
    assert all(same(nets[name], others[name]) for name in nets)
    assert same(weights.load_generator(folder), nets["generator_ema"])
    assert same(weights.load_discriminator(folder), nets["discriminator"])


def test_a_frozen_discriminator_loads_the_weights_of_a_free_one(saved):
    folder, nets = saved
    frozen = Discriminator(tiny(freeze_d=4))
    weights.load_into(frozen, folder, "discriminator")
    assert same(frozen, nets["discriminator"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_mapping_layers": 8}, "num_mapping_layers is 2 there and 8 in the settings"),
        ({"resolution": 32}, "resolution is 16 there and 32 in the settings"),
        ({"image_channels": 1}, "image_channels is 3 there and 1 in the settings"),
        ({"channel_max": 8}, "channel_base, channel_max is 128, 16 there and 128, 8 in the settings"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_setting_to_change(saved, changes, message):
    folder, _ = saved
    others = networks(tiny(**changes))
    before = {name: value.clone() for name, value in others["generator"].state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        weights.load_all(folder, tiny(**changes), others)
    assert all(torch.equal(before[name], value) for name, value in others["generator"].state_dict().items())


def test_training_settings_may_differ(saved):
    folder, _ = saved
    weights.load_all(folder, tiny(kimg=5.0, learning_rate=0.001, channel_max=16), networks(tiny()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop("mapping.fc0.weight"), "mapping.fc0.weight is missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda tensors: tensors.update({"mapping.w_avg": torch.zeros(9)}), r"mapping.w_avg is \(9,\), not \(8,\)"),
    ],
)
def test_no_tensor_is_left_out_silently(saved, damage, message):
    folder, _ = saved
    path = folder / "generator_ema.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=message):
        weights.load_generator(folder)


def test_missing_and_damaged_files_are_named(saved, tmp_path):
    folder, _ = saved
    with pytest.raises(WeightsError, match="holds no GAN weights"):
        weights.load_generator(tmp_path / "nowhere")
    (folder / "generator_ema.safetensors").write_bytes(b"not tensors")
    with pytest.raises(WeightsError, match=r"cannot read weights .*generator_ema.safetensors"):
        weights.load_generator(folder)
    (folder / "settings.json").write_text('{"resolution": 17}')
    with pytest.raises(WeightsError, match="not the settings of a GAN"):
        weights.load_generator(folder)
