"""PNG and PGM files put together byte by byte from their specifications, without Pillow's writer."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(levels: npt.NDArray[np.integer], bits: int) -> bytes:
    """A PNG of (h, w, channels) with 8 or 16 bits per level, unfiltered (RFC 2083)."""
    height, width, channels = levels.shape
    rows = levels.astype(">u2" if bits == 16 else "u1").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(raw)) + _chunk(b"IEND", b"")


def png_header(height: int, width: int) -> bytes:
    """The head of a gray PNG that claims any size and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def pgm(levels: npt.NDArray[np.integer]) -> bytes:
    """A 16-bit binary PGM of (h, w)."""
    height, width = levels.shape
    return f"P5 {width} {height} 65535\n".encode() + levels.astype(">u2").tobytes()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
