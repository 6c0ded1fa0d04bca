"""Image files to arrays and back; the only module that handles file formats and value ranges.

Reads TIFF, GIF, PNG, JPEG, PPM/PGM, WebP and BMP, 8 and 16 bit, gray, RGB, RGBA, palette and CMYK; by default the
first frame. A file may be gzipped, as in `.ppm.gz`. Alpha is ignored when reading; PNG and TIFF can be written with it.
WebP and BMP are only read. Writes are atomic, and the same array always gives the same bytes.
"""

import errno
import gzip
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from segkit.core.arrays import Bools, Floats, Pixels
from segkit.core.errors import ImageError, SegkitError
from segkit.core.files import atomic_path

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".ppm", ".pgm", ".webp", ".bmp"})
"""Suffixes, in lower case, of the files that are read."""

LEVELS = 65535
"""The largest level of a 16-bit file; probabilities are stored as multiples of 1 / LEVELS."""

MAX_UNPACKED_BYTES = 2**28
"""Of a packed file; a larger one is refused, because it is unpacked in memory."""

_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_FORMATS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".ppm": "PPM",
}

_WITH_ALPHA = frozenset({"PNG", "TIFF"})

# Fast; fundus images become a few per cent larger than at the default level.
_PNG_LEVEL = 3
_SAVE_OPTIONS = {"PNG": {"compress_level": _PNG_LEVEL}, "JPEG": {"quality": 95, "subsampling": 0}}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def read_image(path: Path, frame: int = 0) -> Pixels:
    """Read a colour image as uint8 (h, w, 3); gray is repeated in the three channels.

    16-bit levels become 8 bit by their upper byte (a 16-bit PPM by rounding, which differs by at most one level).

    Raises:
        ImageError: the file is missing, damaged, too large, or in an unknown format or mode.
    """
    picture = _open(path, frame)
    if _is_deep(picture):
        gray = (_deep_levels(picture) >> 8).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    return np.array(_convert(picture, "RGB", path), dtype=np.uint8)


def as_rgb(image: Pixels) -> Pixels:
    """(h, w, c) with 1 to 4 channels as (h, w, 3): gray is repeated, alpha dropped."""
    return image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)


def from_unit(values: npt.NDArray[np.floating]) -> Pixels:
    """Values in [0, 1] as 8-bit levels of the same shape; those beyond are clipped."""
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), dtype=np.uint8)


def read_mask(path: Path, frame: int = 0) -> Bools:
    """Read a binary image (vessel map, field of view) as bool (h, w).

    True where the value is above half the range: 127 in 8 bit, 32767 in 16 bit. A file whose largest value is 1 is read
    as 0 and 1; a 16-bit file without a value above 255 is read as 8-bit.

    Raises:
        ImageError: as `read_image`.
    """
    picture = _open(path, frame)
    if picture.mode == "1":
        return np.array(picture, dtype=np.bool_)
    deep = _is_deep(picture)
    levels = _deep_levels(picture) if deep else np.asarray(_convert(picture, "L", path))
    top = int(levels.max())
    if top == 1:
        return np.asarray(levels == 1)
    return np.asarray(levels > (32767 if deep and top > 255 else 127))


def read_levels(path: Path, frame: int = 0) -> npt.NDArray[np.uint16]:
    """Read a gray image as uint16 (h, w), 0 to 65535; 8-bit values are multiplied by 257, which maps 255 to 65535.

    Raises:
        ImageError: as `read_image`.
    """
    picture = _open(path, frame)
    if _is_deep(picture):
        return _deep_levels(picture)
    if picture.mode not in {"1", "L", "LA", "P"} and np.ptp(np.asarray(_convert(picture, "RGB", path)), axis=2).any():
        raise ImageError(f"{path} is a colour picture; a map of probabilities is gray")
    return np.asarray(_convert(picture, "L", path)).astype(np.uint16) * np.uint16(257)


