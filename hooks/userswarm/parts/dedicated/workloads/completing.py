"""A tenant's objects, completed to what a restricted namespace admits, and all that is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from userswarm.errors import Problem
from userswarm.parts.dedicated.workloads.fields import READERS
from userswarm.parts.dedicated.workloads.templates import pod_template, template_path
from userswarm.spec.pods.hardening import Surroundings, complete_pod
from userswarm.spec.slugs import SWARM_PREFIX
from userswarm.wire.k8s import (
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    JOB,
    MAX_APPLIED_BYTES,
    SERVICE,
    Kind,
    Manifest,
    applied_size,
    too_large,
)

WORKLOAD_KINDS: tuple[Kind, ...] = (DEPLOYMENT, SERVICE, CONFIG_MAP, JOB, CRON_JOB)
MAX_WORKLOADS_BYTES = 256 * 1024
_OUR_METADATA_BYTES = 4096
"""What our own labels and annotations take of each object, at most."""

_RESERVED = (SWARM_PREFIX, "verify-", "kube-")
_RESERVED_NAMES = ("default", "kubernetes")

_ROLLING: Manifest = {"maxSurge": "25%", "maxUnavailable": "25%"}
_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True)
class Workload:
    """One object of a tenant's, completed; `checksum` is that of what the tenant wrote, not of what we made of it."""

    kind: Kind
    name: str
    manifest: Manifest
    checksum: str


def complete_workloads(
    workloads: Sequence[Manifest], surroundings: Surroundings
) -> tuple[list[Workload], list[Problem]]:
    """Return the workloads completed to what a restricted namespace admits, and all that is wrong with them.

    A workload with a problem is not among those returned. The input is not changed.
    """
    completed: list[Workload] = []
    problems: list[Problem] = []
    size = applied_size(list(workloads))
    if size > MAX_WORKLOADS_BYTES:
        told = f"are {size} bytes together as JSON, {size - MAX_WORKLOADS_BYTES} more than {MAX_WORKLOADS_BYTES}"
        problems.append(Problem("spec.workloads", told))
    seen: set[tuple[str, str]] = set()
    for position, asked in enumerate(workloads):
        path = f"spec.workloads[{position}]"
        found: list[Problem] = []
        workload = _complete(asked, path, surroundings, found)
        if workload is not None:
            key = (workload.kind.kind, workload.name)
            if key in seen:
                found.append(Problem(f"{path}.metadata.name", f"a second {key[0]} {key[1]!r}; names must differ"))
            seen.add(key)
            if not found:
                completed.append(workload)
        problems.extend(found)
    return completed, problems


def _complete(asked: Manifest, path: str, surroundings: Surroundings, problems: list[Problem]) -> Workload | None:
    """Return one workload, completed; None, and problems, for one that cannot be."""
    kind = next((each for each in WORKLOAD_KINDS if each.kind == asked.get("kind")), None)
    if kind is None or asked.get("apiVersion") != kind.api_version:
        allowed = ", ".join(f"{each.kind} of {each.api_version}" for each in WORKLOAD_KINDS)
        found = f"{asked.get('kind')!r} of {asked.get('apiVersion')!r}"
        problems.append(Problem(f"{path}.kind", f"{found} is not allowed here; allowed are {allowed}"))
        return None
    manifest: Manifest = READERS[kind.kind](asked, path, problems)
    if problems:
        return None
    problems.extend(_check_name(manifest["metadata"]["name"], f"{path}.metadata.name"))
    size = applied_size(manifest)
    if size > MAX_APPLIED_BYTES - _OUR_METADATA_BYTES:
        problems.append(Problem(path, too_large("is, with our own metadata,", size + _OUR_METADATA_BYTES)))
    spec, where = manifest.get("spec", {}), f"{path}.spec"
    match kind.kind:
        case DEPLOYMENT.kind:
            problems.extend(_complete_strategy(spec, where))
            problems.extend(_check_selector(spec, where))
        case SERVICE.kind:
            problems.extend(_complete_service(spec, where))
        case CONFIG_MAP.kind:
            twice = sorted(manifest.get("data", {}).keys() & manifest.get("binaryData", {}).keys())
            problems.extend(Problem(f"{path}.binaryData[{key}]", "is in data too; keys must differ") for key in twice)
    template = pod_template(manifest)
    if template is not None:
        below = f"{where}.{'.'.join(template_path(kind.kind))}.spec"
        if kind is not DEPLOYMENT and "restartPolicy" not in template["spec"]:
            problems.append(Problem(f"{below}.restartPolicy", "is missing; must be Never or OnFailure"))
        problems.extend(complete_pod(template["spec"], below, surroundings))
    checksum = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Workload(kind, manifest["metadata"]["name"], manifest, checksum)


def _check_name(name: str, path: str) -> Iterator[Problem]:
    if name.startswith(_RESERVED) or name in _RESERVED_NAMES:
        yield Problem(path, f"{name!r} is reserved; must not start with {' or '.join(_RESERVED)}")


def _complete_strategy(spec: Manifest, path: str) -> Iterator[Problem]:
    """Write the strategy out: what the apiserver had filled in would outlive a change to Recreate, and be refused."""
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = {**_ROLLING, **strategy.get("rollingUpdate", {})}
        if all(str(each).rstrip("%").strip("0") == "" for each in rolling.values()):
            yield Problem(f"{path}.strategy.rollingUpdate", "maxSurge and maxUnavailable are both 0; one must be more")
    elif "rollingUpdate" in strategy:
        yield Problem(f"{path}.strategy.rollingUpdate", "is not for type Recreate; leave it out")
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0):
        told = f"must be more than minReadySeconds, {spec['minReadySeconds']}; it is 600 where it is not set"
        yield Problem(f"{path}.progressDeadlineSeconds", told)


def _check_selector(spec: Manifest, path: str) -> Iterator[Problem]:
    labels = spec["template"].get("metadata", {}).get("labels", {})
    if not spec["selector"]["matchLabels"].items() <= labels.items():
        yield Problem(f"{path}.selector.matchLabels", "must be among the labels of the Pod template")


def _complete_service(spec: Manifest, path: str) -> Iterator[Problem]:
    spec.setdefault("type", "ClusterIP")
    names: dict[str, int] = {}
    for position, port in enumerate(spec["ports"]):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
        where = f"{path}.ports[{position}].name"
        if "name" not in port:
            if len(spec["ports"]) > 1:
                yield Problem(where, "is missing; each of several ports must have a name")
        elif names.setdefault(port["name"], position) != position:
            yield Problem(where, f"is {port['name']!r}, as [{names[port['name']]}] is; names must differ")
    # Written out, for what the apiserver had filled in would outlive a change back to None, and be refused.
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        asked = spec.get("sessionAffinityConfig", {}).get("clientIP", {})
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS, **asked}}
    elif "sessionAffinityConfig" in spec:
        yield Problem(f"{path}.sessionAffinityConfig", "is for sessionAffinity ClientIP only; leave it out")
