"""What a swarm of a template would be, in lines for people: its containers and volumes, what it costs and awaits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from userswarm.cli.explaining import table
from userswarm.cli.rendering import InputError, check_user_swarm
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.parts.dedicated.isolation import exact_amount
from userswarm.parts.dedicated.workloads.demand import pod_need
from userswarm.spec import quantity
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import DEDICATED
from userswarm.spec.template.revisions import Revision, Templates
from userswarm.wire.k8s import CLAIM, STATEFUL_SET, Manifest

TRIAL = "workspace-trial"
"""The name of a swarm that nobody has."""


def list_templates(templates: Templates) -> list[str]:
    """Return a table of all revisions."""
    rows = [("TEMPLATE", "REVISION", "STATE", "CHECKSUM", "DESCRIPTION")]
    for name in templates.names():
        current = templates.current(name)
        for each in templates.of(name):
            state = "current" if each is current else "candidate" if each.candidate else "older"
            if each.deprecated:
                state = (
                    f"deprecated, see {each.document['replacedBy']}" if "replacedBy" in each.document else "deprecated"
                )
            rows.append((name, str(each.number), state, each.checksum[:12], each.document.get("description", "")))
    return table(rows)


def describe(
    revision: Revision,
    settings: Settings,
    features: Mapping[str, bool],
    parameters: Mapping[str, Any],
    quota: Mapping[str, Any],
    most: Mapping[str, Any],
) -> Iterator[str]:
    """Say what a swarm of a revision would be; raises InputError with all that keeps it from being one.

    With a quota, or with what a container may have at most, it has a namespace of its own, into which it has to fit.
    """
    asked: Manifest = {"name": revision.name, "revision": revision.number}
    asked |= {field: dict(value) for field, value in (("features", features), ("parameters", parameters)) if value}
    parent: Manifest = {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": TRIAL},
        "spec": {"userId": "somebody", "template": asked},
    }
    if quota or most:
        parent["spec"] |= {
            "placement": {"isolation": DEDICATED},
            "quota": dict(quota),
            "limitRange": {"max": dict(most)} if most else {},
        }
    settings = replace(settings, templates=Templates("", {(revision.name, revision.number): revision}))
    try:
        check_user_swarm(parent, settings)
    except InvalidParentError as error:
        raise InputError("\n".join(f"{revision.name}/{revision.number}: {each}" for each in error.problems)) from error
    children = compute_plan(parent, settings).children()
    pod = next(each["spec"]["template"]["spec"] for each in children if each["kind"] == STATEFUL_SET.kind)
    claims = {each["metadata"]["name"]: each for each in children if each["kind"] == CLAIM.kind}
    yield f"{revision.name}, revision {revision.number}: {revision.document.get('description', 'no description')}"
    for rows in (
        _containers(pod),
        _volumes(pod, claims),
        _sums(pod, claims),
        _awaited(pod),
        _features(revision.document, features),
        _parameters(revision.document),
    ):
        yield from _section(rows)
    if quota or most:
        yield ""
        yield "  it fits"


def _containers(pod: Manifest) -> Iterator[tuple[str, ...]]:
    yield "CONTAINER", "IS", "PORTS", "REQUESTS", "LIMITS", "IMAGE"
    beside = [(each, "beside it") for each in pod["containers"][1:]]
    before = [
        (each, "up before" if each.get("restartPolicy") == "Always" else "a step before")
        for each in pod.get("initContainers", ())
    ]
    for container, role in [(pod["containers"][0], "the runtime"), *beside, *before]:
        ports = ", ".join(f"{each['containerPort']} {each['name']}" for each in container.get("ports", ()))
        resources = container.get("resources", {})
        amounts = [" ".join(resources.get(side, {}).values()) or "-" for side in ("requests", "limits")]
        yield container["name"], role, ports or "-", *amounts, container["image"]


def _volumes(pod: Manifest, claims: Mapping[str, Manifest]) -> Iterator[tuple[str, ...]]:
    yield "VOLUME", "IS", "SIZE", "MOUNTED"
    containers = [*pod["containers"], *pod.get("initContainers", ())]
    for volume in pod.get("volumes", ()):
        source = next(kind for kind in volume if kind != "name")
        size = volume[source].get("sizeLimit", "-")
        if source == "persistentVolumeClaim":
            claim = claims[volume[source]["claimName"]]
            size = claim["spec"]["resources"]["requests"]["storage"]
            source = f"claim {claim['metadata']['name']}"
        places = [
            f"{container['name']} {mount['mountPath']}"
            for container in containers
            for mount in container.get("volumeMounts", ())
            if mount["name"] == volume["name"]
        ]
        yield volume["name"], source, str(size), ", ".join(places)


def _sums(pod: Manifest, claims: Mapping[str, Manifest]) -> Iterator[tuple[str, ...]]:
    """Say what all of it takes from a quota."""
    yield "ALL TOGETHER", "AMOUNT"
    needs = pod_need(pod, dict.fromkeys(("cpu", "memory"), "0"))
    for name, need in sorted(needs.items()):
        yield name, exact_amount(need, name)
    storage = sum(
        (quantity.parse(each["spec"]["resources"]["requests"]["storage"]) for each in claims.values()), Fraction()
    )
    yield "requests.storage", exact_amount(storage, "requests.storage")


def _awaited(pod: Manifest) -> Iterator[tuple[str, ...]]:
    found = find_awaited(pod)
    if found:
        yield "AWAITED", "NAME", "KEYS"
        for (kind, name), keys in sorted(found.items()):
            yield kind, name, ", ".join(sorted(keys)) or "all of it"


def find_awaited(pod: Manifest) -> dict[tuple[str, str], set[str]]:
    """Return which Secrets and ConfigMaps a Pod needs to start, by kind and name, and the keys that it names."""
    found: dict[tuple[str, str], set[str]] = {}

    def add(kind: str, source: Mapping[str, Any], name: str, keys: Iterable[str]) -> None:
        if not source.get("optional"):
            found.setdefault((kind, source[name]), set()).update(keys)

    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        for each in container.get("env", ()):
            if (reference := each.get("valueFrom", {}).get("secretKeyRef")) is not None:
                add("Secret", reference, "name", [reference["key"]])
        for each in container.get("envFrom", ()):
            add("Secret", each["secretRef"], "name", ())
    for volume in pod.get("volumes", ()):
        for kind, field, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
            if field in volume:
                add(kind, volume[field], name, [item["key"] for item in volume[field].get("items", ())])
    return found


def _features(document: Manifest, features: Mapping[str, bool]) -> Iterator[tuple[str, ...]]:
    known: Mapping[str, Manifest] = document.get("features", {})
    if known:
        yield "FEATURE", "IS", "DESCRIPTION"
        for name, each in known.items():
            is_on = features.get(name, each.get("default", False))
            yield name, "on" if is_on else "off", each.get("description", "")


def _parameters(document: Manifest) -> Iterator[tuple[str, ...]]:
    known: Mapping[str, Manifest] = document.get("parameters", {})
    if known:
        yield "PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"
        for name, each in known.items():
            default = repr(each["default"]) if "default" in each else "required"
            yield name, each["type"], default, each.get("description", "")


def _section(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = table(rows)
    if lines:
        yield ""
        yield from (f"  {line}" for line in lines)
