"""What a CustomResourceDefinition makes the API server do: prune, default, validate, run CEL rules.

CEL itself is not interpreted: who brings a CRD with rules brings what each of them means in Python, by its text. A
rule without is refused, so neither can change without the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.defaults import metadata_as_stored
from devcluster.objects import Manifest, Observed, same_json
from devcluster.schema import Path, Schema, SchemaError

Rule = Callable[[Any, Any], bool]
"""What a CEL rule means: whether it holds for `self` and `oldSelf`."""

Rules = Mapping[str, Rule]
"""By the rule's text, with single spaces."""

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class _Check:
    """One CEL rule at its place; `transition` rules compare with the old value and need one."""

    path: tuple[str, ...]
    holds: Rule
    transition: bool
    field_path: str
    message: str


class CustomResource:
    """The stored version of one CustomResourceDefinition."""

    def __init__(self, crd: Observed, rules: Rules) -> None:
        """Read the CRD; raises SchemaError for a keyword or a CEL rule that is not known."""
        spec = crd["spec"]
        version = next(version for version in spec["versions"] if version["storage"])
        self.api_version = f"{spec['group']}/{version['name']}"
        self.kind: str = spec["names"]["kind"]
        self.plural: str = spec["names"]["plural"]
        self.namespaced: bool = spec["scope"] == "Namespaced"
        self.has_status: bool = "status" in version.get("subresources", {})
        self.lists: dict[str, tuple[str, ...]] = {"metadata.ownerReferences": ("uid",)}
        root = version["schema"]["openAPIV3Schema"]
        self._schema = Schema(root)
        self._checks = tuple(_checks(root, (), rules))
        self._find_lists(root, "")

    def complete(self, obj: Observed) -> Manifest:
        """Return the object as it is stored: unknown fields pruned, defaults filled in."""
        completed = self._schema.complete(obj)
        # These three are kept whether or not the schema mentions them.
        metadata = metadata_as_stored(obj["metadata"])
        return {**completed, "apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}

    def problems(self, new: Observed, old: Observed | None) -> Iterator[str]:
        """Yield what is wrong with an object that is complete.

        What was wrong already and is unchanged is let through, as the API server does ("ratcheting").
        """
        found = False
        for path, message in self._schema.problems(new):
            found = True
            if old is None or not _unchanged(_at(old, path), _at(new, path)):
                yield f"{_written(path)}: Invalid value: {message}"
        if not found:
            yield from self._broken_rules(new, old)

    def _broken_rules(self, new: Observed, old: Observed | None) -> Iterator[str]:
        for check in self._checks:
            value = _at(new, check.path)
            before = _ABSENT if old is None else _at(old, check.path)
            if value is _ABSENT or (check.transition and before is _ABSENT) or _unchanged(before, value):
                continue
            if not check.holds(value, before):
                yield f"{'.'.join(check.path)}{check.field_path}: Invalid value: {check.message}"

    def _find_lists(self, schema: Observed, dotted: str) -> None:
        """Find the lists that are merged by key."""
        for name, part in schema.get("properties", {}).items():
            path = f"{dotted}.{name}" if dotted else name
            if part.get("x-kubernetes-list-type") == "map":
                self.lists[path] = tuple(part["x-kubernetes-list-map-keys"])
            self._find_lists(part, path)


def _checks(schema: Observed, path: tuple[str, ...], rules: Rules) -> Iterator[_Check]:
    for each in schema.get("x-kubernetes-validations", ()):
        rule = " ".join(each["rule"].split())
        if rule not in rules:
            raise SchemaError(f"{'.'.join(path)}: nobody said what the CEL rule {rule!r} means")
        message = each.get("message", f"failed rule: {rule}")
        yield _Check(path, rules[rule], "oldSelf" in rule, each.get("fieldPath", ""), message)
    for name, part in schema.get("properties", {}).items():
        yield from _checks(part, (*path, name), rules)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), Mapping) and any(_checks(schema[word], path, rules)):
            raise SchemaError(f"{'.'.join(path)}.{word}: the dev cluster knows no CEL rules inside lists and maps")


def _at(value: Any, path: Path) -> Any:
    for step in path:
        # A step into a list is a number, one into an object a name.
        inside = isinstance(value, Mapping) and step in value
        if not inside and not (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            return _ABSENT
        value = value[step]
    return value


def _written(path: Path) -> str:
    """Return a path as the API server writes it: ``spec.words[1]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _unchanged(before: Any, after: Any) -> bool:
    return before is not _ABSENT and after is not _ABSENT and same_json(before, after)
