"""What a stage is given: its request, the folders it reads, the folder it writes, and its tracker."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.request import StageRequest
from pipelines.store import WORK
from segkit.core.errors import RequestError
from segkit.core.files import read_json, write_json
from segkit.tasks.settings import RuntimeSettings

if TYPE_CHECKING:
    from segkit.tasks.precision import Precision
    from segkit.tasks.tracking import Tracker


class Inputs(dict[str, Path]):
    """Folders of finished stages, by the name the verb knows them by."""

    def __missing__(self, name: str) -> Path:
        raise RequestError(f"the stage reads an input {name!r}; give --input {name}=DIR")


@dataclass(frozen=True)
class Context:
    """One stage being carried out."""

    request: StageRequest
    inputs: Inputs
    out: Path
    fingerprint: str
    first_rank: bool

    @property
    def settings(self) -> Any:
        """The verb's settings."""
        return self.request.settings

    @property
    def runtime(self) -> RuntimeSettings:
        """Where and how to compute."""
        return self.request.runtime

    @property
    def work(self) -> Path:
        """Scratch space that survives a kill and goes when the stage is done."""
        return self.out / WORK

    @cached_property
    def precision(self) -> "Precision":
        """The precision to train in: what a resumed stage began with, else what the runtime resolves to here."""
        from segkit.tasks.precision import resolve_precision

        path = self.work / "precision.json"
        if path.exists():
            begun_with: Precision = read_json(path)
            return begun_with
        chosen = resolve_precision(self.runtime.precision, self.runtime.accelerator)
        if self.first_rank:
            write_json(path, chosen)
        return chosen

    @property
    def precision_used(self) -> str | None:
        """The precision the stage has trained in; None if it trained nothing."""
        return self.__dict__.get("precision")

    @cached_property
    def tracker(self) -> "Tracker":
        """Opened when first used."""
        from segkit.tasks.tracking import open_tracker
        from segkit.tasks.wandb_runs import RunLabel

        config = {
            "settings": self.request.settings.model_dump(mode="json"),
            "runtime": self.runtime.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
        }
        name, fingerprint = self.request.name, self.fingerprint
        label = RunLabel(
            f"{name}-{fingerprint[:12]}", f"{name} {fingerprint[:4]}", name, self.request.group, self.request.tags
        )
        return open_tracker(self.runtime, self.out, label, config)
