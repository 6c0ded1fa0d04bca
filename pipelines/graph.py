"""The graph of a pipeline."""

from collections.abc import Iterable, Iterator

from pipelines.stage import AnyStage
from segkit.core.errors import RequestError
from segkit.core.names import hint


class Graph:
    """The stages of a pipeline; each comes after the stages that it needs."""

    def __init__(self, stages: Iterable[AnyStage]) -> None:
        self._stages: dict[str, AnyStage] = {}
        for stage in stages:
            missing = [name for name in (*stage.inputs.values(), *stage.after) if name not in self._stages]
            if stage.name in self._stages or missing:
                raise ValueError(f"stage {stage.name} occurs twice, or needs {missing}, which are not before it")
            self._stages[stage.name] = stage

    def __iter__(self) -> Iterator[AnyStage]:
        return iter(self._stages.values())

    def __len__(self) -> int:
        return len(self._stages)

    def __getitem__(self, name: str) -> AnyStage:
        if name not in self._stages:
            raise RequestError(f"there is no stage {name!r}; {hint(name, self._stages)}")
        return self._stages[name]

    def first_of(self, type_name: str) -> AnyStage:
        """The first stage of a type.

        Raises:
            RequestError: the graph has no such stage.
        """
        for stage in self:
            if stage.type.name == type_name:
                return stage
        raise RequestError(f"no stage is of the type {type_name!r}; stages are {', '.join(self._stages)}")

    def upto(self, name: str) -> "Graph":
        """The graph of this stage and all stages that must finish before it."""
        needed = {self[name].name}
        for stage in reversed(self._stages.values()):
            if stage.name in needed:
                needed |= {*stage.inputs.values(), *stage.after}
        return Graph(stage for stage in self if stage.name in needed)
