import contextlib
import copyreg
import functools
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gan import weights
from gan.discriminator import Discriminator
from gan.generator import Generator
from gan.interop.convert import import_snapshot
from gan.interop.pickles import Machine, PickleError
from gan.interop.snapshot import read_snapshot
from gan.interop.tensors import TensorReader, load_storage
from gan.sampling import generate
from gan.settings import GanSettings
from gan.task import StyleGAN2Task
from segkit.cli.gan import gan as gan_commands
from segkit.core.errors import RequestError, WeightsError
from tests.reference import gan_official_pickle as official


def tiny(**changes):
    values = {"resolution": 16, "batch_size": 4, "channel_base": 128, "channel_max": 16, "z_dim": 8, "w_dim": 6}
    return GanSettings(**(values | {"num_mapping_layers": 2} | changes))


def networks(settings):
    return {
        "generator": Generator(settings),
        "discriminator": Discriminator(settings),
        "generator_ema": Generator(settings),
    }


def states(nets):
    return [dict(nets[name].state_dict()) for name in ("generator", "discriminator", "generator_ema")]


AUGMENT = {"p": torch.tensor(0.25), "Hz_geom": torch.ones(12), "Hz_fbank": torch.ones(4, 43)}


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    nets = networks(tiny())
    for network in nets.values():  # nothing at its initial value, so that nothing can be left out unseen
        for name, value in network.state_dict().items():
            if "resample_filter" not in name:
                value.add_(torch.randn_like(value) * 0.1)
    return nets


def content(nets, **options):
    return official.snapshot(*states(nets), AUGMENT, **options)


@pytest.fixture
def write(tmp_path):
    def write(data, name="network-snapshot-001000.pkl"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else official.dumps(data))
        return path

    return write


def same(tensors, network):
    own = network.state_dict()
    return own.keys() == tensors.keys() and all(torch.equal(own[name], tensors[name]) for name in own)


# loading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_snapshot_loads_bit_for_bit(nets, write, protocol):
    snapshot = read_snapshot(write(official.dumps(content(nets), protocol)))
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


def test_a_chance_beyond_one_is_held_at_one(nets, write):
    assert read_snapshot(write(official.snapshot(*states(nets), {"p": torch.tensor(34.27)}))).settings.augment_p == 1
    assert read_snapshot(write(official.snapshot(*states(nets)))).settings.augment_p == 0


def test_a_network_without_clamp_stays_without(nets, write):
    assert read_snapshot(write(content(nets, conv_clamp=None))).settings.conv_clamp is None


# converting and starting from it --------------------------------------------------------------------------------------


def test_the_imported_folder_draws_the_images_of_the_snapshot(nets, write, tmp_path):
    import_snapshot(write(content(nets)), tmp_path / "out")
    drawn = [
        generate(net, 3, truncation_psi=0.7)
        for net in (weights.load_generator(tmp_path / "out"), nets["generator_ema"])
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
    before = {name: {key: value.clone() for key, value in net.state_dict().items()} for name, net in others.items()}
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
    with pytest.raises(WeightsError, match=r"\(discriminator\) does not fit the network: .* is \(4,\), not \(8,\)"):
        import_snapshot(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    others = networks(tiny())
    before = {key: value.clone() for key, value in others["generator"].state_dict().items()}
    with pytest.raises(WeightsError, match=r"\(discriminator\) does not fit"):
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


# files that would run code --------------------------------------------------------------------------------------------


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def program(*code):
    return b"\x80\x04" + b"".join(code) + b"."


def text(value):
    data = str(value).encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def legacy(*parts):
    """What torch.save wrote before zip files, with other last parts."""
    preamble = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, protocol=2) for part in (*preamble, *parts))


