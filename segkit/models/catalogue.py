"""Facts about a network before training: size, cost, source and settings."""

from dataclasses import asdict, dataclass

from segkit.models import cost
from segkit.models.settings import MODELS, NetworkSettings

DEFAULT_COSTS = {
    "deeplabv3": (41_993_794, 163_558_457_344),
    "iternet": (8_244_356, 133_647_302_656),
    "little-wnet": (68_482, 4_076_863_488),
    "sagan-unet": (25_172_355, 66_647_490_560),
    "sa-unet": (537_299, 9_781_518_336),
    "sa-unet-v2": (260_521, 7_776_804_864),
    "unet++": (9_049_572, 119_176_953_856),
    "unet": (31_043_521, 192_669_548_544),
}
"""What `cost.of_network` counts for the default settings, by the network's name; counting takes seconds for each."""


@dataclass(frozen=True)
class Setting:
    """One setting of a network."""

    name: str
    default: object
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

    def to_json(self) -> dict[str, object]:
        """The entry as JSON values."""
        values = asdict(self)
        return values | {"settings": {setting["name"]: setting["default"] for setting in values["settings"]}}


def describe(settings: NetworkSettings) -> Entry:
    """The entry of a network. Nothing is computed for default settings, else only shapes (on torch's meta device)."""
    kind = type(settings)
    stored = DEFAULT_COSTS.get(settings.name) if settings == kind(name=settings.name) else None
    parameters, multiply_adds = stored or cost.of_network(settings)
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
