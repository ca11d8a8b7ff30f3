"""The CRD, read as the apiserver reads it: defaults, pruning, validation.

`manifests/crd` is the only place where a field, a bound or a default is written. It is compiled once, into a small
jsonschema validator and two copying functions for every field, so that a hook call walks only what a user wrote.
A keyword that nothing here knows is refused when the Schema is built: to ignore it would be to accept what the
apiserver refuses. CEL rules are no part of this; `parent` checks what has to hold between fields.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from userswarm.errors import Problem, SchemaError
from userswarm.spec.manifests import manifest_path
from userswarm.wire.k8s import Manifest, Observed

CRD_FILE: Final = "crd/userswarms.crawbl.ai.yaml"


def load_crd(path: Path | None = None) -> Manifest:
    """Return the CustomResourceDefinition, from `path` or from where this project's manifests lie."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with (path or manifest_path(CRD_FILE)).open("rb") as stream:
        crd: Manifest = yaml.load(stream, Loader=loader)  # noqa: S506 - both loaders are safe ones
    return crd


@functools.cache
def user_swarm_schema() -> Schema:
    """Return the Schema of this project's own CRD, built at the first call."""
    return Schema(load_crd())


class Schema:
    """What the stored version of a CRD makes of an object; immutable, so threads may share it.

    Objects are JSON as a parser returns it: dict, list, str, int, float, bool and None. No method edits what it
    is given, and no result shares a part with it or with another result.
    """

    def __init__(self, crd: Observed) -> None:
        """Compile the CRD; raises SchemaError on a keyword that this module does not know."""
        version = next(version for version in crd["spec"]["versions"] if version["storage"])
        self._root = _compile(version["schema"]["openAPIV3Schema"], "")
        self._spec, self._status = self._root.fields["spec"], self._root.fields["status"]
        # Status and metadata never make a parent invalid: they are ours and the apiserver's, not the user's.
        self._spec_only = _Validator({"properties": {"spec": self._spec}, "required": {"spec": self._spec}})

    def with_defaults(self, obj: Observed) -> Manifest:
        """Return the object as the apiserver would store it: pruned, without needless nulls, defaults filled in.

        A null where none is allowed counts as absent. What has the wrong type is left for `problems` to name.
        """
        complete: Manifest = self._root.complete(dict(obj))
        return complete

    def prune(self, obj: Observed) -> Manifest:
        """Return the object without the fields that the CRD does not know, and without needless nulls."""
        pruned: Manifest = self._root.prune(dict(obj))
        return pruned

    def spec_with_defaults(self, obj: Observed) -> Any:
        """Return the spec alone, as `with_defaults` makes it, or None: for the hot path, which needs no more."""
        return self._spec.complete(obj.get("spec"))

    def problems(self, obj: Observed) -> list[Problem]:
        """Name all that is wrong with the object's spec, sorted by path; unknown fields are not.

        Defaults need not be filled in before: they are right, and what has one is never missing.
        """
        return _problems(self._spec_only, dict(obj), "")

    def status_problems(self, status: Any) -> list[Problem]:
        """Name all for which the apiserver would refuse or prune a status, unknown fields and nulls included."""
        found = _problems(self._status.validator, status, "status")
        for member in _members(self._status, status, "status"):
            if member.field is None:
                found.append(_unknown(member))
            elif member.value is None and not member.field.nullable:
                found.append(Problem(member.path, "is null and would be pruned; leave it out"))
        return sorted(found, key=_by_path)

    def unknown_fields(self, obj: Observed) -> list[Problem]:
        """Name every field that the CRD does not know, status and metadata apart, with the nearest that it does."""
        judged = {name: value for name, value in obj.items() if name != "status"}
        found = [_unknown(member) for member in _members(self._root, judged, "") if member.field is None]
        return sorted(found, key=_by_path)


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """One field of the CRD, compiled; `accepted` says in words what it takes."""

    validator: Any
    complete: Callable[[Any], Any]
    prune: Callable[[Any], Any]
    accepted: str
    nullable: bool
    fields: Mapping[str, _Field]
    entries: _Field | None
    items: _Field | None


# --- compiling ---------------------------------------------------------------------------------------------------

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


