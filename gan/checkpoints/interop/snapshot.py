"""Official snapshots of StyleGAN2-ADA (PyTorch): networks and their settings, read without running the file's code.

Such a `.pkl` is a dictionary with the networks G, D and G_ema and the augmentation pipe. Each module in it is a call of
`torch_utils.persistence._reconstruct_persistent_obj` with its source text and its attributes; the official program runs
the text. Here that call returns only the attributes, among them tensors and submodules, and ignores the text.

The format is that of stylegan2-ada-pytorch, which the later stylegan3 program shares: its `stylegan2` networks load,
its alias-free ones are refused. Files of other programs load if they use the same names for the same tensors.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from gan.checkpoints.interop.pickles import Buildable, ByteBudget, Machine, PickleError, as_key
from gan.checkpoints.interop.tensors import TensorReader, parameter
from gan.networks.generator import num_channels
from gan.settings import GanSettings, presets_with
from segkit.core.errors import WeightsError

NETWORKS = {"generator": "G", "discriminator": "D", "generator_ema": "G_ema"}
"""Our names of the networks and the snapshot's."""

_MAX_BYTES = 8 * 2**30
_MAX_MODULES, _MAX_DEPTH, _MAX_ENTRIES = 2000, 12, 1000
_MAPPING_LR_MULTIPLIER = 0.01
_TENSORFLOW = (
    ": these are networks of NVIDIA's TensorFlow code. Take the PyTorch file of the same network, or convert this one "
    "with `legacy.py --source=THIS.pkl --dest=NEW.pkl` of a stylegan2-ada-pytorch checkout"
)


class Module(NamedTuple):
    """A module of a snapshot."""

    class_name: str
    state: dict[object, object]
    """Its attributes."""


class Snapshot(NamedTuple):
    """The contents that are used of a snapshot."""

    networks: dict[str, dict[str, Tensor]]
    """fp32 tensors by their names, by our names of the networks."""
    settings: GanSettings
    """Their sizes; `augment_p` is the chance that the augmentation had reached. Other settings are a preset's."""


# functions for the names in the file ----------------------------------------------------------------------------------


def _module(meta: object) -> Module:
    match meta:
        case {"type": "class", "class_name": str(name), "state": dict(state)}:
            return Module(name, state)
    raise PickleError("a network that is not stored as by the official code")


def _empty_dict() -> dict[object, object]:
    return {}


def _set(items: list[object]) -> set[object]:
    return {as_key(item) for item in items}


