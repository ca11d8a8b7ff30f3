"""What is wrong with a value, in words for whoever wrote it.

jsonschema drives; its keywords that would look at a whole subtree are replaced, for nulls (the apiserver drops them
before it looks), for paths as `kubectl explain` has them, and to go from one ready validator to the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from userswarm.errors import Problem
from userswarm.spec.schema.field import Field


def _properties(
    validator: Any, fields: Mapping[str, Field], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if instance.__class__ is dict:
        for name, member in instance.items():
            field = fields.get(name)
            if field and (member is not None or field.nullable):
                yield from _below(field, member, f".{name}")


def _required(
    validator: Any, fields: Mapping[str, Field], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if instance.__class__ is dict:
        for name, field in fields.items():
            if instance.get(name) is None and not (field.nullable and name in instance):
                yield ValidationError(f"is missing; must be {field.accepted}", path=[f".{name}"])


def _additional_properties(
    validator: Any, rule: tuple[Field, int], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    field, most = rule
    if instance.__class__ is dict:
        entries = {key: entry for key, entry in instance.items() if entry is not None or field.nullable}
        if len(entries) > most:
            yield ValidationError(f"has {len(entries)} entries; must have at most {most}")
        for key, entry in entries.items():
            yield from _below(field, entry, f"[{key}]")


def _items(validator: Any, field: Field, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if instance.__class__ is list:
        for index, item in enumerate(instance):
            yield from _below(field, item, f"[{index}]")


def _list_map_keys(
    validator: Any, keys: list[str], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Refuse a second item with the same keys, as the apiserver does for ``x-kubernetes-list-type: map``."""
    first: dict[str, int] = {}
    for index, item in enumerate(instance if keys and instance.__class__ is list else ()):
        if item.__class__ is dict:
            identity = json.dumps([item.get(key) for key in keys], default=str)
            if first.setdefault(identity, index) != index:
                yield ValidationError(
                    f"is {_shown(item.get(keys[-1]))}, as [{first[identity]}] is; must be there once",
                    path=[f"[{index}]", f".{keys[-1]}"],
                )


def _type(
    validator: Any, classes: frozenset[type], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """Compare classes, which for JSON is exact; asking jsonschema's registry of types was a third of validation."""
    kind = instance.__class__
    # A 1 is a number, and a 1.0 is a whole one.
    if kind not in classes and not (
        (kind is int and float in classes) or (kind is float and int in classes and instance.is_integer())
    ):
        yield ValidationError("")


def _below(field: Field, value: Any, segment: str) -> Iterator[ValidationError]:
    for error in field.validator.iter_errors(value):
        error.path.appendleft(segment)
        yield error


Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "additionalProperties": _additional_properties,
        "items": _items,
        "properties": _properties,
        "required": _required,
        "type": _type,
        "x-kubernetes-list-map-keys": _list_map_keys,
    },
)
_OWN_WORDS: Final = frozenset(("additionalProperties", "required", "x-kubernetes-list-map-keys"))


def find_problems(validator: Any, value: Any, path: str) -> list[Problem]:
    """Return one problem for each path, the first that jsonschema finds there, sorted."""
    found: dict[str, Problem] = {}
    for error in validator.iter_errors(value):
        where = (path + "".join(map(str, error.path))).removeprefix(".")
        if error.validator in _OWN_WORDS:
            message = error.message
        elif error.validator == "maxItems":
            message = f"has {len(error.instance)} entries; must have at most {error.validator_value}"
        else:
            message = f"is {_shown(error.instance)}; must be {error.schema['accepted']}"
        found.setdefault(where, Problem(where, message))
    return sorted(found.values(), key=by_path)


_LONGEST_SHOWN: Final = 80


def _shown(value: Any) -> str:
    """Write a value as JSON, shortened."""
    if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
        return f"{json.dumps(value[:_LONGEST_SHOWN], ensure_ascii=False)}… ({len(value)} characters)"
    text = ""
    # Piece by piece: what is shortened need not be written out first.
    for piece in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += piece
        if len(text) > _LONGEST_SHOWN:
            return text[:_LONGEST_SHOWN] + "…"
    return text


def by_path(problem: Problem) -> list[str | int]:
    """Sort env[2] before env[10]."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", problem.path)]
