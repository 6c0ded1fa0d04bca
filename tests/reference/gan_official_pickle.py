"""A writer of snapshots in the form of stylegan2-ada-pytorch, from a description of that form and not from its code.

It makes the official program's module and class names importable for as long as it writes, so that Python's own pickle
puts them into the stream: `torch_utils.persistence._reconstruct_persistent_obj(meta)` for each module, with the tensors
as PyTorch pickles them, and `dnnlib.util.EasyDict`. Its embedded source text leaves a mark when anybody runs it.
"""

import pickle
import re
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import torch

BUFFERS = {"w_avg", "noise_const", "resample_filter", "p", "Hz_geom", "Hz_fbank"}


def _reconstruct_persistent_obj(meta):
    return meta["state"]


class EasyDict(dict):
    pass


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
    names |= {"affine": "FullyConnectedLayer", "conv": "Conv2dLayer", "skip": "Conv2dLayer", "fromrgb": "Conv2dLayer"}
    if re.fullmatch(r"fc\d*|out", last):
        return "FullyConnectedLayer"
    if re.fullmatch(r"b\d+", last):
        return "SynthesisBlock" if path.startswith("synthesis") else "DiscriminatorBlock"
    if re.fullmatch(r"conv\d", last):
        return "SynthesisLayer" if path.startswith("synthesis") else "Conv2dLayer"
    return names[last]


def module_tree(tensors, module_src, buffers=BUFFERS, path="", conv_clamp=256):
    """The persistent object of the module at `path` of a network whose tensors are given by their dotted names."""
    prefix = f"{path}." if path else ""
    mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    leaves = {name: value for name, value in mine.items() if "." not in name}
    children = list(dict.fromkeys(name.partition(".")[0] for name in mine if "." in name))
    state = {
        "training": False,
        "_parameters": OrderedDict(
            (n, torch.nn.Parameter(v, requires_grad=False)) for n, v in leaves.items() if n not in buffers
        ),
        "_buffers": OrderedDict((n, v) for n, v in leaves.items() if n in buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_forward_hooks": OrderedDict(),
        "_modules": OrderedDict(
            (child, module_tree(tensors, module_src, buffers, prefix + child, conv_clamp)) for child in children
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
    return PersistentObject(class_name(path), state, module_src)


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
