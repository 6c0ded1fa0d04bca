"""Every network, small enough for milliseconds."""

from typing import Any

from segkit.models.settings import (
    DeepLabV3Settings,
    IterNetSettings,
    LittleWNetSettings,
    NetworkSettings,
    SAGANUNetSettings,
    SAUNetSettings,
    SAUNetV2Settings,
    UNetPlusPlusSettings,
    UNetSettings,
)

SMALL: dict[type[NetworkSettings], dict[str, Any]] = {
    DeepLabV3Settings: {"width": 2},
    IterNetSettings: {"widths": (3, 4, 6)},
    LittleWNetSettings: {"widths": (3, 4, 6)},
    SAGANUNetSettings: {"widths": (3, 4, 6), "attention_level": 1},
    SAUNetSettings: {"widths": (3, 4, 6)},
    SAUNetV2Settings: {"widths": (3, 4, 6)},
    UNetPlusPlusSettings: {"widths": (3, 4, 6)},
    UNetSettings: {"widths": (3, 4, 6)},
}
"""By the settings of a network: those that make it small."""


def tiny(kind: type[NetworkSettings], **changes: Any) -> NetworkSettings:
    """Small settings of a network."""
    return kind(**({"name": kind.model_fields["name"].default} | SMALL[kind] | changes))


TINY = {settings.name: settings for settings in map(tiny, SMALL)}
"""Small settings of every network that is trained, by its name."""
