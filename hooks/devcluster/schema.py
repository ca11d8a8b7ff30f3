"""The structural schema of a CustomResourceDefinition: pruning, defaults, validation.

jsonschema validates; the schema is put into its dialect first. A keyword that would be ignored is refused, for what
the API server refuses would be accepted then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from devcluster.errors import DevClusterError
from devcluster.objects import Manifest, Observed, dump

Path = tuple[str | int, ...]

_AS_THEY_ARE: Final = frozenset(
    {"required", "uniqueItems", "multipleOf"}
    | {f"{end}{what}" for end in ("min", "max") for what in ("imum", "Items", "Length", "Properties")}
)
_TRANSLATED: Final = frozenset(
    {"additionalProperties", "allOf", "anyOf", "enum", "format", "items", "not", "nullable", "oneOf"}
    | {"pattern", "properties", "type"}
)
_NOT_VALIDATED: Final = frozenset({"default", "description", "example", "externalDocs", "title"})
_EXTENSIONS: Final = frozenset(
    {"x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys"}
    | {"x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields"}
    | {"x-kubernetes-validations"}
)
_KNOWN: Final = _AS_THEY_ARE | _TRANSLATED | _NOT_VALIDATED | _EXTENSIONS

_BOUNDS: Final = {
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
}
_UNCHECKED_FORMATS: Final = frozenset({"date-time", "double", "float"})

_MAP_KEYS: Final = "x-kubernetes-list-map-keys"
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"


class SchemaError(DevClusterError):
    """A CRD says more than the dev cluster understands."""


class Schema:
    """What a schema makes of an object."""

    def __init__(self, schema: Observed) -> None:
        """Read it; raises SchemaError for a keyword that is not known."""
        self._schema = schema
        self._validator = _Validator(_translated(schema, ""))

    def complete(self, obj: Observed) -> Manifest:
        """Return the object without unknown fields and needless nulls, with defaults filled in."""
        completed: Manifest = _completed(self._schema, obj)
        return completed

    def problems(self, obj: Observed) -> Iterator[tuple[Path, str]]:
        """Yield what is wrong with an object that is complete: where, and why."""
        for error in self._validator.iter_errors(obj):
            yield tuple(error.absolute_path), error.message


def _completed(schema: Observed, value: Any) -> Any:
    if isinstance(value, Mapping) and schema.get("type") == "object":
        properties, entries = schema.get("properties", {}), schema.get("additionalProperties")
        result: Manifest = {}
        for name, member in value.items():
            part = properties.get(name, entries if isinstance(entries, Mapping) else None)
            if part is None:
                kept = schema.get(_EMBEDDED) and name in {"apiVersion", "kind", "metadata"}
                if kept or schema.get(_PRESERVE) or entries is True:
                    result[name] = member
            elif member is not None or part.get("nullable"):
                result[name] = _completed(part, member)
        for name, part in properties.items():
            if name not in result and "default" in part:
                result[name] = _completed(part, part["default"])
        return result
    if isinstance(value, list) and "items" in schema:
        return [_completed(schema["items"], each) for each in value]
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
        return int(value)  # as Kubernetes writes it back
    return value


def _translated(schema: Observed, path: str) -> dict[str, Any]:
    """Return the schema in the dialect of jsonschema."""
    _refuse_unknown(schema, path)
    result: dict[str, Any] = {name: schema[name] for name in (_AS_THEY_ARE | {_MAP_KEYS}) & schema.keys()}
    result = _BOUNDS.get(schema.get("format", ""), {}) | result
    for word in {"items", "additionalProperties", "not"} & schema.keys():
        if isinstance(schema[word], Mapping):
            result[word] = _translated(schema[word], f"{path}.{word}")
    for word in {"allOf", "anyOf", "oneOf"} & schema.keys():
        result[word] = [_translated(each, f"{path}.{word}") for each in schema[word]]
    if "properties" in schema:
        parts = schema["properties"].items()
        result["properties"] = {name: _translated(part, f"{path}.{name}") for name, part in parts}
    if "pattern" in schema:
        # In Go only letters of ASCII are word characters, and no newline may follow the end.
        result["pattern"] = "(?a)" + re.sub(r"\$$", r"\\Z", schema["pattern"])
    if schema.get("x-kubernetes-list-type") == "set":
        result["uniqueItems"] = True
    null = [None] if schema.get("nullable") else []
    types = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else [schema.get("type")]
    if types != [None]:
        result["type"] = [*types, *("null" for _ in null)]
    if "enum" in schema:
        result["enum"] = [*schema["enum"], *null]
    return result


def _refuse_unknown(schema: Observed, path: str) -> None:
    unknown = sorted(schema.keys() - _KNOWN)
    form = schema.get("format", "")
    if form and form not in _BOUNDS and form not in _UNCHECKED_FORMATS:
        unknown.append(f"format {form}")
    if unknown:
        raise SchemaError(f"{path.lstrip('.') or 'the root'}: the dev cluster does not understand {', '.join(unknown)}")


def _unique_by_keys(validator: Any, keys: list[str], instance: Any, schema: Observed) -> Iterator[ValidationError]:
    """Refuse a second item with the same keys."""
    seen: set[bytes] = set()
    for index, item in enumerate(instance if isinstance(instance, list) else ()):
        identity = {key: item.get(key) for key in keys} if isinstance(item, dict) else item
        if dump(identity) in seen:
            yield ValidationError(f"Duplicate value: {identity}", path=[index])
        seen.add(dump(identity))


_Validator: Final = extend(Draft202012Validator, {_MAP_KEYS: _unique_by_keys})  # type: ignore[no-untyped-call]
