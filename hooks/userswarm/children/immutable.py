"""What Kubernetes does not let anybody change in a child that exists.

An update that tries is refused at every sync, for ever: such a child has to go before it can be made again.
"""

from __future__ import annotations

from typing import Any

from userswarm.spec.identity import WORKLOAD_ANNOTATION
from userswarm.wire.k8s import DEPLOYMENT, JOB, SERVICE, STATEFUL_SET, Manifest, Observed

_STATEFUL_SET_FIELDS = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


def immutable_difference(desired: Manifest, observed: Observed) -> str:
    """Return the field in which an observed child differs for good from what is desired, or an empty text.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ and the validation of Services and Jobs.
    Claims are not looked at: a claim is clamped to what it is, never replaced.
    """
    wanted, current = desired.get("spec", {}), observed.get("spec", {})
    match desired["kind"]:
        case STATEFUL_SET.kind:
            for field in _STATEFUL_SET_FIELDS:
                if (wanted.get(field) or None) != (current.get(field) or None):
                    return f"spec.{field}"
        case DEPLOYMENT.kind:
            if wanted.get("selector") != current.get("selector"):
                return "spec.selector"
        case SERVICE.kind:
            if (wanted.get("clusterIP") == "None") != (current.get("clusterIP") == "None"):
                return "spec.clusterIP"
        case JOB.kind if _asked(desired) is not None:
            # A tenant's Job runs once for what the tenant wrote. What a release makes of it is no reason to run it
            # again.
            if _asked(desired) != _asked(observed):
                return "spec"
        case JOB.kind:
            if not _covers(current.get("template"), wanted["template"]):
                return "spec.template"
    return ""


def _asked(job: Observed) -> Any:
    return (job.get("metadata", {}).get("annotations") or {}).get(WORKLOAD_ANNOTATION)


def _covers(observed: Any, desired: Any) -> bool:
    """Tell whether an observed value holds all of a desired one; the apiserver adds defaults, and takes none away."""
    if isinstance(desired, dict):
        return isinstance(observed, dict) and all(_covers(observed.get(key), value) for key, value in desired.items())
    if isinstance(desired, list):
        return (
            isinstance(observed, list)
            and len(observed) == len(desired)
            and all(_covers(have, want) for have, want in zip(observed, desired, strict=True))
        )
    return bool(observed == desired)
