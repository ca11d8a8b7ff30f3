"""What a CompositeController says, and which parents it says it of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devcluster.apiserver import ApiServer
from devcluster.kinds import Kind
from devcluster.objects import Observed, labels_of, qualified_name, uid_of
from devcluster.related import SyncError
from devcluster.selectors import EVERYTHING, Selector, from_labels, from_object

_GC_FINALIZERS = frozenset({"foregroundDeletion", "orphan"})


@dataclass(frozen=True, slots=True)
class Child:
    """One rule of childResources; by OnDelete, the default, a child is never updated."""

    kind: Kind
    method: str


@dataclass(frozen=True, slots=True)
class ControllerSpec:
    """The CompositeController, read; `children` by apiVersion and kind, the resync period in seconds."""

    parent: Kind
    finalizer: str
    parent_selector: Selector
    ignore_status: bool
    generate_selector: bool
    resync_period: float | None
    hooks: Mapping[str, Observed]
    children: Mapping[tuple[str, str], Child]

    def cares_for(self, parent: Observed) -> bool:
        """Return whether a parent is synced at all."""
        return self.has_finalizer(parent) or self.selects(parent)

    def selects(self, parent: Observed) -> bool:
        """Return whether a parent is one of those that the controller asks for."""
        return self.parent_selector.matches(labels_of(parent))

    def has_finalizer(self, parent: Observed) -> bool:
        """Return whether a parent has the controller's finalizer."""
        return self.finalizer in parent["metadata"].get("finalizers", ())

    def should_finalize(self, parent: Observed) -> bool:
        """Return whether the children of a parent that is deleted are ours to remove, not the garbage collector's."""
        return self.has_finalizer(parent) and not _GC_FINALIZERS & set(parent["metadata"].get("finalizers", ()))

    def selector(self, parent: Observed) -> Selector:
        """Return what a parent's children have to match; SyncError where it does not say."""
        if self.generate_selector:
            return from_labels({"controller-uid": uid_of(parent)})
        selector = parent.get("spec", {}).get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            raise SyncError(".spec.selector must have either matchLabels, matchExpressions, or both")
        return from_object(selector)

    def version(self, hook: str) -> str:
        """Return the version of a hook's requests and answers."""
        return str(self.hooks.get(hook, {}).get("version", "v1"))

    def child_key(self, parent: Observed, hook: str, obj: Observed) -> str:
        """Return an object's key in a request: v1 hooks of a namespaced parent get the bare name."""
        bare = self.version(hook) == "v1" and parent["metadata"].get("namespace")
        return str(obj["metadata"]["name"]) if bare else qualified_name(obj)


def read_spec(api: ApiServer, controller: Observed, *, server_side: bool) -> ControllerSpec:
    """Return what a CompositeController says; ValueError for an update strategy that is not modelled."""
    spec = controller["spec"]
    rule = spec["parentResource"]
    period = spec.get("resyncPeriodSeconds")
    modelled = {"OnDelete", "InPlace"} if server_side else {"OnDelete", "InPlace", "Recreate"}
    children = {}
    for child in spec.get("childResources", ()):
        kind = api.resource(child["apiVersion"], child["resource"])
        method = child.get("updateStrategy", {}).get("method", "OnDelete")
        if method not in modelled:
            raise ValueError(f"{kind.plural}: update strategy {method} is not modelled")
        children[kind.api_version, kind.kind] = Child(kind, method)
    return ControllerSpec(
        parent=api.resource(rule["apiVersion"], rule["resource"]),
        finalizer=f"metacontroller.io/compositecontroller-{controller['metadata']['name']}",
        parent_selector=from_object(rule["labelSelector"]) if "labelSelector" in rule else EVERYTHING,
        ignore_status=bool(rule.get("ignoreStatusChanges")),
        generate_selector=bool(spec.get("generateSelector")),
        resync_period=None if period is None else max(1, period),
        hooks={name: hook for name, hook in spec.get("hooks", {}).items() if hook},
        children=children,
    )
