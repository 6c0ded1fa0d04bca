"""Tensors as pickles of PyTorch hold them: views of storages, each a pickle stream of its own inside the pickle."""

import io
import math
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeGuard

import torch
from torch import Tensor

from gan.checkpoints.interop.pickles import ByteBudget, Global, Machine, PickleError

# the stream of torch.save before the zip format, still used where a tensor is pickled by itself
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_DIMENSIONS = 8
_LIMIT = 200  # instructions; the preamble has about forty


def _no_call(*_: object) -> NoReturn:
    raise PickleError("a call of a storage's type")


_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
}
_STORAGE_NAMES: dict[str, Callable[..., object]] = dict.fromkeys(_DTYPES, _no_call)


class Storage(NamedTuple):
    """A one-dimensional array."""

    dtype: torch.dtype
    values: memoryview
    """Raw bytes of the elements."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.values) // self.dtype.itemsize


def _described_storage(identity: object) -> tuple[torch.dtype, str, int]:
    """Number format, key and size of ("storage", type, key, device, size, view)."""
    match identity:
        case ("storage", Global(name=name), str(key), str(), int(size), None):
            return _DTYPES[name], key, size
    raise PickleError("a storage that is not described as PyTorch does")


def _plain(stream: io.BytesIO) -> object:
    return Machine({}, limit=_LIMIT).run(stream)


def load_storage(data: object) -> Storage:
    """Read a storage's own stream: three pickles of preamble, its description, its key, size and bytes.

    Raises:
        PickleError: it is anything else, or its sizes contradict each other.
    """
    if not isinstance(data, bytes):
        raise PickleError("a storage that is not bytes")
    stream = io.BytesIO(data)
    if _plain(stream) != _MAGIC or _plain(stream) != _PROTOCOL:
        raise PickleError("a storage that is not in PyTorch's stream format")
    system = _plain(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PickleError("a storage of a big-endian machine")
    description = Machine(_STORAGE_NAMES, persistent=_described_storage, limit=_LIMIT).run(stream)
    if not isinstance(description, tuple) or _plain(stream) != [description[1]]:
        raise PickleError("a stream with other than one storage")
    dtype, _, size = description
    written = int.from_bytes(stream.read(8), "little", signed=True)
    values = memoryview(data)[stream.tell() :]
    if written != size or len(values) != size * dtype.itemsize:
        raise PickleError(f"a storage that should hold {str(size)[:20]} numbers and has {len(values)} bytes")
    return Storage(dtype, values)


class TensorReader:
    """Creates storages and tensors; all storages, and all tensors, are together at most as large as the file."""

    def __init__(self, num_bytes: int) -> None:
        self.storages, self.tensors = ByteBudget(num_bytes, "storages"), ByteBudget(num_bytes, "tensors")

    def storage(self, data: object) -> Storage:
        """As `load_storage`; bytes that are read twice count twice."""
        self.storages.spend(len(data) if isinstance(data, bytes) else 0)
        return load_storage(data)

    def rebuild(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        requires_grad: object = False,
        hooks: object = None,
        metadata: object = None,
    ) -> Tensor:
        """A contiguous copy; `offset`, `size` and `stride` count numbers of the storage.

        Raises:
            PickleError: it is empty, would reach outside the storage, or repeats numbers.
        """
        if not isinstance(storage, Storage) or not _is_count(offset):
            raise PickleError("a tensor without a storage")
        if not _are_counts(size) or not _are_counts(stride) or len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
            raise PickleError("a tensor of impossible shape")
        numel = math.prod(size)
        reach = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if numel == 0 or numel > reach or offset + reach > storage.size:
            raise PickleError("a tensor that is empty or reaches outside its storage")
        width = storage.dtype.itemsize
        self.tensors.spend(reach * width)
        span = bytearray(storage.values[offset * width : (offset + reach) * width])
        return torch.frombuffer(span, dtype=storage.dtype).as_strided(size, stride).contiguous()


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(values, tuple) and all(_is_count(value) for value in values)


def parameter(data: object, requires_grad: object = False, hooks: object = None, state: object = None) -> Tensor:
    """A parameter's tensor; attributes of newer versions of PyTorch are left out."""
    if not isinstance(data, Tensor):
        raise PickleError("a parameter that is not a tensor")
    return data
