"""UserSwarms over the Kubernetes API, as plain JSON: what the client and the reaper have in common.

Each request here is idempotent, which is what allows the transport to send it again when no answer came:

    get, pages, items   read only
    apply               server-side apply states what shall hold; stating it twice changes nothing
    merge               absolute values; with a resourceVersion, only on the state that was read
    delete              always carries the uid, so a second one never meets an object made anew

There is no create by POST: it is the one request that is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from userswarm.backend.errors import ApiStatusError, BackendError, ConflictError, ExpiredError, NotFound
from userswarm.backend.retry import Budget, RetryPolicy, is_transient
from userswarm.backend.transport import (
    APPLY_PATCH,
    MERGE_PATCH,
    Page,
    Transport,
    WatchEvent,
    WatchStream,
    connect,
)
from userswarm.wire.k8s import Manifest, Observed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

__all__ = [
    "API_VERSION",
    "KIND",
    "USER_SWARMS",
    "Budget",
    "Page",
    "RetryPolicy",
    "Transport",
    "UserSwarmApi",
    "WatchEvent",
    "WatchStream",
    "connect",
    "is_transient",
]

API_VERSION = "crawbl.ai/v1alpha1"
KIND = "UserSwarm"
USER_SWARMS = f"/apis/{API_VERSION}/userswarms"

Propagation = Literal["Background", "Foreground", "Orphan"]


class UserSwarmApi:
    """The requests; safe for use by many threads.

    `transport` serves other collections too (``pages("/api/v1/persistentvolumeclaims")``).
    """

    def __init__(
        self, api_client: ApiClient, policy: RetryPolicy | None = None, *, timeout: tuple[float, float] = (5.0, 20.0)
    ) -> None:
        """`timeout`: seconds to connect, and between two bytes of an answer."""
        self.transport = Transport(api_client, policy, timeout=timeout)
        self.policy = self.transport.policy

    def get(self, name: str, *, budget: Budget | None = None) -> Manifest:
        """Return the UserSwarm; raise NotFound."""
        try:
            return self.transport.request("GET", _path(name), budget=budget)
        except ApiStatusError as error:
            if _is_missing(error):
                raise NotFound(name) from error
            raise

    def pages(
        self,
        *,
        limit: int = 500,
        label_selector: str = "",
        field_selector: str = "",
        budget: Budget | None = None,
    ) -> Iterator[Page]:
        """Yield every page of one consistent list; raise ExpiredError where it cannot be read to its end."""
        query = _selectors(label_selector, field_selector)
        return self.transport.pages(USER_SWARMS, limit=limit, query=query, budget=budget)

    def items(self, *, limit: int = 500, label_selector: str = "", restarts: int = 3) -> Iterator[Manifest]:
        """Yield each UserSwarm once, reading a page when it is needed.

        A list that expires while the caller takes its time starts again, at most `restarts` times, without what was
        yielded before: then it is no consistent state, but what is there from beginning to end is not left out.
        """
        seen: set[str] = set()
        while True:
            try:
                for page in self.pages(limit=limit, label_selector=label_selector):
                    for item in page.items:
                        uid = str(item["metadata"]["uid"])
                        if uid not in seen:
                            seen.add(uid)
                            yield item
            except ExpiredError:
                restarts -= 1
                if restarts < 0:
                    raise
            else:
                return

    def apply(self, manifest: Observed, *, field_manager: str, force: bool, budget: Budget | None = None) -> Manifest:
        """Apply on the server's side, and return the result.

        A uid or a resourceVersion in the manifest's metadata is a precondition. Raises ConflictError where it does
        not hold, where the object came into being at the same moment, or, unless forced, where another manager
        owns a field that would change (`ConflictError.fields`).
        """
        name = str(manifest["metadata"]["name"])
        return self.transport.request(
            "PATCH",
            _path(name),
            query={"fieldManager": field_manager, "force": "true" if force else "false"},
            body=manifest,
            content_type=APPLY_PATCH,
            budget=budget,
        )

    def merge(self, name: str, patch: Observed, *, field_manager: str, budget: Budget | None = None) -> Manifest:
        """Merge a patch (RFC 7386), and return the result; raise NotFound.

        A resourceVersion in the patch's metadata is a precondition: ConflictError where it does not hold.
        """
        try:
            return self.transport.request(
                "PATCH",
                _path(name),
                query={"fieldManager": field_manager},
                body=patch,
                content_type=MERGE_PATCH,
                budget=budget,
            )
        except ApiStatusError as error:
            if _is_missing(error):
                raise NotFound(name) from error
            raise

    def delete(
        self,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        budget: Budget | None = None,
    ) -> bool:
        """Ask for the deletion of exactly this object; tell whether it was still there.

        Raises ConflictError where the object is another one now, or, with a resourceVersion, where it has changed.
        After a try without an answer, finding it gone or on its way out is success: that try did it.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": propagation,
        }
        budget = budget or self.policy.budget()
        unanswered = False
        while True:
            try:
                self.transport.request_once("DELETE", _path(name), body=body)
            except ConflictError:
                if not (unanswered and self._is_leaving(name, uid, budget)):
                    raise
            except BackendError as error:
                if _is_missing(error):
                    return unanswered
                if not is_transient(error):
                    raise
                # A 429 comes before anything is done; anything else may come after.
                unanswered = unanswered or getattr(error, "status", 0) != 429
                budget.pause(error)
                continue
            return True

    def watch(
        self,
        *,
        resource_version: str,
        window: float,
        silence: float,
        name: str = "",
    ) -> WatchStream:
        """Watch all UserSwarms, or the one called `name`; see `Transport.watch`."""
        query = _selectors("", f"metadata.name={name}" if name else "")
        return self.transport.watch(
            USER_SWARMS, resource_version=resource_version, window=window, silence=silence, query=query
        )

    def _is_leaving(self, name: str, uid: str, budget: Budget) -> bool:
        """Tell whether the object with this uid is gone or being deleted."""
        try:
            metadata: Mapping[str, object] = self.get(name, budget=budget)["metadata"]
        except NotFound:
            return True
        return metadata.get("uid") != uid or "deletionTimestamp" in metadata


def _path(name: str) -> str:
    return f"{USER_SWARMS}/{quote(name, safe='')}"


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    both = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: text for key, text in both.items() if text}


def _is_missing(error: BackendError) -> bool:
    """Tell a missing object from everything else, also from a missing CRD, whose 404 names no object."""
    return isinstance(error, ApiStatusError) and error.status == 404 and bool(error.details.get("name"))
