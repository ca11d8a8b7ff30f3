"""What a spec may say about a runtime's Pod and where it runs: what the apiserver would refuse at every sync."""

from __future__ import annotations

import re
from collections.abc import Iterator

from userswarm.errors import Problem
from userswarm.spec import quantity
from userswarm.spec.paths import TAKEN_DIRECTORIES
from userswarm.spec.swarm import Asked, Check

_QUALIFIED_NAME = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_QUALIFIED = "it must be letters, digits, '-', '_' and '.', at most 63, after a domain and '/' if any: example.com/kind"


def _check_namespace(asked: Asked) -> Iterator[Problem]:
    namespace = asked.spec["placement"]["runtimeNamespace"]
    # A Dedicated swarm has a namespace of its own, or one whose own label says that it may be used.
    if not asked.dedicated and namespace not in asked.settings.allowed_namespaces:
        allowed = ", ".join(asked.settings.allowed_namespaces)
        yield Problem("spec.placement.runtimeNamespace", f"{namespace!r} is not allowed here; allowed are {allowed}")


def _check_priority(asked: Asked) -> Iterator[Problem]:
    name = asked.spec["placement"].get("priorityClassName", "")
    if name.startswith("system-"):
        yield Problem("spec.placement.priorityClassName", f"{name!r} is for the cluster's own Pods; use another class")


def _check_node_selector(asked: Asked) -> Iterator[Problem]:
    for name in asked.spec["placement"].get("nodeSelector", {}):
        if not _is_qualified_name(name):
            yield Problem(f"spec.placement.nodeSelector[{name}]", f"{name!r} is no label's name; {_QUALIFIED}")


def _check_tolerations(asked: Asked) -> Iterator[Problem]:
    for position, each in enumerate(asked.spec["placement"].get("tolerations", ())):
        where = f"spec.placement.tolerations[{position}]"
        key, exists = each.get("key", ""), each.get("operator", "Equal") == "Exists"
        if key and not _is_qualified_name(key):
            yield Problem(f"{where}.key", f"{key!r} is no taint's name; {_QUALIFIED}")
        if not key and not exists:
            yield Problem(f"{where}.operator", "must be Exists where key is empty: that tolerates every taint")
        if exists and each.get("value"):
            yield Problem(f"{where}.value", f"{each['value']!r} is not compared by operator Exists; leave it out")
        if "tolerationSeconds" in each and each.get("effect") != "NoExecute":
            yield Problem(f"{where}.effect", "must be NoExecute where tolerationSeconds is set")


def _is_qualified_name(name: str) -> bool:
    return len(name.rpartition("/")[0]) <= 253 and _QUALIFIED_NAME.fullmatch(name) is not None


def _check_image(asked: Asked) -> Iterator[Problem]:
    image = asked.spec["runtime"].get("image") or asked.settings.default_image
    prefixes = asked.settings.allowed_image_prefixes
    if prefixes and not image.startswith(prefixes):
        yield Problem(
            "spec.runtime.image", f"{image!r} is not allowed here; it must start with {' or '.join(prefixes)}"
        )


def _check_data_path(asked: Asked) -> Iterator[Problem]:
    path = asked.spec["runtime"]["dataPath"].rstrip("/")
    for taken in TAKEN_DIRECTORIES:
        if f"{path}/".startswith(f"{taken}/") or f"{taken}/".startswith(f"{path}/"):
            yield Problem("spec.runtime.dataPath", f"{path!r} meets {taken}, which is taken; use one such as /data")


def _check_resources(asked: Asked) -> Iterator[Problem]:
    resources = asked.spec["runtime"]["resources"]
    for name, request in sorted(resources["requests"].items()):
        limit = resources["limits"].get(name)
        if limit is not None and quantity.compare(request, limit) > 0:
            yield Problem(
                f"spec.runtime.resources.requests.{name}",
                f"{request} is more than the limit, {limit}; set limits.{name} to at least {request}",
            )


PLACEMENT_CHECKS = (
    Check(("spec.placement.runtimeNamespace",), _check_namespace),
    Check(("spec.placement.priorityClassName",), _check_priority),
    Check(("spec.placement.nodeSelector",), _check_node_selector),
    Check(("spec.placement.tolerations",), _check_tolerations),
    Check(("spec.runtime.image",), _check_image),
    Check(("spec.runtime.dataPath",), _check_data_path),
    Check(("spec.runtime.resources",), _check_resources),
)
