"""Output folders that one process writes at a time and that a killed command goes on with.

A stage's folder is `<runs>/<stage>-<fingerprint>/`. `request.yaml` is written first and names the fingerprint.
`done.json` is written last, by atomic rename: the result is whole. Between the two, `work/` holds what a killed stage
needs to go on, and `work/started` marks the files beside it as made for this request.

A `RecordedFolder` grows with each command: a record in it holds the settings that all its results share.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.core.config import read_yaml
from segkit.core.errors import RequestError, SegkitError
from segkit.core.files import TEMPORARY, read_json, sha256_file, write_json, write_text
from segkit.core.outputs import FINISHED, check_folder

REQUEST, DONE, WORK, LOCKS = "request.yaml", FINISHED, "work", ".locks"
STARTED = "started"
TRACKER = "wandb"
"""Where a tracker keeps files of its own in a stage's folder."""
LOCK = ".lock"


class MissingResultError(RequestError):
    """A folder given as an input holds no finished stage."""


# any folder -----------------------------------------------------------------------------------------------------------


@contextmanager
def lock(folder: Path, path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Be the only writer of `folder`; wait for another one, after a message that names it.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        path: the lock's file.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    file_lock, note = FileLock(path), path.with_suffix(".json")
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        on_wait(f"waiting for {_holder(note)}, which is writing {folder}")
        file_lock.acquire()
    except OSError as error:
        raise SegkitError(f"cannot lock {folder}: {error.strerror or error}") from error
    try:
        write_json(note, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")})
        yield
    finally:
        with suppress(OSError):
            note.unlink()
        file_lock.release()


def _holder(note: Path) -> str:
    try:
        holder = read_json(note)
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def _remove_half_written(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


# a stage's folder -----------------------------------------------------------------------------------------------------


def lock_stage(folder: Path, on_wait: Callable[[str], None]) -> AbstractContextManager[None]:
    """Be the only writer of a stage's folder; the lock's file is outside, so that the folder holds results alone."""
    return lock(folder, folder.parent / LOCKS / f"{folder.name}.lock", on_wait)


def prepare(folder: Path, request: str, fingerprint: str) -> None:
    """Make `folder` ready for a stage: as a killed run of it left it, or empty but for the request.

    Args:
        folder: where the result will be.
        request: the contents of `request.yaml`, the fingerprint among it.
        fingerprint: the identity of the result.

    Raises:
        RequestError: the folder holds another request's result, or files that are not segkit's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY))
    owner = _owner(folder)
    if names and owner is None:
        raise RequestError(f"{folder} holds files that are not segkit's ({names[0]}, ...); give another --out")
    if owner not in {None, fingerprint}:
        raise RequestError(f"{folder} holds the result of another request, whole or not; give another --out")
    write_text(folder / REQUEST, request)
    if not (folder / WORK / STARTED).exists():
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != REQUEST:
                path.unlink()
        write_text(folder / WORK / STARTED, "")
    _remove_half_written(folder.rglob(f"{TEMPORARY}*"))


def _owner(folder: Path) -> str | None:
    """The fingerprint of the request the folder was made for."""
    if not (folder / REQUEST).exists():
        return None
    return str(read_yaml(folder / REQUEST).get("fingerprint"))


def describe_outputs(folder: Path) -> dict[str, dict[str, object]]:
    """sha256 and length of every file of a stage's result, by relative path; request, record and scratch left out."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in {WORK, REQUEST, DONE, TRACKER}
    }


def write_done(folder: Path, record: Mapping[str, object]) -> None:
    """Mark the result as whole."""
    write_json(folder / DONE, record)


def remove_work(folder: Path) -> None:
    """Remove what a finished stage no longer needs."""
    with suppress(OSError):
        (folder / WORK / STARTED).unlink()  # first, so that nothing resumes from what a kill leaves of the rest
    shutil.rmtree(folder / WORK, ignore_errors=True)


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
    """The identity of a finished stage that another one reads.

    Raises:
        MissingResultError: the folder holds none.
    """
    done = read_done(folder)
    if done is None:
        raise MissingResultError(f"{folder} holds no finished stage (no whole {DONE}); run its stage first")
    return str(done["fingerprint"])


# a folder that grows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedFolder:
    """A folder that takes only results of one kind, made with the same settings."""

    folder: Path
    record: str
    """Name of the file with those settings, as in sampling.json."""
    results: str
    """Pattern of the results' files, from the folder on."""
    what: str
    """What the results are called in messages, as in images."""
    made: str
    """The participle for them in messages, as in drawn."""

    @contextmanager
    def lock(self, on_wait: Callable[[str], None], parts: Iterable[str] = ()) -> Iterator[None]:
        """Be the only writer of the folder, and remove what a killed process left half-written; wait for another one.

        Of several ranks only the first one may call it.

        Args:
            parts: names of folders in it that are written into too.

        Raises:
            RequestError: it is a file, or cannot be made or written.
        """
        check_folder(self.folder)
        with lock(self.folder, self.folder / LOCK, on_wait):
            for folder in (self.folder, *(self.folder / part for part in parts)):
                _remove_half_written(folder.glob(f"{TEMPORARY}*"))
            try:
                yield
            finally:
                (self.folder / LOCK).unlink(missing_ok=True)

    def claim(self, settings: Mapping[str, object], sources: Mapping[str, Path | None]) -> None:
        """Reserve the folder for results of these settings: a new one, or one that was claimed with the same settings.

        Args:
            settings: whatever can change a byte of a result, as JSON keeps it; of each source NAME the digest, under
                NAME_sha256.
            sources: what was read, by name, for the reader of the record; None for nothing.

        Raises:
            RequestError: it holds results of other or unknown settings.
        """
        if (self.folder / self.record).exists():
            self._compare(settings, sources)
        elif any(self.folder.glob(self.results)):
            raise RequestError(
                f"{self.folder} holds {self.what} and no {self.record} that says how they were {self.made}; "
                "choose another folder"
            )
        else:
            paths = {name: None if path is None else str(path.resolve()) for name, path in sources.items()}
            write_json(self.folder / self.record, {**settings, **paths})

    def _compare(self, settings: Mapping[str, object], sources: Iterable[str]) -> None:
        path = self.folder / self.record
        try:
            recorded = dict(read_json(path))
        except (ValueError, TypeError) as error:
            raise RequestError(
                f"{path} does not say how {self.what} were {self.made}; choose another folder"
            ) from error
        digests = {f"{name}_sha256": name for name in sources}
        for key, value in settings.items():
            if recorded.get(key) == value:
                continue
            if key in digests:
                name = digests[key]
                how = f"of other {name} ({recorded.get(name) or 'none'})"
            else:
                how = f"{self.made} with {key} = {recorded.get(key)}, not {value}"
            raise RequestError(f"{self.folder} holds {self.what} {how}; choose another folder")
