"""The rules for metadata: names, labels, annotations, owner references.

Source: Kubernetes, "Object Names and IDs", "Labels and Selectors", "Annotations".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.objects import Observed

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"

NAMES = {
    "subdomain": (253, re.compile(rf"{_LABEL}(\.{_LABEL})*"), "a lowercase RFC 1123 subdomain"),
    "label": (63, re.compile(_LABEL), "a lowercase RFC 1123 label"),
    "cron-job": (52, re.compile(rf"{_LABEL}(\.{_LABEL})*"), "a lowercase RFC 1123 subdomain"),
}

ANNOTATIONS_LIMIT = 256 * 1024


def name_problem(rule: str, name: Any, path: str = "metadata.name") -> str | None:
    """Return what is wrong with a name under one of the rules, None if nothing is."""
    limit, pattern, words = NAMES[rule]
    if not isinstance(name, str) or not name:
        return f"{path}: Required value: name or generateName is required"
    if len(name) > limit:
        return f"{path}: Invalid value: {name!r}: must be no more than {limit} characters"
    if not pattern.fullmatch(name):
        return f"{path}: Invalid value: {name!r}: {words} must match {pattern.pattern}"
    return None


def key_problem(key: str, path: str) -> str | None:
    """Return what is wrong with the key of a label or annotation (a qualified name)."""
    prefix, slash, name = key.rpartition("/")
    if slash and name_problem("subdomain", prefix) is not None:
        return f"{path}: Invalid value: {key!r}: prefix part must be a lowercase RFC 1123 subdomain"
    if len(name) > 63 or not re.fullmatch(_WORD, name):
        return f"{path}: Invalid value: {key!r}: name part must match {_WORD} and have at most 63 characters"
    return None


def label_value_problem(value: Any, path: str) -> str | None:
    """Return what is wrong with a label's value."""
    if not isinstance(value, str):
        return f"{path}: Invalid value: {value!r}: must be a string"
    if len(value) > 63:
        return f"{path}: Invalid value: {value!r}: must be no more than 63 characters"
    if value and not re.fullmatch(_WORD, value):
        return f"{path}: Invalid value: {value!r}: must match {_WORD}"
    return None


def label_problems(labels: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield what is wrong with a map of labels."""
    for key, value in labels.items():
        for problem in (key_problem(key, path), label_value_problem(value, path)):
            if problem:
                yield problem


def metadata_problems(rule: str, obj: Observed) -> Iterator[str]:
    """Yield everything that is wrong with an object's metadata."""
    metadata = obj["metadata"]
    problem = name_problem(rule, metadata.get("name"))
    if problem:
        yield problem
    yield from label_problems(metadata.get("labels", {}), "metadata.labels")
    annotations = metadata.get("annotations", {})
    for key, value in annotations.items():
        problem = key_problem(key.lower(), "metadata.annotations")
        if problem:
            yield problem
        if not isinstance(value, str):
            yield f"metadata.annotations: Invalid value: {value!r}: must be a string"
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_LIMIT:
        yield f"metadata.annotations: Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
    owners = metadata.get("ownerReferences", [])
    for index, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                yield f"metadata.ownerReferences[{index}].{field}: Invalid value: must not be empty"
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        yield "metadata.ownerReferences: Invalid value: Only one reference can have Controller set to true"
