"""The only owner of the keys in a hook's request and response.

Metacontroller sends the same keys to hooks of version v1 and v2. It refuses any answer of a v2 hook that holds
a key more than these, so an answer is put together here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from userswarm.errors import RequestError, WrongParentError
from userswarm.wire.k8s import CHILD_KINDS, Manifest, Observed

API_GROUP = "crawbl.ai"
PARENT_KIND = "UserSwarm"

Groups = Mapping[str, Mapping[str, Observed]]
"""Objects as Metacontroller groups them: ``StatefulSet.apps/v1`` -> any key -> object."""

_GROUP_OF_RESOURCE = {(kind.api_version, kind.resource): kind.group for kind in CHILD_KINDS}


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A request to sync or finalize.

    `managed` holds the groups that the controller's childResources list: only these may be returned. `controller` is
    the CompositeController's name, empty where the caller sent none. `related` holds what was read for the needs of an
    earlier answer: a group that is there was read whole, and `unavailable` says why one that was asked for is not.
    `http` is what the swarm's own Service answered, None where it was not asked.
    """

    parent: Observed
    children: Groups
    related: Groups
    unavailable: Mapping[str, str]
    http: Mapping[str, Any] | None
    finalizing: bool
    managed: frozenset[str]
    controller: str


def parse_hook_request(body: object) -> HookRequest:
    """Read a request to sync or finalize.

    Raises RequestError naming the field that is missing or of another type, and WrongParentError where the
    parent is no UserSwarm.
    """
    request = _mapping(body, "request body")
    children = _groups(request, "children")
    finalizing = request.get("finalizing", False)
    if not isinstance(finalizing, bool):
        raise RequestError("finalizing", f"must be true or false, not {_shown(finalizing)}")
    return HookRequest(
        parent=_parent(request),
        children=children,
        related=_groups(request, "related") if request.get("related") is not None else {},
        unavailable=_texts(request, "unavailable"),
        http=_mapping(request["http"], "http") if request.get("http") is not None else None,
        finalizing=finalizing,
        managed=_managed_groups(request.get("controller"), children),
        controller=_controller_name(request.get("controller")),
    )


def parse_parent(body: object) -> Observed:
    """Read the parent of a request alone; raises as `parse_hook_request`."""
    return _parent(_mapping(body, "request body"))


def sync_response(
    status: Mapping[str, Any], children: Sequence[Manifest], resync_after: float | None, needs: Manifest | None = None
) -> Manifest:
    """Return the answer to a sync.

    `resync_after` is in seconds, None where no watch has to be helped out. `needs` is what has to be seen besides; the
    server reads it, asks once more, and never sends it on.
    """
    response: Manifest = {"status": status, "children": children}
    if resync_after is not None:
        response["resyncAfterSeconds"] = resync_after
    if needs:
        response["needs"] = needs
    return response


def finalize_response(
    status: Mapping[str, Any],
    children: Sequence[Manifest],
    resync_after: float | None,
    needs: Manifest | None,
    *,
    finalized: bool,
) -> Manifest:
    """Return the answer to a finalize; with `finalized` Metacontroller lets the parent go."""
    return {**sync_response(status, children, resync_after, needs), "finalized": finalized}


def _parent(request: Mapping[str, Any]) -> Observed:
    parent = _mapping(request.get("parent"), "parent")
    api_version, kind = parent.get("apiVersion"), parent.get("kind")
    if kind != PARENT_KIND or not isinstance(api_version, str) or api_version.partition("/")[0] != API_GROUP:
        raise WrongParentError(
            f"parent: is a {_shown(kind)} of {_shown(api_version)}; these hooks answer for {PARENT_KIND} of {API_GROUP}"
        )
    metadata = _mapping(parent.get("metadata"), "parent.metadata")
    for field, wanted in (("name", str), ("uid", str), ("generation", int)):
        value = metadata.get(field)
        if (field == "name" and not value) or (value is not None and type(value) is not wanted):
            raise RequestError(f"parent.metadata.{field}", f"must be {_WORDS[wanted]}, not {_shown(value)}")
    for field in ("annotations", "labels"):
        texts = metadata.get(field)
        if texts is not None:
            for key, value in _mapping(texts, f"parent.metadata.{field}").items():
                if not isinstance(value, str):
                    raise RequestError(f"parent.metadata.{field}[{key}]", f"must be a text, not {_shown(value)}")
    if parent.get("status") is not None:
        _mapping(parent["status"], "parent.status")
    return parent


def _groups(request: Mapping[str, Any], field: str) -> Groups:
    """Check that every object can be indexed: it names itself."""
    groups = _mapping(request.get(field), field)
    for group, objects in groups.items():
        # A path is put together only for an error.
        if not isinstance(objects, dict):
            raise _no_object(f"{field}[{group}]", objects)
        for key, observed in objects.items():
            if isinstance(observed, dict):
                metadata = observed.get("metadata")
                if isinstance(metadata, dict) and _names_itself(observed, metadata):
                    continue
            told = "must be a Kubernetes object with a kind, an apiVersion and a metadata.name"
            raise RequestError(f"{field}[{group}][{key}]", told)
    return groups


def _texts(request: Mapping[str, Any], field: str) -> Mapping[str, str]:
    texts = _mapping(request.get(field) or {}, field)
    for key, value in texts.items():
        if not isinstance(value, str):
            raise RequestError(f"{field}[{key}]", f"must be a text, not {_shown(value)}")
    return texts


def _names_itself(observed: Observed, metadata: Mapping[str, Any]) -> bool:
    return (
        isinstance(metadata.get("name"), str)
        and isinstance(metadata.get("namespace", ""), str)
        and isinstance(observed.get("kind"), str)
        and isinstance(observed.get("apiVersion"), str)
        and isinstance(metadata.get("annotations") or {}, dict)
    )


def _managed_groups(controller: object, children: Groups) -> frozenset[str]:
    """Return the groups that may be returned.

    They are read from ``controller.spec.childResources``; where a caller sends no controller, the groups of
    ``children`` tell the same, since Metacontroller lists every rule there, empty or not.
    """
    if controller is None:
        return frozenset(_GROUP_OF_RESOURCE.values()).intersection(children)
    spec = _mapping(_mapping(controller, "controller").get("spec"), "controller.spec")
    rules = spec.get("childResources")
    if not isinstance(rules, list):
        raise RequestError("controller.spec.childResources", f"must be a list, not {_shown(rules)}")
    groups = set()
    for position, item in enumerate(rules):
        if not isinstance(item, dict):
            raise _no_object(f"controller.spec.childResources[{position}]", item)
        api_version, resource = item.get("apiVersion"), item.get("resource")
        if not isinstance(api_version, str) or not isinstance(resource, str):
            raise RequestError(f"controller.spec.childResources[{position}]", "must name its apiVersion and resource")
        group = _GROUP_OF_RESOURCE.get((api_version, resource))
        if group is not None:
            groups.add(group)
    return frozenset(groups)


def _controller_name(controller: object) -> str:
    metadata = controller.get("metadata") if isinstance(controller, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _no_object(field, value)
    return value


def _no_object(field: str, value: object) -> RequestError:
    return RequestError(field, f"must be an object, not {_shown(value)}")


_WORDS = {str: "a text", int: "a whole number", bool: "true or false", type(None): "nothing", list: "a list"}


def _shown(value: object) -> str:
    """Return a value for a message: short ones as they are, others by what they are."""
    if isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) <= 60:
        return repr(value)
    return _WORDS.get(type(value), "something else")
