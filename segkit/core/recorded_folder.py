"""A folder of results that were all made in one way, which a record in it tells, so that a killed command goes on."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.core.errors import RequestError
from segkit.core.files import TEMPORARY, read_json, write_json
from segkit.core.outputs import check_folder

LOCK = ".lock"


@dataclass(frozen=True)
class RecordedFolder:
    """A folder that takes only results of one kind, made in one way."""

    folder: Path
    record: str
    """Name of the file that tells how they were made, as in sampling.json."""
    results: str
    """Pattern of the results' files, from the folder on."""
    what: str
    """What the reader calls them, as in images."""
    made: str
    """What was done to get them, as in drawn."""

    @contextmanager
    def held(self, say: Callable[[str], None], parts: Iterable[str] = ()) -> Iterator[None]:
        """Be the only one who writes into the folder, without what a killed process was writing; wait for another one.

        Of several ranks only the first one may ask for it.

        Args:
            parts: names of folders in it that are written into too.

        Raises:
            RequestError: it is a file, or cannot be made or written.
        """
        from filelock import FileLock, Timeout

        check_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process that writes into {self.folder}")
            lock.acquire()
        try:
            for folder in (self.folder, *(self.folder / part for part in parts)):
                for half_written in folder.glob(f"{TEMPORARY}*"):
                    half_written.unlink(missing_ok=True)
            yield
        finally:
            (self.folder / LOCK).unlink(missing_ok=True)
            lock.release()

    def claim(self, wanted: Mapping[str, Any], sources: Mapping[str, Path | None]) -> None:
        """Make the folder one for results made in a given way: new, or as a killed run with the same settings left it.

        Args:
            wanted: whatever can change a byte of a result, as JSON keeps it; of each source NAME the digest, under
                NAME_sha256.
            sources: what was read, by name, for the reader of the record; None for nothing.

        Raises:
            RequestError: it holds results that were made otherwise, or nobody knows how.
        """
        if (self.folder / self.record).exists():
            self._compare(wanted, sources)
        elif any(self.folder.glob(self.results)):
            raise RequestError(
                f"{self.folder} holds {self.what} and no {self.record} that says how they were {self.made}; "
                "choose another folder"
            )
        else:
            where = {name: None if path is None else str(path.resolve()) for name, path in sources.items()}
            write_json(self.folder / self.record, {**wanted, **where})

    def _compare(self, wanted: Mapping[str, Any], sources: Iterable[str]) -> None:
        path = self.folder / self.record
        try:
            found = dict(read_json(path))
        except (ValueError, TypeError) as error:
            raise RequestError(
                f"{path} does not say how {self.what} were {self.made}; choose another folder"
            ) from error
        digests = {f"{name}_sha256": name for name in sources}
        for key, value in wanted.items():
            if found.get(key) == value:
                continue
            if key in digests:
                name = digests[key]
                how = f"of other {name} ({found.get(name) or 'none'})"
            else:
                how = f"{self.made} with {key} = {found.get(key)}, not {value}"
            raise RequestError(f"{self.folder} holds {self.what} {how}; choose another folder")
