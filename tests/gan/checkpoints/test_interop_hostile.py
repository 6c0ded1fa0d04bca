"""Files that would run code, or fill the memory: refused, by what they are, before anything comes of it."""

import contextlib
import copyreg
import functools
import io
import operator
import os
import pickle
import re
import subprocess
import tracemalloc

import numpy as np
import pytest
import torch

from gan.checkpoints.interop.pickles import Machine, PickleError
from gan.checkpoints.interop.snapshot import read_snapshot
from gan.checkpoints.interop.tensors import TensorReader, load_storage
from segkit.core.errors import WeightsError
from tests.gan.small_networks import content
from tests.reference import gan_official_pickle as official
from tests.reference import pickle_parts as parts
from tests.reference.pickle_parts import KEYS, Call, described, legacy, program, storage, text, zipped


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
    "description of a storage's key": (
        "posix.mkdir",
        lambda mark: storage(legacy() + described() + pickle.dumps([Call(os.mkdir, str(mark))], protocol=2)),
    ),
    "type of a storage": (
        "os.mkdir",
        lambda mark: storage(legacy() + described(b"cos\nmkdir\n" + text(mark) + b"\x85R")),
    ),
    "storage in a storage": (
        "torch.storage._load_from_bytes",
        lambda mark: storage(legacy(storage(zipped(Call(os.mkdir, str(mark)))))),
    ),
    "method": ("operator.methodcaller", lambda mark: Call(operator.methodcaller("mkdir"), mark)),
    "later in a chain": (
        "builtins.map",
        lambda mark: Call(set, Call(map, os.mkdir, [str(mark)])),
    ),
    "hook of a tensor": (
        "posix.mkdir",
        lambda mark: Call(torch._utils._rebuild_parameter, torch.ones(1), False, Call(os.mkdir, str(mark))),
    ),
    "in a module's attributes": (
        "posix.mkdir",
        lambda mark: official.PersistentObject("Evil", {"x": Call(os.mkdir, str(mark))}, ""),
    ),
    "another codec": (
        "an encoding that no snapshot needs",
        lambda mark: program(
            *(b"c_codecs\nencode\n", text("x"), text("rot13"), b"\x86R0"),
            *(b"cos\nmkdir\n", text(mark), b"\x85R"),
        ),
    ),
    "dotted name below an allowed one": (
        "torch._utils._rebuild_tensor_v2.__globals__",
        lambda mark: program(
            *(text("torch._utils"), text("_rebuild_tensor_v2.__globals__"), b"\x930"),
            *(b"cos\nmkdir\n", text(mark), b"\x85R"),
        ),
    ),
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
    at(value["D"], "b8.conv0")["_parameters"]["weight"] = Call(os.mkdir, str(mark))
    with pytest.raises(WeightsError, match=r"'posix.mkdir'"):
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
        (b"]r\xff\xff\xff\xff", "G_ema but list"),  # a place in the memo that would take 64 GiB
        (b"cdnnlib.util\nEasyDict\nK\x01\x85R", "damaged"),
        (b"cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R", "a number format"),
        (b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R", "a parameter that is not a tensor"),
        (b"ccollections\nOrderedDict\n)}\x92", "instruction NEWOBJ_EX"),
        (b"ccollections\nOrderedDict\n)o", "instruction OBJ"),
        (b"(iposix\nsystem\n", "instruction INST"),
        (b"\x82\x01", "instruction EXT1"),
        (b"\x83\x01\x00", "instruction EXT2"),
        (b"\x84\x01\x00\x00\x00", "instruction EXT4"),
        (b"\x8b\x04\x00\x00\x00\xff\xff\xff\x7f", "instruction LONG4"),  # powers of it would fill the memory
        (b"(d", "instruction DICT"),
        (b"(K\x01l", "instruction LIST"),
        (b"(1", "instruction POP_MARK"),
        (b"\x98", "instruction READONLY_BUFFER"),
        (b"}\x8a\x09" + b"\xff" * 8 + b"\x7fK\x01s", "a huge number as key"),  # their hashes can be made the same
        (b"]p" + b"9" * 40 + b"\n", "a huge number as key"),
        (b"\x95" + b"\xff" * 7 + b"\x7f", "damaged"),  # a frame longer than any file
        (b"B\xff\xff\xff\xffabc", "damaged"),
        (b"X\xff\xff\xff\xffabc", "damaged"),
    ],
)
def test_instructions_that_no_snapshot_needs_are_refused(write, code, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(b"\x80\x04" + code + b"."))


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "nt.system", "builtins.eval", "builtins.__import__", "__builtin__.eval"),
        *("subprocess.Popen", "runpy._run_code", "marshal.loads", "types.FunctionType", "importlib.import_module"),
        *("pickle.loads", "_pickle.loads", "torch.load", "torch.serialization._load", "torch.jit.load", "numpy.load"),
        *("torch.utils.cpp_extension.load_inline", "torch.hub.load", "torch._dynamo.config", "shutil.rmtree"),
        *("torch_utils.persistence.import_hook", "torch_utils.persistence._src_to_module", "dnnlib.util.open_url"),
        *("dnnlib.util.EasyDict.__init__.__globals__", "collections.OrderedDict.fromkeys", "collections.namedtuple"),
        *("builtins.set.__subclasses__", "torch._utils", "torch._utils.", ".", "functools.reduce", "__main__.Call"),
    ],
)
def test_other_names_are_refused_however_they_are_written(write, name):
    for module, _, attribute in (name.rpartition("."), name.partition(".")):
        line = b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"
        for code in (line, text(module) + text(attribute) + b"\x93"):
            with pytest.raises(WeightsError, match=re.escape(f"'{name}'")):
                read_snapshot(write(program(code)))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("torch_utils.persistence._reconstruct_persistent_obj", b"]\x85", "a network"),
        ("torch_utils.persistence._reconstruct_persistent_obj", b"}\x85", "a network"),
        ("torch_utils.persistence._reconstruct_persistent_obj", b")", "damaged"),
        ("dnnlib.util.EasyDict", b"cposix\nsystem\n\x85", "'posix.system'"),
        ("collections.OrderedDict", b"]\x85", "damaged"),
        ("builtins.set", b"]]a\x85", "a list as key"),
        ("builtins.set", b"K\x01\x85", "damaged"),
        ("builtins.set", b"cbuiltins\nset\n\x85", "a Callable|a function|damaged|as key"),
        ("__builtin__.set", b"]]a\x85", "a list as key"),
        ("torch._utils._rebuild_parameter", b"ctorch._utils\n_rebuild_parameter\n\x85", "a parameter that is not"),
        ("torch._utils._rebuild_parameter_with_state", b"(]NNNt", "a parameter that is not a tensor"),
        ("torch._utils._rebuild_tensor_v2", b"(K\x00K\x00))t", "a tensor without a storage"),
        ("torch._utils._rebuild_tensor_v2", b"(ctorch\nfloat32\nK\x00))t", "a tensor without a storage"),
        ("torch.storage._load_from_bytes", text("bytes") + b"\x85", "a storage that is not bytes"),
        ("torch.storage._load_from_bytes", b"C\x01.\x85", "damaged"),
        ("torch.storage._load_from_bytes", b"C\x00\x85", "damaged"),
        ("_codecs.encode", text("x") + text("idna") + b"\x86", "an encoding that no snapshot needs"),
        ("_codecs.encode", b"C\x01x" + text("latin1") + b"\x86", "an encoding that no snapshot needs"),
        ("_codecs.encode", "X\x02\x00\x00\x00\u0100".encode() + text("latin1") + b"\x86", "damaged"),
        ("numpy.dtype", text("O8") + b"\x89\x88\x87", "a number format that no snapshot needs"),
        ("numpy.dtype", b"}\x85", "a number format that no snapshot needs"),
        ("numpy._core.multiarray.scalar", b"NC\x08" + bytes(8) + b"\x86", "a damaged number"),
        ("numpy.core.multiarray.scalar", b"cnumpy\ndtype\n" + text("f8") + b"\x85RC\x01x\x86", "a damaged number"),
    ],
)
def test_names_on_the_list_are_refused_with_other_arguments_than_theirs(write, function, arguments, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(program(parts.name(function), arguments, b"R")))


