"""Where results lie: `<runs>/<stage>-<fingerprint>/`, and what tells that one is whole.

`request.yaml` is written first: what the folder is for. `done.json` is written last, by atomic rename: the result is
whole. Between the two, `work/` holds what a killed stage needs to go on, and `work/begun` says that what lies beside it
was made for this request and can be built on.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.core.config import read_yaml
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import TEMPORARY, read_json, sha256_file, write_json, write_text
from segkit.core.outputs import FINISHED

REQUEST, DONE, WORK, LOCKS = "request.yaml", FINISHED, "work", ".locks"
BEGUN = "begun"
TRACKER = "wandb"
"""Where a tracker keeps files of its own in a stage's folder."""


class MissingResultError(RequestError):
    """A folder given as an input holds no finished stage."""


@dataclass(frozen=True)
class Store:
    """The runs folder."""

    root: Path

    def folder(self, name: str, fingerprint: str) -> Path:
        """Where this request's result lies, whether or not it is there yet."""
        return self.root / f"{name}-{fingerprint[:12]}"


def read_done(folder: Path) -> dict[str, Any] | None:
    """The record of a finished stage, or None if it is not finished.

    A result whose files are gone or have another length than recorded counts as not finished.
    """
    try:
        done: dict[str, Any] = read_json(folder / DONE)
        whole = all((folder / name).stat().st_size == entry["bytes"] for name, entry in done["outputs"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return done if whole and "fingerprint" in done else None


def input_fingerprint(folder: Path) -> str:
    """The identity of a finished stage that is to be read.

    Raises:
        MissingResultError: the folder holds none.
    """
    done = read_done(folder)
    if done is None:
        raise MissingResultError(
            f"{folder} holds no finished stage (no whole {DONE}); run the stage that makes it first"
        )
    return str(done["fingerprint"])


def describe_outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """sha256 and length of every file a stage has made, by relative path; the stage's own bookkeeping left out."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in {WORK, REQUEST, DONE, TRACKER}
    }


def begin(folder: Path, request: str, fingerprint: str) -> None:
    """Make `folder` ready for a stage: as a killed run of it left it, or empty but for the request.

    Args:
        folder: where the result is to lie.
        request: what `request.yaml` is to hold, the fingerprint among it.
        fingerprint: the identity of the result.

    Raises:
        RequestError: the folder holds another request's result, or files that are not segkit's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY))
    owner = _owner(folder)
    if found and owner is None:
        raise RequestError(f"{folder} holds files that are not segkit's ({found[0]}, ...); give another --out")
    if owner not in {None, fingerprint}:
        raise RequestError(f"{folder} holds the result of another request, or its beginnings; give another --out")
    write_text(folder / REQUEST, request)
    if not (folder / WORK / BEGUN).exists():
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != REQUEST:
                path.unlink()
        write_text(folder / WORK / BEGUN, "")
    for half_written in folder.rglob(f"{TEMPORARY}*"):
        half_written.unlink(missing_ok=True)


def _owner(folder: Path) -> str | None:
    """The fingerprint of the request the folder was made for."""
    if not (folder / REQUEST).exists():
        return None
    return str(read_yaml(folder / REQUEST).get("fingerprint"))


def write_done(folder: Path, record: Mapping[str, Any]) -> None:
    """Declare the result whole."""
    write_json(folder / DONE, record)


def remove_work(folder: Path) -> None:
    """Remove what a finished stage no longer needs."""
    with suppress(OSError):
        (folder / WORK / BEGUN).unlink()  # first, so that what a kill leaves of the rest is not built on
    shutil.rmtree(folder / WORK, ignore_errors=True)


@contextmanager
def held(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Be the only writer of `folder`; wait for another one, saying who it is.

    The lock belongs to the process and goes with it, however that ends.
    """
    from filelock import FileLock, Timeout

    locks = folder.parent / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(locks / f"{folder.name}.lock"), locks / f"{folder.name}.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for {_holder(note)}, which is writing {folder}")
        lock.acquire()
    except OSError as error:
        raise SegkitError(f"cannot lock {folder}: {error.strerror or error}") from error
    try:
        write_json(note, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")})
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        lock.release()


def _holder(note: Path) -> str:
    try:
        holder = read_json(note)
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"
