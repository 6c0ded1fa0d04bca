"""Facts about a network before training: size, cost, source and settings."""

from dataclasses import asdict, dataclass
from typing import Any

from segkit.models import cost
from segkit.models.settings import MODELS, NetworkSettings


@dataclass(frozen=True)
class Setting:
    """One setting of a network."""

    name: str
    default: Any
    description: str


@dataclass(frozen=True)
class Entry:
    """A network with its settings, for one class."""

    name: str
    description: str
    parameters: int
    multiply_adds: int
    """Of convolutions and matrix products, in prediction, for one image of `cost.SIDE` x `cost.SIDE` pixels."""
    stride: int
    implementation: str
    paper: str
    authors_code: str
    licence: str
    """Of the authors' code."""
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        values = asdict(self)
        return values | {"settings": {setting["name"]: setting["default"] for setting in values["settings"]}}


def describe(settings: NetworkSettings) -> Entry:
    """The entry of a network. Only shapes are computed (on torch's meta device)."""
    kind = type(settings)
    parameters, multiply_adds = cost.of_network(settings)
    values = settings.model_dump(mode="json")
    return Entry(
        name=settings.name,
        description=(kind.__doc__ or "").splitlines()[0],
        parameters=parameters,
        multiply_adds=multiply_adds,
        stride=settings.stride,
        implementation=MODELS[kind],
        paper=kind.paper,
        authors_code=kind.authors_code,
        licence=kind.licence,
        settings=tuple(
            Setting(name, values[name], " ".join((field.description or "").split()))
            for name, field in kind.model_fields.items()
        ),
    )
