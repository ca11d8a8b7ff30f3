"""One CompositeController at work: what makes it look at a parent, and one sync from beginning to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.children import Children, Groups
from devcluster.clock import Timer
from devcluster.errors import ApiError
from devcluster.events import record_event
from devcluster.hooks import Hooks
from devcluster.metacontroller.answers import Answer, parse_answer
from devcluster.metacontroller.calling import HookCaller, TooManyRequestsError
from devcluster.metacontroller.claiming import Claims
from devcluster.metacontroller.customizing import Customizing
from devcluster.metacontroller.parents import Parents
from devcluster.metacontroller.spec import read_spec
from devcluster.metacontroller.words import aggregate, name_of
from devcluster.metacontroller.work_queue import WorkQueue
from devcluster.objects import Key, Observed, controller_of, is_deleting, key_of
from devcluster.related import SyncError

DYNAMIC_APPLY = "dynamic-apply"
SERVER_SIDE_APPLY = "server-side-apply"


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
        self.syncs = 0
        self.sync_errors = 0
        self._latency = latency
        self._server_side = apply_strategy == SERVER_SIDE_APPLY
        self._caller = HookCaller(api, hooks)
        self.calls = self._caller.calls
        self.observers = self._caller.observers
        name = controller["metadata"]["name"]
        if api.peek(controller["apiVersion"], controller["kind"], None, name) is None:
            api.create(controller)
        stored = api.get(controller["apiVersion"], controller["kind"], None, name)
        for rule in stored["spec"].get("childResources", ()):
            # So it is in every request: a Go struct without omitempty.
            if "updateStrategy" in rule:
                rule["updateStrategy"].setdefault("statusChecks", {})
        self._controller = orjson.Fragment(orjson.dumps({"status": {}, **stored}))
        self._spec = read_spec(api, stored, server_side=self._server_side)
        self.finalizer = self._spec.finalizer
        self._parents = Parents(api, self._spec, actor)
        self._claims = Claims(api, self._spec, actor)
        self._unsubscribe: Callable[[], None] | None = None
        self.start()

    @property
    def request_bytes(self) -> int:
        """How many bytes the hooks were sent."""
        return self._caller.request_bytes

    @property
    def response_bytes(self) -> int:
        """How many bytes the hooks answered."""
        return self._caller.response_bytes

    # What a test may do to it

    def start(self) -> None:
        """Begin to watch, and sync every parent once, as after a restart; a second start changes nothing."""
        if self._unsubscribe is not None:
            return
        self._queue = WorkQueue(self.api.clock, self._latency, self._work)
        self._customizing = Customizing(self.api, self._spec, self._caller, self._controller)
        methods = {key: child.method for key, child in self._spec.children.items()}
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
            self._queue.stop()
            if self._resync is not None:
                self.api.clock.cancel(self._resync)

    def restart(self) -> None:
        """Forget everything and list all parents again."""
        self.stop()
        self.start()

    def resync(self) -> None:
        """Sync every parent, as a periodic resync does."""
        self._enqueue_all()

    def drop_next(self, hook: str = "*") -> None:
        """Let the next call, of one hook or of any, fail without reaching the hook."""
        self._caller.spoil_next(hook, "drop")

    def lose_next(self, hook: str = "*") -> None:
        """Let the next call reach the hook, and lose its answer."""
        self._caller.spoil_next(hook, "lose")

    def repeat_next(self, hook: str = "*") -> None:
        """Make the next call twice, as after a time-out; the second answer counts."""
        self._caller.spoil_next(hook, "repeat")

    def enqueue(self, key: Key) -> None:
        """Sync a parent soon; several changes within the latency become one sync."""
        self._queue.add(key)

    # What makes it look at a parent

    def _on_event(self, event: WatchEvent) -> None:
        kind = event.kind
        if kind is self._spec.parent:
            self._on_parent(event)
        if (kind.api_version, kind.kind) in self._spec.children:
            self._on_child(event)
        for key in self._customizing.concerned_by(event):
            self.enqueue(key)

    def _on_parent(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self._customizing.forget(key_of(event.object))
        if self._spec.ignore_status and event.old is not None and _only_status_changed(event.old, event.object):
            return
        self._enqueue_parent(event.object)

    def _enqueue_parent(self, parent: Observed) -> None:
        if self._spec.cares_for(parent):
            self.enqueue(key_of(parent))

    def _on_child(self, event: WatchEvent) -> None:
        child = event.object
        if controller_of(child) is not None:
            parent = self._parents.owner_of(child)
            if parent is not None:
                self._enqueue_parent(parent)
        elif event.type != "DELETED" and not is_deleting(child):
            for parent in self._parents.possible_for(child):
                self._enqueue_parent(parent)

    def _enqueue_all(self) -> None:
        for parent in self._parents.all():
            self._enqueue_parent(parent)

    def _plan_resync(self) -> None:
        if self._spec.resync_period is not None:
            self._resync = self.api.clock.after(self._spec.resync_period, self._periodic_resync, background=True)

    def _periodic_resync(self) -> None:
        self._enqueue_all()
        self._plan_resync()

    # One sync, in Metacontroller's order

    def _work(self, key: Key) -> None:
        parent = self._parents.find(key)
        if parent is None:
            self._queue.forget(key)
            return
        try:
            self._sync(parent)
        except TooManyRequestsError as error:
            self._queue.add_after(key, error.after, background=False)
        except (ApiError, SyncError, ValueError) as error:
            self.sync_errors += 1
            self._record_error(parent, str(error))
            self._queue.back_off(key)
        else:
            self._queue.forget(key)

    def _sync(self, parent: Observed) -> None:
        if not self._spec.cares_for(parent):
            return
        self.syncs += 1
        parent = self._parents.sync_finalizer(parent)
        if not self._spec.cares_for(parent):
            return
        observed = self._claims.claim_children(parent)
        related = self._customizing.related_objects(parent)
        answer = self._ask(parent, observed, related)
        if answer.resync_after > 0:
            self._queue.add_after(key_of(parent), answer.resync_after, background=True)
        if answer.finalized:
            # Before the children are managed: with the finalizer off, those of a deleted parent are let be.
            parent = self._parents.edit_finalizers(parent, add=False)
        desired = self._claims.label_children(parent, answer.children)
        problems: list[str] = []
        if not is_deleting(parent) or self._spec.should_finalize(parent):
            problems = self._writing.manage(parent, observed, desired)
        self._parents.update_status(parent, answer.status)
        if problems:
            raise SyncError(f"can't reconcile children for {name_of(parent)}: {aggregate(problems)}")

    def _ask(self, parent: Observed, observed: Groups, related: Groups) -> Answer:
        finalizing = "finalize" in self._spec.hooks and (is_deleting(parent) or not self._spec.selects(parent))
        hook = "finalize" if finalizing else "sync"
        if hook not in self._spec.hooks:
            raise SyncError(f"sync hook not defined for {name_of(parent)}")
        request = {
            "controller": self._controller,
            "parent": parent,
            "children": observed,
            "related": related,
            "finalizing": finalizing,
        }
        body = self._caller.call(hook, parent, request)
        return parse_answer(hook, self._spec.version(hook), body, parent)

    def _record_error(self, parent: Observed, message: str) -> None:
        record_event(self.api, parent, "Warning", "SyncError", f"Sync error: {message}", source=self.actor)


def _only_status_changed(old: Observed, new: Observed) -> bool:
    def relevant(obj: Observed) -> list[Any]:
        metadata = obj["metadata"]
        return [metadata.get(name) for name in ("generation", "labels", "annotations")]

    return relevant(old) == relevant(new) and not is_deleting(new)
