"""Defaults filled in, unknown fields and needless nulls taken out: what the apiserver would store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from userswarm.spec.schema.field import Field

_PLAIN: Final = frozenset((str, int, bool))


def rewriter(
    which: str,
    kinds: list[str],
    fields: Mapping[str, Field],
    entries: Field | None,
    items: Field | None,
    defaults: Mapping[str, Any],
) -> Callable[[Any], Any]:
    """Return the function that makes of a value what the apiserver would store; `which` names that of its members."""
    if fields:
        return _object_rewriter(which, fields, defaults)
    if entries:
        return _map_rewriter(getattr(entries, which), entries.nullable)
    if items:
        return _list_rewriter(getattr(items, which))
    return _whole_number if "integer" in kinds else _copy


def _object_rewriter(which: str, fields: Mapping[str, Field], defaults: Mapping[str, Any]) -> Callable[[Any], Any]:
    rewriters: dict[str, Callable[[Any], Any]] = {name: getattr(field, which) for name, field in fields.items()}
    nullable = frozenset(name for name, field in fields.items() if field.nullable)
    constants = {name: default for name, default in defaults.items() if default.__class__ in _PLAIN}
    made = [(name, default, rewriters[name]) for name, default in defaults.items() if name not in constants]

    def rewrite(value: Any) -> Any:
        if value.__class__ is not dict:
            return _copy(value)
        result = constants.copy()
        for name, member in value.items():
            if name in rewriters:
                if member.__class__ in _PLAIN:
                    result[name] = member
                elif member is not None:
                    result[name] = rewriters[name](member)
                elif name in nullable:
                    result[name] = None
        for name, default, rewrite_member in made:
            if name not in result:
                result[name] = rewrite_member(default)
        return result

    return rewrite


def _map_rewriter(rewrite_entry: Callable[[Any], Any], nullable: bool) -> Callable[[Any], Any]:
    def rewrite(value: Any) -> Any:
        if value.__class__ is not dict:
            return _copy(value)
        return {name: rewrite_entry(entry) for name, entry in value.items() if entry is not None or nullable}

    return rewrite


def _list_rewriter(rewrite_item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def rewrite(value: Any) -> Any:
        # A null stays: the apiserver drops none from a list, it refuses the list.
        return [rewrite_item(item) for item in value] if value.__class__ is list else _copy(value)

    return rewrite


def _copy(value: Any) -> Any:
    """Copy JSON."""
    if value.__class__ is dict:
        return {name: member if member.__class__ in _PLAIN else _copy(member) for name, member in value.items()}
    if value.__class__ is list:
        return [item if item.__class__ in _PLAIN else _copy(item) for item in value]
    return value


def _whole_number(value: Any) -> Any:
    """Make a 1.0 a 1, which is how Kubernetes writes it back."""
    return int(value) if value.__class__ is float and value.is_integer() else _copy(value)
