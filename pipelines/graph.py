"""A pipeline as data: stages, what each needs, and the fingerprint that identifies each result."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segkit.core.config import Settings
from segkit.core.errors import RequestError
from segkit.core.files import sha256_json


@dataclass(frozen=True)
class Stage:
    """One request: a verb, its settings, and the stages whose folders it reads."""

    name: str
    verb: str
    """Which of `pipelines.verbs.VERBS` does the work."""
    settings: Settings
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Name the verb knows the input by -> name of the stage that makes it."""
    after: tuple[str, ...] = ()
    """Stages that must have ended well before, without being read: they do not change the result."""


class Graph:
    """Stages in an order in which each comes after what it needs."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages: dict[str, Stage] = {}
        for stage in stages:
            missing = [name for name in (*stage.inputs.values(), *stage.after) if name not in self._stages]
            if stage.name in self._stages or missing:
                raise ValueError(f"stage {stage.name} is given twice or needs {missing}, which come later or nowhere")
            self._stages[stage.name] = stage

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages.values())

    def __len__(self) -> int:
        return len(self._stages)

    def __getitem__(self, name: str) -> Stage:
        if name not in self._stages:
            raise RequestError(f"there is no stage {name!r}; stages are {', '.join(self._stages)}")
        return self._stages[name]

    def upto(self, name: str) -> "Graph":
        """The stage of this name and everything it needs or must come after."""
        needed = {self[name].name}
        for stage in reversed(self._stages.values()):
            if stage.name in needed:
                needed |= {*stage.inputs.values(), *stage.after}
        return Graph(stage for stage in self if stage.name in needed)


def fingerprint(
    name: str,
    version: int,
    settings: Mapping[str, Any],
    runtime: Mapping[str, Any],
    contents: Mapping[str, str],
    inputs: Mapping[str, str],
) -> str:
    """Identity of a stage's result: sha256 over everything that can change it.

    Args:
        name: the stage's name.
        version: the verb's version, raised when its code gives another result.
        settings: the settings that can change the result.
        runtime: the runtime settings that can.
        contents: digests of files and folders outside the store that the stage reads.
        inputs: fingerprints of the stages it reads, by input name.
    """
    return sha256_json([name, version, settings, runtime, contents, inputs])
