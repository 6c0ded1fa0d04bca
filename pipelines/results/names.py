"""The names that a person can type for a result in a runs folder, a trained model as well as a finished pipeline.

They are `latest`, `best`, and the first letters of a folder or digits of a fingerprint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pipelines.stage import StageRecord, read_record
from pipelines.stage_types import REPORT
from segkit.core.errors import RequestError
from segkit.core.run_folder import DONE

LATEST, BEST = "latest", "best"
MIN_ID = 6
"""Shortest id of a pipeline that is shown, in hexadecimal digits."""


class Result(Protocol):
    """A finished stage."""

    @property
    def folder(self) -> Path: ...

    @property
    def record(self) -> StageRecord: ...


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class FinishedStage:
    """A finished stage of any type."""

    folder: Path
    record: StageRecord


def finished_stages(runs: Path, types: Sequence[str]) -> list[FinishedStage]:
    """The finished stages of these types in a runs folder, newest first."""
    stages = [stage for path in runs.glob(f"*/{DONE}") for stage in read_stage(path.parent, types)]
    return sorted(stages, key=lambda stage: stage.record["finished"], reverse=True)


def read_stage(folder: Path, types: Sequence[str]) -> list[FinishedStage]:
    """The finished stage of a folder; empty if it holds none of these types."""
    record = read_record(folder)
    return [FinishedStage(folder, record)] if record is not None and record.get("type") in types else []


def run_names(runs: Path) -> list[str]:
    """The names of the finished pipelines of a runs folder: `latest`, `best` and the first digits of their ids."""
    return [LATEST, BEST, *(run.record["fingerprint"][:MIN_ID] for run in finished_stages(runs, (REPORT.name,)))]


def find_result(
    name: str,
    results: Sequence[R],
    score: Callable[[R], float | None],
    describe: Callable[[Sequence[R]], str],
    error: type[RequestError] = RequestError,
) -> R | None:
    """The result of a name; None if there is none.

    Args:
        results: newest first.
        score: of a result, the highest of which is `best`; None if it has none.

    Raises:
        RequestError: several results begin with this name.
    """
    if name == LATEST:
        return next(iter(results), None)
    if name == BEST:
        scored = [(value, result) for result in results if (value := score(result)) is not None]
        return max(scored, key=lambda item: item[0])[1] if scored else None
    matching = [
        result
        for result in results
        if name and (result.folder.name.startswith(name) or result.record["fingerprint"].startswith(name.lower()))
    ]
    if len(matching) > 1:
        raise error(f"{name!r} is not unique; it can be {describe(matching)}")
    return next(iter(matching), None)
