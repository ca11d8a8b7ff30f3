"""What a CustomResourceDefinition makes the API server do: prune, default, validate, run CEL rules.

`userswarm.spec.schema` reads the schema. CEL itself is not interpreted: RULES says in Python what each rule of our CRD
means, word for word, and a rule that is not in it is refused, so neither can change without the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.defaults import metadata_as_stored
from devcluster.objects import Manifest, Observed, same_json
from userswarm.errors import SchemaError
from userswarm.spec import quantity
from userswarm.spec.schema import Schema

Rule = Callable[[Any, Any], bool]

_ABSENT = object()


def _within_limit(name: str) -> Rule:
    """Return the rule that a request does not exceed its limit, where both are there."""

    def holds(self: Any, _: Any) -> bool:
        request, limit = self.get("requests", {}).get(name), self.get("limits", {}).get(name)
        return request is None or limit is None or quantity.compare(request, limit) <= 0

    return holds


RULES: Mapping[str, Rule] = {
    "self == oldSelf": same_json,
    "has(self.workspaceId) == has(oldSelf.workspaceId)": lambda self, old: (
        ("workspaceId" in self) == ("workspaceId" in old)
    ),
    "quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0": _within_limit("cpu"),
    "quantity(string(self.requests.memory)).compareTo(quantity(string(self.limits.memory))) <= 0": _within_limit(
        "memory"
    ),
    "!has(self.requests.ephemeral__dash__storage) || !has(self.limits.ephemeral__dash__storage) || "
    "quantity(string(self.requests.ephemeral__dash__storage))"
    ".compareTo(quantity(string(self.limits.ephemeral__dash__storage))) <= 0": _within_limit("ephemeral-storage"),
    "(has(self.storageClassName) ? self.storageClassName : '') == "
    "(has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')": lambda self, old: (
        self.get("storageClassName", "") == old.get("storageClassName", "")
    ),
    "quantity(string(self)).isGreaterThan(quantity('0'))": lambda self, _: quantity.compare(self, "0") > 0,
    "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0": lambda self, old: (
        quantity.compare(self, old) >= 0
    ),
    "self.all(k, k.matches('^[a-z]([-a-z0-9.]{0,251}[a-z0-9])?$'))": lambda self, _: all(
        re.fullmatch(r"[a-z]([-a-z0-9.]{0,251}[a-z0-9])?", key) for key in self
    ),
    "self.all(k, k.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'))": lambda self, _: all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", key) for key in self
    ),
    "self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != 'config.toml' && k != '.' && !k.startsWith('..'))": (
        lambda self, _: all(
            re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) and key not in {"config.toml", "."} and not key.startswith("..")
            for key in self
        )
    ),
}


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

    def __init__(self, crd: Observed) -> None:
        """Compile the CRD; raises SchemaError for a keyword or a CEL rule that is not known."""
        spec = crd["spec"]
        version = next(version for version in spec["versions"] if version["storage"])
        self.api_version = f"{spec['group']}/{version['name']}"
        self.kind: str = spec["names"]["kind"]
        self.plural: str = spec["names"]["plural"]
        self.namespaced: bool = spec["scope"] == "Namespaced"
        self.has_status: bool = "status" in version.get("subresources", {})
        self.lists: dict[str, tuple[str, ...]] = {"metadata.ownerReferences": ("uid",)}
        self._schema = Schema(crd)
        root = version["schema"]["openAPIV3Schema"]
        self._checks = tuple(_checks(root, ()))
        self._find_lists(root, "")

    def complete(self, obj: Observed) -> Manifest:
        """Return the object as it is stored: unknown fields pruned, defaults filled in."""
        completed = self._schema.with_defaults(obj)
        # These three are kept whether or not the schema mentions them.
        metadata = metadata_as_stored(obj["metadata"])
        return {**completed, "apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}

    def problems(self, new: Observed, old: Observed | None) -> Iterator[str]:
        """Yield what is wrong with an object that is complete.

        What was wrong already and is unchanged is let through, as the API server does ("ratcheting").
        """
        found = self._schema.problems(new)
        if "status" in new:
            found = [*found, *self._schema.status_problems(new["status"])]
        for problem in found:
            steps = re.findall(r"[^.\[\]]+", problem.path)
            if old is None or not _unchanged(_at(old, steps), _at(new, steps)):
                yield f"{problem.path}: Invalid value: {problem.message}"
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


def _checks(schema: Observed, path: tuple[str, ...]) -> Iterator[_Check]:
    for each in schema.get("x-kubernetes-validations", ()):
        rule = " ".join(each["rule"].split())
        if rule not in RULES:
            raise SchemaError(f"{'.'.join(path)}: the dev cluster does not know the CEL rule {rule!r}; see crd.RULES")
        yield _Check(path, RULES[rule], "oldSelf" in rule, each.get("fieldPath", ""), each["message"])
    for name, part in schema.get("properties", {}).items():
        yield from _checks(part, (*path, name))
    for word in ("items", "additionalProperties"):
        if word in schema and any(_checks(schema[word], path)):
            raise SchemaError(f"{'.'.join(path)}.{word}: the dev cluster knows no CEL rules inside lists and maps")


def _at(value: Any, steps: tuple[str, ...] | list[str]) -> Any:
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _ABSENT
    return value


def _unchanged(before: Any, after: Any) -> bool:
    return before is not _ABSENT and after is not _ABSENT and same_json(before, after)
