"""Output folders that one process writes at a time, and that a command can resume after a kill.

A stage's folder is `<runs>/<stage>-<fingerprint>/`. `request.yaml` is written first and names the fingerprint.
`done.json` is written last, by atomic rename, and marks the result as complete. In between, `work/` holds what a killed
stage needs to resume, and `work/started` marks the other files as made for this request.

A `RecordedFolder` collects results of several commands; a record in it holds the settings that they share.
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
"""Folder of a tracker's own files in a stage's folder."""
LOCK = ".lock"


# any folder -----------------------------------------------------------------------------------------------------------


@contextmanager
def lock(folder: Path, path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the write lock of `folder`; while another process has it, wait, after a message that names the process.

    The operating system releases the lock at the end of the process, even after a kill.

    Args:
        folder: what is locked, for messages.
        path: the lock file.
        on_wait: called with the message.
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
    """Hold the write lock of a stage's folder; the lock file is outside the folder, which holds only results."""
    return lock(folder, folder.parent / LOCKS / f"{folder.name}.lock", on_wait)


def prepare(folder: Path, request: str, fingerprint: str) -> None:
    """Prepare `folder` for a stage: keep the files of a killed run, otherwise empty it, and write the request.

    Raises:
        RequestError: the folder holds the result of another request, or files that are not segkit's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY))
    owner = _owner(folder)
    if names and owner is None:
        raise RequestError(f"{folder} holds files that are not segkit's ({names[0]}, ...); give another --out")
    if owner not in {None, fingerprint}:
        raise RequestError(f"{folder} holds the result of another request; give another --out")
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
    """The fingerprint of the request in the folder."""
    if not (folder / REQUEST).exists():
        return None
    return str(read_yaml(folder / REQUEST).get("fingerprint"))


def describe_outputs(folder: Path) -> dict[str, dict[str, object]]:
    """sha256 and length of every file of a stage's result, by relative path, without request, record and `work/`."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in {WORK, REQUEST, DONE, TRACKER}
    }


def write_done(folder: Path, record: Mapping[str, object]) -> None:
    """Mark the result as complete."""
    write_json(folder / DONE, record)


def remove_work(folder: Path) -> None:
    """Remove the temporary files of a finished stage."""
    with suppress(OSError):
        (folder / WORK / STARTED).unlink()  # first, so that after a kill here no run resumes from the rest
    shutil.rmtree(folder / WORK, ignore_errors=True)


def read_done(folder: Path) -> dict[str, Any] | None:
    """The record of a finished stage, or None if it is not finished.

    A result with missing files, or with files of another length than recorded, counts as not finished.
    """
    try:
        done: dict[str, Any] = read_json(folder / DONE)
        complete = all((folder / name).stat().st_size == entry["bytes"] for name, entry in done["outputs"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return done if complete and "fingerprint" in done else None


def input_fingerprint(folder: Path) -> str:
    """The fingerprint of a finished stage that another stage reads.

    Raises:
        RequestError: the folder holds no finished stage.
    """
    done = read_done(folder)
    if done is None:
        raise RequestError(f"{folder} holds no finished stage (no whole {DONE}); run its stage first")
    return str(done["fingerprint"])


# a folder of several commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecordedFolder:
    """A folder for results of one kind that were made with the same settings."""

    folder: Path
    record: str
    """Name of the file with the settings, as in sampling.json."""
    results: str
    """Pattern of the result files, relative to the folder."""
    what: str
    """Noun for the results in messages, as in images."""
    made: str
    """Participle for the results in messages, as in drawn."""

    @contextmanager
    def lock(self, on_wait: Callable[[str], None], parts: Iterable[str] = ()) -> Iterator[None]:
        """Hold the write lock of the folder and remove half-written files of a killed process.

        Only the first rank may call it.

        Args:
            on_wait: as in `lock`.
            parts: sub-folders that are also written.

        Raises:
            RequestError: the folder is a file, or cannot be created or written.
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
        """Reserve the folder for results of these settings; it must be new, or claimed with the same settings before.

        Args:
            settings: everything that can change a result, as JSON values; the digest of source NAME as NAME_sha256.
            sources: paths that were read, by name, for information; None if nothing was read.

        Raises:
            RequestError: the folder holds results of other or unknown settings.
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
