"""Which children a swarm shall have now, and what each part says to what is observed.

The parts say what they consist of and what of it has to wait; here stands what holds for all of them: what cannot be
changed is made again, what the controller is not told to manage is never returned, what is beside the plan is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from userswarm.compose.plan import Plan
from userswarm.compose.replace import find_obstacle
from userswarm.parts import PARTS
from userswarm.parts.shape import ROLLOUT_IN_PROGRESS, Part, Sight, Verdict
from userswarm.wire.freeze import freeze_child, last_applied
from userswarm.wire.k8s import CHILD_KINDS, COMPONENT_KINDS, DATA_KINDS, Manifest, Observed
from userswarm.wire.observe import Key, Observation

KIND_NOT_MANAGED = "KindNotManaged"

_KIND_OF_GROUP = {kind.group: kind for kind in CHILD_KINDS}
_KNOWN_GROUPS = frozenset(kind.group for part in PARTS for kind in part.kinds)
_COMPONENTS = {kind: name for name, kinds in COMPONENT_KINDS.items() for kind in kinds}


class Finding(NamedTuple):
    """What one part says, None for nothing, and by what it judged.

    `missing` are its children that are asked for and not there; `held` are all parts behind a gate that is closed.
    """

    part: Part
    config: Any
    verdict: Verdict | None
    sight: Sight
    missing: list[Manifest]
    held: bool


@dataclass(frozen=True, slots=True)
class Desired:
    """The children to return, and what each part says to those that are observed."""

    children: list[Manifest]
    findings: list[Finding]


def compute_desired(plan: Plan, sight: Sight, managed: frozenset[str]) -> Desired:
    """Return a swarm's children for now.

    `managed` holds the groups that the controller manages: a child of any other kind is never returned.
    Raises CannotFreezeError where a child must stay as it is, and does not say how it is.
    """
    observation, swarm = sight.observation, plan.swarm
    children: list[Manifest] = []
    findings: list[Finding] = []
    removed: dict[Key, str] = {}
    standing: dict[Key, Manifest] = {}
    closed = 0
    heard = sight.http
    if heard is not None:
        sight = replace(sight, http=None)
    for (part, config, groups), built in zip(plan.parts, plan.built(), strict=True):
        held = closed > 0 and (not part.gate or part.gate > closed)
        seen = sight
        if heard is not None and not held and part.needs(config, swarm, sight).http is not None:
            # Of all that would ask now, the first did, and the answer is to nobody else.
            seen, heard = replace(sight, http=heard), None
        fitted = part.fit(config, swarm, seen, built)
        if held:
            standing |= {_key(each): each for each in fitted}
            fitted = []
        missing, obstacles = _compare(fitted, observation)
        children += [each for each in fitted if _key(each) not in obstacles] if obstacles else fitted
        verdict = part.judge(config, swarm, seen)
        if not groups <= managed:
            children = [each for each in children if _group(each) in managed]
            verdict = _not_managed(min(groups - managed))
        elif obstacles:
            removed |= obstacles
            if verdict is None or verdict.ok or part.decides:
                verdict = _being_replaced(obstacles)
        findings.append(Finding(part, config, verdict, seen, missing, held))
        if verdict is not None and not verdict.ok:
            closed = closed or part.gate  # the first is the lowest
            if part.decides and sight.blocked is None:
                sight = replace(sight, blocked=verdict)
    others = observation.by_key.keys() - removed.keys() - set(map(_key, children))
    kept = [
        # Under server-side apply a child does not say how it was applied, and a wall that is lost must come again.
        last_applied(child) or standing.get(key) or freeze_child(child)
        for key, child in ((key, observation.by_key[key]) for key in sorted(others))
        if closed or _is_never_left_out(child)
    ]
    return Desired(children + kept, findings)


def _is_never_left_out(child: Observed) -> bool:
    """Tell whether a child stays though it is not in the plan: what is left out is deleted.

    Those are what holds data, and children of a kind we do not know: a later release made them, before this one was
    put back.
    """
    return child["kind"] in DATA_KINDS or _group(child) not in _KNOWN_GROUPS


def _compare(fitted: list[Manifest], observation: Observation) -> tuple[list[Manifest], dict[Key, str]]:
    """Return the children that are not there, and those that have to go before they can be made again, with why."""
    missing, obstacles = [], {}
    for child in fitted:
        observed = observation.by_key.get(_key(child))
        if observed is None:
            missing.append(child)
        elif field := find_obstacle(child, observed):
            obstacles[_key(child)] = field
    return missing, obstacles


def _being_replaced(obstacles: dict[Key, str]) -> Verdict:
    (group, namespace, name), field = next(iter(obstacles.items()))
    where = f"{_KIND_OF_GROUP[group].kind} {namespace}/{name}"
    told = f"{where} differs in {field}, which cannot be changed: it is removed and made again"
    return Verdict(False, ROLLOUT_IN_PROGRESS, told)


def _not_managed(group: str) -> Verdict:
    kind = _KIND_OF_GROUP[group]
    told = f"{kind.resource} ({kind.api_version}) are not among the CompositeController's childResources; "
    install = f"install manifests/components/{_COMPONENTS[kind]}" if kind in _COMPONENTS else "add them"
    return Verdict(False, KIND_NOT_MANAGED, told + install, trouble=True)


def _key(child: Observed) -> Key:
    metadata = child["metadata"]
    return _group(child), metadata.get("namespace", ""), metadata["name"]


def _group(child: Observed) -> str:
    return f"{child['kind']}.{child['apiVersion']}"
