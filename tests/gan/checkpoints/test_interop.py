import io
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save as safetensors

from gan.checkpoints import weights
from gan.checkpoints.interop.convert import import_snapshot
from gan.checkpoints.interop.snapshot import read_snapshot
from gan.checkpoints.interop.tensors import TensorReader, load_storage
from gan.drawing.sampling import generate, read_generator
from gan.networks.discriminator import Discriminator
from gan.training.task import StyleGAN2Task
from segkit.cli.gan import gan as gan_commands
from segkit.core.errors import RequestError, WeightsError
from tests.gan.small_networks import AUGMENT, content, copies, networks, same, states, tiny
from tests.reference import gan_official_pickle as official
from tests.reference.pickle_parts import legacy, zipped

# loading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_snapshot_loads_bit_for_bit(nets, write, protocol, later):
    snapshot = read_snapshot(write(official.dumps(content(nets, later=later), protocol)))
    assert all(same(snapshot.networks[name], nets[name]) for name in nets)
    sizes = ("resolution", "image_channels", "num_mapping_layers", "z_dim", "w_dim", "channel_base", "channel_max")
    assert {name: getattr(snapshot.settings, name) for name in sizes} == {
        "resolution": 16,
        "image_channels": 3,
        "num_mapping_layers": 2,
        "z_dim": 8,
        "w_dim": 6,
        "channel_base": 128,
        "channel_max": 16,
    }
    assert (snapshot.settings.augment_p, snapshot.settings.conv_clamp) == (0.25, 256)


def test_numbers_of_an_old_numpy_load(nets, write):
    data = official.dumps(content(nets))
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    assert same(read_snapshot(write(old)).networks["generator_ema"], nets["generator_ema"])


def test_storages_are_read_as_torch_reads_them():
    for values in (torch.randn(7), torch.randn(5).half(), torch.tensor(3.0), torch.randn(6).bfloat16()):
        buffer = io.BytesIO()
        torch.save(pickled_storage(values), buffer, _use_new_zipfile_serialization=False)
        storage = load_storage(buffer.getvalue())
        mine = TensorReader(1000).rebuild(storage, 0, tuple(values.shape), values.stride())
        assert mine.dtype == values.dtype
        assert torch.equal(mine, values)


def pickled_storage(tensor):
    """The typed storage that torch itself hands to pickle."""
    return tensor.__reduce_ex__(2)[1][0]


def test_transposed_and_partial_views_come_out_as_they_look(nets, write):
    tensors = states(nets)
    name = "synthesis.b8.conv0.weight"
    wanted = tensors[0][name].clone()
    wide = torch.full((2, *wanted.shape), 7.0)
    wide[1] = wanted
    tensors[0][name] = wide[1]
    tensors[1]["b16.conv0.weight"] = tensors[1]["b16.conv0.weight"].transpose(0, 1).contiguous().transpose(0, 1)
    snapshot = read_snapshot(write(official.snapshot(*tensors)))
    assert torch.equal(snapshot.networks["generator"][name], wanted)
    assert same(snapshot.networks["discriminator"], nets["discriminator"])
    assert all(value.is_contiguous() for value in snapshot.networks["discriminator"].values())


def test_frozen_layers_lie_among_the_buffers_under_the_same_names(nets, write):
    frozen = official.BUFFERS | {"weight", "bias"}
    assert same(read_snapshot(write(content(nets, buffers=frozen))).networks["discriminator"], nets["discriminator"])


def test_half_precision_weights_become_fp32_without_loss(nets, write):
    halves = [{name: value.half() for name, value in tensors.items()} for tensors in states(nets)]
    for tensors in halves:
        tensors.update({name: value.float() for name, value in tensors.items() if name.endswith("w_avg")})
    snapshot = read_snapshot(write(official.snapshot(*halves)))
    got = snapshot.networks["generator"]
    assert {value.dtype for value in got.values()} == {torch.float32}
    assert all(torch.equal(value, halves[0][name].float()) for name, value in got.items())


def test_embedded_source_is_not_looked_at(nets, write, tmp_path):
    mark = tmp_path / "ran"
    path = write(content(nets, module_src=f"open({str(mark)!r}, 'w')"))
    assert same(read_snapshot(path).networks["generator"], nets["generator"])
    assert not mark.exists()
    assert not {"torch_utils", "dnnlib"} & sys.modules.keys()


