"""Asks a hook, gathers what it says it needs, and asks it once more.

A hook computes; what it would have to see besides its request it names in `needs`. Whoever calls it looks there, with
a Gatherer: the server's asks the Kubernetes API and a swarm's Service, a test's has them in memory. What could not be
read is said to be so and never taken for absent. A hook is asked twice at most, and `needs` never leaves this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NotRequired, Protocol, TypedDict

from userswarm.errors import UserSwarmError
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Observed

Hook = Callable[[Mapping[str, Any], Settings, datetime], Mapping[str, Any]]

HTTP = "http"
"""Where `unavailable` says why the HTTP request was not made."""


class ObjectNeed(TypedDict):
    """Objects of one kind: by their names, or those that carry labels within one namespace."""

    apiVersion: str
    kind: str
    resource: str
    namespace: NotRequired[str]
    names: NotRequired[list[str]]
    labelSelector: NotRequired[Mapping[str, Mapping[str, str]]]


class HttpNeed(TypedDict):
    """One GET to a Service; the URL is made by who gathers, so that no answer can name another host."""

    service: str
    namespace: str
    port: int
    path: str
    timeoutSeconds: int


class Unavailable(UserSwarmError):  # noqa: N818 - it is an answer more than an error
    """Something could not be looked at, for a reason that is not its own."""


class Gatherer(Protocol):
    """Looks at what a hook needs, within limits of its own."""

    def read(self, need: ObjectNeed) -> Iterable[Observed]:
        """Return the objects that are there; raises Unavailable where that cannot be told."""
        ...

    def ask(self, need: HttpNeed) -> Mapping[str, Any]:
        """Return `status` and `body`, or the `error` of the Service; raises Unavailable where it was not asked."""
        ...


def answer(
    hook: Hook, request: Mapping[str, Any], settings: Settings, now: datetime, gatherer: Gatherer
) -> dict[str, Any]:
    """Return the hook's answer to a request, after a second look where the hook needs one."""
    response = dict(hook(request, settings, now))
    needs = response.pop("needs", None)
    if needs:
        response = dict(hook(gather(needs, request, gatherer), settings, now))
        response.pop("needs", None)
    return response


def gather(needs: Mapping[str, Any], request: Mapping[str, Any], gatherer: Gatherer) -> dict[str, Any]:
    """Return the request with what its hook needs; the one that is given stays as it is.

    Groups that Metacontroller sent are used as they are, and not read again.
    """
    sent = request.get("related") or {}
    found: dict[str, dict[str, Observed]] = {}
    unavailable: dict[str, str] = {}
    for need in needs.get("objects", ()):
        group = f"{need['kind']}.{need['apiVersion']}"
        if group in sent or group in unavailable:
            continue
        try:
            objects = {_key(observed): observed for observed in gatherer.read(need)}
        except Unavailable as why:
            # Half of a group would be taken for the whole.
            found.pop(group, None)
            unavailable[group] = str(why)
        else:
            found.setdefault(group, {}).update(objects)
    gathered: dict[str, Any] = {**request, "related": {**sent, **found}}
    if HTTP in needs:
        try:
            gathered[HTTP] = gatherer.ask(needs[HTTP])
        except Unavailable as why:
            unavailable[HTTP] = str(why)
    gathered["unavailable"] = unavailable
    return gathered


def _key(observed: Observed) -> str:
    metadata = observed["metadata"]
    namespace, name = metadata.get("namespace"), metadata["name"]
    return f"{namespace}/{name}" if namespace else str(name)
