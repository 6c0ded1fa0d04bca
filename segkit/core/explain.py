"""Validation errors of pydantic as lines that a user can act on."""

import re
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from segkit.core.names import hint

Location = tuple[int | str, ...]

_MESSAGES = {
    "tuple_type": "input should be a list",
    "list_type": "input should be a list",
    "dict_type": "input should be a section with keys",
    "model_type": "input should be a section with keys",
    "model_attributes_type": "input should be a section with keys",
}


def explain(cls: type[BaseModel], error: ValidationError, source: str, overrides: Sequence[str] = ()) -> list[str]:
    """One line per mistake: where it is, what was found, what is allowed, the nearest known key.

    Args:
        overrides: `section.key=value` items that were applied to it; a line names those that set its key.
    """
    mistakes: dict[Location, list[ErrorDetails]] = {}
    for item in error.errors():
        mistakes.setdefault(_without_tags(cls, item), []).append(item)
    lines = []
    for place, items in mistakes.items():
        # pydantic also reports a list with a wrong item as too short; only the innermost mistake is shown.
        if not any(other != place and other[: len(place)] == place for other in mistakes):
            lines.append(f"{_origin(place, source, overrides)}: {_mistake(cls, place, items)}")
    return lines


def _mistake(cls: type[BaseModel], place: Location, items: list[ErrorDetails]) -> str:
    key, first = _dotted(place), items[0]
    if first["type"] == "union_tag_invalid":
        return _unknown_kind(key, first)
    if first["type"] == "missing":
        return f"key {key!r} is missing"
    if first["type"] == "extra_forbidden":
        known = sorted(name for model in _models_of_key(cls, first["loc"]) for name in model.model_fields)
        nearest = hint(str(place[-1]), known, f"known: {', '.join(known)}")
        return f"unknown key {key!r} (value {_short(first['input'])}); {nearest}"
    reason = ", or ".join(dict.fromkeys(_message(item) for item in items))
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return f"{key}: {reason}" if key else reason  # of a whole section, which is too long to repeat
    if first["loc"][-1:] == ("[key]",):
        return f"key {key!r}: {reason}"
    return f"{f'{key} = ' if key else ''}{_short(first['input'])}: {reason}"


def _unknown_kind(key: str, item: ErrorDetails) -> str:
    """Of a section whose `name` is none of those allowed."""
    tag, field = str(item["ctx"]["tag"]), item["ctx"]["discriminator"].strip("'")
    known = item["ctx"]["expected_tags"]
    nearest = hint(tag, re.findall("'([^']*)'", known), "")
    return f"{f'{key}.' if key else ''}{field} = {tag!r}: input should be one of {known}; {nearest}".removesuffix("; ")


def _message(item: ErrorDetails) -> str:
    if item["type"] in _MESSAGES:
        return _MESSAGES[item["type"]]
    if item["type"] == "union_tag_not_found":
        return f"key {item['ctx']['discriminator']} is missing, which says what kind it is"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace(" after validation", "").replace("Tuple should", "List should")
    return message[:1].lower() + message[1:]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def _origin(place: Location, source: str, overrides: Sequence[str]) -> str:
    key = f"{_dotted(place)}."
    touching = [text for text in overrides if _prefixed(key, f"{text.partition('=')[0]}.")]
    return f"{source} with --set {' '.join(touching)}" if touching else source


def _prefixed(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


def allows_type(annotation: object, *types_: type) -> bool:
    """Whether a field may directly have one of the types, as int in `int | None` but not in `list[int]`."""
    return any(member in types_ for member in _members(annotation))


def _members(annotation: object) -> list[object]:
    """The types of a union without None, or the one type; `Annotated` is unwrapped."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for inner in get_args(annotation) for member in _members(inner)]
    return [] if annotation is type(None) else [annotation]


def _is_model(member: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(member, type) and issubclass(member, BaseModel)


def _steps(member: object, part: int | str) -> Iterator[object]:
    """The annotations one key or index below a type."""
    if _is_model(member):
        if part in member.model_fields:
            yield member.model_fields[part].annotation
    elif isinstance(part, int) or get_origin(member) is dict or str(part).isdecimal():
        inside = get_args(member)[-1:] if get_origin(member) is dict else get_args(member)
        yield from (inner for inner in inside if inner is not ...)


def _flat(annotations: Sequence[object]) -> list[object]:
    return [member for annotation in annotations for member in _members(annotation)]


def _below(annotations: Sequence[object], part: int | str) -> list[object]:
    return [inner for member in _flat(annotations) for inner in _steps(member, part)]


def _without_tags(cls: type[BaseModel], item: ErrorDetails) -> Location:
    """The location in the file; pydantic's location also contains union branches and validator functions."""
    annotations: list[object] = [cls]
    place: list[int | str] = []
    for position, part in enumerate(item["loc"]):
        unknown_key = item["type"] == "extra_forbidden" and position == len(item["loc"]) - 1
        if _below(annotations, part) or unknown_key:
            place.append(part)
        annotations = _next_level(annotations, part)
    return tuple(place)


def _next_level(annotations: list[object], part: int | str) -> list[object]:
    """The annotations below a key or an index, or those of the union that a tag selects."""
    selected = [member for member in _flat(annotations) if _is_tagged(member, part)]
    return _below(annotations, part) or selected or annotations


def _models_of_key(cls: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """The models that could hold the last key of pydantic's location."""
    annotations: list[object] = [cls]
    for part in location[:-1]:
        annotations = _next_level(annotations, part)
    return [member for member in _flat(annotations) if _is_model(member)]


def _is_tagged(member: object, tag: int | str) -> bool:
    if not _is_model(member):
        return False
    fields = member.model_fields.values()
    return bool(fields) and (member.__name__ == tag or any(tag in get_args(field.annotation) for field in fields))


def _models_at(cls: type[BaseModel], place: Location) -> list[type[BaseModel]]:
    annotations: list[object] = [cls]
    for part in place:
        annotations = _below(annotations, part)
    return [member for member in _flat(annotations) if _is_model(member)]


def fields_at(cls: type[BaseModel] | None, keys: Sequence[str]) -> list[FieldInfo]:
    """The fields that a dotted key may refer to."""
    models = [] if cls is None else _models_at(cls, tuple(keys[:-1]))
    return [model.model_fields[keys[-1]] for model in models if keys[-1] in model.model_fields]
