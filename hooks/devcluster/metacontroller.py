"""Metacontroller, as far as one CompositeController needs it: calls the hooks, and does as they say.

It follows Metacontroller 4.17 step by step, in its order, with its quirks: pkg/controller/composite/controller.go
and pkg/controller/common/manage_children.go. Rolling update strategies and the ETag cache are not modelled.
"""

from __future__ import annotations

import functools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.children import Children, Groups
from devcluster.clock import Timer
from devcluster.errors import ApiError, not_found
from devcluster.events import record_event
from devcluster.hooks import HookConnectionError, HookResponse, Hooks
from devcluster.kinds import Kind
from devcluster.objects import (
    Key,
    Manifest,
    Observed,
    controller_of,
    controller_reference,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    owners_of,
    qualified_name,
    same_json,
    uid_of,
)
from devcluster.related import RULE_FIELDS, RelatedIndex, RelatedRule, SyncError, parse_rule
from devcluster.selectors import EVERYTHING, Selector, from_labels, from_object

DYNAMIC_APPLY = "dynamic-apply"
SERVER_SIDE_APPLY = "server-side-apply"

_CUSTOMIZE_CACHE_SECONDS = 20 * 60
_GC_FINALIZERS = frozenset({"foregroundDeletion", "orphan"})


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a hook, for whoever watches: golden files, the demo, tests."""

    hook: str
    parent: str
    request: bytes
    response: HookResponse
    at: float


@dataclass(frozen=True, slots=True)
class _Child:
    """One rule of childResources; without a method a child is never updated."""

    kind: Kind
    method: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of sync or finalize, decoded."""

    status: Manifest
    children: list[Manifest]
    resync_after: float
    finalized: bool


class _TooManyRequestsError(SyncError):
    """The hook answered 429."""

    def __init__(self, after: float) -> None:
        super().__init__(f"too many requests, retry after {after} s")
        self.after = after


