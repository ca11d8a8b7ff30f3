"""The Pod of a swarm that has a template: the template's own, with what every Pod of a swarm has in common."""

from __future__ import annotations

import copy

from userswarm.parts.dedicated.isolation import NO_ROLE, read_isolation
from userswarm.parts.pod import restricted_pod_spec
from userswarm.parts.runtime.template import bootstrap_container
from userswarm.spec.swarm import Swarm, Templated
from userswarm.wire.k8s import Manifest


def build_templated_pod(swarm: Swarm, template: Templated) -> Manifest:
    """Return the Pod that a template makes for a swarm."""
    isolation, resolved = read_isolation(swarm.asked), template.resolved
    pod, common = copy.deepcopy(template.pod), restricted_pod_spec(swarm)
    common["securityContext"] |= resolved.get("security", {})
    if "runAsGroup" in resolved.get("security", {}):
        common["securityContext"]["fsGroup"] = resolved["security"]["runAsGroup"]
    if resolved.get("config"):
        limits = swarm.spec["runtime"]["resources"]["limits"]
        pod["initContainers"] = [bootstrap_container(swarm, isolation, limits), *pod.get("initContainers", ())]
        pod["volumes"].append({"name": "config", "configMap": {"name": swarm.identity.config_map}})
    return {
        **pod,
        **common,
        # A token only where it opens something: the swarm's own namespace.
        "automountServiceAccountToken": isolation is not None and isolation.access != NO_ROLE,
        "terminationGracePeriodSeconds": resolved.get("terminationGracePeriodSeconds", 30),
    }
