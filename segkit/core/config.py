"""Settings: YAML read into frozen, typed models that refuse unknown keys and say what was meant.

A settings class derives from `Settings`; its fields carry their meaning as a docstring below them. `load` reads a file,
applies `--set` overrides and validates. Every error names the file, the key, the value, what is allowed, and the nearest
known key.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from segkit.core.errors import ConfigError


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, field docstrings kept as descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


S = TypeVar("S", bound=Settings)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, which plain YAML would silently let win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 1e-3 as text; in settings it is a number.
_UniqueKeyLoader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Read YAML text into a dictionary; `source` names it in errors."""
    try:
        raw = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{source} holds a {type(raw).__name__}, not sections with keys")
    return raw


def read_yaml(path: Path) -> dict[str, Any]:
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


def apply_overrides(raw: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply `section.key=value` overrides (values in YAML; list items by index) to a copy of `raw`."""
    result: dict[str, Any] = json.loads(json.dumps(raw, default=str))
    for override in overrides:
        dotted, equals, text = override.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"--set {override!r} is not of the form section.key=value")
        try:
            value = yaml.load(text, Loader=_UniqueKeyLoader)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: the value is not valid YAML") from error
        _assign(result, dotted.split("."), value, override)
    return result


def _assign(node: Any, keys: list[str], value: Any, override: str) -> None:
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"--set {override!r}: {key!r} is not an index into a list of {len(node)}")
            index: Any = int(key)
        elif isinstance(node, dict):
            index = key
            if not last and node.get(key) is None:
                node[key] = {}
        else:
            raise ConfigError(f"--set {override!r}: {'.'.join(keys[:position])} holds a plain value, not a section")
        if last:
            node[index] = value
        else:
            node = node[index]


def validate(cls: type[S], raw: Mapping[str, Any], source: str) -> S:
    """Turn a dictionary into `cls`, or raise a `ConfigError` with one line per mistake."""
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(cls, item, source) for item in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _explain(cls: type[Settings], item: Any, source: str) -> str:
    location = [part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        known = _known_keys(cls, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
        return f"{source}: unknown key {key!r} (value {item['input']!r}); {hint}"
    if item["type"] == "missing":
        return f"{source}: key {key!r} is missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{source}: {key or 'settings'} = {item['input']!r}: {message[:1].lower()}{message[1:]}"


def _known_keys(cls: Any, location: list[Any]) -> list[str]:
    """Field names of the settings class found by walking `location` from `cls`."""
    candidates = [cls]
    for part in location:
        found: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel) and part in candidate.model_fields:
                found += _models_in(candidate.model_fields[part].annotation)
            elif isinstance(part, int | str):
                found.append(candidate)  # an index or key inside a container of the same models
        candidates = found
    return sorted({name for c in candidates if hasattr(c, "model_fields") for name in c.model_fields})


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def load(cls: type[S], path: Path, overrides: Iterable[str] = ()) -> S:
    """Read, override and validate one settings file.

    Raises:
        ConfigError: wrong file, key or value; the message names it and what is allowed.
    """
    overrides = tuple(overrides)
    source = f"{path} with --set" if overrides else str(path)
    return validate(cls, apply_overrides(read_yaml(path), overrides), source)


def dump_yaml(settings: Settings) -> str:
    """The settings as YAML, every default spelt out."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
