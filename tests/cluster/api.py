"""The Kubernetes API as the tests talk to it: objects in, objects or refusals out.

Where a kind lives is asked of the API itself, so a kind that is served can be used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3

from cluster.control_plane import ControlPlane

Object = dict[str, Any]


class RefusedError(Exception):
    """The API server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the API has a kind."""

    base: str
    resource: str
    namespaced: bool


@dataclass(slots=True)
class Api:
    """One user of the API; `warnings` collects what the server warned of, with what it was about."""

    url: str
    _pool: urllib3.PoolManager
    _headers: tuple[tuple[str, str], ...]
    _places: dict[tuple[str, str], _Place] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, control_plane: ControlPlane) -> Api:
        """Return the administrator's."""
        pool = urllib3.PoolManager(ca_certs=str(control_plane.authority), retries=False, timeout=60)
        return cls(control_plane.url, pool, (("Authorization", f"Bearer {control_plane.token}"),))

    def acting_as(self, user: str, *groups: str) -> Api:
        """Return the same API for somebody else."""
        headers = [*self._headers, ("Impersonate-User", user)]
        headers += [("Impersonate-Group", group) for group in (*groups, "system:authenticated")]
        return Api(self.url, self._pool, tuple(headers), self._places)

    def acting_as_account(self, namespace: str, name: str) -> Api:
        """Return the same API for a ServiceAccount."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return self.acting_as(f"system:serviceaccount:{namespace}:{name}", *groups)

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: str
    ) -> Any:
        """Return what the API answers; raises RefusedError."""
        headers = urllib3.HTTPHeaderDict(self._headers)
        headers["Content-Type"] = content_type
        sent = None if body is None else json.dumps(body).encode()
        target = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self._pool.request(method, target, body=sent, headers=headers)
        while answer.status == 429:
            # As the server asks for: a kind just made has no storage yet.
            time.sleep(float(answer.headers.get("Retry-After", "1")))
            answer = self._pool.request(method, target, body=sent, headers=headers)
        for warning in answer.headers.getlist("Warning"):
            self.warnings.append(f"{method} {path}: {warning}")
        try:
            said = json.loads(answer.data)
        except ValueError:
            said = {"message": answer.data.decode(errors="replace")}
        if answer.status >= 300:
            raise RefusedError(answer.status, said.get("message", ""))
        return said

    def path(self, obj: Mapping[str, Any], name: str = "", subresource: str = "") -> str:
        """Return the path of an object's kind in its namespace, or of one object there."""
        place = self._place(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace", "default")
        middle = f"/namespaces/{namespace}" if place.namespaced else ""
        tail = "".join(f"/{each}" for each in (name, subresource) if each)
        return f"{place.base}{middle}/{place.resource}{tail}"

    def create(self, obj: Mapping[str, Any], **query: str) -> Object:
        """Create an object; with dryRun="All" only as if."""
        stored: Object = self.request("POST", self.path(obj), obj, **query)
        return stored

    def get(self, obj: Mapping[str, Any]) -> Object | None:
        """Return what is stored under an object's kind and name, None where nothing is."""
        try:
            stored: Object = self.request("GET", self.path(obj, obj["metadata"]["name"]))
        except RefusedError as error:
            if error.code == 404:
                return None
            raise
        return stored

    def update(self, obj: Mapping[str, Any], subresource: str = "", **query: str) -> Object:
        """Replace an object, or its status."""
        path = self.path(obj, obj["metadata"]["name"], subresource)
        stored: Object = self.request("PUT", path, obj, **query)
        return stored

    def merge(self, obj: Mapping[str, Any], patch: Mapping[str, Any], subresource: str = "", **query: str) -> Object:
        """Merge-patch an object, or its status."""
        path = self.path(obj, obj["metadata"]["name"], subresource)
        stored: Object = self.request("PATCH", path, patch, "application/merge-patch+json", **query)
        return stored

    def apply(self, obj: Mapping[str, Any], **query: str) -> Object:
        """Server-side apply an object."""
        path = self.path(obj, obj["metadata"]["name"])
        stored: Object = self.request(
            "PATCH", path, obj, "application/apply-patch+yaml", fieldManager="tests", force="true", **query
        )
        return stored

    def delete(self, obj: Mapping[str, Any], dryRun: str = "") -> None:  # noqa: N803 - as the API spells it
        """Delete an object in the background."""
        # In the body: where there is one, the query's options do not count.
        options = {"propagationPolicy": "Background", **({"dryRun": [dryRun]} if dryRun else {})}
        self.request("DELETE", self.path(obj, obj["metadata"]["name"]), options)

    def all(self, api_version: str, kind: str, selector: str = "") -> list[Object]:
        """Return all objects of a kind in the cluster, or those with some labels, each with its kind."""
        place = self._place(api_version, kind)
        found = self.request(
            "GET", f"{place.base}/{place.resource}", **({"labelSelector": selector} if selector else {})
        )
        return [{"apiVersion": api_version, "kind": kind, **each} for each in found["items"]]

    def kind_of(self, api_version: str, resource: str) -> str:
        """Return the kind that a resource holds."""
        if not any(version == api_version for version, _ in self._places):
            self._discover(api_version)
        return next(
            kind
            for (version, kind), place in self._places.items()
            if (version, place.resource) == (api_version, resource)
        )

    def resource_of(self, obj: Mapping[str, Any]) -> str:
        """Return the resource that holds an object's kind."""
        return self._place(obj["apiVersion"], obj["kind"]).resource

    def _place(self, api_version: str, kind: str) -> _Place:
        if (api_version, kind) not in self._places:
            self._discover(api_version)
        return self._places[api_version, kind]

    def _discover(self, api_version: str) -> None:
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        for each in self.request("GET", base)["resources"]:
            if "/" not in each["name"]:
                self._places[api_version, each["kind"]] = _Place(base, each["name"], each["namespaced"])
