"""What an answer would have to see besides; a settled swarm needs nothing.

What each part needs it says itself. One rule holds for all: a child that is asked for and does not come about is looked
up under its name, since Metacontroller never shows what somebody else owns.
"""

from __future__ import annotations

from collections.abc import Iterator

from userswarm.compose.desired import Finding
from userswarm.compose.progress import FIRST_LOOK
from userswarm.parts.shape import LOOK_AFTER, NOTHING, object_need
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import KIND_NAMED, Manifest


def compute_needs(swarm: Swarm, findings: list[Finding]) -> Manifest:
    """Return the needs of all parts together: `objects`, one rule a kind and namespace, and `http`; or neither."""
    asked = [each.part.needs(each.config, swarm, each.sight) for each in findings if not each.held]
    asked = [each for each in asked if each is not NOTHING]
    if not asked and not any(each.missing for each in findings):
        return {}
    rules: dict[tuple[str, str], Manifest] = {}
    for rule in [*(rule for each in asked for rule in each.objects), *_missing(findings)]:
        known = rules.setdefault((rule["resource"], rule.get("namespace", "")), rule)
        known["names"] = list(dict.fromkeys(known["names"] + rule["names"]))
    http = next((each.http for each in asked if each.http is not None), None)
    return {**({"objects": list(rules.values())} if rules else {}), **({"http": http} if http else {})}


def _missing(findings: list[Finding]) -> Iterator[Manifest]:
    """Look up the children that have been asked for and are not there; nothing while others still come about."""
    for finding in findings:
        before = finding.sight.blocked
        # Calls come while what is before it gets on, and what waits for that may be asked for only now.
        patience = FIRST_LOOK if before is not None and before.watched else LOOK_AFTER
        if finding.missing and finding.sight.stalled(finding.part.condition) >= patience:
            for child in finding.missing:
                metadata = child["metadata"]
                yield object_need(KIND_NAMED[child["kind"]], metadata.get("namespace", ""), metadata["name"])
