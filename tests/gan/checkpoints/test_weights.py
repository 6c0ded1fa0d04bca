import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from gan.checkpoints import weights
from gan.checkpoints.interop.convert import import_snapshot
from gan.drawing.sampling import read_generator
from gan.networks.discriminator import Discriminator
from gan.networks.generator import Generator
from gan.settings import GanSettings
from segkit.core.errors import WeightsError
from tests.gan.small_networks import copies, networks, same, states, tiny
from tests.reference import gan_official_pickle as official


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


def as_format_1(folder, *, number):
    """Make a folder what an earlier segkit wrote, whose layers that upsample correlated."""
    for name in ("generator", "generator_ema"):
        path = folder / f"{name}.safetensors"
        tensors = load_file(path)
        save_file(
            {key: value.flip([2, 3]) if key.endswith("conv0.weight") else value for key, value in tensors.items()}, path
        )
    path = folder / "settings.json"
    settings = json.loads(path.read_text())
    del settings["format"]
    path.write_text(json.dumps(settings | ({} if number is None else {"format": number})))


@pytest.mark.parametrize("number", [None, 1])
def test_generators_that_an_earlier_segkit_trained_draw_what_they_drew(saved, number, tmp_path):
    folder, nets = saved
    as_format_1(folder, number=number)
    others = networks(tiny(), seed=1)
    weights.load_all(folder, tiny(), others)
    assert all(same(network.state_dict(), others[name]) for name, network in nets.items())
    settings, generator = read_generator(folder)
    assert same(nets["generator_ema"].state_dict(), generator)
    weights.save(tmp_path / "again", {"generator_ema": generator}, settings)
    assert same(nets["generator_ema"].state_dict(), read_generator(tmp_path / "again")[1])


def usual(**changes):
    """The sizes of `tiny`, and of a training only what is usual: what an import writes."""
    names = ("resolution", "channel_base", "channel_max", "num_mapping_layers", "z_dim", "w_dim")
    return GanSettings(**{name: getattr(tiny(), name) for name in names} | changes)


def test_a_snapshot_of_an_earlier_training_is_never_taken_for_an_import(tmp_path):
    nets, settings = networks(tiny()), usual()
    weights.save(tmp_path, {"generator_ema": nets["generator_ema"]}, settings)
    (tmp_path / "generator.safetensors").write_bytes((tmp_path / "generator_ema.safetensors").read_bytes())
    as_format_1(tmp_path, number=None)
    assert same(nets["generator_ema"].state_dict(), read_generator(tmp_path)[1])


@pytest.mark.parametrize("resolution", [None, 8, 32])
def test_an_import_of_an_earlier_segkit_is_refused_until_its_origin_is_clear(tmp_path, resolution):
    path, folder = tmp_path / "faces.pkl", tmp_path / "w"
    path.write_bytes(official.dumps(official.snapshot(*states(networks(tiny())))))
    import_snapshot(path, folder, resolution=resolution)
    current = read_generator(folder)[1].state_dict()
    as_format_1(folder, number=None)
    with pytest.raises(WeightsError, match=r"import the \.pkl again.*add \"format\": 1"):
        read_generator(folder)
    (folder / "settings.json").write_text((folder / "settings.json").read_text().replace("{", '{"format": 1,', 1))
    assert same(current, read_generator(folder)[1])


@pytest.mark.parametrize("number", [3, 0, "2", True, 1.0])
def test_formats_that_this_version_does_not_have_are_refused(saved, number):
    folder, _ = saved
    path = folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": number, "of_a_later_version": 0}))
    with pytest.raises(WeightsError, match=r"format is .*, this segkit reads 1 to 2"):
        read_generator(folder)


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
    with pytest.raises(WeightsError):
        read_generator(tmp_path / "nowhere")
    (folder / "generator_ema.safetensors").write_bytes(b"not tensors")
    with pytest.raises(WeightsError):
        read_generator(folder)
    (folder / "settings.json").write_text('{"resolution": 17}')
    (folder / "settings.json").write_text("{")
    with pytest.raises(WeightsError):
        read_generator(folder)
    (folder / "settings.json").write_text("[" * 100_000)
    with pytest.raises(WeightsError):
        read_generator(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resolution": 17}, "resolution = 17"),
        ({"z_dim": 0}, "z_dim = 0"),
        ({"z_dims": 8}, "'z_dims'"),
        ({"z_dim": "x", "w_dim": -1}, "w_dim = -1"),
        ({"freeze_d": 99}, "freeze_d 99"),
    ],
)
def test_an_error_names_the_wrong_setting_and_its_value(saved, changes, words):
    folder, _ = saved
    path = folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(WeightsError) as caught:
        read_generator(folder)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_settings_that_are_no_section_are_refused(saved):
    folder, _ = saved
    (folder / "settings.json").write_text("[1]")
    with pytest.raises(WeightsError):
        read_generator(folder)


def test_a_network_that_the_tensors_do_not_fill_takes_no_memory(saved, monkeypatch):
    folder, _ = saved
    path = folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"resolution": 1024, "channel_base": 2**24}))

    class OnMeta(Generator):
        def __init__(self, *args):
            super().__init__(*args)
            assert all(value.is_meta for value in self.state_dict().values()), "numbers were made before the check"

    for module in ("gan.checkpoints.weights", "gan.drawing.sampling"):
        monkeypatch.setattr(f"{module}.Generator", OnMeta)
    with pytest.raises(WeightsError):
        read_generator(folder)
