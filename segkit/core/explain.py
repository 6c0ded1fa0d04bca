"""What pydantic found wrong in settings, as lines a user can act on."""

import difflib
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Location = tuple[int | str, ...]

_PLAIN_WORDS = {
    "tuple_type": "input should be a list",
    "list_type": "input should be a list",
    "dict_type": "input should be a section with keys",
    "model_type": "input should be a section with keys",
    "model_attributes_type": "input should be a section with keys",
}


def explain(cls: type[BaseModel], error: ValidationError, source: str, overrides: Sequence[str] = ()) -> list[str]:
    """One line per mistake: where it is, what was found, what is allowed, the nearest known key.

    Args:
        cls: what was to be built.
        error: why it could not be.
        source: the file the values come from.
        overrides: `section.key=value` that were applied to it; named beside the file where they touch the mistake.
    """
    mistakes: dict[Location, list[Any]] = {}
    for item in error.errors():
        mistakes.setdefault(_without_tags(cls, item), []).append(item)
    lines = []
    for place, items in mistakes.items():
        # A list with a wrong item is also reported as too short: only the innermost mistake is one.
        if not any(other != place and other[: len(place)] == place for other in mistakes):
            lines.append(f"{_origin(place, source, overrides)}: {_mistake(cls, place, items)}")
    return lines


def _mistake(cls: type[BaseModel], place: Location, items: list[Any]) -> str:
    key, first = _dotted(place), items[0]
    if first["type"] == "missing":
        return f"key {key!r} is missing"
    if first["type"] == "extra_forbidden":
        known = sorted(name for model in _models_of_key(cls, first["loc"]) for name in model.model_fields)
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"unknown key {key!r} (value {_short(first['input'])}); {hint}"
    wanted = ", or ".join(dict.fromkeys(_message(item) for item in items))
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return f"{key}: {wanted}" if key else wanted  # what a whole section lacks; repeating the section would not help
    if first["loc"][-1:] == ("[key]",):
        return f"key {key!r}: {wanted}"
    return f"{f'{key} = ' if key else ''}{_short(first['input'])}: {wanted}"


def _message(item: Any) -> str:
    if item["type"] in _PLAIN_WORDS:
        return _PLAIN_WORDS[item["type"]]
    if item["type"] == "union_tag_not_found":
        return f"key {item['ctx']['discriminator']} is missing, which says what kind it is"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace(" after validation", "").replace("Tuple should", "List should")
    return message[:1].lower() + message[1:]


def _short(value: Any, longest: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def _dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def _origin(place: Location, source: str, overrides: Sequence[str]) -> str:
    key = f"{_dotted(place)}."
    touching = [text for text in overrides if _prefixed(key, f"{text.partition('=')[0]}.")]
    return f"{source} with --set {' '.join(touching)}" if touching else source


def _prefixed(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


def holds(annotation: Any, *wanted: type) -> bool:
    """Whether one of the types may stand directly in a field, as int does in `int | None` but not in `list[int]`."""
    return any(member in wanted for member in _members(annotation))


def _members(annotation: Any) -> list[Any]:
    """The types of a union, or the one there is; None and `Annotated` are looked through."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for inner in get_args(annotation) for member in _members(inner)]
    return [] if annotation is type(None) else [annotation]


def _is_model(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel)


def _steps(member: Any, part: int | str) -> Iterator[Any]:
    """The annotations that lie one key or index below a type."""
    if _is_model(member):
        if part in member.model_fields:
            yield member.model_fields[part].annotation
    elif isinstance(part, int) or get_origin(member) is dict or str(part).isdecimal():
        inside = get_args(member)[-1:] if get_origin(member) is dict else get_args(member)
        yield from (inner for inner in inside if inner is not ...)


def _flat(annotations: Sequence[Any]) -> list[Any]:
    return [member for annotation in annotations for member in _members(annotation)]


def _below(annotations: Sequence[Any], part: int | str) -> list[Any]:
    return [inner for member in _flat(annotations) for inner in _steps(member, part)]


def _without_tags(cls: type[BaseModel], item: Any) -> Location:
    """A mistake's place as the file has it: pydantic also names branches of unions and functions of its own."""
    annotations: list[Any] = [cls]
    place: list[int | str] = []
    for position, part in enumerate(item["loc"]):
        unknown_key = item["type"] == "extra_forbidden" and position == len(item["loc"]) - 1
        if _below(annotations, part) or unknown_key:
            place.append(part)
        annotations = _one_part_on(annotations, part)
    return tuple(place)


def _one_part_on(annotations: list[Any], part: int | str) -> list[Any]:
    """The annotations below a key or an index, or those of the union that a tag selects."""
    selected = [member for member in _flat(annotations) if _is_tagged(member, part)]
    return _below(annotations, part) or selected or annotations


def _models_of_key(cls: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """The models that could hold the last key of pydantic's location."""
    annotations: list[Any] = [cls]
    for part in location[:-1]:
        annotations = _one_part_on(annotations, part)
    return [member for member in _flat(annotations) if _is_model(member)]


def _is_tagged(member: Any, tag: int | str) -> bool:
    fields = member.model_fields.values() if _is_model(member) else ()
    return bool(fields) and (member.__name__ == tag or any(tag in get_args(field.annotation) for field in fields))


def _models_at(cls: type[BaseModel], place: Location) -> list[type[BaseModel]]:
    annotations: list[Any] = [cls]
    for part in place:
        annotations = _below(annotations, part)
    return [member for member in _flat(annotations) if _is_model(member)]


def fields_at(cls: type[BaseModel] | None, keys: Sequence[str]) -> list[FieldInfo]:
    """The fields a dotted key may mean."""
    models = [] if cls is None else _models_at(cls, tuple(keys[:-1]))
    return [model.model_fields[keys[-1]] for model in models if keys[-1] in model.model_fields]
