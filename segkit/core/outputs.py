"""Where a command is to write, looked at before it computes anything: what cannot be written is refused at once."""

import os
from collections.abc import Sequence
from pathlib import Path

from segkit.core.errors import RequestError

FINISHED = "done.json"
"""The file that tells that a stage's folder holds a result."""


def check_folder(path: Path, option: str = "") -> None:
    """Refuse a folder that could not be made or written into; nothing is made.

    Args:
        option: how it was asked for, as in "--out"; begins the message.

    Raises:
        RequestError: it is a file, lies below one or in a finished stage's folder, or nothing may be written there.
    """
    what = f"{option} {path}".lstrip()
    if os.path.lexists(path) and not path.is_dir():
        raise RequestError(f"{what} is a file; name a folder")
    finished = next((each for each in (path, *path.absolute().parents) if (each / FINISHED).is_file()), None)
    if finished is not None:
        raise RequestError(f"{what}: {finished} holds the result of a stage, which is to stay; name another folder")
    _check_writable(path, what, "folder")


def check_file(path: Path, option: str, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written or replaced; nothing is made.

    Args:
        option: as in `check_folder`.
        suffixes: what its name may end in, in lower case; none for any.

    Raises:
        RequestError: it ends in something else, is a folder or a device, lies below a file, or nothing may be written
            there.
    """
    what = f"{option} {path}"
    if path.is_dir():
        raise RequestError(f"{what} is a folder; name a file{f' that ends in {_either(suffixes)}' if suffixes else ''}")
    if suffixes and path.suffix.lower() not in suffixes:
        raise RequestError(f"{what} does not end in {_either(suffixes)}")
    if path.exists() and not path.is_file():
        raise RequestError(f"{what} is no file that can be replaced; name another one")
    _check_writable(path.parent, what, "file")


def _either(suffixes: Sequence[str]) -> str:
    return " or ".join([*([", ".join(suffixes[:-1])] if len(suffixes) > 1 else []), suffixes[-1]])


def _check_writable(folder: Path, what: str, kind: str) -> None:
    """Look at the nearest folder that is there."""
    nearest = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(each))
    if not nearest.is_dir():
        raise RequestError(f"{what} lies below {nearest}, which is a file; name another {kind}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"{what} cannot be written: {nearest} takes no new files; name another {kind}")
