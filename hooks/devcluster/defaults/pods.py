"""The defaults of pods, and of the templates that they are made of."""

from __future__ import annotations

import random
from typing import Any

from devcluster.objects import Manifest, Observed


def fill_in(target: Manifest, **values: Any) -> None:
    """Fill in what is not there."""
    for name, value in values.items():
        target.setdefault(name, value)


def template_of(spec: Manifest) -> Manifest:
    """Return the pod template below a spec, made where there is none, with its defaults."""
    template: Manifest = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))
    return template


def pod(obj: Manifest, _: random.Random) -> None:
    """Fill in the defaults of a pod, which are more than those of a template."""
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    fill_in(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    containers = (*spec.get("initContainers", ()), *spec.get("containers", ()))
    for container in containers:
        resources = container["resources"]
        for name, amount in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
    status = obj.setdefault("status", {})
    fill_in(status, phase="Pending", qosClass=quality(spec))
    for condition in status.get("conditions", ()):
        condition.setdefault("lastProbeTime", None)
    for name in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(name, ()):
            fill_in(entry, lastState={}, imageID="")


def quality(spec: Observed) -> str:
    """Return the quality of service of a pod's spec that is complete."""
    resources = [each["resources"] for each in (*spec.get("initContainers", ()), *spec.get("containers", ()))]
    if not any(resources):
        return "BestEffort"
    guaranteed = all(
        each.get("limits", {}).get(name) is not None and each["limits"][name] == each["requests"].get(name)
        for each in resources
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _pod_spec(spec: Manifest) -> None:
    fill_in(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        fill_in(spec, serviceAccountName=account, serviceAccount=account)
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Manifest) -> None:
    tag = container.get("image", "").rpartition("/")[2].partition(":")[2]
    pinned = "@" in container.get("image", "") or tag not in {"", "latest"}
    fill_in(
        container,
        imagePullPolicy="IfNotPresent" if pinned else "Always",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for entry in container.get("env", ()):
        _reference(entry.get("valueFrom", {}))
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if name in container:
            probe = container[name]
            fill_in(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if "httpGet" in probe:
                fill_in(probe["httpGet"], path="/", scheme="HTTP")
            if "grpc" in probe:
                fill_in(probe["grpc"], service="")


def _reference(source: Manifest) -> None:
    if "fieldRef" in source:
        fill_in(source["fieldRef"], apiVersion="v1")
    if "resourceFieldRef" in source:
        fill_in(source["resourceFieldRef"], divisor="0")


_VOLUME_MODE = ("configMap", "secret", "projected", "downwardAPI")


def _volume(volume: Manifest) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for name in _VOLUME_MODE:
        if name in volume:
            volume[name].setdefault("defaultMode", 0o644)
    sources = volume.get("projected", {}).get("sources", ())
    for source in sources:
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for source in (volume, *sources):
        for item in source.get("downwardAPI", {}).get("items", ()):
            _reference(item)
