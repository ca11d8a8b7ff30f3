"""The tenant's own workloads as children: in this namespace, under this swarm's labels, where its runtime runs."""

from __future__ import annotations

import copy

from userswarm.isolation import Isolation
from userswarm.spec.identity import COMPONENT_LABEL, SWARM_LABEL, WORKLOAD, WORKLOAD_ANNOTATION, Identity
from userswarm.spec.parent import UserSwarm
from userswarm.wire.k8s import SERVICE, Manifest
from userswarm.workloads import Workload, pod_template

_TENANTS_OWN = "app.kubernetes.io/name"
"""The one label of ours that a workload may set: what it is, is the tenant's to say."""


def build_workloads(swarm: UserSwarm, isolation: Isolation, identity: Identity) -> list[Manifest]:
    """Return the tenant's own workloads."""
    return [_build(workload, swarm, identity) for workload in isolation.workloads]


def _build(workload: Workload, swarm: UserSwarm, identity: Identity) -> Manifest:
    manifest = copy.deepcopy(workload.manifest)
    asked, own = manifest["metadata"], identity.metadata(workload.name, WORKLOAD)
    manifest["metadata"] = {
        **own,
        "labels": _labels(asked, identity),
        "annotations": {
            **asked.get("annotations", {}),
            **own["annotations"],
            WORKLOAD_ANNOTATION: workload.checksum,
        },
    }
    if workload.kind is SERVICE:
        # In an operator's namespace others may have Pods with the same labels; and never the runtime's.
        manifest["spec"]["selector"] |= {SWARM_LABEL: identity.slug, COMPONENT_LABEL: WORKLOAD}
    template = pod_template(manifest)
    if template is not None:
        metadata = template.setdefault("metadata", {})
        metadata["labels"] = _labels(metadata, identity)
        _place(template["spec"], swarm)
    return manifest


def _labels(metadata: Manifest, identity: Identity) -> dict[str, str]:
    """Return the labels of a workload or its Pods, ours forced: no Pod of it can pass for the runtime's."""
    asked = metadata.get("labels", {})
    kept = {_TENANTS_OWN: asked[_TENANTS_OWN]} if _TENANTS_OWN in asked else {}
    return {**asked, **identity.labels(WORKLOAD), **kept}


def _place(pod: Manifest, swarm: UserSwarm) -> None:
    """Put a Pod where the runtime's may run, and into the same sandbox: a workload is no way out of it."""
    selector = {**pod.get("nodeSelector", {}), **swarm.node_selector}
    if selector:
        pod["nodeSelector"] = selector
    if swarm.tolerations:
        pod["tolerations"] = [dict(each) for each in swarm.tolerations]
    if swarm.runtime_class:
        pod["runtimeClassName"] = swarm.runtime_class
