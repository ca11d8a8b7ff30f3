"""The related objects that a customize hook asks for: which they are, and whose change concerns which parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver import ApiServer
from devcluster.errors import ApiError, DevClusterError
from devcluster.kinds import Kind
from devcluster.objects import Key, Observed, labels_of
from devcluster.selectors import EVERYTHING, Selector, from_object

RULE_FIELDS = frozenset({"apiVersion", "resource", "namespace", "names", "labelSelector", "namespaceSelector"})


class SyncError(DevClusterError):
    """A sync of a parent failed; Metacontroller tells it as an event, and tries again."""


@dataclass(frozen=True, slots=True)
class RelatedRule:
    """One rule of a customize answer."""

    kind: Kind
    namespace: str
    names: frozenset[str]
    selector: Selector
    namespace_selector: Selector | None

    def matches(self, obj: Observed, api: ApiServer) -> bool:
        """Return whether an object of the rule's kind is one that the rule asks for."""
        metadata = obj["metadata"]
        if self.kind.namespaced and self.namespace and metadata["namespace"] != self.namespace:
            return False
        if self.names and metadata["name"] not in self.names:
            return False
        if self.namespace_selector is not None:
            namespace = api.peek("v1", "Namespace", None, metadata["namespace"])
            if namespace is None or not self.namespace_selector.matches(labels_of(namespace)):
                return False
        return self.selector.matches(labels_of(obj))

    def select(self, api: ApiServer) -> list[Observed]:
        """Return all objects that the rule asks for; stored ones, not to be edited."""
        namespace = self.namespace if self.kind.namespaced and self.namespace else None
        kind = self.kind
        if self.names and (namespace is not None or not kind.namespaced):
            named = (api.peek(kind.api_version, kind.kind, namespace, name) for name in sorted(self.names))
            return [obj for obj in named if obj is not None]
        found = api.scan(kind.api_version, kind.kind, namespace, self.selector)
        return [obj for obj in found if self.matches(obj, api)]


def lookup_entries(kind: Kind, obj: Observed) -> Iterator[tuple[str, ...]]:
    """Yield under which entries of the index the rules that might match an object are."""
    base = (kind.api_version, kind.kind)
    yield (*base, "name", obj["metadata"]["name"])
    for pair in labels_of(obj).items():
        yield (*base, "label", *pair)
    yield (*base, "any")


def parse_rule(rule: Any, api: ApiServer) -> RelatedRule:
    """Read one rule; raises SyncError where Metacontroller refuses it."""
    if not isinstance(rule, Mapping):
        raise SyncError(f"related rule is no object: {rule!r}")
    try:
        kind = api.resource(rule.get("apiVersion", ""), rule.get("resource", ""))
    except ApiError as error:
        raise SyncError(f"discovery: can't find resource {rule.get('resource')}: {error}") from None
    names = rule.get("names") or ()
    labels, namespaces = rule.get("labelSelector"), rule.get("namespaceSelector")
    if names and (labels is not None or namespaces is not None):
        raise SyncError("related rule cannot have both names and labelSelector/namespaceSelector specified")
    if rule.get("namespace") and namespaces is not None:
        raise SyncError("related rule cannot have both namespace and namespaceSelector specified")
    if namespaces is not None and not kind.namespaced:
        raise SyncError("namespaceSelector is only supported for namespaced related resources")
    return RelatedRule(
        kind,
        rule.get("namespace") or "",
        frozenset(names),
        EVERYTHING if labels is None else from_object(labels),
        None if namespaces is None else from_object(namespaces),
    )


class RelatedIndex:
    """Which parents asked for what, so that a changed object finds them without a look at every parent."""

    def __init__(self) -> None:
        self._parents: dict[tuple[str, ...], dict[Key, None]] = {}
        self._rules: dict[Key, tuple[RelatedRule, ...]] = {}
        self._entries: dict[Key, list[tuple[str, ...]]] = {}

    def put(self, parent: Key, rules: tuple[RelatedRule, ...]) -> None:
        """Remember a parent's rules in the place of its former ones; none at all forgets it."""
        for entry in self._entries.pop(parent, ()):
            parents = self._parents[entry]
            parents.pop(parent)
            if not parents:
                del self._parents[entry]
        self._rules.pop(parent, None)
        if rules:
            self._rules[parent] = rules
            entries = list(dict.fromkeys(entry for rule in rules for entry in self._entries_for(rule)))
            self._entries[parent] = entries
            for entry in entries:
                self._parents.setdefault(entry, {})[parent] = None

    def parents_of(self, kind: Kind, obj: Observed, api: ApiServer) -> list[Key]:
        """Return the parents that asked for an object."""
        candidates = {parent: None for entry in lookup_entries(kind, obj) for parent in self._parents.get(entry, ())}
        return [
            parent
            for parent in candidates
            if any(rule.kind is kind and rule.matches(obj, api) for rule in self._rules[parent])
        ]

    def _entries_for(self, rule: RelatedRule) -> list[tuple[str, ...]]:
        """Return where to put a rule: one of these is among the `lookup_entries` of whatever it matches."""
        base = (rule.kind.api_version, rule.kind.kind)
        if rule.names:
            return [(*base, "name", name) for name in sorted(rule.names)]
        labels = [(*base, "label", *pair) for pair in rule.selector.pairs()]
        if not labels:
            return [(*base, "any")]
        # Any label of the selector would do. The one that fewest share saves most: a name, not an app.
        return [min(reversed(labels), key=lambda entry: len(self._parents.get(entry, ())))]
