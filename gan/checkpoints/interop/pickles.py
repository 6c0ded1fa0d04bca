"""A pickle reader that calls only the functions in a given table.

A pickle is a program for a small stack machine, and Python's own machine imports and calls any name in the file. This
one imports nothing: it replaces each name by a function from the table and raises an error for any other name. It does
not implement instructions that no snapshot needs (extension codes, out-of-band buffers, objects by class).
"""

import io
import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_INSTRUCTIONS = 1_000_000
"""A snapshot of a 1024x1024 network has less than a hundred thousand."""

_MAX_KEY = 2**62
_Key = str | int | float | bytes | bool | None


class PickleError(ValueError):
    """The pickle is damaged, or uses a name or an instruction that is not allowed."""


class Global(NamedTuple):
    """A name in the file and the function that replaces it."""

    name: str
    function: Callable[..., object]


class Buildable:
    """Base of objects whose state the file sets after creation; `accept` checks the state and drops it."""

    def accept(self, state: object) -> None:
        """Check the state.

        Raises:
            PickleError: it is not as expected.
        """
        raise NotImplementedError


_LITERALS = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: Mapping[str, Callable[[], object]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})


def as_key(value: object) -> _Key:
    """The value, if it is allowed as a key: nested tuples, and huge numbers with equal hashes, take too long to hash or
    compare."""
    if isinstance(value, int) and abs(value) > _MAX_KEY:
        raise PickleError("a huge number as key")
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    raise PickleError(f"a {type(value).__name__} as key")


class ByteBudget:
    """Limits the bytes that objects of a file may take, so a small file cannot fill the memory."""

    def __init__(self, num_bytes: int, what: str) -> None:
        self.left, self.what = num_bytes, what

    def spend(self, num_bytes: int) -> None:
        """Take bytes from the budget.

        Raises:
            PickleError: it is exceeded.
        """
        self.left -= num_bytes
        if self.left < 0:
            raise PickleError(f"{self.what} that are larger than the file")


class Machine:
    """Runs one pickle.

    Args:
        names: the function for each name; any other name is refused.
        persistent: returns the object of a persistent id; None refuses such ids.
        explain: returns an explanation for a refused name, or "".
        limit: maximum number of instructions.
    """

    def __init__(
        self,
        names: Mapping[str, Callable[..., object]],
        persistent: Callable[[object], object] | None = None,
        explain: Callable[[str], str] | None = None,
        limit: int = MAX_INSTRUCTIONS,
    ) -> None:
        self.names, self.persistent, self.explain, self.limit = names, persistent, explain, limit
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[_Key, object] = {}

    def run(self, stream: io.BytesIO) -> object:
        """The object of the pickle at the stream's position, which then moves behind the pickle.

        Raises:
            PickleError: it is damaged, too long, or uses something that is not allowed.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if count >= self.limit:
                    raise PickleError(f"it has more than {self.limit} instructions")
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
            (result,) = self.stack
        except PickleError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
            raise PickleError(f"damaged or not a pickle ({' '.join(str(error).split())[:100]})") from error
        if self.marked:
            raise PickleError("damaged: it ends inside a list")
        return result

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _PUTS:
            self.memo[as_key(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _GETS:
            stack.append(self.memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(items[::-1]))
        elif name not in ("PROTO", "FRAME"):
            run = getattr(self, f"_{name.lower()}", None)
            if run is None:
                raise PickleError(f"the instruction {name}, which no snapshot needs")
            run(argument)

    # containers ---------------------------------------------------------------------------------------------------

    def _mark(self, _: object) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _top(self, kind: type) -> Any:
        target = self.stack[-1]
        if not isinstance(target, kind):
            raise PickleError(f"a {type(target).__name__} where a {kind.__name__} should be")
        return target

    def _tuple(self, _: object) -> None:
        items = tuple(self._since_mark())
        self.stack.append(items)

    def _append(self, _: object) -> None:
        item = self.stack.pop()
        self._top(list).append(item)

    def _appends(self, _: object) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    def _additems(self, _: object) -> None:
        items = [as_key(item) for item in self._since_mark()]
        self._top(set).update(items)

    def _setitem(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict)[as_key(key)] = value

    def _setitems(self, _: object) -> None:
        items = self._since_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[as_key(key)] = value

    # names and calls ----------------------------------------------------------------------------------------------

    def _push_name(self, name: str) -> None:
        if name not in self.names:
            explanation = self.explain(name) if self.explain is not None else ""
            raise PickleError(f"it uses the name {name[:200]!r}, which is not allowed{explanation}")
        self.stack.append(Global(name, self.names[name]))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(f"{module}.{name}")

    def _stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name that is not text")
        self._push_name(f"{module}.{name}")

    def _reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise PickleError(f"a call of a {type(function).__name__}")
        self.stack.append(function.function(*arguments))

    _newobj = _reduce  # a class with arguments; the table has a function for its name

    def _build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Buildable):
            target.accept(state)
        elif not isinstance(target, dict) or not isinstance(state, dict):  # attributes of a dictionary
            raise PickleError(f"it changes a {type(target).__name__}")

    def _binpersid(self, _: object) -> None:
        if self.persistent is None:
            raise PickleError("a persistent id, which no snapshot needs")
        self.stack.append(self.persistent(self.stack.pop()))
