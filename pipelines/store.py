"""Where results lie: `<runs>/<stage>-<fingerprint>/`, and what tells that one is whole.

`request.yaml` is written first: what the folder is for. `done.json` is written last, by atomic rename: the result is
whole. Between the two, `work/` holds what a killed stage needs to go on.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import read_json, sha256_file, write_json

REQUEST, DONE, WORK, LOCKS = "request.yaml", "done.json", "work", ".locks"


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
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return done if whole else None


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
        if path.is_file() and path.relative_to(folder).parts[0] not in {WORK, REQUEST, DONE, "wandb"}
    }


def write_done(folder: Path, record: Mapping[str, Any]) -> None:
    """Declare the result whole."""
    write_json(folder / DONE, record)


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
