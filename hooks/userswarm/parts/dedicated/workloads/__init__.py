"""A tenant's own objects in a Dedicated swarm's namespace: what may be asked for, and what is completed.

Only what `fields` knows may be said. Pods are brought to the *restricted* Pod Security Standard where they are
silent, and refused where they ask for less.

completing                    each object, and all of them together
hardening                     their Pods
templates                     where their Pods are
demand                        what their Pods ask for
fields, pods, containers      every field that may be said
shapes, words                 what such a field may say
"""

from __future__ import annotations

from userswarm.parts.dedicated.workloads.completing import (
    MAX_WORKLOADS_BYTES,
    WORKLOAD_KINDS,
    Workload,
    complete_workloads,
)
from userswarm.parts.dedicated.workloads.hardening import Surroundings
from userswarm.parts.dedicated.workloads.templates import containers_of, pod_template, template_path

__all__ = [
    "MAX_WORKLOADS_BYTES",
    "WORKLOAD_KINDS",
    "Surroundings",
    "Workload",
    "complete_workloads",
    "containers_of",
    "pod_template",
    "template_path",
]