@pytest.mark.parametrize(
    ("target", "state", "message"),
    [
        (b"N", b"}", "it changes a NoneType"),
        (b"K\x01", b"}", "it changes a int"),
        (b"]", b"}", "it changes a list"),
        (b"}", b"]", "it changes a dict"),
        (b"}", b"}}\x86", "it changes a dict"),  # attributes by slots
        (b"\x8f", b"}", "it changes a set"),
        (b")", b"}", "it changes a tuple"),
        (text("a"), b"}", "it changes a str"),
        (b"ctorch\nfloat32\n", b"}", "it changes a Global"),
        (b"cnumpy\ndtype\n" + text("f8") + b"\x85R", b"}", "a big-endian machine"),
        (b"cnumpy\ndtype\n" + text("f8") + b"\x85R", b"K\x03" + text(">") + b"\x86", "a big-endian machine"),
        (
            b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n}("
            + b"".join(map(text, ("type", "class", "class_name", "A", "state")))
            + b"}u\x85R",
            b"}",
            "it changes a Module",
        ),
    ],
)
def test_things_that_cannot_be_described_further_are_not(write, target, state, message):
    with pytest.raises(WeightsError, match=message):
        read_snapshot(write(program(target, state, b"b")))


FLOATS = load_storage(parts.storage_stream(np.arange(6, dtype="<f4")))


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
    with pytest.raises(PickleError):
        reader.rebuild(FLOATS, 0, (6,), (1,))