class _NumpyDtype(Buildable):
    """A number format of numpy."""

    def __init__(self, name: object, *_: object) -> None:
        if name not in ("f8", "f4", "i8", "i4", "b1"):
            raise PickleError("a number format that no snapshot needs")
        self.dtype = np.dtype(str(name))

    def accept(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise PickleError("a number format of a big-endian machine")


def _numpy_scalar(dtype: object, data: object) -> object:
    if not isinstance(dtype, _NumpyDtype) or not isinstance(data, bytes) or len(data) != dtype.dtype.itemsize:
        raise PickleError("a damaged number")
    return np.frombuffer(data, dtype.dtype)[0].item()


class _Ignored(Buildable):
    """Objects that are not needed: arrays of numpy, devices and number formats of PyTorch."""

    def __init__(self, *_: object) -> None:
        pass

    def accept(self, state: object) -> None:
        pass


def _encoder(num_bytes: int) -> Callable[[object, object], bytes]:
    """A function from text to bytes, since the oldest pickles store bytes as text."""
    texts = ByteBudget(num_bytes, "texts")

    def encode(text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise PickleError("text in an encoding that no snapshot needs")
        texts.spend(len(text))
        return text.encode("latin1")

    return encode


def _names(num_bytes: int) -> dict[str, Callable[..., object]]:
    tensors = TensorReader(num_bytes)
    names: dict[str, Callable[..., object]] = {
        "torch_utils.persistence._reconstruct_persistent_obj": _module,
        "dnnlib.util.EasyDict": _empty_dict,
        "collections.OrderedDict": _empty_dict,
        "builtins.set": _set,
        "torch._utils._rebuild_parameter": parameter,
        "torch._utils._rebuild_parameter_with_state": parameter,
        "torch._utils._rebuild_tensor_v2": tensors.rebuild,
        "torch.storage._load_from_bytes": tensors.storage,
        "torch.device": _Ignored,
        "numpy.dtype": _NumpyDtype,
        "numpy.ndarray": _Ignored,
        # protocol 2
        "__builtin__.set": _set,
        "_codecs.encode": _encoder(num_bytes),
    }
    for core in ("numpy.core", "numpy._core"):  # until numpy 1, and from numpy 2
        names |= {f"{core}.multiarray.scalar": _numpy_scalar, f"{core}.multiarray._reconstruct": _Ignored}
    return names | dict.fromkeys((f"torch.{name}" for name in ("float16", "bfloat16", "float32", "float64")), _Ignored)


def _explain(name: str) -> str:
    return _TENSORFLOW if name.startswith("dnnlib.tflib") else ". Nothing in the file was run"


# reading --------------------------------------------------------------------------------------------------------------


def read_snapshot(path: Path) -> Snapshot:
    """Read a `.pkl` of the official code.

    Raises:
        WeightsError: it cannot be read, contains anything but tensors and plain values, or holds no StyleGAN2 that this
            code can build. Nothing in the file is run.
    """
    if path.is_dir():
        raise WeightsError(f"cannot read {path}: it is a folder, not a .pkl of NVIDIA's")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"cannot read {path}: larger than any snapshot")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _snapshot(_unpickle(data), len(data))
    except PickleError as error:
        raise WeightsError(f"cannot read {path} as a snapshot of StyleGAN2-ADA: {error}") from error


def _unpickle(data: bytes) -> object:
    if data.startswith(b"PK"):
        raise PickleError("it is a zip archive, perhaps a checkpoint of another program")
    if data[8:9] == b"{":
        raise PickleError("it looks like safetensors; name the folder that it lies in")
    if not data.startswith(b"\x80"):
        raise PickleError("it is not a pickle; was the download complete?")
    return Machine(_names(len(data)), explain=_explain).run(io.BytesIO(data))


def _snapshot(content: object, num_bytes: int) -> Snapshot:
    if not isinstance(content, dict):
        raise PickleError(f"it holds no dictionary with G, D and G_ema but {type(content).__name__}")
    missing = [key for key in NETWORKS.values() if not isinstance(content.get(key), Module)]
    if missing:
        raise PickleError(f"it holds no network {' and no network '.join(missing)}")
    modules = {name: dict(_walk(content[key], key)) for name, key in NETWORKS.items()}
    if any(module.class_name == "SynthesisInput" for module in modules["generator"].values()):
        raise PickleError(
            "its generator is an alias-free one of StyleGAN3, which this code cannot build; "
            "of the stylegan3 program those of `--cfg=stylegan2` load"
        )
    # fp16 becomes fp32, and both generators may be one in the file
    budget = ByteBudget(4 * num_bytes, "networks")
    networks = {name: _tensors(states, NETWORKS[name], budget) for name, states in modules.items()}
    for name, states in modules.items():
        _check_gains(states, networks[name], NETWORKS[name])
    sizes = _sizes(networks["generator"], networks["discriminator"])
    clamp = modules["generator"]["synthesis.b4.conv1"].state.get("conv_clamp", 256.0)
    values = {**sizes, "conv_clamp": clamp, "augment_p": _augment_p(content.get("augment_pipe"))}
    return Snapshot(networks, _settings(values))


def _walk(root: Module, title: str) -> Iterator[tuple[str, Module]]:
    """Every module below and including `root`, with its dotted path."""
    count = 0
    stack = [("", root, 0)]
    while stack:
        path, module, depth = stack.pop()
        count += 1
        if count > _MAX_MODULES or depth > _MAX_DEPTH:
            raise PickleError(f"{title} has more modules than any such network")
        yield path, module
        for name, child in _entries(module, "_modules", title):
            if not isinstance(child, Module):
                raise PickleError(f"{title} has a {type(child).__name__} where a module should be")
            stack.append((f"{path}.{name}" if path else name, child, depth + 1))


def _entries(module: Module, kind: str, title: str) -> Iterator[tuple[str, object]]:
    entries = module.state.get(kind)
    if not isinstance(entries, dict):
        raise PickleError(f"{title} has a module without {kind}")
    if len(entries) > _MAX_ENTRIES:
        raise PickleError(f"{title} has a module with more {kind} than any")
    for name, value in entries.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise PickleError(f"{title} has an impossible name in {kind}")
        if value is not None:
            yield name, value


def _tensors(modules: Mapping[str, Module], title: str, budget: ByteBudget) -> dict[str, Tensor]:
    """Parameters and buffers by name; frozen layers store their parameters as buffers."""
    tensors: dict[str, Tensor] = {}
    copied: set[int] = set()
    for path, module in modules.items():
        for kind in ("_parameters", "_buffers"):
            for name, value in _entries(module, kind, title):
                full = f"{path}.{name}" if path else name
                if not isinstance(value, Tensor):
                    raise PickleError(f"{title} has a {type(value).__name__} as tensor {full}")
                if full in tensors:
                    raise PickleError(f"{title} has the tensor {full} twice")
                budget.spend(value.numel() * torch.float32.itemsize)
                if not value.isfinite().all():
                    raise PickleError(f"{title} has numbers in {full} that are not finite")
                # a tensor with two names is copied, so both can be trained
                tensors[full] = value.to(torch.float32, copy=id(value) in copied)
                copied.add(id(value))
    return tensors


# settings of the networks----------------------------------------------------------------------------------------------


def _check_gains(modules: Mapping[str, Module], tensors: Mapping[str, Tensor], title: str) -> None:
    """Compare the layers' stored weight scale with the one that our layers compute from their shape."""
    for path, module in modules.items():
        gain, weight = module.state.get("weight_gain"), tensors.get(f"{path}.weight")
        if weight is None or not isinstance(gain, float):
            continue
        multiplier = _MAPPING_LR_MULTIPLIER if path.startswith("mapping.fc") else 1.0
        ours = multiplier / math.sqrt(math.prod(weight.shape[1:]))
        if not math.isclose(gain, ours, rel_tol=1e-5):
            raise PickleError(f"{title} scales the weights of {path} by {gain:.4g}; {ours:.4g} is expected")


def _shape(tensors: Mapping[str, Tensor], name: str, num_dimensions: int) -> torch.Size:
    if name not in tensors or tensors[name].ndim != num_dimensions:
        raise PickleError(f"G has no tensor {name} as StyleGAN2 has; is it of another architecture, such as StyleGAN3?")
    return tensors[name].shape


def _sizes(generator: Mapping[str, Tensor], discriminator: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings that determine names and shapes, from the tensors."""
    if any(name.startswith("mapping.embed.") for name in generator):
        raise PickleError("its networks are conditional on a class, which this code does not support")
    _shape(generator, "synthesis.b4.conv1.weight", 4)
    widths: dict[int, int] = {}
    while f"synthesis.b{4 << len(widths)}.conv1.weight" in generator:
        resolution = 4 << len(widths)
        widths[resolution] = _shape(generator, f"synthesis.b{resolution}.conv1.weight", 4)[0]
    num_layers = 0
    while f"mapping.fc{num_layers}.weight" in generator:
        num_layers += 1
    sizes = {
        "image_channels": _shape(generator, "synthesis.b4.torgb.weight", 4)[0],
        "num_mapping_layers": num_layers,
        "z_dim": _shape(generator, "mapping.fc0.weight", 2)[1],
        "w_dim": _shape(generator, "mapping.w_avg", 1)[0],
        "resolution": max(widths),
        "d_architecture": "resnet" if f"b{max(widths)}.skip.weight" in discriminator else "orig",
    }
    return sizes | _channels(widths)


def _channels(widths: Mapping[int, int]) -> dict[str, int]:
    """A `channel_base` and `channel_max` for these widths; the common values are preferred."""
    bases = [32768, 16384, *(width * resolution for resolution, width in widths.items())]
    for maximum in (512, max(widths.values())):
        for base in bases:
            if all(num_channels(r, base, maximum) == width for r, width in widths.items()):
                return {"channel_base": base, "channel_max": maximum}
    raise PickleError(f"G is {', '.join(map(str, widths.values()))} channels wide, which follows no channel_base")


def _augment_p(pipe: object) -> float:
    """The chance of each transform, limited to [0, 1]; the official code has no upper bound."""
    if pipe is None:
        return 0.0
    p = dict(_entries(pipe, "_buffers", "augment_pipe")).get("p") if isinstance(pipe, Module) else None
    if not isinstance(p, Tensor) or p.ndim or not p.isfinite():
        raise PickleError("its augmentation has no chance p")
    return min(max(float(p), 0.0), 1.0)


def _settings(values: dict[str, Any]) -> GanSettings:
    try:
        names = ("resolution", "channel_base", "num_mapping_layers", "d_architecture")
        fitting = presets_with(*(values[name] for name in names))
        named = [name for name in fitting if name == f"paper{values['resolution']}"]
        # full precision, and an augmentation for any number of channels
        values |= {"num_low_precision_resolutions": 0, "augment_transforms": "bg"}
        return GanSettings(preset=named[0] if named else None, **values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise PickleError(
            f"{name} is {str(first['input'])[:40]}, which this code cannot build: {first['msg']}"
        ) from error
