"""Settings: YAML files read into frozen, typed models that reject unknown keys.

A settings class derives from `Settings`; the docstring below a field is its help text. `read_yaml` reads a file,
`apply_overrides` applies `--set` options, and `validate` builds the model. Every error names the file, the key, the
value, what is allowed, and the nearest known key.
"""

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from segkit.core.errors import ConfigError
from segkit.core.explain import allows_type, explain, fields_at


class Settings(BaseModel):
    """Base of all settings: frozen, rejects unknown keys, keeps field docstrings as descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_bool_as_number(cls, values: object) -> object:
        # Python counts True as 1, so `epochs: yes` would train for one epoch.
        for name, value in values.items() if isinstance(values, dict) else ():
            annotation = cls.model_fields[name].annotation if name in cls.model_fields else None
            if isinstance(value, bool) and allows_type(annotation, int, float) and not allows_type(annotation, bool):
                raise ValueError(f"{name} = {value}: input should be a number, not yes or no")
        return values


S = TypeVar("S", bound=Settings)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML loader that rejects duplicate keys, of which PyYAML keeps the last, and keys that are not text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise self._error(key_node, f"key {key!r} is not text; put quotes around it")
            if key in seen:
                raise self._error(key_node, f"key {key!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)

    @staticmethod
    def _error(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
        return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


# YAML 1.1 reads 1e-3 as text; in settings it is a number.
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
# YAML 1.1 also converts text such as 2024-01-01 to a date; settings have no dates.
_UniqueKeyLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _UniqueKeyLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, source: str) -> dict[str, object]:
    """Read YAML text into a dictionary; error messages name it by `source`."""
    raw = _parse(text, source)
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{source} holds {'a list' if isinstance(raw, list) else 'a value'}, not sections with keys")
    return raw


def _parse(text: str, source: str) -> object:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark and "\n" in text else ""
        raise ConfigError(f"{source}{place}: not valid YAML: {error.problem or error.context}") from error
    # `!!int abc` is a ValueError, a thousand brackets a RecursionError
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, object]:
    """Read a settings file into a dictionary.

    Raises:
        ConfigError: the file is missing, unreadable, or not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"cannot read settings file {path}: {reason}") from error
    return parse_yaml(text, str(path))


def apply_overrides(
    raw: Mapping[str, object], overrides: Iterable[str], cls: type[Settings] | None = None
) -> dict[str, object]:
    """Apply `section.key=value` overrides (values in YAML; list items by index) to a copy of `raw`.

    With `cls`, an index also works in a list that `raw` leaves at its default.
    """
    result = copy.deepcopy(dict(raw))
    for override in overrides:
        dotted, equals, text = override.partition("=")
        keys = dotted.split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {override!r} is not of the form section.key=value")
        _assign(result, keys, _parse(text, f"--set {override!r}"), override, cls)
    return result


def _assign(node: object, keys: list[str], value: object, override: str, cls: type[Settings] | None) -> None:
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                place = ".".join(keys[:position])
                raise ConfigError(f"--set {override!r}: {place} has no item {key!r}; {_items(place, len(node))}")
            index: Any = int(key)
        elif isinstance(node, dict):
            index = key
            if not last and node.get(key) is None:
                node[key] = _default_list(cls, keys[: position + 1]) or {}
        else:
            raise ConfigError(f"--set {override!r}: {'.'.join(keys[:position])} holds a plain value, not a section")
        if last:
            node[index] = value
        else:
            node = node[index]


def _items(place: str, length: int) -> str:
    """The items of a list, for a message about one that it lacks."""
    if length == 0:
        return f"the list is empty, so give all of it: --set '{place}=[...]'"
    return "its only item is 0" if length == 1 else f"its items are 0 to {length - 1}"


def _default_list(cls: type[Settings] | None, keys: list[str]) -> list[object]:
    """The default list of a key in the form YAML gives it; empty where the default is not a list."""
    for field in fields_at(cls, keys):
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, tuple | list):
            return [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in default]
    return []


def validate(cls: type[S], raw: Mapping[str, object], source: str, overrides: Iterable[str] = ()) -> S:
    """Turn a dictionary into `cls`, or raise a `ConfigError` with one line per mistake.

    `source` is where `raw` comes from. The message for a key that an item of `overrides` has set names that item.
    """
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(cls, error, source, tuple(overrides)))) from error


def dump_yaml(settings: Settings) -> str:
    """The settings as YAML, with every default."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