def test_one_tensor_in_several_places_becomes_several(nets, write, tmp_path):
    tensors = states(nets)
    kernel = tensors[0]["synthesis.b8.resample_filter"]
    for name in tensors[0]:
        if name.endswith("resample_filter"):
            tensors[0][name] = kernel
    path = write(official.snapshot(tensors[0], tensors[1], tensors[0]))
    import_snapshot(path, tmp_path / "out")
    found = read_generator(tmp_path / "out")[1]
    assert same(tensors[0], found)
    places = [value.data_ptr() for name, value in found.state_dict().items() if name.endswith("resample_filter")]
    assert len(places) == len(set(places)) > 2


def test_views_of_one_storage_come_out_as_they_look(nets, write):
    tensors = states(nets)
    alike = [name for name in tensors[0] if name.endswith("conv1.bias")]
    together = torch.cat([tensors[0][name] for name in alike])
    for name, part in zip(alike, together.split([len(tensors[0][name]) for name in alike]), strict=True):
        tensors[0][name] = part
    assert same(read_snapshot(write(official.snapshot(*tensors, later=True))).networks["generator"], nets["generator"])


def test_a_discriminator_without_skip_paths_is_told(nets, write):
    tensors = states(nets)
    plain = {name: value for name, value in tensors[1].items() if ".skip." not in name}
    settings = read_snapshot(write(official.snapshot(tensors[0], plain, tensors[2]))).settings
    assert settings.d_architecture == "orig"
    with pytest.raises(WeightsError, match="d_architecture is orig there and resnet in the settings"):
        weights.check_fit(settings, tiny(), "faces.pkl")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_alias_free_networks_are_called_by_their_name(nets, write, protocol):
    generator, discriminator, _ = states(nets)
    alias_free = official.alias_free(generator)
    value = official.snapshot(alias_free, discriminator, alias_free, AUGMENT, later=True)
    with pytest.raises(WeightsError, match=r"alias-free one of StyleGAN3.*--cfg=stylegan2"):
        read_snapshot(write(official.dumps(value, protocol)))


def test_a_chance_beyond_one_is_held_at_one(nets, write):
    assert read_snapshot(write(official.snapshot(*states(nets), {"p": torch.tensor(34.27)}))).settings.augment_p == 1
    assert read_snapshot(write(official.snapshot(*states(nets)))).settings.augment_p == 0


def test_a_network_without_clamp_stays_without(nets, write):
    assert read_snapshot(write(content(nets, conv_clamp=None))).settings.conv_clamp is None


# converting and starting from it --------------------------------------------------------------------------------------


