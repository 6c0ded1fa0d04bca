"""The names that a person can type for a result in a runs folder, a trained model as well as a finished pipeline.

They are `latest`, `best`, and the first letters of a folder or digits of a fingerprint.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pipelines.stage import StageRecord
from segkit.core.errors import RequestError

LATEST, BEST = "latest", "best"


class Result(Protocol):
    """A finished stage."""

    @property
    def folder(self) -> Path: ...

    @property
    def record(self) -> StageRecord: ...


R = TypeVar("R", bound=Result)


def find_result(
    name: str,
    results: Sequence[R],
    score: Callable[[R], float | None],
    describe: Callable[[Sequence[R]], str],
    error: type[RequestError] = RequestError,
) -> R | None:
    """The result of a name; None if there is none.

    Args:
        name: what the user typed.
        results: newest first.
        score: of a result, the highest of which is `best`; None if it has none.
        describe: the results as text, for a message.
        error: type of the error.

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
