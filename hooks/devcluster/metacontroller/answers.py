"""What a hook's answer says, and when it is refused as Metacontroller refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster.objects import Manifest, Observed
from devcluster.related import RULE_FIELDS, SyncError


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of sync or finalize, decoded."""

    status: Manifest
    children: list[Manifest]
    resync_after: float
    finalized: bool


def parse_answer(hook: str, version: str, body: bytes, parent: Observed) -> Answer:
    """Return what sync or finalize answered for a parent, in whose namespace a child is that names none."""
    answer = _decode(hook, version, body, {"status", "children", "resyncAfterSeconds", "finalized"})
    status = _typed(answer, "status", dict, {})
    children = _typed(answer, "children", list, [])
    for child in children:
        if not isinstance(child, dict) or not child.get("kind") or not child.get("apiVersion"):
            raise SyncError("can't unmarshal webhookResponse: Object 'Kind' is missing in a child")
        metadata = _typed(child, "metadata", dict, {})
        child["metadata"] = metadata
        metadata.setdefault("name", "")
        if not metadata.get("namespace") and parent["metadata"].get("namespace"):
            metadata["namespace"] = parent["metadata"]["namespace"]
    return Answer(
        status,
        children,
        _typed(answer, "resyncAfterSeconds", (int, float), 0),
        _typed(answer, "finalized", bool, False),
    )


def parse_customize(version: str, body: bytes) -> list[Any]:
    """Return the rules that customize answered."""
    answer = _decode("customize", version, body, {"relatedResources"})
    rules: list[Any] = _typed(answer, "relatedResources", list, [])
    for rule in rules:
        _refuse_unknown("customize", version, rule if isinstance(rule, dict) else {}, RULE_FIELDS)
    return rules


def _decode(hook: str, version: str, body: bytes, fields: set[str]) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except ValueError as error:
        raise SyncError(f"can't unmarshal webhookResponse (type: {hook}): {error}") from None
    if not isinstance(answer, dict):
        raise SyncError(f"can't unmarshal webhookResponse (type: {hook}): it is no object")
    _refuse_unknown(hook, version, answer, frozenset(fields))
    return answer


def _refuse_unknown(hook: str, version: str, answer: Mapping[str, Any], fields: frozenset[str]) -> None:
    """Refuse a field that Metacontroller does not know; hooks of version v1 may send what they like."""
    unknown = sorted(answer.keys() - fields)
    if unknown and version == "v2":
        words = ", ".join(f'unknown field "{name}"' for name in unknown)
        raise SyncError(f"strict validation failed for v2 webhookResponse (type: {hook}): {words}")


def _typed(answer: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    """Return a field of an answer; null counts as absent, as in Go."""
    value = answer.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SyncError(f"can't unmarshal webhookResponse: {name} has the wrong type")
    return value
