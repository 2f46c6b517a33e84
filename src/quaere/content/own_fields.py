"""A library's own fields: `extra` of its cards, as the JSON Schema says that the settings name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from quaere.content import files
from quaere.errors import ConfigError, Place

_T = TypeVar("_T")
_SCALARS = (str, int, float)


def schema(root: Path, file: str) -> tuple[dict[str, Any], list[ConfigError]]:
    """Read the JSON Schema of the cards' own fields; nothing without one."""
    try:
        if (data := files.read(root, file, ConfigError)) is None:
            return {}, []
        text, faults = files.text(data, file, ConfigError)
        found = json.loads(text)
    except ConfigError as error:
        return {}, [error]
    except RecursionError:
        return {}, [ConfigError(Place(file), "not JSON: it nests too deep")]
    except json.JSONDecodeError as error:
        return {}, [
            ConfigError(Place(file, error.lineno, error.colno), f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}")
        ]
    if faults or not isinstance(found, dict):
        return {}, [*faults, *([] if faults else [ConfigError(Place(file), "expected a JSON Schema, an object")])]
    if problem := _problem(found):
        return {}, [ConfigError(Place(file), f"not a JSON Schema: {problem}")]
    return found, []


def _problem(schema: Mapping[str, Any]) -> str:
    from jsonschema import SchemaError, validators

    try:
        validators.validator_for(schema, validators.Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"{error.message} (at {error.json_path})"
    return ""


def faults(
    schema: Mapping[str, Any], cards: Iterable[tuple[_T, Mapping[str, Any]]]
) -> Iterator[tuple[_T, tuple[str | int, ...], str]]:
    """Yield what is wrong with the own fields of cards: the card, the path below `extra`, and the problem."""
    from jsonschema import validators
    from referencing.exceptions import Unresolvable

    kind = validators.validator_for(schema, validators.Draft202012Validator)
    validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
    for card, extra in cards:
        try:
            for error in validator.iter_errors(extra):
                yield card, tuple(error.absolute_path), error.message
        except Unresolvable as error:
            yield card, (), f"the schema refers to {error.ref}, which is not in it"


def title(schema: Mapping[str, Any], name: str) -> str:
    """Return what a field is called: the schema's `title`, or its name."""
    told = _property(schema, name).get("title")
    return told if isinstance(told, str) and told else name


def facets(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields by which papers are filtered: those with a choice of values, and lists of these."""
    properties = schema.get("properties")
    return (
        tuple(name for name in properties if _is_choice(_property(schema, name)))
        if isinstance(properties, dict)
        else ()
    )


def values(value: object) -> tuple[str, ...]:
    """Return the values of a field as text, of a list each."""
    if isinstance(value, list):
        return tuple(one for part in value for one in values(part))
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    return (str(value),) if isinstance(value, _SCALARS) else ()


def _property(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, dict) else None
    return found if isinstance(found, dict) else {}


def _is_choice(field: Mapping[str, Any]) -> bool:
    items = field.get("items")
    return "enum" in field or field.get("type") == "boolean" or (isinstance(items, dict) and "enum" in items)
