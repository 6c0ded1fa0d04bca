"""Checks of output paths before a command computes anything."""

import os
from collections.abc import Sequence
from pathlib import Path

from segkit.core.errors import RequestError

FILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".csv", ".json", ".onnx", ".html", ".zip")
"""Suffixes of files that a user may expect from a command that writes a folder."""

FINISHED = "done.json"
"""File that marks the folder of a finished stage."""


def check_folder(path: Path, option: str = "") -> None:
    """Raise if a folder cannot be created or written; nothing is created.

    Args:
        option: the command's option, as in "--out"; begins the message.

    Raises:
        RequestError: it is a file or named like one, is below a file or in a finished stage's folder, or is not
            writable.
    """
    what = f"{option} {path}".lstrip()
    if os.path.lexists(path) and not path.is_dir():
        raise RequestError(f"{what} is a file; name a folder")
    if path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise RequestError(f"{what} is the name of a file, and a folder is written; name one without {path.suffix}")
    finished = next((folder for folder in (path, *path.absolute().parents) if (folder / FINISHED).is_file()), None)
    if finished is not None:
        raise RequestError(f"{what}: {finished} holds the finished result of a stage; name another folder")
    _check_writable(path, what, "folder")


def check_new_folder(path: Path) -> None:
    """Raise if the folder of `--out` cannot be created or holds something already; nothing is created.

    Raises:
        RequestError: as `check_folder`, or it is not empty.
    """
    check_folder(path, "--out")
    if path.is_dir() and any(path.iterdir()):
        raise RequestError(f"--out {path} is not empty; remove it, or name a new folder")


def check_file(path: Path, option: str, suffixes: Sequence[str] = ()) -> None:
    """Raise if a file cannot be written or replaced; nothing is created.

    Args:
        option: as in `check_folder`.
        suffixes: allowed suffixes in lower case; any if empty.

    Raises:
        RequestError: it has another suffix, is a folder or a device, is below a file, or is not writable.
    """
    what = f"{option} {path}"
    if path.is_dir():
        raise RequestError(f"{what} is a folder; name a file{f' that ends in {_either(suffixes)}' if suffixes else ''}")
    if suffixes and path.suffix.lower() not in suffixes:
        raise RequestError(f"{what} does not end in {_either(suffixes)}")
    if path.exists() and not path.is_file():
        raise RequestError(f"{what} is not a regular file and cannot be replaced; name another one")
    _check_writable(path.parent, what, "file")


def _either(suffixes: Sequence[str]) -> str:
    return " or ".join([*([", ".join(suffixes[:-1])] if len(suffixes) > 1 else []), suffixes[-1]])


def _check_writable(folder: Path, what: str, kind: str) -> None:
    """Check the nearest existing folder."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise RequestError(f"{what} is below {nearest}, which is a file; name another {kind}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"{what} cannot be written: {nearest} is not writable; name another {kind}")
