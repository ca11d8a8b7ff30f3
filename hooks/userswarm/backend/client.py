"""`UserSwarmClient`: create UserSwarms, wait until they are verified, find where a user's traffic goes.

Who owns a workspace is asked before anything else, in every method that names one. What we write is written by
server-side apply under our own field manager, so labels and fields of others stay.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from userswarm.backend.access import Access, check_owner
from userswarm.backend.api import RetryPolicy, UserSwarmApi, connect
from userswarm.backend.applying import Applying
from userswarm.backend.cache import SwarmCache
from userswarm.backend.dedicated import add_isolation
from userswarm.backend.errors import ConflictError, InvalidSpecError, NotFound, NotVerified
from userswarm.backend.model import Endpoint, Swarm, parse_swarm
from userswarm.backend.naming import DESCRIPTION, swarm_name, user_selector
from userswarm.backend.use import Use
from userswarm.backend.waiting import Waiting
from userswarm.errors import Problem
from userswarm.spec.swarm import DEDICATED
from userswarm.wire.k8s import Observed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = "userswarm-backend"


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
        self._access = Access(UserSwarmApi(connect(kubeconfig, api_client), policy, timeout=timeout))
        self._applying = Applying(self._access, field_manager, force_conflicts, dict(labels or {}), shard_count)
        self._waiting = Waiting(self._access, watch_window, watch_silence)
        self._use = Use(self._access, field_manager, now)

    # Life

    def cached(self, *, max_staleness: float = 30.0, wait: float = 10.0) -> Self:
        """Keep all UserSwarms in memory, so that `resolve` and `touch` need no request; return this client.

        Answers are at most `max_staleness` seconds behind the API server, usually milliseconds; when they could be
        older, because the watch is broken or silent, the API server is asked again for each. Waits up to `wait`
        seconds for the first list. Call it after a fork, not before.
        """
        if self._access.cache is None:
            self._access.cache = SwarmCache(self._access.api, max_staleness=max_staleness)
            self._access.cache.start()
        self._access.cache.wait_filled(wait)
        return self

    @property
    def cache_is_fresh(self) -> bool:
        """Whether `resolve` answers from memory just now."""
        return self._access.cache_is_fresh

    @property
    def cache_age(self) -> float:
        """For how many seconds nothing has proved memory to be whole; infinite before `cached` has filled it."""
        return float("inf") if self._access.cache is None else self._access.cache.age()

    def close(self) -> None:
        """Stop the cache, and close the connections unless the ApiClient was given."""
        if self._access.cache is not None:
            self._access.cache.close()
            self._access.cache = None
        if self._owns_connection:
            self._access.api.transport.close()

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
        description: str | None = None,
        **spec: Any,
    ) -> Swarm:
        """Make sure that the workspace has a UserSwarm with this spec; write nothing where that is so already.

        `spec` holds sections as in the CRD: ``runtime={"image": …}, storage={"size": "5Gi"}``. It is all that the
        backend wants: a field that an earlier call set, and this one does not, goes back to its default. Only
        ``suspend``, and the workloads of `deploy`, stay as they are where they are left out.

        With ``isolation="Dedicated"`` the swarm gets a namespace of its own, for good; then ``quota={"pods": 6}``,
        ``limitRange={…}`` and ``members=[{"kind": "User", "name": …, "role": "view"}]`` say what may be used there, and
        by whom. They are short for ``placement`` and ``access`` in the spec. ``description`` is kept as the annotation
        ``crawbl.ai/description``; `instance_name` makes a workspace id of it.

        Raises InvalidSpecError before any request, OwnershipError with nothing written, BeingDeletedError, and
        FieldConflictError where someone else has set a field to another value.
        """
        name = swarm_name(workspace_id)
        spec, twice = add_isolation(spec, isolation, members)
        if twice:
            raise InvalidSpecError(name, twice)
        desired = self._applying.build(name, workspace_id, user_id, spec)
        if description is not None:
            desired["metadata"]["annotations"] = {DESCRIPTION: description}
        return self._applying.apply(name, desired, workspace_id, user_id)

    # Waiting

    def wait_verified(
        self, swarm: Swarm, timeout: float, on_progress: Callable[[Swarm], object] | None = None
    ) -> Swarm:
        """Wait until traffic may go to this very object, in the generation given or a newer one.

        `on_progress` is called in this thread whenever phase, reason or message has changed, first with how it is
        now. Raises SwarmFailedError, SwarmInvalidError or SwarmGoneError as soon as it is clear, WaitTimeoutError
        after `timeout` seconds: each carries phase, reason and message.
        """
        return self._waiting.until_verified(swarm, timeout, on_progress)

    def states(self, swarm: Swarm, timeout: float) -> Generator[Swarm, None, None]:
        """Yield how this very object is now and after each change, for so many seconds.

        Raises SwarmGoneError once it is gone.
        """
        return self._waiting.follow(swarm, timeout)

    # Finding

    def resolve(self, workspace_id: str, user_id: str) -> Endpoint:
        """Return where the user's traffic goes.

        Raises OwnershipError where the workspace is another user's, whatever its state; else NotVerified; else
        NotFound. Answers from memory after `cached`.
        """
        swarm = self.find(workspace_id, user_id)
        if not swarm.is_verified():
            raise NotVerified(
                swarm.name,
                "takes no traffic now",
                phase="Deleting" if swarm.deleting else swarm.phase,
                reason=swarm.reason,
                message=swarm.message,
            )
        return swarm.endpoint

    def find(self, workspace_id: str, user_id: str) -> Swarm:
        """Return the workspace's swarm, whatever its state; raise NotFound, OwnershipError.

        Answers from memory after `cached`.
        """
        return check_owner(self._access.look_up(swarm_name(workspace_id)), workspace_id, user_id)

    def get(self, workspace_id: str, user_id: str) -> Swarm:
        """Return the workspace's swarm as the API server has it; raise NotFound, OwnershipError."""
        return self._access.noted(self._access.get(workspace_id, user_id, self._access.policy.budget()))

    def list(self, user_id: str | None = None, *, page_size: int = 500) -> Iterator[Swarm]:
        """Yield the user's swarms, or everybody's, reading a page when it is needed.

        A user's are found by the label that `ensure` sets, and only those whose spec names this very user.
        """
        selector = "" if user_id is None else user_selector(user_id)
        for manifest in self._access.api.items(limit=page_size, label_selector=selector):
            swarm = parse_swarm(manifest)
            if user_id is None or swarm.user_id == user_id:
                yield swarm

    # Changing

    def suspend(self, workspace_id: str, user_id: str) -> Swarm:
        """Stop the runtime and keep everything else; raise NotFound, OwnershipError, BeingDeletedError."""
        return self._applying.set_field(workspace_id, user_id, "suspend", True)

    def resume(self, workspace_id: str, user_id: str) -> Swarm:
        """Start the runtime again; `wait_verified` the result. Raises as `suspend` does."""
        return self._applying.set_field(workspace_id, user_id, "suspend", False)

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
        workloads = self._applying.build(name, workspace_id, user_id, spec)["spec"]["workloads"]

        def check(observed: Observed) -> None:
            if observed["spec"].get("placement", {}).get("isolation") != DEDICATED:
                told = "need a namespace of their own; make the swarm with isolation='Dedicated'"
                raise InvalidSpecError(name, [Problem("spec.workloads", told)])

        return self._applying.set_field(workspace_id, user_id, "workloads", workloads, check)

    def delete(self, workspace_id: str, user_id: str, *, wait: float | None = None) -> bool:
        """Delete the workspace's swarm; return False where there is none.

        With `wait`, return when it and all that belongs to it is gone; after so many seconds raise WaitTimeoutError.
        """
        budget = self._access.policy.budget()
        try:
            swarm = parse_swarm(self._access.get(workspace_id, user_id, budget))
        except NotFound:
            return False
        if not swarm.deleting:
            # The uid says enough: an owner never changes. A status that did must not stand in the way.
            # A conflict: it is gone, and another one was made. Not the one that was to be deleted.
            with contextlib.suppress(ConflictError):
                self._access.api.delete(swarm.name, uid=swarm.uid, budget=budget)
            if (cache := self._access.cache) is not None:
                cache.doom(swarm)
        if wait is not None:
            self._waiting.until_gone(swarm, wait)
        return True

    def touch(self, workspace_id: str, user_id: str, *, busy: bool = False) -> bool:
        """Note in the annotation ``crawbl.ai/last-activity`` that the workspace is in use; this wakes it, too.

        With `busy` a lease is noted too, as by the method `busy`, but once: it ends by itself.

        Cheap enough for every message: a swarm is written to once for each sixth of the time after which it would
        sleep, and once a minute at most; then True is returned. A write that fails counts too. Raises OwnershipError
        and NotFound. Without `cached` a swarm that fell asleep within that time of a touch is woken only after it.
        """
        return self._use.note(workspace_id, user_id, busy=busy)

    def busy(self, workspace_id: str, user_id: str) -> AbstractContextManager[None]:
        """Keep the swarm awake for as long as the block runs, and wake it: for an open stream, say.

        A lease is renewed in a thread as often as `touch` writes at most, for all blocks of this client together; it
        ends by itself when nobody renews it. Raises as `touch` does, on entering; renewing is tried again and again.
        """
        return self._use.lease(workspace_id, user_id)

    def wake(self, workspace_id: str, user_id: str, *, wait: float | None = None) -> Swarm:
        """Wake the swarm if it sleeps; with `wait`, return when it is verified, and raise as `wait_verified` does."""
        swarm = self._use.wake(workspace_id, user_id)
        return swarm if wait is None else self.wait_verified(swarm, wait)

    def move_template(self, swarm: Swarm, revision: int, *, moved_while: str = "") -> Swarm:
        """Ask that the swarm, exactly as it is given, is built from this revision of its template.

        `moved_while` is noted for whoever looks later: why this move cannot have broken it. Raises ConflictError where
        it has changed since, BeingDeletedError, NotFound, and ValueError where its spec names no template, or pins the
        revision.
        """
        return self._applying.move_template(swarm, revision, moved_while)
