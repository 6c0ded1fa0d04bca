"""Pieces of pickles, put together by hand: what Python's own pickle would not write."""

import io
import pickle

import torch


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def program(*code):
    """A whole pickle of these instructions."""
    return b"\x80\x04" + b"".join(code) + b"."


def text(value):
    """The instruction that makes a text."""
    data = str(value).encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def data(value):
    """The instruction that makes bytes."""
    return b"B" + len(value).to_bytes(4, "little") + value


def number(value):
    """The instruction that makes an integer of up to 32 bits."""
    return b"J" + value.to_bytes(4, "little", signed=True)


def name(dotted):
    """The instruction that looks a name up."""
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


# a storage's own stream, as torch.save wrote before zip files: preamble, description, keys, size, numbers -------------


def legacy(*parts):
    """The preamble, and other last parts."""
    preamble = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, protocol=2) for part in (*preamble, *parts))


def described(kind=None, size=6):
    """The description: so many numbers of a kind, under the key 1."""
    kind = kind or name("torch.FloatStorage")
    return b"\x80\x02(" + text("storage") + kind + text(1) + text("cpu") + number(size) + b"NtQ."


KEYS = pickle.dumps(["1"], protocol=2)


def storage_stream(numbers):
    """The whole stream of an array of float32."""
    return legacy() + described(size=len(numbers)) + KEYS + len(numbers).to_bytes(8, "little") + numbers.tobytes()


def zipped(thing):
    """What torch.save writes today."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def storage(stream):
    """Pickles as the call that reads a storage's stream."""
    return Call(torch.storage._load_from_bytes, stream)
