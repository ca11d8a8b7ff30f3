"""What a request to the REST API says: which objects are meant, by path and query, and what is to become of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import orjson
import yaml

from devcluster import selectors
from devcluster.apiserver import ApiServer
from devcluster.errors import ApiError, bad_request
from devcluster.kinds import Kind
from devcluster.objects import Manifest, Observed, labels_of
from devcluster.selectors import Selector

_NO_PATH = "the server could not find the requested resource"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection (no name), an object or its subresource."""

    kind: Kind
    namespace: str | None
    name: str
    subresource: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects of a collection are asked for."""

    namespace: str | None
    labels: Selector
    fields: tuple[tuple[str, str, bool], ...]

    def matches(self, obj: Observed) -> bool:
        metadata = obj["metadata"]
        return (
            self.namespace in {None, metadata.get("namespace")}
            and self.labels.matches(labels_of(obj))
            and all((metadata.get(field, "") == value) is equal for field, value, equal in self.fields)
        )


def parse_path(api: ApiServer, path: str) -> Target:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        api_version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        api_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        raise ApiError(404, "NotFound", _NO_PATH)
    namespace = None
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    kind = api.resource(api_version, plural)
    if len(rest) > 3 or subresource not in {"", "status"} or (subresource and not kind.status):
        raise ApiError(404, "NotFound", _NO_PATH)
    if kind.namespaced is (namespace is None) and (name or namespace is not None):
        raise ApiError(404, "NotFound", _NO_PATH)
    return Target(kind, namespace, name, subresource)


def parse_filter(target: Target, query: Mapping[str, str]) -> Filter:
    fields = []
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        parsed = re.fullmatch(r"metadata\.(name|namespace)(=|==|!=)([^=!]*)", term)
        if parsed is None:
            raise bad_request(f'field label not supported: "{term}"; metadata.name and metadata.namespace are')
        fields.append((parsed[1], parsed[3], parsed[2] != "!="))
    labels = selectors.from_text(query.get("labelSelector", ""))
    return Filter(target.namespace, labels, tuple(fields))


def whole_number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f"{name}: {text!r} must be a whole number")
    return int(text)


def parse_body(body: bytes) -> Manifest:
    """Read JSON, or YAML, of which JSON is a part."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            parsed = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"the body is neither JSON nor YAML: {error}") from None
    if not isinstance(parsed, dict):
        raise bad_request("the body must be an object")
    return parsed


def parse_object(body: bytes, target: Target) -> Manifest:
    """Read an object, which has to be the one that the path names."""
    obj = parse_body(body)
    obj.setdefault("apiVersion", target.kind.api_version)
    obj.setdefault("kind", target.kind.kind)
    metadata = obj.setdefault("metadata", {})
    wrong = (obj["apiVersion"], obj["kind"]) != (target.kind.api_version, target.kind.kind)
    if wrong or not isinstance(metadata, dict):
        raise bad_request(f"the object in the body must be a {target.kind.kind} of {target.kind.api_version}")
    for field, value in (("namespace", target.namespace), ("name", target.name)):
        if value and metadata.setdefault(field, value) != value:
            raise bad_request(f"metadata.{field} is {metadata[field]!r}, but the path says {value!r}")
    return obj


def status_of(error: ApiError, target: Target | None) -> Manifest:
    """Return the metav1.Status of an error; its details tell a missing object from a missing path."""
    status: Manifest = {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }
    if target is not None:
        causes = [
            {"reason": "FieldManagerConflict", "field": field, "message": f'conflict with "{manager}"'}
            for manager, fields in re.findall(r'conflict with "([^"]*)": ([^;]*)', error.message)
            for field in fields.split(", ")
        ]
        details = {"name": target.name, "kind": target.kind.plural, "causes": causes}
        status["details"] = {name: value for name, value in details.items() if value}
    return status
