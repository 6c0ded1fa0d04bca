"""Settings by dotted key, and those that differ from the defaults of their recipe."""

from collections.abc import Iterable, Mapping

from pipelines.recipes import RECIPES
from pipelines.recipes.base import recorded_settings


def flatten(value: object, key: str = "") -> dict[str, object]:
    """Nested settings by dotted key; a list of plain values is one value.

    >>> flatten({"model": {"widths": [8, 16]}, "phases": [{"epochs": 3}]})
    {'model.widths': [8, 16], 'phases.0.epochs': 3}
    """
    items: Iterable[tuple[object, object]] | None = None
    if isinstance(value, Mapping) and (value or not key):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = enumerate(value)
    if items is None:
        return {key: value}
    flat: dict[str, object] = {}
    for name, item in items:
        flat |= flatten(item, f"{key}.{name}" if key else str(name))
    return flat


def changed_settings(recipe: str, settings: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Settings that differ from the defaults of the recipe: default and value, None if absent, by dotted key.

    Without a known recipe the default is None for all settings.
    """
    known = RECIPES.get(recipe)
    defaults = {} if known is None else flatten(recorded_settings(known.settings()))
    return {
        key: (defaults.get(key), value)
        for key, value in flatten(settings).items()
        if key not in defaults or defaults[key] != value
    }
