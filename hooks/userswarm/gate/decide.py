"""One decision: who asks, for which workspace, whether it is theirs and awake, and where it is.

Whatever is not known for certain lets nobody in: no keys to check a token by, a memory that nothing has proved for too
long, an address that cannot be found. What is in memory and fresh goes on, whoever else is away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from userswarm.backend import BackendError, InvalidWorkspaceError, NotFound, OwnershipError, Swarm, UserSwarmClient
from userswarm.gate.address import find_workspace
from userswarm.gate.answers import Case, Refused, missing
from userswarm.gate.counting import OpenRequests
from userswarm.gate.holding import Holding
from userswarm.gate.limits import Group, Rates
from userswarm.gate.settings import GateSettings
from userswarm.gate.upstream import Upstreams


class Who(Protocol):
    """Knows users by their tokens."""

    def user_of(self, authorization: str) -> str:
        """Return the user's id; raises Refused (401, 403, 503)."""
        ...


class Uses(Protocol):
    """Takes in that workspaces are used."""

    def note(self, workspace: str, user: str, *, busy: bool) -> None:
        """Note it soon, and wait for nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go on, and where to."""

    upstream: str


class Gate:
    """Decides; used by many requests at once."""

    def __init__(
        self,
        settings: GateSettings,
        client: UserSwarmClient,
        who: Who,
        upstreams: Upstreams,
        uses: Uses,
        *,
        rates: Rates | None = None,
        opened: OpenRequests | None = None,
        woken: Callable[[], object] = lambda: None,
    ) -> None:
        """`rates` and `opened` where there are limits; `woken` is told of each wake."""
        self._settings = settings
        self._client = client
        self._who = who
        self._upstreams = upstreams
        self._uses = uses
        self._rates = rates
        self._opened = opened
        self._holding = Holding(client, self.find, settings.hold, most=settings.max_waiting // 4, woken=woken)

    def decide(self, case: Case) -> Admitted:
        """Return where a request goes, and write into the case what was found out; raises Refused."""
        settings = self._settings
        workspace = find_workspace(case.target, case.host, prefix=settings.path_prefix, domain=settings.domain)
        case.workspace = workspace or ""
        case.user = self._who.user_of(case.authorization)
        self._check_origin(case)
        self._count("user", case.user)
        if workspace is None:
            raise missing()
        swarm = self.find(case)
        self._count("workspace", workspace)
        swarm = self._holding.until_verified(case, swarm)
        upstream = self._upstreams.address_of(swarm)
        if self._opened is not None and case.end_is_told:
            self._opened.opened(case.request_id, case.user, workspace)
        self._uses.note(case.workspace, case.user, busy=False)
        return Admitted(upstream)

    def find(self, case: Case) -> Swarm:
        """Return the caller's own swarm as memory has it; raises Refused (404, 503)."""
        if not self._client.cache_is_fresh:
            raise Refused(503, "stale", "the workspace cannot be looked up now", retry_after=5)
        try:
            swarm = self._client.find(case.workspace, case.user)
        except (NotFound, OwnershipError, InvalidWorkspaceError) as error:
            raise missing() from error
        except BackendError as error:
            raise Refused(503, "unavailable", "the workspace cannot be looked up now", retry_after=5) from error
        case.uid = swarm.uid
        return swarm

    def _count(self, group: Group, name: str) -> None:
        if self._rates is not None:
            self._rates.count(group, name)

    def _check_origin(self, case: Case) -> None:
        """Refuse browsers that were sent here by a page of somebody else (403)."""
        allowed = self._settings.allowed_origins
        if allowed and case.origin and case.origin.lower() not in allowed:
            raise Refused(403, "origin", "this origin may not ask here")