def test_a_storage_has_the_bytes_that_it_says(nets):
    good, keys = legacy() + described(size=2), KEYS
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
    with pytest.raises(PickleError):
        Machine({}, limit=100).run(io.BytesIO(b"]" * 1000 + b"."))
    deep = Machine({}).run(io.BytesIO(b"\x80\x04" + b"]" * 5_000 + b"a" * 4_999 + b"."))
    assert isinstance(deep, list)


def again(first, code):
    """A program that makes a first thing and then a thousand out of it, and keeps them all."""
    return program(b"(", first, b"q\x00", code * 1000, b"t")


MILLION = 1_000_000
READ = parts.name("torch.storage._load_from_bytes")
STREAM = parts.data(parts.storage_stream(np.zeros(MILLION // 4, "<f4")))
VIEW = b"(h\x00K\x00" + parts.number(MILLION // 4) + b"\x85K\x01\x85t"
FILL = {
    "texts": again(text("x" * MILLION), parts.name("_codecs.encode") + b"h\x00" + text("latin1") + b"\x86R"),
    "storages": again(STREAM, READ + b"h\x00\x85R"),
    "tensors": again(READ + STREAM + b"\x85R", parts.name("torch._utils._rebuild_tensor_v2") + VIEW + b"R"),
}


@pytest.mark.parametrize("name", FILL)
def test_one_thing_taken_again_and_again_cannot_fill_the_memory(write, name):
    path = write(FILL[name])
    tracemalloc.start()
    with pytest.raises(WeightsError, match=name):
        read_snapshot(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * path.stat().st_size


def test_lists_of_lists_of_lists_are_not_unfolded(write):
    with pytest.raises(WeightsError):
        read_snapshot(write(program(b"(", b"]q\x00", b"](h\x00h\x00h\x00h\x00eq\x00" * 500, b"t")))


def at(module, path):
    """The attributes of a module below."""
    for name in path.split("."):
        module = module.meta["state"]["_modules"][name]
    return module.meta["state"]


def test_one_tensor_under_many_names_cannot_fill_the_memory(nets, write):
    value = content(nets)
    state = at(value["G"], "synthesis.b8.conv1")
    weight = torch.nn.Parameter(torch.ones(10_000, dtype=torch.float16))  # half precision would become single
    state["_parameters"].update({f"weight{i}": weight for i in range(900)})
    with pytest.raises(WeightsError, match="networks"):
        read_snapshot(write(value))


def test_modules_that_hold_each_other_are_not_followed_for_ever(nets, write):
    value = content(nets)
    below = official.module_tree({"a": torch.ones(2)})
    for _ in range(11):  # two ways at each of eleven floors
        above = official.module_tree({"a": torch.ones(2)})
        above.meta["state"]["_modules"].update(one=below, two=below)
        below = above
    value["G"].meta["state"]["_modules"]["again"] = below
    with pytest.raises(WeightsError):
        read_snapshot(write(value))
    value["G"].meta["state"]["_modules"]["again"] = None
    at(value["G"], "mapping")["_buffers"].update({f"a{i}": None for i in range(1001)})
    with pytest.raises(WeightsError):
        read_snapshot(write(value))