class Metacontroller:
    """One CompositeController at work. Several may share an API server, each with a name and a selector of its own."""

    def __init__(
        self,
        api: ApiServer,
        hooks: Hooks,
        controller: Observed,
        *,
        apply_strategy: str = DYNAMIC_APPLY,
        latency: float = 0.01,
        actor: str = "metacontroller",
    ) -> None:
        """Start it; `latency` is how long a change takes to become a sync, in seconds.

        The CompositeController is created where it is not stored yet. Raises ValueError for what is not modelled.
        """
        if apply_strategy not in {DYNAMIC_APPLY, SERVER_SIDE_APPLY}:
            raise ValueError(f"unknown apply strategy {apply_strategy!r}: {DYNAMIC_APPLY} or {SERVER_SIDE_APPLY}")
        self.api = api
        self.hooks = hooks
        self.actor = actor
        self.calls: Counter[str] = Counter()
        self.request_bytes = 0
        self.response_bytes = 0
        self.syncs = 0
        self.sync_errors = 0
        self.observers: list[Callable[[HookCall], None]] = []
        self._clock = api.clock
        self._latency = latency
        self._server_side = apply_strategy == SERVER_SIDE_APPLY
        self._interference: deque[tuple[str, str]] = deque()
        name = controller["metadata"]["name"]
        if api.peek(controller["apiVersion"], controller["kind"], None, name) is None:
            api.create(controller)
        stored = api.get(controller["apiVersion"], controller["kind"], None, name)
        for rule in stored["spec"].get("childResources", ()):
            # So it is in every request: a Go struct without omitempty.
            if "updateStrategy" in rule:
                rule["updateStrategy"].setdefault("statusChecks", {})
        self._controller = orjson.Fragment(orjson.dumps({"status": {}, **stored}))
        self._read_spec(stored["spec"])
        self.finalizer = f"metacontroller.io/compositecontroller-{name}"
        self._unsubscribe: Callable[[], None] | None = None
        self.start()

    def _read_spec(self, spec: Observed) -> None:
        rule = spec["parentResource"]
        self._parent = self.api.resource(rule["apiVersion"], rule["resource"])
        self._parent_selector = from_object(rule["labelSelector"]) if "labelSelector" in rule else EVERYTHING
        self._ignore_status = bool(rule.get("ignoreStatusChanges"))
        self._generate_selector = bool(spec.get("generateSelector"))
        self._resync_period: float | None = None
        if spec.get("resyncPeriodSeconds") is not None:
            self._resync_period = max(1, spec["resyncPeriodSeconds"])
        self._hook_specs: dict[str, Observed] = {name: hook for name, hook in spec.get("hooks", {}).items() if hook}
        self._children: dict[tuple[str, str], _Child] = {}
        for child in spec.get("childResources", ()):
            kind = self.api.resource(child["apiVersion"], child["resource"])
            method = child.get("updateStrategy", {}).get("method", "OnDelete")
            modelled = {"OnDelete", "InPlace"} if self._server_side else {"OnDelete", "InPlace", "Recreate"}
            if method not in modelled:
                raise ValueError(f"{kind.plural}: update strategy {method} is not modelled")
            self._children[kind.api_version, kind.kind] = _Child(kind, method)

    # What a test may do to it

    def start(self) -> None:
        """Begin to watch, and sync every parent once, as after a restart; a second start changes nothing."""
        if self._unsubscribe is not None:
            return
        self._queued: dict[Key, Timer] = {}
        self._delayed: dict[Key, Timer] = {}
        self._failures: Counter[Key] = Counter()
        self._customized: dict[tuple[str, int], tuple[float, tuple[RelatedRule, ...]]] = {}
        self._related = RelatedIndex()
        methods = {key: child.method for key, child in self._children.items()}
        self._writing = Children(self.api, self.actor, methods, server_side=self._server_side)
        self._resync: Timer | None = None
        self._unsubscribe = self.api.subscribe(self._on_event)
        self._enqueue_all()
        self._plan_resync()

    def stop(self) -> None:
        """Stop, as a pod does that is killed: all it knew is forgotten, and changes go unnoticed."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
            timers = [*self._queued.values(), *self._delayed.values()]
            for timer in (*timers, self._resync) if self._resync else timers:
                self._clock.cancel(timer)

    def restart(self) -> None:
        """Forget everything and list all parents again."""
        self.stop()
        self.start()

    def resync(self) -> None:
        """Sync every parent, as a periodic resync does."""
        self._enqueue_all()

    def drop_next(self, hook: str = "*") -> None:
        """Let the next call, of one hook or of any, fail without reaching the hook."""
        self._interference.append((hook, "drop"))

    def lose_next(self, hook: str = "*") -> None:
        """Let the next call reach the hook, and lose its answer."""
        self._interference.append((hook, "lose"))

    def repeat_next(self, hook: str = "*") -> None:
        """Make the next call twice, as after a time-out; the second answer counts."""
        self._interference.append((hook, "repeat"))

    # The work queue

    def enqueue(self, key: Key) -> None:
        """Sync a parent soon; several changes within the latency become one sync."""
        if key not in self._queued:
            self._queued[key] = self._clock.after(self._latency, functools.partial(self._work, key))

    def _enqueue_after(self, key: Key, seconds: float, *, background: bool) -> None:
        """Sync a parent later; of two such wishes the earlier one counts."""
        planned = self._delayed.get(key)
        timer = self._clock.after(seconds, functools.partial(self._fall_due, key), background=background)
        if planned is not None and planned.due <= timer.due:
            self._clock.cancel(timer)
            return
        if planned is not None:
            self._clock.cancel(planned)
        self._delayed[key] = timer

    def _fall_due(self, key: Key) -> None:
        del self._delayed[key]
        self.enqueue(key)

    def _enqueue_all(self) -> None:
        for parent in self.api.scan(self._parent.api_version, self._parent.kind):
            self._enqueue_parent(parent)

    def _plan_resync(self) -> None:
        if self._resync_period is not None:
            self._resync = self._clock.after(self._resync_period, self._periodic_resync, background=True)

    def _periodic_resync(self) -> None:
        self._enqueue_all()
        self._plan_resync()

    def _work(self, key: Key) -> None:
        del self._queued[key]
        parent = self.api.peek(self._parent.api_version, self._parent.kind, *key)
        if parent is None:
            self._failures.pop(key, None)
            return
        try:
            self._sync(parent)
        except _TooManyRequestsError as error:
            self._enqueue_after(key, error.after, background=False)
        except (ApiError, SyncError, ValueError) as error:
            self.sync_errors += 1
            self._record_error(parent, str(error))
            # 5 ms, doubling, up to 1000 s: client-go's default.
            delay = min(0.005 * 2 ** min(self._failures[key], 30), 1000.0)
            self._failures[key] += 1
            self._enqueue_after(key, delay, background=False)
        else:
            self._failures.pop(key, None)

    def _record_error(self, parent: Observed, message: str) -> None:
        record_event(self.api, parent, "Warning", "SyncError", f"Sync error: {message}", source=self.actor)

    # What makes it look at a parent

    def _on_event(self, event: WatchEvent) -> None:
        kind = event.kind
        if kind is self._parent:
            self._on_parent(event)
        if (kind.api_version, kind.kind) in self._children:
            self._on_child(event)
        for obj in (event.object, event.old):
            if obj is not None:
                for key in self._related.parents_of(kind, obj, self.api):
                    self.enqueue(key)

    def _on_parent(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self._related.put(key_of(event.object), ())
        if self._ignore_status and event.old is not None and _only_status_changed(event.old, event.object):
            return
        self._enqueue_parent(event.object)

    def _enqueue_parent(self, parent: Observed) -> None:
        if self._cares_for(parent):
            self.enqueue(key_of(parent))

    def _cares_for(self, parent: Observed) -> bool:
        return self._has_finalizer(parent) or self._selects(parent)

    def _has_finalizer(self, parent: Observed) -> bool:
        return self.finalizer in parent["metadata"].get("finalizers", ())

    def _selects(self, parent: Observed) -> bool:
        return self._parent_selector.matches(labels_of(parent))

    def _on_child(self, event: WatchEvent) -> None:
        child = event.object
        owner = controller_of(child)
        if owner is None:
            if event.type != "DELETED" and not is_deleting(child):
                for parent in self._possible_parents(child):
                    self._enqueue_parent(parent)
            return
        if owner["kind"] != self._parent.kind or group_of(owner["apiVersion"]) != group_of(self._parent.api_version):
            return
        namespace = child["metadata"].get("namespace", "") if self._parent.namespaced else ""
        found = self.api.peek(self._parent.api_version, self._parent.kind, namespace, owner["name"])
        if found is not None and uid_of(found) == owner["uid"]:
            self._enqueue_parent(found)

    def _possible_parents(self, orphan: Observed) -> Iterator[Observed]:
        """Yield the parents whose selector matches an orphan."""
        labels = labels_of(orphan)
        if self._generate_selector:
            found = self.api.find_uid(labels.get("controller-uid", ""))
            if found is not None and found["kind"] == self._parent.kind:
                yield found
            return
        namespace = orphan["metadata"].get("namespace") if self._parent.namespaced else None
        for parent in self.api.scan(self._parent.api_version, self._parent.kind, namespace):
            try:
                if self._selector(parent).matches(labels):
                    yield parent
            except SyncError:
                continue

    # One sync, in Metacontroller's order

    def _sync(self, parent: Observed) -> None:
        if not self._cares_for(parent):
            return
        self.syncs += 1
        parent = self._sync_finalizer(parent)
        if not self._cares_for(parent):
            return
        observed = self._claim_children(parent)
        related = self._related_objects(parent)
        answer = self._ask(parent, observed, related)
        if answer.resync_after > 0:
            self._enqueue_after(key_of(parent), answer.resync_after, background=True)
        if answer.finalized:
            # Before the children are managed: with the finalizer off, those of a deleted parent are let be.
            parent = self._edit_finalizers(parent, add=False)
        desired = self._label_children(parent, answer.children)
        problems: list[str] = []
        if not is_deleting(parent) or self._should_finalize(parent):
            problems = self._writing.manage(parent, observed, desired)
        self._update_status(parent, answer.status)
        if problems:
            raise SyncError(f"can't reconcile children for {_name_of(parent)}: {_aggregate(problems)}")

    def _sync_finalizer(self, parent: Observed) -> Observed:
        wanted = "finalize" in self._hook_specs
        if self._has_finalizer(parent) == wanted or (wanted and is_deleting(parent)):
            return parent
        return self._edit_finalizers(parent, add=wanted)

    def _edit_finalizers(self, parent: Observed, *, add: bool) -> Observed:
        current = self._live(parent)
        others = [name for name in current["metadata"].get("finalizers", ()) if name != self.finalizer]
        if self._has_finalizer(current) == add:
            return current
        finalizers = [*others, self.finalizer] if add else others
        return self.api.update(_with_metadata(current, finalizers=finalizers), actor=self.actor)

    def _live(self, obj: Observed) -> Observed:
        """Return an object as it is stored now; 404 where it is gone, or another one by now."""
        current = self.api.peek(obj["apiVersion"], obj["kind"], *key_of(obj))
        if current is None or uid_of(current) != uid_of(obj):
            raise not_found(self.api.kind(obj["apiVersion"], obj["kind"]).resource, obj["metadata"]["name"])
        return current

    def _should_finalize(self, parent: Observed) -> bool:
        finalizers = parent["metadata"].get("finalizers", ())
        return self.finalizer in finalizers and not _GC_FINALIZERS & set(finalizers)

    def _selector(self, parent: Observed) -> Selector:
        if self._generate_selector:
            return from_labels({"controller-uid": uid_of(parent)})
        selector = parent.get("spec", {}).get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            raise SyncError(".spec.selector must have either matchLabels, matchExpressions, or both")
        return from_object(selector)

    def _claim_children(self, parent: Observed) -> Groups:
        """Return the children by group and key, after adopting orphans and releasing what no longer matches."""
        selector = self._selector(parent)
        namespace = parent["metadata"].get("namespace") if self._parent.namespaced else None
        groups: Groups = {}
        for child in self._children.values():
            kind = child.kind
            group = groups.setdefault(_group_name(kind), {})
            owned = self.api.controlled_by(kind.api_version, kind.kind, uid_of(parent))
            matching = self.api.scan(kind.api_version, kind.kind, namespace, selector)
            orphans = [obj for obj in matching if controller_of(obj) is None]
            problems = []
            for obj in (*owned, *orphans):
                if namespace is not None and obj["metadata"]["namespace"] != namespace:
                    continue
                try:
                    if self._claim(parent, obj, selector):
                        group[self._child_key(parent, "sync", obj)] = obj
                except (ApiError, SyncError) as error:
                    problems.append(str(error))
            if problems:
                raise SyncError(f"can't claim {kind.kind} children: {_aggregate(problems)}")
        return groups

    def _claim(self, parent: Observed, obj: Observed, selector: Selector) -> bool:
        matches = selector.matches(labels_of(obj))
        if controller_of(obj) is not None:
            if not matches and not is_deleting(parent):
                self._release(parent, obj)
            return matches
        if is_deleting(parent) or is_deleting(obj):
            return False
        if is_deleting(self._live(parent)):
            raise SyncError(f"can't adopt {_name_of(obj)}: {_name_of(parent)} has just been deleted")
        current = self._live(obj)
        others = [owner for owner in owners_of(current) if owner["uid"] != uid_of(parent)]
        return self._unless_gone(_with_metadata(current, ownerReferences=[*others, controller_reference(parent)]))

    def _release(self, parent: Observed, obj: Observed) -> None:
        current = self._live(obj)
        others = [owner for owner in owners_of(current) if owner["uid"] != uid_of(parent)]
        self._unless_gone(_with_metadata(current, ownerReferences=others))

    def _unless_gone(self, obj: Manifest) -> bool:
        try:
            self.api.update(obj, actor=self.actor)
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return True

    def _child_key(self, parent: Observed, hook: str, obj: Observed) -> str:
        """Return an object's key in a request: v1 hooks of a namespaced parent get the bare name."""
        version = self._hook_specs.get(hook, {}).get("version", "v1")
        bare = version == "v1" and parent["metadata"].get("namespace")
        return str(obj["metadata"]["name"]) if bare else qualified_name(obj)

    # Related objects

    def _related_objects(self, parent: Observed) -> Groups:
        groups: Groups = {}
        for rule in self._related_rules(parent):
            group = groups.setdefault(_group_name(rule.kind), {})
            for obj in rule.select(self.api):
                group[self._child_key(parent, "customize", obj)] = obj
        return groups

    def _related_rules(self, parent: Observed) -> tuple[RelatedRule, ...]:
        if "customize" not in self._hook_specs:
            return ()
        cache_key = (uid_of(parent), parent["metadata"]["generation"])
        until, rules = self._customized.get(cache_key, (-1.0, ()))
        if until > self._clock.elapsed:
            return rules
        body = self._call("customize", parent, {"controller": self._controller, "parent": parent})
        answer = self._decode("customize", body, {"relatedResources"})
        wanted = _typed(answer, "relatedResources", list, [])
        for rule in wanted:
            self._refuse_unknown("customize", rule if isinstance(rule, dict) else {}, RULE_FIELDS)
        rules = tuple(parse_rule(rule, self.api) for rule in wanted)
        self._customized = {key: cached for key, cached in self._customized.items() if key[0] != cache_key[0]}
        self._customized[cache_key] = (self._clock.elapsed + _CUSTOMIZE_CACHE_SECONDS, rules)
        self._related.put(key_of(parent), rules)
        return rules

    # Calling a hook

    def _ask(self, parent: Observed, observed: Groups, related: Groups) -> _Answer:
        finalizing = "finalize" in self._hook_specs and (is_deleting(parent) or not self._selects(parent))
        hook = "finalize" if finalizing else "sync"
        if hook not in self._hook_specs:
            raise SyncError(f"sync hook not defined for {_name_of(parent)}")
        request = {
            "controller": self._controller,
            "parent": parent,
            "children": observed,
            "related": related,
            "finalizing": finalizing,
        }
        body = self._call(hook, parent, request)
        answer = self._decode(hook, body, {"status", "children", "resyncAfterSeconds", "finalized"})
        status = _typed(answer, "status", dict, {})
        children = _typed(answer, "children", list, [])
        for child in children:
            if not isinstance(child, dict) or not child.get("kind") or not child.get("apiVersion"):
                raise SyncError("can't unmarshal webhookResponse: Object 'Kind' is missing in a child")
            metadata = _typed(child, "metadata", dict, {})
            child["metadata"] = metadata
            metadata.setdefault("name", "")
            if not metadata.get("namespace") and parent["metadata"].get("namespace"):
                metadata["namespace"] = parent["metadata"]["namespace"]
        return _Answer(
            status,
            children,
            _typed(answer, "resyncAfterSeconds", (int, float), 0),
            _typed(answer, "finalized", bool, False),
        )

    def _call(self, hook: str, parent: Observed, request: Mapping[str, Any]) -> bytes:
        body = orjson.dumps(request)
        what = self._next_interference(hook)
        if what == "drop":
            raise SyncError(f"{hook} hook failed: http error: connection refused")
        for _ in range(2 if what == "repeat" else 1):
            self.calls[hook] += 1
            self.request_bytes += len(body)
            try:
                with self.api.unlocked():
                    response = self.hooks(hook, body)
            except HookConnectionError as error:
                raise SyncError(f"{hook} hook failed: {error}") from error
            self.response_bytes += len(response.body)
            call = HookCall(hook, qualified_name(parent), body, response, self._clock.elapsed)
            for observer in self.observers:
                observer(call)
        if what == "lose":
            raise SyncError(f"{hook} hook failed: http error: context deadline exceeded")
        if response.status == 429:
            raise _TooManyRequestsError(self._retry_after(response.headers.get("retry-after", "")))
        if response.status != 200:
            text = response.body.decode(errors="replace")
            raise SyncError(f"{hook} hook failed: unsupported status code: {response.status} body: {text}")
        return response.body

    def _next_interference(self, hook: str) -> str:
        for index, (wanted, what) in enumerate(self._interference):
            if wanted in {"*", hook}:
                del self._interference[index]
                return what
        return ""

    def _retry_after(self, text: str) -> float:
        """Return how long to wait after a 429; with no usable header not at all."""
        if text.isdigit():
            return float(text)
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return 0
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return float(max(0, math.ceil((aware - self._clock.now()).total_seconds())))

    def _decode(self, hook: str, body: bytes, fields: set[str]) -> dict[str, Any]:
        try:
            answer = orjson.loads(body)
        except ValueError as error:
            raise SyncError(f"can't unmarshal webhookResponse (type: {hook}): {error}") from None
        if not isinstance(answer, dict):
            raise SyncError(f"can't unmarshal webhookResponse (type: {hook}): it is no object")
        self._refuse_unknown(hook, answer, frozenset(fields))
        return answer

    def _refuse_unknown(self, hook: str, answer: Mapping[str, Any], fields: frozenset[str]) -> None:
        """Refuse a field that Metacontroller does not know; hooks of version v1 may send what they like."""
        version = self._hook_specs[hook].get("version", "v1")
        unknown = sorted(answer.keys() - fields)
        if unknown and version == "v2":
            words = ", ".join(f'unknown field "{name}"' for name in unknown)
            raise SyncError(f"strict validation failed for v2 webhookResponse (type: {hook}): {words}")

    # Children

    def _label_children(self, parent: Observed, children: list[Manifest]) -> Groups:
        """Return the desired children by group and key; of two of one name the later one stays."""
        selector = self._selector(parent)
        groups: Groups = {}
        for child in children:
            labels = child["metadata"].get("labels") or {}
            if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
                raise SyncError(f"invalid labels on desired child {_name_of(child)}")
            if self._generate_selector and "controller-uid" not in labels:
                child["metadata"]["labels"] = labels = {**labels, "controller-uid": uid_of(parent)}
            if not selector.matches(labels):
                raise SyncError(f"labels on desired child {_name_of(child)} don't match parent selector")
            groups.setdefault(_group_of(child), {})[qualified_name(child)] = child
        return groups

    # Status

    def _update_status(self, parent: Observed, status: Manifest) -> None:
        status["observedGeneration"] = parent["metadata"]["generation"]
        try:
            current = self._live(parent)
            if same_json(current.get("status"), status):
                return
            write = self.api.update_status if self._parent.status else self.api.update
            write({**current, "status": status}, actor=self.actor)
        except ApiError as error:
            # Gone, or changed meanwhile: neither is worth a retry.
            if error.code not in {404, 409}:
                raise SyncError(f"can't update status for {_name_of(parent)}: {error}") from error


def _with_metadata(obj: Observed, **fields: Any) -> Manifest:
    return {**obj, "metadata": {**obj["metadata"], **fields}}


def _only_status_changed(old: Observed, new: Observed) -> bool:
    def relevant(obj: Observed) -> list[Any]:
        metadata = obj["metadata"]
        return [metadata.get(name) for name in ("generation", "labels", "annotations")]

    return relevant(old) == relevant(new) and not is_deleting(new)


def _typed(answer: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    """Return a field of an answer; null counts as absent, as in Go."""
    value = answer.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SyncError(f"can't unmarshal webhookResponse: {name} has the wrong type")
    return value


def _name_of(obj: Observed) -> str:
    return f"{obj['kind']} {qualified_name(obj)}"


def _aggregate(problems: list[str]) -> str:
    unique = list(dict.fromkeys(problems))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def _group_name(kind: Kind) -> str:
    return f"{kind.kind}.{kind.api_version}"


def _group_of(obj: Observed) -> str:
    return f"{obj['kind']}.{obj['apiVersion']}"