def read_indices(path: Path, frame: int = 0) -> Pixels:
    """Read a map of class indices as uint8 (h, w): the values that a gray or palette image stores.

    Raises:
        ImageError: as `read_image`; or the image is in colour or has 16 bits.
    """
    picture = _open(path, frame)
    if picture.mode not in {"1", "L", "P"}:
        raise ImageError(
            f"{path} has the mode {picture.mode}; a map of class indices is an 8-bit gray or palette image"
        )
    return np.array(picture, dtype=np.uint8)


def read_codes(path: Path, frame: int = 0) -> tuple[Pixels | None, Pixels | None]:
    """Read a picture whose values are codes: the numbers (h, w) that it stores, and its colours (h, w, 3).

    A gray picture has no colours, a picture without a palette no numbers.

    Raises:
        ImageError: as `read_image`; or the picture has 16 bits.
    """
    picture = _open(path, frame)
    if _is_deep(picture):
        raise ImageError(f"{path} has 16 bits; a label map is an 8-bit gray, palette or colour image")
    numbers = np.array(picture, dtype=np.uint8) if picture.mode in {"1", "L", "P"} else None
    colors = None if picture.mode in {"1", "L"} else np.array(_convert(picture, "RGB", path), dtype=np.uint8)
    return numbers, colors


def read_probs(path: Path) -> Floats:
    """Read probabilities as float32 (h, w) in [0, 1]: levels / 65535 of a 16-bit file, values / 255 of an 8-bit one.

    Raises:
        ImageError: as `read_image`.
    """
    return read_levels(path).astype(np.float32) / np.float32(LEVELS)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, turned upright, from the header of its file; pixels are not decoded.

    Raises:
        ImageError: the file is missing or not an image.
    """
    try:
        with _picture(path) as picture:
            turned = picture.getexif().get(0x0112, 1) in {5, 6, 7, 8}
            width, height = picture.size
            return (width, height) if turned else (height, width)
    except Exception as error:
        raise _reading_error(path, error) from error


def num_frames(path: Path) -> int:
    """Number of frames of an image file (of an animation, pages of a TIFF), from its header.

    Raises:
        ImageError: as `read_size`.
    """
    try:
        with _picture(path) as picture:
            return int(getattr(picture, "n_frames", 1))
    except Exception as error:
        raise _reading_error(path, error) from error


def is_complete_png(path: Path, height: int, width: int, channels: int, bits: int) -> bool:
    """Whether `path` is a complete PNG of this form, by its first and last bytes; pixels are not decoded."""
    head = _PNG_SIGNATURE + _png_chunk(b"IHDR", _png_head(height, width, channels, bits))
    end = _png_chunk(b"IEND", b"")
    try:
        with path.open("rb") as file:
            begins = file.read(len(head)) == head
            file.seek(-len(end), io.SEEK_END)
            return begins and file.read() == end
    except OSError:
        return False


def write_image(path: Path, image: Pixels | npt.NDArray[np.uint16]) -> None:
    """Write (h, w) or (h, w, channels) in the format of the path's suffix.

    Channels are gray, gray and alpha, RGB, or RGBA. Every format takes uint8 with one or three channels; PNG and TIFF
    also take alpha, and PNG also uint16.

    Raises:
        ValueError: the format cannot store the array.
        SegkitError: the file cannot be written; no partial file remains.
    """
    write_bytes(path, encode_image(image, path.suffix))


def write_mask(path: Path, mask: Bools) -> None:
    """Write bool (h, w) as 0 and 255 in the format of the path's suffix; JPEG is rejected because it is lossy.

    Raises:
        SegkitError: as `write_image`.
    """
    if _FORMATS.get(path.suffix.lower()) == "JPEG":
        raise ValueError(f"{path}: JPEG does not keep a mask's two values; write .png, .gif or .tif")
    write_bytes(path, encode_image(np.where(mask, np.uint8(255), np.uint8(0)), path.suffix))


def write_probs(path: Path, probs: npt.NDArray[np.floating]) -> None:
    """Write probabilities (h, w) in [0, 1] as a 16-bit gray PNG, rounded to the nearest multiple of 1 / 65535.

    Raises:
        ValueError: a value is not a number in [0, 1], or the suffix is not .png.
        SegkitError: as `write_image`.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: probabilities are written as 16-bit .png")
    low, high = float(np.min(probs)), float(np.max(probs))
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise ValueError(f"{path}: probabilities lie in [0, 1], these from {low:g} to {high:g}")
    levels = np.rint(np.asarray(probs, dtype=np.float64) * LEVELS).astype(np.uint16)
    write_bytes(path, _encode(Image.fromarray(levels), "PNG"))


