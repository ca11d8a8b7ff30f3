"""What an answer would have to see besides; a settled swarm needs nothing.

What each part needs it says itself. One rule holds for all: a child that is asked for and does not come about is looked
up under its name, since Metacontroller never shows what somebody else owns.
"""

from __future__ import annotations

from collections.abc import Iterator

from userswarm.compose.desired import Finding
from userswarm.parts.shape import LOOK_AFTER, NOTHING, Sight, object_need
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import CLAIM, KIND_NAMED, Manifest, read_time


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
    waiting = [each for each in findings if each.missing and each.sight.waited(each.part.condition) >= LOOK_AFTER]
    if waiting and not _is_coming_about(waiting[0].sight):
        for finding in waiting:
            for child in finding.missing:
                metadata = child["metadata"]
                yield object_need(KIND_NAMED[child["kind"]], metadata.get("namespace", ""), metadata["name"])


def _is_coming_about(sight: Sight) -> bool:
    """Tell whether a child was made, or the volume got on, a moment ago: what is missing may be asked for only now."""
    made = (read_time(child["metadata"].get("creationTimestamp")) for child in sight.observation.children())
    moments = (*made, sight.observation.changed_at(CLAIM))
    return any(moment is not None and (sight.now - moment).total_seconds() < LOOK_AFTER for moment in moments)