def test_the_imported_folder_draws_the_images_of_the_snapshot(nets, write, tmp_path):
    import_snapshot(write(content(nets)), tmp_path / "out")
    drawn = [
        generate(net, 3, truncation_psi=0.7) for net in (read_generator(tmp_path / "out")[1], nets["generator_ema"])
    ]
    assert np.array_equal(*drawn)
    assert drawn[0].std() > 0
    names = {"generator.safetensors", "discriminator.safetensors", "generator_ema.safetensors", "settings.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_training_starts_alike_from_the_snapshot_and_from_its_folder(nets, write, tmp_path):
    path = write(content(nets))
    import_snapshot(path, tmp_path / "out")
    for source in (path, tmp_path / "out"):
        task = StyleGAN2Task(tiny(init_from=source, freeze_d=2), seed=5)
        task.on_fit_start()
        assert all(same(nets[name].state_dict(), network) for name, network in task.networks.items())
        assert task.augment_pipe.chance == 0  # fine-tuning adapts anew


def test_a_home_directory_is_found(nets, write, tmp_path, monkeypatch):
    write(content(nets), "faces.pkl")
    monkeypatch.setenv("HOME", str(tmp_path))
    others = networks(tiny())
    weights.load_all(Path("~/faces.pkl"), tiny(), others)
    assert same(nets["generator"].state_dict(), others["generator"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_mapping_layers": 8}, "num_mapping_layers is 2 there and 8 in the settings"),
        ({"resolution": 32}, "resolution is 16 there and 32"),
        ({"image_channels": 1}, "image_channels is 3 there and 1"),
        ({"channel_base": 64}, "channel_base, channel_max is 128, 16 there and 64, 16"),
        ({"z_dim": 4, "w_dim": 4}, "z_dim is 8 there and 4 in the settings; w_dim is 6 there and 4"),
    ],
)
def test_settings_of_another_network_are_refused_and_nothing_is_loaded(nets, write, changes, message):
    others = networks(tiny(**changes))
    before = copies(others)
    with pytest.raises(WeightsError, match=message):
        weights.load_all(write(content(nets)), tiny(**changes), others)
    assert all(same(before[name], network) for name, network in others.items())


def test_the_error_names_the_presets_that_fit(write):
    faces = tiny(preset="stylegan2", channel_base=32768, channel_max=4, num_mapping_layers=8)
    path = write(content(networks(faces)))
    wanted = tiny(preset="auto", channel_base=32768, channel_max=4)
    with pytest.raises(WeightsError, match=r"8 there and 2 .* in the presets stylegan2 at resolution 16"):
        weights.load_all(path, wanted, networks(wanted))


def test_a_discriminator_of_another_size_is_refused_before_anything_is_loaded_or_written(nets, write, tmp_path):
    generator, _, ema = states(nets)
    slim = dict(Discriminator(tiny(channel_base=64)).state_dict())
    path = write(official.snapshot(generator, slim, ema))
    with pytest.raises(WeightsError):
        import_snapshot(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    others = networks(tiny())
    before = {key: value.clone() for key, value in others["generator"].state_dict().items()}
    with pytest.raises(WeightsError):
        weights.load_all(path, tiny(), others)
    assert same(before, others["generator"])


def test_the_command_imports_and_says_what_it_found(nets, write, tmp_path):
    path = write(content(nets))
    result = CliRunner().invoke(gan_commands, ["import", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "16x16, image_channels 3, 2 mapping layers, channel_base 128, channel_max 16, z 8, w 6" in result.output
    assert "p = 0.250" in result.output
    again = CliRunner().invoke(gan_commands, ["import", str(path), "--out", str(tmp_path / "out")])
    assert isinstance(again.exception, RequestError)
    assert "is not empty" in str(again.exception)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--image-channels", "1"], {"image_channels": 1}),
        (["--resolution", "8"], {"resolution": 8}),
        (["--resolution", "32", "--image-channels", "4"], {"resolution": 32, "image_channels": 4}),
    ],
)
def test_the_command_adapts_where_asked_and_the_result_is_what_training_from_the_file_would_begin_with(
    nets, write, tmp_path, options, changes
):
    path, out = write(content(nets)), tmp_path / "out"
    result = CliRunner().invoke(gan_commands, ["import", str(path), "--out", str(out), "--seed", "5", *options])
    assert result.exit_code == 0, result.output
    assert "adapted\n" in result.output
    assert all(f"{name} {getattr(tiny(), name)} -> {value}" in result.output for name, value in changes.items())
    adapts = StyleGAN2Task(tiny(**changes, init_from=path, init_adapt=["resolution", "image_channels"]), seed=5)
    loads = StyleGAN2Task(tiny(**changes, init_from=out), seed=6)
    for task in (adapts, loads):
        task.on_fit_start()
    assert all(same(network.state_dict(), loads.networks[name]) for name, network in adapts.networks.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resolution", "48"], "adapted: resolution = 48"),
        (["--image-channels", "5"], "adapted: image_channels = 5"),
    ],
)
def test_the_command_refuses_networks_that_cannot_be(nets, write, tmp_path, options, message):
    path, out = write(content(nets)), tmp_path / "out"
    result = CliRunner().invoke(gan_commands, ["import", str(path), "--out", str(out), *options])
    assert isinstance(result.exception, RequestError)
    assert message in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize("seed", ["-4", "4294967296", "99999999999999999999"])
def test_the_command_takes_the_seeds_that_all_commands_take(write, nets, tmp_path, seed):
    result = CliRunner().invoke(
        gan_commands, ["import", str(write(content(nets))), "--out", str(tmp_path / "out"), "--seed", seed]
    )
    assert result.exit_code == 2
    assert "--seed" in result.output


# damaged files --------------------------------------------------------------------------------------------------------


def without(key):
    def damage(value):
        del value[key]

    return damage


def tensor_change(network, change):
    def damage(value):
        change(value[network].meta["state"])

    return damage


def at(state, path):
    """The state of a module below."""
    for name in path.split("."):
        state = state["_modules"][name].meta["state"]
    return state


def with_itself(state):
    state["_modules"]["again"] = official.PersistentObject("Loop", state, "")


def set_tensor(path, name, value, kind="_parameters"):
    return lambda state: at(state, path)[kind].__setitem__(name, value)


def set_module(path, name, module):
    return lambda state: at(state, path)["_modules"].__setitem__(name, module)


DAMAGES = {
    "no D": (without("D"), "no network D"),
    "no G_ema": (without("G_ema"), "no network G_ema"),
    "D is a plain dictionary": (lambda value: value.update(D={}), "no network D"),
    "a network without modules": (tensor_change("G", lambda s: s.pop("_modules")), "G has a module without _modules"),
    "a module that is text": (tensor_change("G", lambda s: s["_modules"].update(a="b")), "G has a str where a module"),
    "a tensor that is text": (tensor_change("D", set_tensor("b8.conv0", "weight", "x")), "D has a str as tensor"),
    "a module inside itself": (tensor_change("G", with_itself), "more modules than any"),
    "a path for a name": (tensor_change("G", lambda s: s["_modules"].update({"a/../b": None})), "impossible name"),
    "a dotted name": (tensor_change("G", lambda s: s["_buffers"].update({"a.b": None})), "impossible name in _buffers"),
    "a name twice": (
        tensor_change("D", set_tensor("b8.conv0", "weight", torch.ones(1), "_buffers")),
        "b8.conv0.weight twice",
    ),
    "not finite": (
        tensor_change("G_ema", set_tensor("mapping.fc0", "bias", torch.tensor([1, np.nan]))),
        "G_ema has numbers in mapping.fc0.bias that are not finite",
    ),
    "integers": (
        tensor_change("G", set_tensor("mapping.fc0", "bias", torch.arange(6), "_buffers")),
        "torch.LongStorage",
    ),
    "sparse": (
        tensor_change("G", set_tensor("mapping.fc0", "bias", torch.ones(6).to_sparse(), "_buffers")),
        "torch._utils._rebuild_sparse_tensor",
    ),
    "conditional": (
        tensor_change("G", set_module("mapping", "embed", official.module_tree({"a": torch.ones(2)}, ""))),
        "conditional on a class",
    ),
    "another architecture": (
        tensor_change("G", lambda state: at(state, "synthesis")["_modules"].pop("b4")),
        "G has no tensor synthesis.b4.conv1.weight as StyleGAN2 has",
    ),
    "no mapping": (tensor_change("G", lambda s: s["_modules"].pop("mapping")), "G has no tensor mapping.fc0.weight"),
    "another scale": (
        tensor_change("G", lambda state: at(state, "mapping.fc1").update(weight_gain=np.float64(0.5))),
        "scales the weights of mapping.fc1 by 0.5",
    ),
    "odd widths": (
        tensor_change("G", set_tensor("synthesis.b8.conv1", "weight", torch.ones(5, 16, 3, 3))),
        "16, 5, 8 channels wide, which follows no channel_base",
    ),
    "no chance": (lambda value: value["augment_pipe"].meta["state"]["_buffers"].pop("p"), "no chance p"),
    "an impossible clamp": (
        tensor_change("G", lambda state: at(state, "synthesis.b4.conv1").update(conv_clamp=-1)),
        "conv_clamp is -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_snapshot_that_lacks_or_adds_something_is_refused_by_what_it_is(nets, write, name):
    damage, message = DAMAGES[name]
    value = content(nets)
    damage(value)
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(value))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a pickle; was the download complete"),
        (b"<!DOCTYPE html><title>404</title>", "not a pickle"),
        (b"\x80", "damaged"),
        (b"\x80\x04.", "damaged"),
        (zipped({"G": torch.ones(3)}), "zip archive"),
        (legacy([1, 2], []), "but int"),
        (pickle.dumps([1, 2]), "no dictionary with G, D and G_ema but list"),
        (safetensors({"a": torch.ones(3)}), "safetensors; name the folder that it lies in"),
        (pickle.dumps({"G": 1}), "no network G and no network D and no network G_ema"),
    ],
)
def test_other_files_are_refused_by_what_they_are(write, data, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(data))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot read .*none.pkl: No such file"):
        read_snapshot(tmp_path / "none.pkl")
    with pytest.raises(WeightsError, match=r"it is a folder, not a \.pkl"):
        read_snapshot(tmp_path)


def test_networks_of_the_tensorflow_code_are_told_from_the_rest(write):
    data = pickle.dumps(1)[:2] + b"cdnnlib.tflib.network\nNetwork\n)\x81}b."
    with pytest.raises(WeightsError, match=r"networks of NVIDIA's TensorFlow code.*legacy.py"):
        read_snapshot(write(data))


def test_a_file_cut_short_anywhere_is_refused(nets, write):
    data = official.dumps(content(nets))
    for length in np.linspace(1, len(data) - 1, 12).astype(int):
        with pytest.raises(WeightsError):
            read_snapshot(write(data[:length]))


def test_flipped_bytes_give_an_error_or_other_numbers_and_never_a_crash(nets, write):
    data = re.sub(rb"\d{12,}", lambda key: b"9" * len(key[0]), official.dumps(content(nets)))  # no addresses of today
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 12):
            damaged[place] = rng.integers(256)
        try:
            read_snapshot(write(bytes(damaged)))
        except WeightsError:
            refused += 1
    assert refused > 0