def write_pages(path: Path, pages: Pixels | npt.NDArray[np.uint16]) -> None:
    """Write uint8 or uint16 (pages, h, w) as a multi-page TIFF.

    Raises:
        SegkitError: as `write_image`.
    """
    first, *others = (Image.fromarray(page) for page in pages)
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate")
    write_bytes(path, buffer.getvalue())


def write_indices(path: Path, indices: Pixels, colors: Sequence[tuple[int, int, int]]) -> None:
    """Write class indices (h, w) as a PNG with the class colours as palette; other indices are gray.

    Raises:
        SegkitError: as `write_image`.
    """
    picture = Image.fromarray(indices)
    # With fewer than 256 colours Pillow stores fewer bits and loses larger indices.
    palette = [*colors, *[(128, 128, 128)] * (256 - len(colors))]
    picture.putpalette([level for color in palette for level in color])
    write_bytes(path, _encode(picture, "PNG"))


def encode_image(image: Pixels | npt.NDArray[np.uint16], suffix: str = ".png") -> bytes:
    """The bytes of an image file; as `write_image`."""
    levels = image[:, :, None] if image.ndim == 2 else image
    if image.dtype not in (np.uint8, np.uint16) or levels.ndim != 3 or not 1 <= levels.shape[2] <= 4:
        raise ValueError(f"an image is uint8 or uint16 (h, w) or (h, w, 1 to 4), not {image.dtype} {image.shape}")
    if suffix.lower() not in _FORMATS:
        raise ValueError(
            f"unknown image format {suffix or 'without a suffix'}; use one of {', '.join(sorted(_FORMATS))}"
        )
    file_format, channels = _FORMATS[suffix.lower()], levels.shape[2]
    if channels in (2, 4) and file_format not in _WITH_ALPHA:
        raise ValueError(f"{file_format} has no alpha and cannot hold {channels} channels; write .png or .tif")
    if image.dtype == np.uint16:
        if file_format != "PNG":
            raise ValueError(f"16-bit images are written as .png, not {file_format}")
        return _encode_png16(levels.astype(np.uint16, copy=False))
    return _encode(Image.fromarray(np.ascontiguousarray(levels[:, :, 0] if channels == 1 else levels)), file_format)


def _open(path: Path, frame: int = 0) -> Image.Image:
    """Decode a frame of a file and turn it upright."""
    try:
        with _picture(path) as picture:
            if frame:
                picture.seek(frame)
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)  # in place keeps `format`, which `_is_deep` needs
            return picture
    except EOFError as error:
        raise ImageError(f"{path} has no page {frame}, counted from 0") from error
    except Exception as error:  # damaged files raise OSError, SyntaxError, struct.error, Pillow's warnings and others
        raise _reading_error(path, error) from error


@contextmanager
def _picture(path: Path) -> Iterator[Image.Image]:
    """An image file whose pixels are not decoded yet."""
    # Pillow also warns of problems that it raises errors for, and of half as many pixels as it refuses.
    with warnings.catch_warnings(action="ignore"), _unpacked(path) as file, Image.open(file) as picture:
        yield picture


