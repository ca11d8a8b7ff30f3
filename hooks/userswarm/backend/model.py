"""What a backend sees of a UserSwarm: `Swarm`; `Endpoint`, where its traffic goes; `OfTemplate`, what it is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.backend.naming import default_workspace_id
from userswarm.parts.lifecycle.activity import BUSY_UNTIL, LAST_ACTIVITY
from userswarm.spec.template.choosing import REVISION_ANNOTATION
from userswarm.wire.k8s import Observed

MOVED_WHILE = "crawbl.ai/template-moved-while"
"""Beside REVISION_ANNOTATION: why what came of that cannot be blamed on it."""

TOUCH_INTERVAL = 60.0
"""Seconds within which activity is noted once, where a swarm's status does not say more."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a user's traffic goes: a base URL that only resolves inside the cluster.

    `uid` is that of the UserSwarm: another one means another runtime, even behind the same URL.
    """

    url: str
    workspace_id: str
    user_id: str
    uid: str


@dataclass(frozen=True, slots=True)
class OfTemplate:
    """Which template a swarm is of, and the revision: each 0 where nobody has said.

    `pinned` by its spec, which wins; `asked` for by a roll-out; `revision`, what the controller has built.
    `moved_while` is the phase in which the roll-out met it, where it did not serve its user even then; else "".
    """

    name: str
    pinned: int
    asked: int
    revision: int
    moved_while: str = ""


@dataclass(frozen=True, slots=True)
class Swarm:
    """One UserSwarm as it was at `resource_version`.

    Attributes:
        generation: counts changes of the spec; `wait_verified` waits for this one.
        phase: "" until the controller has seen it.
        reason, message: of the condition that says why it is not ready; empty when it is.
        verified, verified_generation, url: the controller's; use `is_verified`, which knows when they are outdated.
        deleting, suspended: what was asked for, whether or not it has happened yet.
        last_activity: RFC 3339, as `touch` recorded it, or "".
        busy_until: the same, as `busy` recorded it.
        asleep_since: since when it sleeps because nobody used it, or "".
        asleep_mark: the `last_activity` that was known then; any other one has woken it.
        touch_every: within how many seconds activity is worth one note.
        template: None for a swarm of none.
    """

    name: str
    uid: str
    resource_version: str
    generation: int
    workspace_id: str
    user_id: str
    created_at: str
    deleting: bool
    suspended: bool
    phase: str
    reason: str
    message: str
    observed_generation: int
    verified: bool
    verified_generation: int
    url: str
    last_activity: str
    busy_until: str
    asleep_since: str
    asleep_mark: str
    touch_every: float
    template: OfTemplate | None

    @property
    def asleep(self) -> bool:
        """Whether it sleeps, and nobody has woken it yet."""
        return bool(self.asleep_since) and self.last_activity == self.asleep_mark

    def is_verified(self, generation: int | None = None) -> bool:
        """Tell whether traffic may go there; by default for the spec as it is now.

        The controller takes a moment to withdraw its word after a change of the spec; until it has spoken about the
        generation asked for, and once a deletion or a suspension was asked for, the answer is no.
        """
        wanted = self.generation if generation is None else generation
        return (
            self.verified
            and self.verified_generation >= wanted
            and bool(self.url)
            and not self.deleting
            and not self.suspended
        )

    def belongs_to(self, workspace_id: str, user_id: str) -> bool:
        """Tell whether it serves exactly this workspace of exactly this user."""
        return self.user_id == user_id and self.workspace_id == workspace_id

    @property
    def endpoint(self) -> Endpoint:
        """The address, whether or not traffic may go there."""
        return Endpoint(self.url, self.workspace_id, self.user_id, self.uid)


def parse_swarm(manifest: Observed) -> Swarm:
    """Return the Swarm that a UserSwarm's JSON shows; whatever the controller has not reported is empty."""
    metadata = manifest["metadata"]
    spec = manifest.get("spec") or {}
    status = manifest.get("status") or {}
    blocking, lifecycle = _blocking_condition(status), status.get("lifecycle") or {}
    annotations = metadata.get("annotations") or {}
    name = str(metadata["name"])
    return Swarm(
        name=name,
        uid=str(metadata["uid"]),
        resource_version=str(metadata.get("resourceVersion", "")),
        generation=int(metadata.get("generation", 0)),
        workspace_id=str(spec.get("workspaceId") or default_workspace_id(name)),
        user_id=str(spec.get("userId", "")),
        created_at=str(metadata.get("creationTimestamp", "")),
        deleting="deletionTimestamp" in metadata,
        suspended=spec.get("suspend") is True,
        phase=str(status.get("phase", "")),
        reason=str(blocking.get("reason", "")),
        message=str(blocking.get("message", "")),
        observed_generation=int(status.get("observedGeneration", 0)),
        verified=status.get("verified") is True,
        verified_generation=int(status.get("verifiedGeneration", 0)),
        url=str(status.get("endpoint", "")),
        last_activity=str(annotations.get(LAST_ACTIVITY, "")),
        busy_until=str(annotations.get(BUSY_UNTIL, "")),
        asleep_since=str(lifecycle.get("asleepSince", "")),
        asleep_mark=str(lifecycle.get("mark", "")),
        touch_every=max(TOUCH_INTERVAL, float(lifecycle.get("touchEverySeconds", 0))),
        template=_parse_template(spec, status, annotations),
    )


def _parse_template(
    spec: Mapping[str, Any], status: Mapping[str, Any], annotations: Mapping[str, Any]
) -> OfTemplate | None:
    """Return what a swarm is made of; what is said of another template counts for nothing."""
    wanted, built = spec.get("template") or {}, status.get("template") or {}
    name = str(wanted.get("name", ""))
    if not name:
        return None
    of, _, asked = str(annotations.get(REVISION_ANNOTATION, "")).rpartition("/")
    return OfTemplate(
        name,
        pinned=int(wanted.get("revision", 0)),
        asked=int(asked) if of == name and re.fullmatch("[1-9][0-9]{0,8}", asked) else 0,
        revision=int(built.get("revision", 0)) if built.get("name") == name else 0,
        moved_while=str(annotations.get(MOVED_WHILE, "")),
    )


def _blocking_condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return SpecValid, which names every problem, or Ready, which sums up, or the first other that is not true."""
    unmet = [condition for condition in status.get("conditions") or () if condition.get("status") != "True"]
    by_type = {condition.get("type"): condition for condition in unmet}
    return by_type.get("SpecValid") or by_type.get("Ready") or next(iter(unmet), {})
