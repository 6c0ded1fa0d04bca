"""Remove the stages of a runs folder that no finished pipeline needs.

A pipeline is finished when it has a report or a pooled report. It needs the stages that these read, and all that those
were made from. A stage that a user asked for by name, with `--upto` or a command such as `segkit gan train`, is kept
like a report. Everything of a pipeline that runs is kept as well, and everything of one that stopped early, unless
another pipeline has finished since. Only real folders that the runner has made are removed, never one that is locked.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.stage_types import POOL, REPORT
from segkit.core.config import read_yaml
from segkit.core.errors import ConfigError, RequestError
from segkit.core.files import read_json, write_text
from segkit.core.run_folder import DONE, LOCKS, REQUEST
from segkit.core.wording import duration

REMOVED = ".removed"
"""Folder in the runs folder that a stage is moved to at once, so that a kill leaves no half of it behind."""
ASKED_FOR = ".asked-for"
"""Folder in the runs folder with an empty file for each stage that a user asked for by name."""


@dataclass(frozen=True)
class StageFolder:
    """The folder of a stage."""

    path: Path
    request: Mapping[str, Any]
    """`request.yaml`."""
    record: Mapping[str, Any] | None
    """`done.json`; None if the stage is not finished."""

    @property
    def is_of_a_pipeline(self) -> bool:
        """Whether the runner has named and started it; the others were started by hand."""
        named = self.path.name.endswith(f"-{str(self.request.get('fingerprint'))[:12]}")
        return named and self.request.get("group") is not None and not self.path.is_symlink()

    @property
    def is_final(self) -> bool:
        """Whether it is the report of a finished pipeline."""
        return self.record is not None and self.record.get("type") in (REPORT.name, POOL.name)

    @property
    def state(self) -> str:
        """For the terminal."""
        if self.record is None:
            return "not finished"
        return f"finished {self.record.get('finished', '')}, took {duration(self.record.get('seconds', 0.0))}"

    @property
    def changed(self) -> float:
        """When it was finished, or started, in seconds since the epoch."""
        if self.record is not None and "finished" in self.record:
            return datetime.strptime(self.record["finished"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        return (self.path / REQUEST).stat().st_mtime

    @cached_property
    def num_bytes(self) -> int:
        """Size of its files."""
        return sum(path.lstat().st_size for path in self.path.rglob("*") if path.is_symlink() or path.is_file())


@dataclass(frozen=True)
class Cleaning:
    """The stages of a runs folder, divided by whether they are needed."""

    removable: tuple[StageFolder, ...]
    kept: tuple[StageFolder, ...]
    leftovers: tuple[Path, ...]
    """Folders that an interrupted cleaning has moved and not removed yet."""


def keep(folder: Path) -> None:
    """Note that a user asked for this stage by name, before or after it runs."""
    write_text(folder.parent / ASKED_FOR / folder.name, "")


def plan_cleaning(runs: Path) -> Cleaning:
    """What can be removed from a runs folder.

    Raises:
        RequestError: there is no such folder.
    """
    if not runs.is_dir():
        raise RequestError(f"there is no folder {runs}; give the folder of the results")
    stages = {stage.path.name: stage for stage in _stages(runs.resolve())}
    asked_for = [path.name for path in (runs / ASKED_FOR).glob("*")]
    kept = _with_inputs(stages, [*asked_for, *(stage.path.name for stage in _roots(list(stages.values())))])
    removable = sorted((stages[name] for name in stages.keys() - kept), key=lambda stage: stage.path.name)
    leftovers = tuple(sorted((runs.resolve() / REMOVED).glob("*")))
    return Cleaning(tuple(removable), tuple(stages[name] for name in sorted(kept)), leftovers)


def remove(cleaning: Cleaning) -> Iterator[tuple[StageFolder, bool]]:
    """Remove what a plan names, and yield each stage and whether it was removed; not if a process has locked it."""
    for path in cleaning.leftovers:
        shutil.rmtree(path)
    for stage in cleaning.removable:
        yield stage, _remove(stage.path)
    for folder in {stage.path.parent for stage in cleaning.removable} | {path.parent for path in cleaning.leftovers}:
        if (folder / REMOVED).is_dir() and not any((folder / REMOVED).iterdir()):
            (folder / REMOVED).rmdir()


def _remove(folder: Path) -> bool:
    with _unlocked(folder) as free:
        if free:
            moved = folder.parent / REMOVED / folder.name
            moved.parent.mkdir(exist_ok=True)
            shutil.rmtree(moved, ignore_errors=True)
            folder.rename(moved)
            (folder.parent / ".requests" / f"{folder.name}.yaml").unlink(missing_ok=True)
            shutil.rmtree(moved)
    return free


def _stages(runs: Path) -> Iterator[StageFolder]:
    """The folders of stages, however they were started."""
    for path in sorted(runs.glob(f"*/{REQUEST}")):
        folder = path.parent
        try:
            request = read_yaml(path)
            record = read_json(folder / DONE) if (folder / DONE).exists() else None
        except (ConfigError, ValueError, OSError):
            continue  # damaged, or made by another program: left alone
        yield StageFolder(folder, request, record)


def _roots(stages: Sequence[StageFolder]) -> Iterator[StageFolder]:
    """What is kept for itself: final stages, pipelines that run or stopped last, and stages started by hand."""
    yield from (stage for stage in stages if not stage.is_of_a_pipeline)
    groups: dict[str, list[StageFolder]] = {}
    for stage in stages:
        if stage.is_of_a_pipeline:
            groups.setdefault(stage.request["group"], []).append(stage)
    for group in groups.values():
        finished = [stage for stage in group if stage.is_final]
        complete = finished and all(stage.record is not None for stage in group)
        later = [stage.changed for stage in stages if stage.is_final and stage not in finished]
        stopped_last = not complete and max(stage.changed for stage in group) >= max(later, default=0.0)
        yield from group if stopped_last or any(_is_locked(stage.path) for stage in group) else finished


def _with_inputs(stages: Mapping[str, StageFolder], names: Iterable[str]) -> set[str]:
    """The names of these folders and of all that they were made from."""
    waiting, needed = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in stages and name not in needed:
            needed.add(name)
            waiting += _inputs(stages[name], stages)
    return needed


def _inputs(stage: StageFolder, stages: Mapping[str, StageFolder]) -> list[str]:
    if stage.record is not None:
        folders = [(stage.path / entry["folder"]).resolve() for entry in stage.record.get("inputs", {}).values()]
        return [folder.name for folder in folders if folder.parent == stage.path.parent]
    # an unfinished stage names the stages that it reads, not their folders
    read = {*stage.request.get("inputs", {}).values()}
    return [name for name, other in stages.items() if other.request.get("stage") in read]


def _is_locked(folder: Path) -> bool:
    with _unlocked(folder) as free:
        return not free


@contextmanager
def _unlocked(folder: Path) -> Iterator[bool]:
    """Hold the write lock of a stage's folder, if no process has it."""
    from filelock import FileLock, Timeout

    path = folder.parent / LOCKS / f"{folder.name}.lock"
    if not path.exists():
        yield True
        return
    try:
        lock = FileLock(path).acquire(timeout=0)
    except Timeout:
        yield False
        return
    with lock:
        yield True
