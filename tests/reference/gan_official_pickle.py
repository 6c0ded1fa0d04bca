"""A writer of snapshots in the form of stylegan2-ada-pytorch, from a description of that form and not from its code.

It makes the official program's module and class names importable for as long as it writes, so that Python's own pickle
puts them into the stream: `torch_utils.persistence._reconstruct_persistent_obj(meta)` for each module, with the tensors
as PyTorch pickles them, and `dnnlib.util.EasyDict`. Its embedded source text leaves a mark when anybody runs it.

The later stylegan3 program keeps the scheme and runs on newer versions of PyTorch, whose modules have more attributes:
`later=True` writes those, and others that such a file may have.
"""

import pickle
import re
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

BUFFERS = {"w_avg", "noise_const", "resample_filter", "p", "Hz_geom", "Hz_fbank"}
BUFFERS |= {"freqs", "phases", "transform", "magnitude_ema", "up_filter"}


def _reconstruct_persistent_obj(meta):
    return meta["state"]


class EasyDict(dict):
    """Items as attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value


class PersistentObject:
    """One module of the official code."""

    def __init__(self, class_name, state, module_src):
        self.meta = {"type": "class", "version": 6, "module_src": module_src, "class_name": class_name, "state": state}

    def __reduce__(self):
        return _reconstruct_persistent_obj, (EasyDict(self.meta),)


@contextmanager
def official_names():
    """The modules `torch_utils.persistence` and `dnnlib.util`, importable inside the block only."""
    fakes = {
        name: types.ModuleType(name) for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")
    }
    fakes["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    fakes["dnnlib.util"].EasyDict = EasyDict
    homes = {_reconstruct_persistent_obj: "torch_utils.persistence", EasyDict: "dnnlib.util"}
    before = {thing: thing.__module__ for thing in homes}
    sys.modules.update(fakes)
    for thing, home in homes.items():
        thing.__module__ = home
    try:
        yield
    finally:
        for thing, home in before.items():
            thing.__module__ = home
        for name in fakes:
            del sys.modules[name]


def class_name(path):
    """The official class of the module at a dotted path."""
    last = path.rpartition(".")[2]
    names = {"": "Network", "mapping": "MappingNetwork", "synthesis": "SynthesisNetwork", "torgb": "ToRGBLayer"}
    names |= {
        "input": "SynthesisInput",
        "affine": "FullyConnectedLayer",
        "conv": "Conv2dLayer",
        "skip": "Conv2dLayer",
        "fromrgb": "Conv2dLayer",
    }
    if re.fullmatch(r"fc\d*|out", last):
        return "FullyConnectedLayer"
    if re.fullmatch(r"b\d+", last):
        return "SynthesisBlock" if path.startswith("synthesis") else "DiscriminatorBlock"
    if re.fullmatch(r"conv\d|L\d+_\d+_\d+", last):
        return "SynthesisLayer" if path.startswith("synthesis") else "Conv2dLayer"
    return names[last]


def newer_attributes():
    """What modules of newer versions of PyTorch, and perhaps the program itself, add to a module's attributes."""
    hooks = ("_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks")
    hooks += ("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks")
    hooks += ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
    return {name: OrderedDict() for name in hooks} | {
        "_is_full_backward_hook": None,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "block_resolutions": [4, 8, 16],
        "size": np.broadcast_to(np.asarray(16), [2]),
        "use_fp16": False,
        "architecture": "skip",
        "fused_modconv_default": "inference_only",
    }


def newer_parameter(value):
    """A parameter with an attribute of its own, as newer versions of PyTorch pickle it."""
    parameter = torch.nn.Parameter(value, requires_grad=False)
    parameter.note = "mine"
    return parameter


def module_tree(tensors, module_src="", buffers=BUFFERS, path="", conv_clamp=256, later=False):
    """The persistent object of the module at `path` of a network whose tensors are given by their dotted names."""
    prefix = f"{path}." if path else ""
    mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    leaves = {name: value for name, value in mine.items() if "." not in name}
    children = list(dict.fromkeys(name.partition(".")[0] for name in mine if "." in name))
    mapping = dict if later else OrderedDict
    parameter = newer_parameter if later else partial(torch.nn.Parameter, requires_grad=False)
    state = {
        "training": False,
        "_parameters": mapping((n, parameter(v)) for n, v in leaves.items() if n not in buffers),
        "_buffers": mapping((n, v) for n, v in leaves.items() if n in buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_forward_hooks": OrderedDict(),
        "_modules": mapping(
            (child, module_tree(tensors, module_src, buffers, prefix + child, conv_clamp, later)) for child in children
        ),
        "_init_args": (),
        "_init_kwargs": EasyDict(w_dim=512, kernel=[1, 3, 3, 1], mapping_kwargs=EasyDict()),
    }
    if "weight" in leaves and re.fullmatch(r"(.*\.)?(fc\d*|out|affine|conv|skip|fromrgb|torgb)", path):
        multiplier = 0.01 if path.startswith("mapping") else 1.0
        state["weight_gain"] = np.float64(multiplier / np.sqrt(np.prod(leaves["weight"].shape[1:])))
        state["act_gain"] = np.sqrt(np.float64(2))
    if path.endswith(("conv0", "conv1", "torgb")):
        state["conv_clamp"] = conv_clamp
    if "bias" not in leaves and path.endswith("skip"):
        state["_parameters"]["bias"] = None
    if later:
        state |= newer_attributes()
        state["_init_kwargs"].layer_kwargs = EasyDict(state)  # keyword arguments may hold modules and tensors again
    return PersistentObject(class_name(path), state, module_src)


def alias_free(generator):
    """The generator of StyleGAN3, as far as it can be told from that of StyleGAN2: of its names, with few numbers."""
    mapping = {name: value for name, value in generator.items() if name.startswith("mapping.")}
    names = {"weight": (4, 4, 3, 3), "bias": (4,), "magnitude_ema": (), "up_filter": (6,), "affine.weight": (4, 6)}
    layers = {f"synthesis.L0_36_4.{name}": torch.ones(shape) for name, shape in names.items()}
    first = {"weight": (4, 4), "freqs": (4, 2), "phases": (4,), "transform": (3, 3)}
    return {f"synthesis.input.{name}": torch.ones(shape) for name, shape in first.items()} | layers | mapping


def snapshot(generator, discriminator, generator_ema, augment=None, module_src="", **options):
    """The dictionary of a snapshot, of networks given as tensors by name; `options` as for `module_tree`."""
    networks = {"G": generator, "D": discriminator, "G_ema": generator_ema}
    content = {"training_set_kwargs": EasyDict(path="faces.zip", resolution=np.int64(512), use_labels=False)}
    content |= {name: module_tree(tensors, module_src, **options) for name, tensors in networks.items()}
    return content | {"augment_pipe": None if augment is None else module_tree(augment, module_src)}


def dumps(content, protocol=3):
    """Pickle under the official names."""
    with official_names():
        return pickle.dumps(content, protocol=protocol)
