"""What the story has to know of its swarm before there is one: what it is made of, what it needs, what will stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from userswarm.cli.templates.showing import find_awaited
from userswarm.compose.plan import Plan
from userswarm.spec.manifests import manifest_path
from userswarm.spec.settings import PREFIX
from userswarm.wire.k8s import CONFIG_MAP, STATEFUL_SET, Manifest


def find_templates(swarm: Manifest) -> Path | None:
    """Return the folder of the platform's templates, or else of our samples; None for a swarm that names none."""
    if "template" not in swarm["spec"]:
        return None
    given = os.environ.get(f"{PREFIX}TEMPLATES_DIR")
    return Path(given) if given else Path(str(manifest_path("samples/templates")))


def may_stay(plan: Plan) -> bool:
    """Tell whether a volume of the swarm is kept when it goes."""
    asked = plan.swarm.asked
    policy: str = asked.spec["storage"]["retainPolicy"]
    volumes = [{"claim": {}}] if asked.template is None else asked.template.resolved.get("volumes", ())
    return "Retain" in {each["claim"].get("retainPolicy", policy) for each in volumes if "claim" in each}


def build_change(plan: Plan) -> Manifest:
    """Return a change of the spec that the Pod has to be made anew for."""
    template = plan.swarm.asked.template
    if template is None or template.resolved.get("config"):
        return {"config": {"defaultTemperature": 0.2}}
    return {"runtime": {"env": [{"name": "DEMO", "value": "changed"}]}}


def build_awaited(plan: Plan, namespace: str) -> Iterator[Manifest]:
    """Build the Secrets and ConfigMaps that somebody else has to make before the swarm's Pod can start."""
    stateful_set = next(each for each in plan.children() if each["kind"] == STATEFUL_SET.kind)
    awaited = find_awaited(stateful_set["spec"]["template"]["spec"])
    awaited.pop((CONFIG_MAP.kind, plan.swarm.identity.config_map), None)
    if pull := plan.swarm.spec["runtime"].get("imagePullSecretName"):
        awaited["Secret", pull] = set()
    for (kind, name), keys in awaited.items():
        field = "data" if kind == CONFIG_MAP.kind else "stringData"
        values = {field: dict.fromkeys(sorted(keys), "for the demo")} if keys else {}
        yield {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **values}
