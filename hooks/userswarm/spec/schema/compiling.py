"""The CRD's schema turned into fields, once.

A keyword that nothing here knows is refused: to ignore it would be to accept what the apiserver refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from userswarm.errors import SchemaError
from userswarm.spec.schema.field import Field
from userswarm.spec.schema.rewriting import rewriter
from userswarm.spec.schema.validating import Validator

_TYPES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_CLASSES: Final = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
}
_QUANTITY: Final = "a quantity, not negative, such as 500m, 0.5, 2, 512Mi or 2Gi"

_BOUNDS: Final = ("maxItems", "maxLength", "maximum", "minLength", "minimum")
_KEYWORDS: Final = frozenset(_BOUNDS) | {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxProperties",
    "nullable",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}
_FORMATS: Final[dict[str, dict[str, int]]] = {
    "date-time": {},  # only in status, where our own code or the apiserver wrote it
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
}
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_LIST_TYPES: Final = ("atomic", "map")


def compile_field(schema: Mapping[str, Any], path: str) -> Field:
    """Turn a structural schema, and all below it, into fields."""
    _refuse_unknown(schema, path)
    properties = schema.get("properties", {})
    fields = {name: compile_field(each, f"{path}.{name}") for name, each in properties.items()}
    entries = compile_field(schema["additionalProperties"], f"{path}[*]") if "additionalProperties" in schema else None
    items = compile_field(schema["items"], f"{path}[]") if "items" in schema else None
    defaults = {name: each["default"] for name, each in properties.items() if "default" in each}
    kinds = ["integer", "string"] if "x-kubernetes-int-or-string" in schema else [schema["type"]]
    nullable = schema.get("nullable", False)

    rules: dict[str, Any] = {"type": frozenset(_CLASSES[kind] for kind in (*kinds, *(("null",) if nullable else ())))}
    rules |= _FORMATS[schema.get("format", "date-time")]
    rules |= {bound: schema[bound] for bound in _BOUNDS if bound in schema}
    if "enum" in schema:
        rules["enum"] = [*schema["enum"], None] if nullable else schema["enum"]
    if "pattern" in schema:
        rules["pattern"] = _pattern(schema["pattern"], path)
    if fields:
        rules["properties"] = fields
        # What has a default is there by the time the apiserver looks.
        rules["required"] = {name: fields[name] for name in schema.get("required", ()) if name not in defaults}
    if entries:
        rules["additionalProperties"] = (entries, schema.get("maxProperties", 2**63 - 1))
    if items:
        rules["items"] = items
        rules["x-kubernetes-list-map-keys"] = schema.get("x-kubernetes-list-map-keys", ())
    # No keyword of jsonschema's: an error carries its rules along, and this with them.
    rules["accepted"] = accepted = _accepted(kinds, rules, schema)

    return Field(
        validator=Validator(rules),
        complete=rewriter("complete", kinds, fields, entries, items, defaults),
        prune=rewriter("prune", kinds, fields, entries, items, {}),
        accepted=accepted,
        nullable=nullable,
        fields=fields,
        entries=entries,
        items=items,
    )


def _refuse_unknown(schema: Mapping[str, Any], path: str) -> None:
    """Raise SchemaError if the schema says something that would be ignored here."""
    entries = schema.get("additionalProperties", {})
    preserved = schema.get(_PRESERVE) is True
    shapeless = schema.get("type") == "object" and not schema.keys() & {"properties", "additionalProperties"}
    refused = {keyword for keyword in schema if keyword not in _KEYWORDS} | {
        keyword
        for keyword, wrong in {
            "type": "x-kubernetes-int-or-string" not in schema and schema.get("type") not in _TYPES,
            "format": schema.get("format", "date-time") not in _FORMATS,
            "x-kubernetes-list-type": schema.get("x-kubernetes-list-type", "atomic") not in _LIST_TYPES,
            # Only what says so, and metadata, may be an object of anything; all else would be pruned to nothing.
            "properties": shapeless is not preserved and path != ".metadata",
            "x-kubernetes-preserve-unknown-fields": not preserved and _PRESERVE in schema,
            "items": "default" in schema.get("items", {}),
            "additionalProperties": isinstance(entries, bool) or "default" in entries,
        }.items()
        if wrong
    }
    if refused:
        raise SchemaError(
            f"{path.lstrip('.') or 'the root'}: the CRD says more with {', '.join(sorted(refused))} "
            "than this validator understands"
        )


def _pattern(pattern: str, path: str) -> re.Pattern[str]:
    r"""Compile a pattern of the CRD to mean in Python what it means in Go.

    Go's ``$`` is the very end, Python's would let a newline follow. What else the two read differently (``\s``,
    ``\d``, ``(?``, ``[:alpha:]``) is refused.
    """
    if re.search(r"\\[A-Za-z0-9]|\(\?|\[:", pattern):
        raise SchemaError(f"{path.lstrip('.')}: the pattern {pattern} does not mean the same in Python and in Go")
    pieces = re.findall(r"\\.|\[(?:\\.|[^\]\\])+\]|.", pattern)
    return re.compile("".join(r"\Z" if piece == "$" else piece for piece in pieces))


def _accepted(kinds: list[str], rules: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Say in words what a field takes."""
    if len(kinds) > 1:
        words = _QUANTITY
    elif "enum" in schema:
        words = "one of " + ", ".join(map(str, schema["enum"]))
    else:
        words = _TYPES[kinds[0]]
        low = rules.get("minimum", rules.get("minLength"))
        high = rules.get("maximum", rules.get("maxLength", rules.get("maxItems")))
        unit = {"string": " characters", "array": " entries"}.get(kinds[0], "")
        if low is not None and high is not None:
            words += f" {'of' if unit else 'from'} {low} to {high}{unit}"
        elif high is not None:
            words += f" of at most {high}{unit}"
        elif low is not None:
            words += f" of at least {low}{unit}"
        if "pattern" in schema:
            words += f" that matches {schema['pattern']}"
    return words + (" or null" if schema.get("nullable") else "")
