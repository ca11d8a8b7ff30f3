"""What a swarm's user may set: each parameter's own small schema, and the values as texts.

A value reaches only the places at which the template's author wrote ``$(param.NAME)``, and is one text there: no
value makes a field, a list or an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.errors import Problem, QuantityError
from userswarm.spec import quantity

PLACEHOLDER = re.compile(r"\$\(param\.([^)]*)\)")

LONGEST = 4096

_CLASSES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "quantity": (str, int),
}
_TOLD = {"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "string": ("enum", "pattern", "minLength", "maxLength"),
    "integer": ("enum", "minimum", "maximum"),
    "number": ("enum", "minimum", "maximum"),
    "boolean": (),
    "quantity": ("enum", "minimum", "maximum"),
}


def find_schema_problems(schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Name what is wrong with a parameter's own schema."""
    kind = schema["type"]
    for keyword in schema.keys() - {"type", "default", "description", *_OF_TYPE[kind]}:
        allowed = ", ".join(_OF_TYPE[kind]) or "no bounds"
        yield Problem(f"{path}.{keyword}", f"is not for type {kind}, which may have {allowed}")
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            yield Problem(f"{path}.pattern", f"{schema['pattern']!r} is no pattern: {error}")
            return
    bare = {key: value for key, value in schema.items() if key in ("type", "pattern", "minLength", "maxLength")}
    for keyword in ("minimum", "maximum"):
        if keyword in schema:
            yield from find_value_problems({"type": kind}, schema[keyword], f"{path}.{keyword}")
    for position, each in enumerate(schema.get("enum", ())):
        yield from find_value_problems(bare, each, f"{path}.enum[{position}]")
    if "default" in schema:
        yield from find_value_problems(schema, schema["default"], f"{path}.default")


def find_value_problems(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Problem]:
    """Name what is wrong with a parameter's value."""
    kind = schema["type"]
    shown = json.dumps(value, ensure_ascii=False, default=str)[:80]
    fits: bool = isinstance(value, _CLASSES[kind])
    if not fits or (isinstance(value, bool) and kind != "boolean"):
        yield Problem(path, f"is {shown}; must be {_TOLD.get(kind, 'a quantity such as 10Gi')}")
        return
    if isinstance(value, str) and (len(value) > LONGEST or "\0" in value):
        yield Problem(path, f"must have at most {LONGEST} characters, and no NUL")
        return
    if kind == "quantity":
        try:
            quantity.parse_non_negative(value)
        except QuantityError as error:
            yield Problem(path, str(error))
            return
    if "enum" in schema and value not in schema["enum"]:
        yield Problem(path, f"is {shown}; must be one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str) and kind == "string":
        if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
            yield Problem(path, f"is {shown}; must match {schema['pattern']}")
        least, most = schema.get("minLength", 0), schema.get("maxLength", LONGEST)
        if not least <= len(value) <= most:
            yield Problem(path, f"has {len(value)} characters; must have from {least} to {most}")
    for keyword, sign, word in (("minimum", -1, "least"), ("maximum", 1, "most")):
        if keyword in schema and _compare(kind, value, schema[keyword]) == sign:
            yield Problem(path, f"is {shown}; must be at {word} {schema[keyword]}")


def is_bounded(schema: Mapping[str, Any]) -> bool:
    """Tell whether a parameter may stand where not every text may: its author said which may."""
    return schema["type"] != "string" or "enum" in schema or "pattern" in schema


def written(value: Any) -> str:
    """Return a parameter's value as a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Kubernetes stores 1.0 as 1.
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def escaped(text: str) -> str:
    """Return a text that Kubernetes, which expands ``$(NAME)`` in arguments and variables, turns into this very text.

    Every ``$`` is doubled: of ``$$(A)`` only the first two would be one otherwise.
    """
    return text.replace("$", "$$")


def fill(text: str, values: Mapping[str, str], *, expanded: bool) -> str:
    """Return a text of the author's with the parameters in it; `expanded` where Kubernetes expands it afterwards."""
    return PLACEHOLDER.sub(lambda found: escaped(values[found[1]]) if expanded else values[found[1]], text)


def _compare(kind: str, value: Any, bound: Any) -> int:
    if kind == "quantity":
        return quantity.compare(value, bound)
    return int(value > bound) - int(value < bound)