def _compile(schema: Mapping[str, Any], path: str) -> _Field:
    """Turn a structural schema, and all below it, into fields."""
    _refuse_unknown(schema, path)
    properties = schema.get("properties", {})
    fields = {name: _compile(each, f"{path}.{name}") for name, each in properties.items()}
    entries = _compile(schema["additionalProperties"], f"{path}[*]") if "additionalProperties" in schema else None
    items = _compile(schema["items"], f"{path}[]") if "items" in schema else None
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

    return _Field(
        validator=_Validator(rules),
        complete=_rewriter("complete", kinds, fields, entries, items, defaults),
        prune=_rewriter("prune", kinds, fields, entries, items, {}),
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


# --- defaults and pruning ----------------------------------------------------------------------------------------

_PLAIN: Final = frozenset((str, int, bool))


def _rewriter(
    which: str,
    kinds: list[str],
    fields: Mapping[str, _Field],
    entries: _Field | None,
    items: _Field | None,
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


def _object_rewriter(which: str, fields: Mapping[str, _Field], defaults: Mapping[str, Any]) -> Callable[[Any], Any]:
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


# --- validation --------------------------------------------------------------------------------------------------
# jsonschema drives; its keywords that would look at a whole subtree are replaced, for nulls (the apiserver drops
# them before it looks), for paths as `kubectl explain` has them, and to go from one ready validator to the next.


def _properties(
    validator: Any, fields: Mapping[str, _Field], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if instance.__class__ is dict:
        for name, member in instance.items():
            field = fields.get(name)
            if field and (member is not None or field.nullable):
                yield from _below(field, member, f".{name}")


def _required(
    validator: Any, fields: Mapping[str, _Field], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if instance.__class__ is dict:
        for name, field in fields.items():
            if instance.get(name) is None and not (field.nullable and name in instance):
                yield ValidationError(f"is missing; must be {field.accepted}", path=[f".{name}"])


def _additional_properties(
    validator: Any, rule: tuple[_Field, int], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    field, most = rule
    if instance.__class__ is dict:
        entries = {key: entry for key, entry in instance.items() if entry is not None or field.nullable}
        if len(entries) > most:
            yield ValidationError(f"has {len(entries)} entries; must have at most {most}")
        for key, entry in entries.items():
            yield from _below(field, entry, f"[{key}]")


def _items(validator: Any, field: _Field, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
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


def _below(field: _Field, value: Any, segment: str) -> Iterator[ValidationError]:
    for error in field.validator.iter_errors(value):
        error.path.appendleft(segment)
        yield error


_Validator: Any = extend(  # type: ignore[no-untyped-call]
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


def _problems(validator: Any, value: Any, path: str) -> list[Problem]:
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
    return sorted(found.values(), key=_by_path)


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


def _by_path(problem: Problem) -> list[str | int]:
    """Sort env[2] before env[10]."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", problem.path)]


# --- unknown fields ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Member:
    """A field of an observed object; `field` is None where the CRD does not know it among its `siblings`."""

    path: str
    name: str
    value: Any
    field: _Field | None
    siblings: Mapping[str, _Field]


def _members(field: _Field, value: Any, path: str) -> Iterator[_Member]:
    """Walk everything below a field that the CRD could know."""
    if value.__class__ is dict and field.fields:
        for name, each in value.items():
            below = field.fields.get(name)
            where = f"{path}.{name}".removeprefix(".")
            yield _Member(where, str(name), each, below, field.fields)
            if below:
                yield from _members(below, each, where)
    elif value.__class__ is dict and field.entries:
        for key, each in value.items():
            yield from _members(field.entries, each, f"{path}[{key}]")
    elif value.__class__ is list and field.items:
        for index, each in enumerate(value):
            yield from _members(field.items, each, f"{path}[{index}]")


def _unknown(member: _Member) -> Problem:
    known = {name.lower(): name for name in member.siblings}
    nearest = difflib.get_close_matches(member.name.lower(), known, n=1)
    hint = f"did you mean {known[nearest[0]]}?" if nearest else f"known here are {', '.join(sorted(member.siblings))}"
    return Problem(member.path, f"is not a field of a UserSwarm; {hint}")