@contextmanager
def _unpacked(path: Path) -> Iterator[Path | io.BytesIO]:
    """A file for Pillow, unpacked in memory if it ends with .gz."""
    if path.suffix.lower() != ".gz":
        yield path
        return
    with gzip.open(path) as packed:
        content = packed.read(MAX_UNPACKED_BYTES + 1)
    if len(content) > MAX_UNPACKED_BYTES:
        raise ValueError(f"unpacked, it has more than {MAX_UNPACKED_BYTES // 2**20} MiB")
    yield io.BytesIO(content)


def _reading_error(path: Path, error: Exception) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{path} does not exist")
    if path.is_dir():
        return ImageError(f"{path} is a folder, not an image file")
    if isinstance(error, PermissionError):
        return ImageError(f"{path} cannot be opened: permission denied")
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        return ImageError(f"{path} claims more than {limit} million pixels; cut it into smaller images")
    if isinstance(error, MemoryError):
        return ImageError(f"{path} does not fit into memory; cut it into smaller images")
    if path.stat().st_size == 0:
        return ImageError(f"{path} is empty (0 bytes); copy it again")
    if isinstance(error, UnidentifiedImageError) and _has_known_signature(path):
        return ImageError(
            f"{path} is truncated or damaged, or stored in a form that is not read, such as colours of 32 bits; copy it"
            " again, or save it with 8 bits"
        )
    if isinstance(error, UnidentifiedImageError):
        return ImageError(
            f"{path} is not a TIFF, GIF, PNG, JPEG, PPM, WebP or BMP image, whatever its name says; "
            "copy or export it again"
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{path} is truncated or damaged ({reason}); copy it again")


def _has_known_signature(path: Path) -> bool:
    """Whether a file begins with the signature of a known image format."""
    with path.open("rb") as file:
        return file.read(8).startswith((b"II*\0", b"MM\0*", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"RIFF", b"BM"))


def _is_deep(picture: Image.Image) -> bool:
    """Whether a gray image has 16 bits; Pillow gives 16-bit PGM (and in old releases PNG) the mode "I"."""
    return picture.mode in _DEEP_MODES or (picture.mode == "I" and picture.format in {"PPM", "PNG"})


def _deep_levels(picture: Image.Image) -> npt.NDArray[np.uint16]:
    return np.asarray(picture).astype(np.uint16)


def _convert(picture: Image.Image, mode: str, path: Path) -> Image.Image:
    if picture.mode in {"I", "F"}:
        raise ImageError(
            f"{path} holds 32-bit values (mode {picture.mode}), whose range is unknown; save it with 8 or 16 bit"
        )
    try:
        if picture.mode == "P":
            picture = picture.convert("RGB")  # drops the palette's transparency
        return picture if picture.mode == mode else picture.convert(mode)
    except ValueError as error:
        raise ImageError(f"{path} has the unsupported mode {picture.mode}; save it as gray or RGB") from error


def _encode(picture: Image.Image, file_format: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **_SAVE_OPTIONS.get(file_format, {}))
    return buffer.getvalue()


def _encode_png16(levels: npt.NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG of (h, w, channels); Pillow writes only gray ones.

    Each row is stored as its difference from the row above (filter 2), which makes photographs a quarter smaller.
    """
    height, width, channels = levels.shape
    rows = levels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 2
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256
    return (
        _PNG_SIGNATURE
        + _png_chunk(b"IHDR", _png_head(height, width, channels, bits=16))
        + _png_chunk(b"IDAT", zlib.compress(filtered.tobytes(), _PNG_LEVEL))
        + _png_chunk(b"IEND", b"")
    )


def _png_head(height: int, width: int, channels: int, bits: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, bits, _PNG_COLOUR_TYPES[channels], 0, 0, 0)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file's bytes atomically.

    Raises:
        SegkitError: the file cannot be written; no partial file remains.
    """
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        advice = "free some and run again" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "is the folder writable?"
        raise SegkitError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
