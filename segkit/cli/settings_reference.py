"""The reference of all settings, made from the settings classes."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import yaml

from pipelines.recipes import RECIPES
from segkit.core.errors import RequestError
from segkit.core.names import hint

Schema = Mapping[str, Any]
"""JSON schema of a setting or a section, as pydantic writes it."""

_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True)
class Setting:
    """One key of a section."""

    key: str
    type: str
    """With its range; `[NAME]` stands for a section."""
    default: str
    """In YAML; empty for a section with its own defaults."""
    description: str
    sections: tuple[str, ...]
    """Names of the sections that its value is made of."""


@dataclass(frozen=True)
class Section:
    """A recipe, or a group of settings."""

    name: str
    description: str
    settings: tuple[Setting, ...]


@cache
def _schemas() -> Mapping[str, Schema]:
    """Of the recipes by name."""
    return {name: recipe.settings.model_json_schema() for name, recipe in RECIPES.items()}


@cache
def recipes() -> Mapping[str, Section]:
    """The recipes by name."""
    return {
        name: _section(name, {**schema, "description": f"{RECIPES[name].summary}."}, schema["$defs"])
        for name, schema in _schemas().items()
    }


@cache
def sections() -> Mapping[str, Section]:
    """The sections below the recipes by name, in the order in which the recipes name them."""
    known = {
        _name(key, definition): _section(_name(key, definition), definition, schema["$defs"])
        for schema in _schemas().values()
        for key, definition in schema["$defs"].items()
        if "properties" in definition
    }
    return {name: known[name] for name in _reachable(list(recipes().values()), known)}


def find(name: str) -> Sequence[Section]:
    """A recipe with all its sections, one section, or the sections of a key such as `teacher` or `phases`.

    Raises:
        RequestError: there is nothing of this name.
    """
    if name in recipes():
        recipe = recipes()[name]
        return [recipe, *(sections()[below] for below in _reachable([recipe], sections()))]
    if name in sections():
        return [sections()[name]]
    key = [part for part in name.split(".") if not part.isdigit()][-1:]
    users = {
        section.name: one
        for section in (*recipes().values(), *sections().values())
        for one in section.settings
        if [one.key] == key
    }
    if not users:
        otherwise = f"recipes are {', '.join(recipes())}; `segkit settings` lists the sections"
        raise RequestError(f"there is no recipe, section or setting {name!r}; {hint(name, all_names(), otherwise)}")
    below = dict.fromkeys(section for one in users.values() for section in one.sections)
    setting = Section(key[0], f"a key of {', '.join(users)}.", tuple(dict.fromkeys(users.values())))
    return [setting, *(sections()[section] for section in below)]


def all_names() -> list[str]:
    """Everything that `find` finds."""
    every = (*recipes().values(), *sections().values())
    return [*dict.fromkeys([*(section.name for section in every), *(one.key for sec in every for one in sec.settings)])]


def text(section: Section) -> Iterator[str]:
    """The lines of a section for a terminal."""
    wrapped = partial(textwrap.wrap, width=110, break_on_hyphens=False)
    yield from wrapped(f"{section.name}: {section.description}")
    for setting in section.settings:
        default = f"; default {setting.default}" if setting.default else ""
        line = f"{setting.key}: {re.sub(r'[][]', '', setting.type)}{default}"
        yield from wrapped(line, initial_indent="  ", subsequent_indent="      ")
        yield from wrapped(setting.description, initial_indent="      ", subsequent_indent="      ")


def _reachable(start: Sequence[Section], known: Mapping[str, Section]) -> list[str]:
    """The names of the sections that others are made of, each after the first that names it."""
    names: dict[str, None] = {}
    waiting = list(start)
    while waiting:
        for setting in waiting.pop(0).settings:
            for name in setting.sections:
                if name not in names:
                    names[name] = None
                    waiting.append(known[name])
    return list(names)


def _section(name: str, schema: Schema, definitions: Mapping[str, Schema]) -> Section:
    required = schema.get("required", ())
    settings = []
    for key, value in schema["properties"].items():
        default = "required" if key in required else ""
        if "default" in value:
            default = _yaml(_without_defaults(value, value["default"], definitions))
        kind = _type(value, definitions)
        below = tuple(dict.fromkeys(re.findall(r"\[([^]]+)\]", kind)))
        settings.append(Setting(key, kind, default, _line(value.get("description", "")), below))
    return Section(name, _line(schema.get("description", "")), tuple(settings))


def _name(key: str, definition: Schema) -> str:
    """The name of a section: its kind, as in `sa-unet`, or that of its class without `Settings`."""
    kind = definition.get("properties", {}).get("name", {})
    if "const" in kind:
        return str(kind["const"])
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", re.sub(r"(Stage)?Settings$", "", key)).lower()


def _line(description: str) -> str:
    return " ".join(description.split())


def _type(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """The type in words, with its range; sections in brackets."""
    if "$ref" in schema:
        key = schema["$ref"].rpartition("/")[2]
        return f"[{_name(key, definitions[key])}]" if "properties" in definitions[key] else "any value"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            *others, last = dict.fromkeys(_type(member, definitions) for member in schema[union])
            return f"{', '.join(others)} or {last}" if others else last
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"list ({', '.join(_type(item, definitions) for item in schema['prefixItems'])})"
        count = f"of {schema['minItems']} or more " if schema.get("minItems") else ""
        return f"list {count}({_type(schema.get('items', {}), definitions)})"
    if schema.get("type") == "object":
        named: Schema = schema.get("additionalProperties") or next(
            iter(schema.get("patternProperties", {}).values()), {}
        )
        return f"names, each with {_type(named, definitions)}"
    plain = "path" if schema.get("format") == "path" else _TYPES.get(schema.get("type", ""), "any value")
    return f"{plain}{_range(schema)}"


def _range(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema]
    return f" {' and '.join(limits)}" if limits else ""


def _without_defaults(schema: Schema, value: object, definitions: Mapping[str, Schema]) -> object:
    """A default without what its sections have by default anyway; an empty section where nothing is left."""
    if isinstance(value, list):
        return [_without_defaults(schema.get("items", {}), item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    below = _properties(schema, value, definitions)
    return {
        key: _without_defaults(below.get(key, {}), inner, definitions)
        for key, inner in value.items()
        if key not in below or "const" in below[key] or below[key].get("default") != inner
    }


def _properties(schema: Schema, value: Mapping[str, object], definitions: Mapping[str, Schema]) -> Mapping[str, Schema]:
    """The keys of the section that a value belongs to."""
    for member in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        properties: Mapping[str, Schema] = definitions.get(member.get("$ref", "").rpartition("/")[2], {}).get(
            "properties", {}
        )
        if properties and properties.get("name", {}).get("const", value.get("name")) == value.get("name"):
            return properties
    return {}


def _yaml(value: object) -> str:
    """In one line; empty for a section with its own defaults."""
    if value == {}:
        return ""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()
