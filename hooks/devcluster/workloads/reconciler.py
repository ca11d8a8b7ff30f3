"""The work queue of a controller: looks at an object soon after something about it changed."""

from __future__ import annotations

import abc
import functools
from collections import Counter

from devcluster.apiserver import ApiServer
from devcluster.clock import Timer
from devcluster.errors import ApiError
from devcluster.events import record_event
from devcluster.objects import Key, Observed, controller_of

ACTOR = "kube-controller-manager"


class Reconciler(abc.ABC):
    """A controller of one kind; subclasses say in `reconcile` what to do about an object."""

    api_version: str
    kind: str

    def __init__(self, api: ApiServer, *, latency: float = 0.005) -> None:
        self.api = api
        self.clock = api.clock
        self._latency = latency
        self._queued: dict[Key, Timer] = {}
        self._failures: Counter[Key] = Counter()

    def enqueue(self, key: Key, seconds: float | None = None, *, background: bool = False) -> None:
        """Look at an object soon, or in so many seconds; the earlier wish counts."""
        timer = self.clock.after(
            self._latency if seconds is None else seconds, functools.partial(self._work, key), background=background
        )
        planned = self._queued.get(key)
        if planned is not None and planned.due <= timer.due:
            self.clock.cancel(timer)
            return
        if planned is not None:
            self.clock.cancel(planned)
        self._queued[key] = timer

    def enqueue_owner(self, obj: Observed) -> None:
        """Look soon at the object of this kind that controls another one, if one does."""
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == self.kind:
            self.enqueue((obj["metadata"]["namespace"], owner["name"]))

    @abc.abstractmethod
    def reconcile(self, obj: Observed) -> None:
        """Do what has to be done about one stored object."""

    def _work(self, key: Key) -> None:
        del self._queued[key]
        obj = self.api.peek(self.api_version, self.kind, *key)
        if obj is None:
            self._failures.pop(key, None)
            return
        try:
            self.reconcile(obj)
        except ApiError as error:
            record_event(self.api, obj, "Warning", "FailedCreate", str(error), source=ACTOR)
            # As client-go backs off; what failed for long need not keep anybody waiting.
            delay = min(0.005 * 2 ** min(self._failures[key], 30), 1000.0)
            self._failures[key] += 1
            self.enqueue(key, delay, background=delay > 1)
        else:
            self._failures.pop(key, None)
