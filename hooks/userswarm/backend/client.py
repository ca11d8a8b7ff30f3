"""`UserSwarmClient`: create UserSwarms, wait until they are verified, find where a user's traffic goes.

Who owns a workspace is asked before anything else, in every method that names one. What we write is written by
server-side apply under our own field manager, so labels and fields of others stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from userswarm.backend.activity import RecentlyTouched, is_held, is_noted, note
from userswarm.backend.api import API_VERSION, KIND, Budget, RetryPolicy, UserSwarmApi, connect
from userswarm.backend.cache import SwarmCache
from userswarm.backend.dedicated import add_isolation, find_dedicated_problems
from userswarm.backend.errors import (
    ApiStatusError,
    BackendError,
    BeingDeletedError,
    ConflictError,
    FieldConflictError,
    InvalidSpecError,
    NotFound,
    NotVerified,
    OwnershipError,
    SwarmFailedError,
    SwarmGoneError,
    SwarmInvalidError,
    WaitError,
    WaitTimeoutError,
)
from userswarm.backend.fields import extract, is_unchanged, owned_fields
from userswarm.backend.follow import follow
from userswarm.backend.model import Endpoint, Swarm, parse_swarm
from userswarm.backend.naming import swarm_labels, swarm_name, user_selector
from userswarm.errors import Problem
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.swarm import DEDICATED
from userswarm.wire.k8s import Manifest, Observed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "userswarm-backend"

_ENDED = {"Failed": SwarmFailedError, "Invalid": SwarmInvalidError}


def _utc_now() -> datetime:
    return datetime.now(UTC)


class UserSwarmClient:
    """A backend's access to UserSwarms; safe for use by many threads, and closed at the end (use ``with``).

    Every call retries 429 (Retry-After is honoured), 5xx and broken connections, and after a 409 reads again, all
    within `policy`; then the last error is raised. All requests are idempotent.
    """

    def __init__(
        self,
        kubeconfig: str | os.PathLike[str] | None = None,
        api_client: ApiClient | None = None,
        *,
        policy: RetryPolicy | None = None,
        timeout: tuple[float, float] = (5.0, 20.0),
        field_manager: str = FIELD_MANAGER,
        force_conflicts: bool = False,
        labels: Mapping[str, str] | None = None,
        shard_count: int | None = None,
        watch_window: float = 30.0,
        watch_silence: float = 40.0,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Connect by the ApiClient or the kubeconfig given, KUBECONFIG, the Pod's own account or ~/.kube/config.

        Args:
            policy: how often and how long to retry.
            timeout: seconds to connect, and between two bytes of an answer.
            field_manager: who we are to server-side apply; all backends of one platform share it.
            force_conflicts: take over fields that others have set, instead of raising FieldConflictError.
            labels: more labels for every UserSwarm that `ensure` applies.
            shard_count: spread swarms by the label ``crawbl.ai/shard`` over so many controllers.
            watch_window: seconds after which a watch is renewed.
            watch_silence: seconds without a byte after which a watch counts as dead.
            now: the time, aware, for `touch`.
        """
        if shard_count is not None and shard_count < 1:
            raise ValueError(f"shard_count={shard_count!r}: must be at least 1")
        self._owns_connection = api_client is None
        self._api = UserSwarmApi(connect(kubeconfig, api_client), policy, timeout=timeout)
        self._policy = self._api.policy
        self._field_manager = field_manager
        self._force = force_conflicts
        self._labels = dict(labels or {})
        self._shard_count = shard_count
        self._window = watch_window
        self._silence = watch_silence
        self._now = now
        self._touched = RecentlyTouched()
        self._cache: SwarmCache | None = None

    # Life

    def cached(self, *, max_staleness: float = 30.0, wait: float = 10.0) -> Self:
        """Keep all UserSwarms in memory, so that `resolve` and `touch` need no request; return this client.

        Answers are at most `max_staleness` seconds behind the API server, usually milliseconds; when they could be
        older, because the watch is broken or silent, the API server is asked again for each. Waits up to `wait`
        seconds for the first list. Call it after a fork, not before.
        """
        if self._cache is None:
            self._cache = SwarmCache(self._api, max_staleness=max_staleness)
            self._cache.start()
        self._cache.wait_filled(wait)
        return self

    @property
    def cache_is_fresh(self) -> bool:
        """Whether `resolve` answers from memory just now."""
        return self._cache is not None and self._cache.is_fresh()

    def close(self) -> None:
        """Stop the cache, and close the connections unless the ApiClient was given."""
        if self._cache is not None:
            self._cache.close()
            self._cache = None
        if self._owns_connection:
            self._api.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Making

    def ensure(
        self,
        workspace_id: str,
        user_id: str,
        *,
        isolation: str | None = None,
        members: Sequence[Mapping[str, str]] | None = None,
        **spec: Any,
    ) -> Swarm:
        """Make sure that the workspace has a UserSwarm with this spec; write nothing where that is so already.

        `spec` holds sections as in the CRD: ``runtime={"image": …}, storage={"size": "5Gi"}``. It is all that the
        backend wants: a field that an earlier call set, and this one does not, goes back to its default. Only
        ``suspend``, and the workloads of `deploy`, stay as they are where they are left out.

        With ``isolation="Dedicated"`` the swarm gets a namespace of its own, for good; then ``quota={"pods": 6}``,
        ``limitRange={…}`` and ``members=[{"kind": "User", "name": …, "role": "view"}]`` say what may be used there, and
        by whom. They are short for ``placement`` and ``access`` in the spec.

        Raises InvalidSpecError before any request, OwnershipError with nothing written, BeingDeletedError, and
        FieldConflictError where someone else has set a field to another value.
        """
        name = swarm_name(workspace_id)
        spec, twice = add_isolation(spec, isolation, members)
        if twice:
            raise InvalidSpecError(name, twice)
        desired = self._build(name, workspace_id, user_id, spec)
        budget = self._policy.budget()
        while True:
            try:
                return self._ensure_once(name, desired, workspace_id, user_id, budget)
            except ConflictError as error:
                budget.pause(error)

    def _build(self, name: str, workspace_id: str, user_id: str, spec: Mapping[str, Any]) -> Manifest:
        """Return what to apply to a UserSwarm that is not there yet."""
        ours = {"userId": user_id, "workspaceId": workspace_id}
        taken = [
            Problem(f"spec.{field}", "is the workspace's and its owner's: give it as the first two arguments")
            for field in sorted(ours.keys() & spec.keys())
        ]
        try:
            # Ours from here on, and nothing but JSON.
            sections = json.loads(json.dumps(spec, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidSpecError(name, [Problem("spec", f"must be what JSON can hold: {error}")]) from error
        desired: Manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            # An empty section says nothing; applied, it would claim whatever others write into it.
            "spec": {field: value for field, value in sections.items() if value not in (None, {})} | ours,
        }
        schema = user_swarm_schema()
        problems = taken + schema.problems(desired) + schema.unknown_fields(desired)
        if problems := problems or find_dedicated_problems(desired):
            raise InvalidSpecError(name, problems)
        desired["metadata"]["labels"] = self._labels | swarm_labels(name, user_id, self._shard_count)
        return desired

    def _ensure_once(self, name: str, desired: Manifest, workspace_id: str, user_id: str, budget: Budget) -> Swarm:
        observed = self._find(name, budget)
        if observed is None:
            wanted = desired
        else:
            swarm = self._check_owner(parse_swarm(observed), workspace_id, user_id)
            if swarm.deleting:
                raise BeingDeletedError(name)
            wanted = _fit(desired, observed, owned_fields(observed, self._field_manager))
            if self._is_applied(wanted, observed):
                return self._noted(observed)
            # Not on another object, made anew in the meantime.
            wanted = {**wanted, "metadata": {**wanted["metadata"], "uid": swarm.uid}}
        try:
            stored = self._api.apply(wanted, field_manager=self._field_manager, force=self._force, budget=budget)
        except ApiStatusError as error:
            if not (error.status == 422 or (isinstance(error, ConflictError) and error.fields)):
                raise
            raise self._refusal(error, name, observed, workspace_id, user_id, budget) from error
        self._check_owner(parse_swarm(stored), workspace_id, user_id)
        return self._noted(stored)

    def _is_applied(self, wanted: Observed, observed: Observed) -> bool:
        complete = user_swarm_schema().with_defaults(wanted)
        desired, defaulted, found = (
            {"metadata": {"labels": manifest["metadata"].get("labels", {})}, "spec": manifest["spec"]}
            for manifest in (wanted, complete, observed)
        )
        return is_unchanged(desired, defaulted, found, owned_fields(observed, self._field_manager))

    def _refusal(
        self,
        error: ApiStatusError,
        name: str,
        observed: Observed | None,
        workspace_id: str,
        user_id: str,
        budget: Budget,
    ) -> Exception:
        """Return what a 422 or a conflict about fields means.

        Either somebody else was faster than we, or others own these fields, or the API server knows better than our
        schema.
        """
        found = self._find(name, budget)
        if found is not None:
            self._check_owner(parse_swarm(found), workspace_id, user_id)
        if _uid(found) != _uid(observed):
            # Made, or made anew, since we read it: ours, but not what we compared with. Read again.
            return ConflictError(error.what, 409, reason="Conflict", message=error.message)
        if isinstance(error, ConflictError):
            return FieldConflictError(name, error.fields)
        causes = error.details.get("causes") or ({"field": "spec", "message": error.message},)
        return InvalidSpecError(
            name, [Problem(str(cause.get("field", "")), str(cause.get("message", ""))) for cause in causes]
        )

    # Waiting

    def wait_verified(
        self, swarm: Swarm, timeout: float, on_progress: Callable[[Swarm], object] | None = None
    ) -> Swarm:
        """Wait until traffic may go to this very object, in the generation given or a newer one.

        `on_progress` is called in this thread whenever phase, reason or message has changed, first with how it is
        now. Raises SwarmFailedError, SwarmInvalidError or SwarmGoneError as soon as it is clear, WaitTimeoutError
        after `timeout` seconds: each carries phase, reason and message.
        """
        shown: tuple[object, ...] | None = None
        now = swarm
        for now in self._follow(swarm, timeout):
            if on_progress is not None and shown != (shown := (now.phase, now.reason, now.message, now.verified)):
                on_progress(now)
            if now.deleting:
                raise _wait_error(SwarmGoneError, now, "is being deleted")
            if now.is_verified(swarm.generation):
                return now
            ended = _ENDED.get(now.phase)
            if ended is not None and now.observed_generation >= swarm.generation:
                raise _wait_error(ended, now, "will not be verified")
        raise _wait_error(WaitTimeoutError, now, f"is not verified after {timeout:g} s")

    def _follow(self, swarm: Swarm, timeout: float) -> Iterator[Swarm]:
        """Yield the states of this very object; raise SwarmGoneError once it is gone."""
        last = swarm
        states = follow(self._api, swarm.name, timeout=timeout, window=self._window, silence=self._silence)
        with contextlib.closing(states):
            for manifest in states:
                if manifest is None:
                    raise _wait_error(SwarmGoneError, last, "is gone")
                last = parse_swarm(manifest)
                if last.uid != swarm.uid:
                    raise _wait_error(SwarmGoneError, last, "was deleted and made anew")
                self._noted(manifest)
                yield last

    # Finding

    def resolve(self, workspace_id: str, user_id: str) -> Endpoint:
        """Return where the user's traffic goes.

        Raises OwnershipError where the workspace is another user's, whatever its state; else NotVerified; else
        NotFound. Answers from memory after `cached`.
        """
        swarm = self._look_up(swarm_name(workspace_id))
        self._check_owner(swarm, workspace_id, user_id)
        if not swarm.is_verified():
            raise NotVerified(
                swarm.name,
                "takes no traffic now",
                phase="Deleting" if swarm.deleting else swarm.phase,
                reason=swarm.reason,
                message=swarm.message,
            )
        return swarm.endpoint

    def get(self, workspace_id: str, user_id: str) -> Swarm:
        """Return the workspace's swarm as the API server has it; raise NotFound, OwnershipError."""
        return self._noted(self._get(workspace_id, user_id, self._policy.budget()))

    def list(self, user_id: str | None = None, *, page_size: int = 500) -> Iterator[Swarm]:
        """Yield the user's swarms, or everybody's, reading a page when it is needed.

        A user's are found by the label that `ensure` sets, and only those whose spec names this very user.
        """
        selector = "" if user_id is None else user_selector(user_id)
        for manifest in self._api.items(limit=page_size, label_selector=selector):
            swarm = parse_swarm(manifest)
            if user_id is None or swarm.user_id == user_id:
                yield swarm

    # Changing

    def suspend(self, workspace_id: str, user_id: str) -> Swarm:
        """Stop the runtime and keep everything else; raise NotFound, OwnershipError, BeingDeletedError."""
        return self._set_suspended(workspace_id, user_id, True)

    def resume(self, workspace_id: str, user_id: str) -> Swarm:
        """Start the runtime again; `wait_verified` the result. Raises as `suspend` does."""
        return self._set_suspended(workspace_id, user_id, False)

    def _set_suspended(self, workspace_id: str, user_id: str, suspended: bool) -> Swarm:
        return self._set(workspace_id, user_id, "suspend", suspended, lambda observed: None)

    def deploy(self, workspace_id: str, user_id: str, manifests: Iterable[Mapping[str, Any]]) -> Swarm:
        """Put the tenant's own objects into the swarm's namespace; write nothing where they are there already.

        These are all: what an earlier call put there and this one leaves out is removed, and none at all removes
        everything. Each is a Deployment, Service, ConfigMap, Job or CronJob; what their Pods do not say is completed
        to the restricted Pod Security Standard. The condition WorkloadsReady tells how they do; whether the swarm is
        verified does not depend on them.

        Raises InvalidSpecError naming every field that is refused, before any request or, where the swarm has no
        namespace of its own, with nothing written; NotFound, OwnershipError, BeingDeletedError.
        """
        name = swarm_name(workspace_id)
        spec = {"placement": {"isolation": DEDICATED}, "workloads": list(manifests)}
        workloads = self._build(name, workspace_id, user_id, spec)["spec"]["workloads"]

        def check(observed: Observed) -> None:
            if observed["spec"].get("placement", {}).get("isolation") != DEDICATED:
                told = "need a namespace of their own; make the swarm with isolation='Dedicated'"
                raise InvalidSpecError(name, [Problem("spec.workloads", told)])

        return self._set(workspace_id, user_id, "workloads", workloads, check)

    def _set(
        self, workspace_id: str, user_id: str, field: str, value: Any, check: Callable[[Observed], object]
    ) -> Swarm:
        """Set one field of the spec, and leave all others; `check` may refuse by raising."""
        budget = self._policy.budget()
        while True:
            observed = self._get(workspace_id, user_id, budget)
            swarm = parse_swarm(observed)
            if swarm.deleting:
                raise BeingDeletedError(swarm.name)
            check(observed)
            if _same(observed["spec"].get(field) or type(value)(), value):
                return self._noted(observed)
            owned = owned_fields(observed, self._field_manager)
            # All that we have applied before, or it would be taken away; on exactly the state that was read, so
            # that forcing takes over this field and nothing else.
            ours = extract(observed, owned) if owned else {}
            manifest = {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {
                    **ours.get("metadata", {}),
                    "name": swarm.name,
                    "resourceVersion": swarm.resource_version,
                },
                "spec": {**ours.get("spec", {}), field: value},
            }
            try:
                return self._noted(
                    self._api.apply(manifest, field_manager=self._field_manager, force=True, budget=budget)
                )
            except ConflictError as error:
                budget.pause(error)

    def delete(self, workspace_id: str, user_id: str, *, wait: float | None = None) -> bool:
        """Delete the workspace's swarm; return False where there is none.

        With `wait`, return when it and all that belongs to it is gone; after so many seconds raise WaitTimeoutError.
        """
        budget = self._policy.budget()
        try:
            swarm = parse_swarm(self._get(workspace_id, user_id, budget))
        except NotFound:
            return False
        if not swarm.deleting:
            # The uid says enough: an owner never changes. A status that did must not stand in the way.
            # A conflict: it is gone, and another one was made. Not the one that was to be deleted.
            with contextlib.suppress(ConflictError):
                self._api.delete(swarm.name, uid=swarm.uid, budget=budget)
            if (cache := self._cache) is not None:
                cache.doom(swarm)
        if wait is not None:
            self._wait_gone(swarm, wait)
        return True

    def _wait_gone(self, swarm: Swarm, timeout: float) -> None:
        try:
            *_, last = self._follow(swarm, timeout)
        except SwarmGoneError:
            return
        raise _wait_error(WaitTimeoutError, last, f"is not gone after {timeout:g} s")

    def touch(self, workspace_id: str, user_id: str) -> bool:
        """Note in the annotation ``crawbl.ai/last-activity`` that the workspace is in use; this wakes it, too.

        Cheap enough for every message: a swarm is written to once for each sixth of the time after which it would
        sleep, and once a minute at most; then True is returned. A write that fails counts too. Raises OwnershipError
        and NotFound. Without `cached` a swarm that fell asleep within that time of a touch is woken only after it.
        """
        return self._note(workspace_id, user_id, busy=False)

    @contextlib.contextmanager
    def busy(self, workspace_id: str, user_id: str) -> Iterator[None]:
        """Keep the swarm awake for as long as the block runs, and wake it: for an open stream, say.

        A lease is renewed in a thread as often as `touch` writes at most, for all blocks of this client together; it
        ends by itself when nobody renews it. Raises as `touch` does, on entering; renewing is tried again and again.
        """
        self._note(workspace_id, user_id, busy=True)
        every = self._look_up(swarm_name(workspace_id)).touch_every
        over = threading.Event()

        def renew() -> None:
            while not over.wait(every):
                with contextlib.suppress(BackendError):
                    self._note(workspace_id, user_id, busy=True)

        thread = threading.Thread(target=renew, name=f"busy-{workspace_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wake(self, workspace_id: str, user_id: str, *, wait: float | None = None) -> Swarm:
        """Wake the swarm if it sleeps; with `wait`, return when it is verified, and raise as `wait_verified` does."""
        budget = self._policy.budget()
        swarm = self._noted(self._get(workspace_id, user_id, budget))
        if not is_noted(swarm, self._now()):
            swarm = self._write_note(swarm, busy=False)
        return swarm if wait is None else self.wait_verified(swarm, wait)

    def _note(self, workspace_id: str, user_id: str, *, busy: bool) -> bool:
        name, clock = swarm_name(workspace_id), self._policy.clock
        key = (name, user_id, busy)
        in_memory = self._cache is not None and self._cache.is_fresh()
        if not in_memory and self._touched.is_recent((*key, ""), clock()):
            return False
        swarm = self._check_owner(self._look_up(name), workspace_id, user_id)
        # Whoever sleeps is written to at once, and once.
        asleep_since = swarm.asleep_since if swarm.asleep else ""
        if not self._touched.claim((*key, asleep_since), clock(), swarm.touch_every):
            return False
        if asleep_since:
            self._touched.claim((*key, ""), clock(), swarm.touch_every)
        now = self._now()
        if is_held(swarm, now) if busy else is_noted(swarm, now):
            return False
        self._write_note(swarm, busy=busy)
        return True

    def _write_note(self, swarm: Swarm, *, busy: bool) -> Swarm:
        patch = note(swarm, self._now(), busy=busy)
        try:
            return self._noted(self._api.merge(swarm.name, patch, field_manager=self._field_manager))
        except ApiStatusError as error:
            if error.status not in {409, 422}:
                raise
            raise NotFound(swarm.name) from error

    # What these have in common

    def _find(self, name: str, budget: Budget) -> Manifest | None:
        try:
            return self._api.get(name, budget=budget)
        except NotFound:
            return None

    def _get(self, workspace_id: str, user_id: str, budget: Budget) -> Manifest:
        manifest = self._api.get(swarm_name(workspace_id), budget=budget)
        self._check_owner(parse_swarm(manifest), workspace_id, user_id)
        return manifest

    def _look_up(self, name: str) -> Swarm:
        """Return a swarm from memory, or from the API server where memory cannot be trusted; raise NotFound."""
        cache = self._cache
        if cache is None or not cache.is_fresh():
            return self._noted(self._api.get(name))
        swarm = cache.find(name)
        if swarm is None:
            raise NotFound(name)
        return swarm

    def _noted(self, manifest: Observed) -> Swarm:
        """Return the Swarm, and let the cache know it too."""
        swarm = parse_swarm(manifest)
        if (cache := self._cache) is not None:
            cache.observe(swarm)
        return swarm

    @staticmethod
    def _check_owner(swarm: Swarm, workspace_id: str, user_id: str) -> Swarm:
        if not swarm.belongs_to(workspace_id, user_id):
            raise OwnershipError(swarm.name)
        return swarm


def _fit(desired: Observed, observed: Observed, owned: Mapping[str, Any]) -> Manifest:
    """Return what to apply to the object that is there."""
    spec = dict(desired["spec"])
    if "workspaceId" not in observed["spec"]:
        # Made by hand, under the name that says it: the field cannot be added later.
        del spec["workspaceId"]
    for field in ("suspend", "workloads"):
        # Leaving it out would resume a suspended swarm, or remove what was deployed, by mistake.
        if field not in spec and f"f:{field}" in owned.get("f:spec", {}) and field in observed["spec"]:
            spec[field] = observed["spec"][field]
    return {**desired, "spec": spec}


def _same(left: Any, right: Any) -> bool:
    """Compare JSON, in which true is not 1."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _uid(manifest: Observed | None) -> str | None:
    return None if manifest is None else str(manifest["metadata"]["uid"])


def _wait_error(kind: type[WaitError], swarm: Swarm, what: str) -> WaitError:
    return kind(swarm.name, what, phase=swarm.phase, reason=swarm.reason, message=swarm.message)
