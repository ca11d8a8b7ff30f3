"""Small questions about Kubernetes JSON that every part of the cluster asks."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

Manifest = dict[str, Any]
"""An object that its holder may edit."""

Observed = Mapping[str, Any]
"""An object that is only looked at; never edited, never stored."""

OwnerReference = dict[str, Any]
"""metav1.OwnerReference."""

Key = tuple[str, str]
"""An object's namespace ("" for cluster-scoped ones) and name."""

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes random name suffixes and revision hashes of: no vowels, so no words."""


def copy_json(value: Any) -> Any:
    """Return a deep copy of JSON: plain dicts and lists, whatever mappings and sequences it was made of.

    Raises TypeError for what is no JSON, or holds a whole number of more than 64 bits.
    """
    return orjson.loads(orjson.dumps(value, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def same_json(left: Any, right: Any) -> bool:
    """Compare as strictly as Go's reflect.DeepEqual does: 1 is not 1.0, and an empty list is not null."""
    return bool(left == right) and dump(left) == dump(right)


def dump(value: Any) -> bytes:
    """Return canonical JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def suffix(random_source: random.Random, length: int = 5) -> str:
    """Return a name suffix such as generateName appends."""
    return "".join(random_source.choices(SUFFIX_LETTERS, k=length))


def hash_suffix(value: Any) -> str:
    """Return a 32-bit hash of JSON in letters that Kubernetes uses for revisions."""
    return "".join(SUFFIX_LETTERS[int(digit)] for digit in str(zlib.crc32(dump(value))))


def key_of(obj: Observed) -> Key:
    """Return namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def qualified_name(obj: Observed) -> str:
    """Return ``namespace/name``, or the name of what is cluster-scoped."""
    namespace, name = key_of(obj)
    return f"{namespace}/{name}" if namespace else name


def labels_of(obj: Observed) -> Mapping[str, str]:
    """Return the labels, empty if there are none."""
    return obj["metadata"].get("labels") or {}


def uid_of(obj: Observed) -> str:
    """Return the uid."""
    result: str = obj["metadata"]["uid"]
    return result


def owners_of(obj: Observed) -> list[OwnerReference]:
    """Return the owner references."""
    result: list[OwnerReference] = obj["metadata"].get("ownerReferences") or []
    return result


def controller_of(obj: Observed) -> OwnerReference | None:
    """Return the one owner reference with ``controller: true``, if there is one."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def controller_reference(owner: Observed) -> OwnerReference:
    """Return the reference by which `owner` controls another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleting(obj: Observed) -> bool:
    """Return whether the object waits for its finalizers, or for its pod's grace."""
    return "deletionTimestamp" in obj["metadata"]


def group_of(api_version: str) -> str:
    """Return ``apps`` of ``apps/v1``, and "" of ``v1``."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def condition(obj: Observed, kind: str) -> Mapping[str, Any]:
    """Return a condition of the status, empty if it is not there."""
    for entry in obj.get("status", {}).get("conditions") or ():
        if entry["type"] == kind:
            found: Mapping[str, Any] = entry
            return found
    return {}


def set_condition(status: Manifest, kind: str, value: bool, now: str, reason: str = "", message: str = "") -> None:
    """Set a condition as Kubernetes' controllers do: the transition time moves with the status only."""
    conditions = status.setdefault("conditions", [])
    entry = next((each for each in conditions if each["type"] == kind), None)
    text = "True" if value else "False"
    if entry is None:
        entry = {"type": kind}
        conditions.append(entry)
    if entry.get("status") != text:
        entry["lastTransitionTime"] = now
    entry["status"] = text
    for name, words in (("reason", reason), ("message", message)):
        entry.pop(name, None)
        if words:
            entry[name] = words
