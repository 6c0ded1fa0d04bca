import pytest
import torch
from safetensors.torch import load_file, save_file

from gan import weights
from gan.discriminator import Discriminator
from gan.sampling import read_generator
from segkit.core.errors import WeightsError
from tests.gan.small_networks import copies, networks, same, tiny


@pytest.fixture
def saved(tmp_path):
    nets = networks(tiny())
    weights.save(tmp_path / "w", nets, tiny())
    return tmp_path / "w", nets


def test_networks_come_back_as_they_were(saved):
    folder, nets = saved
    files = ["discriminator.safetensors", "generator.safetensors", "generator_ema.safetensors", "settings.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    others = networks(tiny(), seed=1)
    weights.load_all(folder, tiny(), others)
    assert all(same(network.state_dict(), others[name]) for name, network in nets.items())
    assert same(nets["generator_ema"].state_dict(), read_generator(folder)[1])


def test_a_frozen_discriminator_loads_the_weights_of_a_free_one(saved):
    folder, nets = saved
    frozen = Discriminator(tiny(freeze_d=4))
    weights.load_all(folder, tiny(freeze_d=4), {"discriminator": frozen})
    assert same(nets["discriminator"].state_dict(), frozen)


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
    before = copies(others)
    with pytest.raises(WeightsError, match=message):
        weights.load_all(folder, tiny(**changes), others)
    assert all(same(before[name], network) for name, network in others.items())


def test_training_settings_may_differ(saved):
    folder, _ = saved
    weights.load_all(folder, tiny(kimg=5.0, learning_rate=0.001, channel_max=16), networks(tiny()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop("mapping.fc0.weight"), "mapping.fc0.weight is missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra is unknown"),
        (lambda tensors: tensors.update({"mapping.w_avg": torch.zeros(9)}), r"mapping.w_avg is \(9,\), not \(6,\)"),
    ],
)
def test_no_tensor_is_left_out_silently(saved, damage, message):
    folder, _ = saved
    path = folder / "generator_ema.safetensors"
    tensors = load_file(path)
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=message):
        read_generator(folder)


def test_missing_and_damaged_files_are_named(saved, tmp_path):
    folder, _ = saved
    with pytest.raises(WeightsError, match="does not exist; give a folder of GAN weights"):
        read_generator(tmp_path / "nowhere")
    (folder / "generator_ema.safetensors").write_bytes(b"not tensors")
    with pytest.raises(WeightsError, match=r"cannot read weights .*generator_ema.safetensors"):
        read_generator(folder)
    (folder / "settings.json").write_text('{"resolution": 17}')
    with pytest.raises(WeightsError, match="not the settings of a GAN"):
        read_generator(folder)
