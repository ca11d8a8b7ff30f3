"""What the reaper asks of Kubernetes, and nothing more: list, and delete on conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Protocol
from urllib.parse import quote

from userswarm.backend.api import USER_SWARMS, UserSwarmApi
from userswarm.backend.errors import BackendError, ConfigurationError, ConflictError, ExpiredError, UnreachableError
from userswarm.errors import UserSwarmError
from userswarm.wire.k8s import Observed

PAGE = 500
LIST_ATTEMPTS = 3
"""How often a list is begun anew that grew too old for the API server while it was read."""


class ClusterError(UserSwarmError):
    """The API server refused a call, or could not be reached.

    `unreachable`: no call would get through, so there is no point in the next one.
    """

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class Deletion(StrEnum):
    """What a delete met, where it met no error."""

    ACCEPTED = "accepted"
    CHANGED = "changed"  # another uid or resourceVersion: it is not the object that was judged
    GONE = "gone"


class Cluster(Protocol):
    """The calls; each raises ClusterError where it fails, after the retries that are safe."""

    def list_swarms(self) -> Iterable[Observed]:
        """Yield every UserSwarm, page by page, or raise: a list is whole or it is an error."""
        ...

    def delete_swarm(self, name: str, uid: str, resource_version: str) -> Deletion:
        """Delete the UserSwarm if it is still the one with this uid and resourceVersion."""
        ...

    def list_claims(self, namespace: str, selector: str) -> Iterable[Observed]:
        """Yield the PersistentVolumeClaims of a namespace that match a label selector."""
        ...


class KubernetesCluster:
    """A `Cluster` over the Kubernetes API; `open_api` is called at the first use, and what it raises is reported."""

    def __init__(self, open_api: Callable[[], UserSwarmApi]) -> None:
        self._open_api = open_api
        self._api: UserSwarmApi | None = None

    def list_swarms(self) -> list[Observed]:
        return self._list(USER_SWARMS, {})

    def list_claims(self, namespace: str, selector: str) -> list[Observed]:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims"
        return self._list(path, {"labelSelector": selector})

    def delete_swarm(self, name: str, uid: str, resource_version: str) -> Deletion:
        try:
            there = self._connected().delete(name, uid=uid, resource_version=resource_version)
        except ConflictError:
            return Deletion.CHANGED
        except BackendError as error:
            raise _translate(error) from error
        return Deletion.ACCEPTED if there else Deletion.GONE

    def _list(self, path: str, query: dict[str, str]) -> list[Observed]:
        """Return all pages of one consistent list, or raise: half a list is none."""
        for left in range(LIST_ATTEMPTS - 1, -1, -1):
            try:
                pages = self._connected().transport.pages(path, limit=PAGE, query=query)
                return [item for page in pages for item in page.items]
            except ExpiredError as error:
                if not left:
                    raise _translate(error) from error
            except BackendError as error:
                raise _translate(error) from error
        raise ValueError("LIST_ATTEMPTS must be 1 or more")

    def _connected(self) -> UserSwarmApi:
        if self._api is None:
            self._api = self._open_api()
        return self._api


def _translate(error: BackendError) -> ClusterError:
    return ClusterError(str(error), unreachable=isinstance(error, UnreachableError | ConfigurationError))
