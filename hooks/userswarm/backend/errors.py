"""Everything that talking to UserSwarms through the Kubernetes API can raise: one tree, one sentence each.

BackendError
    ConfigurationError      no cluster to talk to
    InvalidWorkspaceError   a workspace id, or its owner's id, that cannot be used
    InvalidSpecError        a spec that the cluster would refuse; nothing was sent
    OwnershipError          the workspace belongs to someone else
    NotVerified             no traffic may go there now
    NotFound                there is no such UserSwarm
    BeingDeletedError       it is going away; try again when it is gone
    FieldConflictError      someone else set a field that we want to set
    WaitError               a wait that ended without what it waited for
        SwarmFailedError, SwarmInvalidError, SwarmGoneError, WaitTimeoutError
    UnreachableError        no usable answer came at all
    ApiStatusError          the API server answered, and the answer is no
        ConflictError       409: the object has changed since it was read
        ExpiredError        410: the list or the watch is too old to go on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from userswarm.errors import Problem, UserSwarmError


class BackendError(UserSwarmError):
    """The root of what this package raises."""


class ConfigurationError(BackendError):
    """There is no way to a cluster: no kubeconfig, and this is no Pod."""


class InvalidWorkspaceError(BackendError, ValueError):
    """A workspace id or a user id is not one."""


class InvalidSpecError(BackendError, ValueError):
    """A spec does not fit the CRD; `problems` names every field. No request was made."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"UserSwarm {name!r}: " + "; ".join(map(str, problems)))
        self.name = name
        self.problems = tuple(problems)


class OwnershipError(BackendError):
    """The workspace is another user's, or its UserSwarm was made for another workspace.

    The message names neither the owner nor the swarm's state nor its address. Give an end user the same answer as
    for NotFound, so that nobody learns which workspaces exist.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"UserSwarm {name!r} belongs to another user or workspace")
        self.name = name


class NotFound(BackendError):  # noqa: N818 - a name that reads well in a backend's except clause
    """There is no such UserSwarm."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no UserSwarm {name!r}")
        self.name = name


class _StateError(BackendError):
    """Carries where the swarm stood: its phase, and the reason and message of the condition that says why."""

    def __init__(self, name: str, what: str, *, phase: str, reason: str, message: str) -> None:
        stood = f"phase {phase or 'not reported yet'}"
        why = ": ".join(part for part in (reason, message) if part)
        super().__init__(f"UserSwarm {name!r} {what} ({stood}{f'; {why}' if why else ''})")
        self.name = name
        self.phase = phase
        self.reason = reason
        self.message = message


class NotVerified(_StateError):  # noqa: N818 - see NotFound
    """The swarm is there, but no traffic may go to it now."""


class WaitError(_StateError):
    """A wait ended without what it waited for."""


class SwarmFailedError(WaitError):
    """The swarm made no progress for too long; it recovers by itself once the cause is gone."""


class SwarmInvalidError(WaitError):
    """The swarm's spec cannot be used."""


class SwarmGoneError(WaitError):
    """The swarm was deleted, or deleted and made anew, while we waited."""


class WaitTimeoutError(WaitError, TimeoutError):
    """The time was up first."""


class BeingDeletedError(BackendError):
    """The UserSwarm is being deleted, so it cannot be changed; try again when it is gone."""

    def __init__(self, name: str) -> None:
        super().__init__(f"UserSwarm {name!r} is being deleted; wait until it is gone")
        self.name = name


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that someone else set, and who; `message` is the API server's own sentence."""

    field: str
    message: str


class FieldConflictError(BackendError):
    """Another field manager owns fields that we want to set to something else; nothing was written."""

    def __init__(self, name: str, conflicts: Sequence[FieldConflict]) -> None:
        super().__init__(
            f"UserSwarm {name!r}: "
            + "; ".join(f"{conflict.field}: {conflict.message}" for conflict in conflicts)
            + "; leave these fields out, or pass force_conflicts=True to the client to take them over"
        )
        self.name = name
        self.conflicts = tuple(conflicts)


class UnreachableError(BackendError):
    """No usable answer: the connection failed or broke, timed out, or what came was not JSON."""

    def __init__(self, what: str, cause: BaseException | str, *, permanent: bool = False) -> None:
        super().__init__(f"{what}: {cause}")
        self.permanent = permanent


class SilenceError(UnreachableError):
    """A watch has brought nothing, not even a bookmark, for longer than it may be silent."""


class ApiStatusError(BackendError):
    """The API server refused; `status`, `reason` and `details` are those of its metav1.Status."""

    def __init__(
        self,
        what: str,
        status: int,
        *,
        reason: str = "",
        message: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{what}: {status} {reason}: {message}".rstrip(": "))
        self.what = what
        self.status = status
        self.reason = reason
        self.message = message
        self.details: Mapping[str, Any] = details or {}
        self.retry_after = retry_after


class ConflictError(ApiStatusError):
    """409: the object is not, or no longer, what the request took it for."""

    @property
    def fields(self) -> tuple[FieldConflict, ...]:
        """The fields that other managers own; none for any other kind of conflict."""
        return tuple(
            FieldConflict(str(cause.get("field", "")), str(cause.get("message", "")))
            for cause in self.details.get("causes") or ()
            if cause.get("reason") == "FieldManagerConflict"
        )


class ExpiredError(ApiStatusError):
    """410: the resourceVersion or the continue token is too old; start again with a fresh list."""
