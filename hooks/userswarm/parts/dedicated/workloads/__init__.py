"""A tenant's own objects in a Dedicated swarm's namespace: what may be asked for, and what is completed.

Only what `fields` knows may be said.

completing       each object, and all of them together
templates        where their Pods are
demand           what their Pods ask for
fields           every field that may be said, but for those of Pods: `spec.pods`
"""

from __future__ import annotations

from userswarm.parts.dedicated.workloads.completing import (
    MAX_WORKLOADS_BYTES,
    WORKLOAD_KINDS,
    Workload,
    complete_workloads,
)
from userswarm.parts.dedicated.workloads.templates import pod_template, template_path
from userswarm.spec.pods.hardening import Surroundings

__all__ = [
    "MAX_WORKLOADS_BYTES",
    "WORKLOAD_KINDS",
    "Surroundings",
    "Workload",
    "complete_workloads",
    "pod_template",
    "template_path",
]