def zipped(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def storage(data):
    return Call(torch.storage._load_from_bytes, data)


@contextlib.contextmanager
def extension(function):
    """An extension code for a function, as a program may have registered one."""
    copyreg.add_extension(function.__module__, function.__name__, 0x7F01)
    try:
        yield
    finally:
        copyreg.remove_extension(function.__module__, function.__name__, 0x7F01)


def by_extension_code(function, *arguments):
    with extension(function):
        return pickle.dumps(Call(function, *arguments), protocol=2)


def created(mark):
    """Python that leaves the mark."""
    return f"open({str(mark)!r}, 'w').close()"


# what the error names, and the file's training_set_kwargs (or the whole file, if bytes)
CODE = {
    "os.system": ("posix.system", lambda mark: Call(os.system, f"touch {mark}")),
    "eval": ("builtins.eval", lambda mark: Call(eval, created(mark))),
    "exec": ("builtins.exec", lambda mark: Call(exec, created(mark))),
    "open": ("io.open", lambda mark: Call(open, str(mark), "w")),
    "subprocess": ("subprocess.call", lambda mark: Call(subprocess.call, ["touch", str(mark)])),
    "partial": ("functools.partial", lambda mark: Call(functools.partial(os.mkdir, str(mark)))),
    "copyreg": (
        "copyreg.add_extension",
        lambda mark: program(
            *(b"ccopyreg\nadd_extension\n", text("os"), text("mkdir"), b"K\x09\x87R0\x82\x09", text(mark), b"\x85R")
        ),
    ),
    "in a list in a dictionary": ("posix.mkdir", lambda mark: {"a": [1, {"b": Call(os.mkdir, str(mark))}]}),
    "extension code": ("instruction EXT2", lambda mark: by_extension_code(os.mkdir, str(mark))),
    "chain of getattr": (
        "builtins.getattr",
        lambda mark: program(
            *(b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n", text("os"), b"\x85R", text("mkdir"), b"tR"),
            *(text(mark), b"\x85R"),
        ),
    ),
    "dotted name": (
        "builtins.print.__self__.eval",
        lambda mark: program(text("builtins"), text("print.__self__.eval"), b"\x93", text(created(mark)), b"\x85R"),
    ),
    "module of an allowed name": (
        "torch.serialization.os.mkdir",
        lambda mark: program(text("torch.serialization"), text("os.mkdir"), b"\x93", text(mark), b"\x85R"),
    ),
    "instruction INST": ("instruction INST", lambda mark: program(b"(", text(mark), b"ios\nmkdir\n")),
    "instruction OBJ": ("os.mkdir", lambda mark: program(b"(cos\nmkdir\n", text(mark), b"o")),
    "first thing in a storage": ("posix.mkdir", lambda mark: storage(pickle.dumps(Call(os.mkdir, str(mark))))),
    "description of a storage": ("posix.mkdir", lambda mark: storage(legacy(Call(os.mkdir, str(mark))))),
    "storage as zip file": ("damaged or not a pickle", lambda mark: storage(zipped(Call(os.mkdir, str(mark))))),
    "loader of torch": ("torch.serialization.load", lambda mark: Call(torch.load, io.BytesIO(b""), "cpu")),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
@pytest.mark.filterwarnings("ignore")  # what plain pickle leaves behind
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(write, tmp_path, request, name):
    mark = tmp_path / "ran"
    message, attack = CODE[name]
    data = attack(mark)
    path = write(data if isinstance(data, bytes) else {"training_set_kwargs": data, "G": None})
    with pytest.raises(WeightsError, match=message):
        read_snapshot(path)
    assert not mark.exists()
    if name == "copyreg":
        request.addfinalizer(lambda: copyreg.remove_extension("os", "mkdir", 9))
    if name != "loader of torch":
        with official.official_names(), extension(os.mkdir), contextlib.suppress(Exception):
            pickle.loads(path.read_bytes())
        assert mark.exists(), "the attack does not work even on those who let it"


def test_code_deep_in_a_network_is_refused_too(nets, write, tmp_path):
    mark = tmp_path / "ran"
    value = content(nets)
    state = value["D"].meta["state"]["_modules"]["b8"].meta["state"]["_modules"]["conv0"].meta["state"]
    state["_parameters"]["weight"] = Call(os.mkdir, str(mark))
    with pytest.raises(WeightsError, match=r"'posix.mkdir', which is not on the list .* Nothing in the file was run"):
        read_snapshot(write(value))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb", "changes a Global"),  # would set attributes on ours
        (b"X\x01\x00\x00\x00a)R", "a call of a str"),
        (b"X\x01\x00\x00\x00aQ", "persistent id"),
        (b"Pcos.system\n", "instruction PERSID"),
        (b"\x97", "instruction NEXT_BUFFER"),
        (b"K\x012", "instruction DUP"),
        (b"}(K\x01K\x02K\x03u", "damaged"),
        (b"}(K\x01\x85K\x02u", "a tuple as key"),  # hashing nested tuples could take for ever
        (b"]}\x86(K\x01e", "a tuple where a list should be"),
        (b"h\x05", "damaged"),
        (b"0", "instruction POP"),
        (b"((K\x01", "damaged"),
        (b"\xff", "damaged"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc", "damaged"),  # bytes longer than any memory
        (b"]r\xff\xff\xff\xff", "holds a list"),  # a place in the memo that would take 64 GiB
        (b"cdnnlib.util\nEasyDict\nK\x01\x85R", "damaged"),
        (b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R", "a number format"),
        (b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R", "a parameter that is not a tensor"),
    ],
)
def test_instructions_that_no_snapshot_needs_are_refused(write, code, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(b"\x80\x04" + code + b"."))


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
        (b"", "no pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no pickle; was the download complete"),
        (b"<!DOCTYPE html><title>404</title>", "no pickle"),
        (b"\x80", "damaged"),
        (b"\x80\x04.", "damaged"),
        (zipped({"G": torch.ones(3)}), "zip archive"),
        (legacy([1, 2], []), "holds a int"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps({"G": 1}), "no network G and no network D and no network G_ema"),
    ],
)
def test_other_files_are_refused_by_what_they_are(write, data, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(data))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot read .*none.pkl: No such file"):
        read_snapshot(tmp_path / "none.pkl")
    with pytest.raises(WeightsError, match="cannot read"):
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


FLOATS = load_storage(
    legacy() + b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\n" + text(1) + text("cpu") + b"K\x06NtQ."
    + pickle.dumps(["1"], protocol=2) + (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()
)  # fmt: skip


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (1, (2, 3), (3, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (10**12,), (0,)),  # one number, repeated until memory is full
        (0, (2, 2), (1, 1)),
        (0, (2**40, 2**40), (2**40, 1)),
        (0, (10**30,), (1,)),
        (10**30, (1,), (1,)),
        (0, (0,), (1,)),
        (0, (2, 3), (1,)),
        (0, [2], [1]),
        (0, (True,), (1,)),
        (0.0, (1,), (1,)),
        (0, (1,) * 9, (1,) * 9),
    ],
)
def test_tensors_that_leave_their_storage_are_refused(offset, size, stride):
    with pytest.raises(PickleError, match="a tensor"):
        TensorReader(10**9).rebuild(FLOATS, offset, size, stride)


def test_one_storage_cannot_be_copied_until_memory_is_full():
    reader = TensorReader(30)
    assert reader.rebuild(FLOATS, 1, (2,), (3,)).tolist() == [1, 4]
    with pytest.raises(PickleError, match="larger than the file"):
        reader.rebuild(FLOATS, 0, (6,), (1,))


def test_a_storage_has_the_bytes_that_it_says(nets):
    good = legacy() + b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\n" + text(1) + text("cpu") + b"K\x02NtQ."
    keys = pickle.dumps(["1"], protocol=2)
    assert load_storage(good + keys + (2).to_bytes(8, "little") + bytes(8)).size == 2
    for bad in (
        good + keys + (3).to_bytes(8, "little") + bytes(12),
        good + keys + (2).to_bytes(8, "little") + bytes(7),
        good + keys + (2).to_bytes(8, "little") + bytes(9),
        good + keys + b"\x02",
        good + pickle.dumps(["1", "2"], protocol=2) + (2).to_bytes(8, "little") + bytes(8),
        good.replace(b"FloatStorage", b"QInt8Storage") + keys,
        good.replace(text("storage"), text("modules")) + keys,
        pickle.dumps(1) + good,
    ):
        with pytest.raises(PickleError):
            load_storage(bad)


def test_endless_and_deep_pickles_end():
    with pytest.raises(PickleError, match="more than 100 instructions"):
        Machine({}, limit=100).run(io.BytesIO(b"]" * 1000 + b"."))
    deep = Machine({}).run(io.BytesIO(b"\x80\x04" + b"]" * 5_000 + b"a" * 4_999 + b"."))
    assert isinstance(deep, list)
