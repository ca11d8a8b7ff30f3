"""Where a workload has its Pod template."""

from __future__ import annotations

from userswarm.wire.k8s import CRON_JOB, DEPLOYMENT, JOB, Manifest

_TEMPLATES = {
    DEPLOYMENT.kind: ("template",),
    JOB.kind: ("template",),
    CRON_JOB.kind: ("jobTemplate", "spec", "template"),
}


def template_path(kind: str) -> tuple[str, ...]:
    """Return where below spec a kind has its Pod template; nowhere for a kind without."""
    return _TEMPLATES.get(kind, ())


def pod_template(manifest: Manifest) -> Manifest | None:
    """Return the Pod template inside a valid workload, None for a kind that has none."""
    path = template_path(manifest["kind"])
    found: Manifest = manifest.get("spec", {})
    for step in path:
        found = found[step]
    return found if path else None
