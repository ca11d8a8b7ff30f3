"""What `userswarm explain` prints: where a swarm stands, what it waits for, and what to do about it.

It is read at three in the morning. So it says first whether users are served, then the one thing that blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from userswarm.cli.rendering import InputError, check_user_swarm, read_user_swarms
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.finalize import finalize
from userswarm.parts.lifecycle import look
from userswarm.parts.lifecycle import read as read_lifecycle
from userswarm.parts.shape import Sight
from userswarm.spec.settings import Settings
from userswarm.sync import sync
from userswarm.wire.envelope import HookRequest, parse_hook_request
from userswarm.wire.k8s import Manifest, Observed, read_time, written_time
from userswarm.wire.observe import Observation

ADVICE = {
    "ChildMissing": "kubectl describe uswarm {name}: its events say what Metacontroller was refused; see its log too",
    "NameConflict": "look at the object that has the name; rename or remove it if nobody needs it",
    "ClaimPending": "kubectl -n {namespace} describe pvc {claim}: its events name the provisioner's trouble",
    "ClaimResizing": "kubectl -n {namespace} describe pvc {claim}: does its StorageClass allow expansion?",
    "Terminating": "wait for what the message names; for a Pod that does not end: kubectl -n {namespace} describe pod",
    "Unschedulable": "add a node, or lower spec.runtime.resources, or correct spec.placement",
    "ImagePull": "correct spec.runtime.image, or the Secret that spec.runtime.imagePullSecretName names",
    "ConfigError": "make the Secret that spec.config.envSecretRef names; the Pod starts by itself then",
    "OOMKilled": "raise spec.runtime.resources.limits.memory",
    "CrashLoop": "kubectl -n {namespace} logs {service}-0 -c runtime --previous",
    "RolloutInProgress": "kubectl -n {namespace} describe pod {service}-0",
    "SmokeTestRunning": "wait: the webhook is about to ask the runtime; its log says what keeps it",
    "SmokeTestFailed": "kubectl -n {namespace} logs {service}-0 -c runtime, for why it answers as the message says",
    "NamespaceNotLent": "its operator makes the namespace, or labels it crawbl.ai/allow-userswarms=true",
    "DatabaseRefused": "the message is PostgreSQL's own: correct the role, the Secret or the template that it names",
    "KindNotManaged": "add the kind to the CompositeController's childResources (manifests/controller)",
    "Suspended": 'kubectl patch uswarm {name} --type=merge -p \'{{"spec":{{"suspend":false}}}}\' to resume',
    "Idle": "nothing: it wakes when somebody uses it, or now by UserSwarmClient.wake",
    "MaxAwake": "nothing: it wakes when somebody uses it; USERSWARM_LIFECYCLE_CEILINGS or spec.lifecycle.maxAwake",
    "MaxBusy": "look why it says it is busy; it wakes when somebody uses it",
    "InvalidSpec": "correct the fields that SpecValid names; nothing is touched until then",
}
"""What to do about each reason, in one line."""


def explain(text: str, source: str, settings: Settings, now: datetime, *, is_request: bool) -> str:
    """Return the explanation of the UserSwarm, or of the hook request, in a text.

    Raises InputError for a text that is neither, and RequestError for JSON that is no hook request.
    """
    if not is_request:
        return "\n".join(
            line for parent in read_user_swarms(text, source) for line in (*_explain_parent(parent, settings, now), "")
        )
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{source}: not JSON: {error}") from error
    call = parse_hook_request(body)
    answer = (finalize if call.finalizing else sync)(body, settings, now)
    parent = {**call.parent, "status": answer["status"]}
    lines = [*_explain_parent(parent, settings, now), "", *table(_children(call, answer))]
    if "resyncAfterSeconds" in answer:
        lines.append(f"\nasked again after {answer['resyncAfterSeconds']} s, if nothing changes before")
    if answer.get("finalized"):
        lines.append("\nfinalized: the UserSwarm may go")
    return "\n".join([*lines, ""])


def _explain_parent(parent: Manifest, settings: Settings, now: datetime) -> Iterator[str]:
    metadata, status = parent["metadata"], parent.get("status") or {}
    name = metadata["name"]
    served = "serves its user" if status.get("verified") else "does NOT serve its user"
    yield f"UserSwarm {name}: {status.get('phase', 'not seen by the hooks yet')}, {served}"
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and generation != observed:
        yield f"its spec is of generation {generation}, this status of {observed}: Metacontroller has not come by yet"
    if status.get("endpoint"):
        yield f"endpoint {status['endpoint']}"
    yield from _explain_template(parent, settings)
    try:
        if not _is_unknown_here(parent, settings):
            check_user_swarm(parent, settings)
            yield from _explain_sleep(parent, settings, now)
    except InvalidParentError as error:
        yield f"{len(error.problems)} problem(s) in the spec:"
        yield from (f"  {problem}" for problem in error.problems)
    conditions = status.get("conditions") or []
    if not conditions:
        yield "no conditions yet: is Metacontroller running, and does its CompositeController reach the webhook?"
        return
    yield ""
    yield from table(
        [("CONDITION", "STATUS", "FOR", "REASON", "MESSAGE"), *(_condition_row(each, now) for each in conditions)]
    )
    ready: dict[str, Any] = next((each for each in conditions if each.get("type") == "Ready"), {})
    if ready.get("status") == "False":
        yield ""
        yield f"awaited: {ready.get('message')}"
        advice = ADVICE.get(ready.get("reason", ""))
        if advice is not None:
            places = {
                "namespace": status.get("runtimeNamespace", "userswarms"),
                "service": status.get("serviceName", ""),
                "claim": status.get("claimName", ""),
            }
            yield f"to do:   {advice.format(name=name, **places)}"


def _is_unknown_here(parent: Manifest, settings: Settings) -> bool:
    """Tell whether a swarm is of a template that nobody here could know."""
    spec = parent.get("spec")
    return isinstance(spec, dict) and "template" in spec and not settings.templates.source


def _explain_template(parent: Manifest, settings: Settings) -> Iterator[str]:
    """Say which revision of a template a swarm is made of, and whether the platform offers another by now."""
    known = (parent.get("status") or {}).get("template") or {}
    if known:
        name, number = str(known.get("name")), int(known.get("revision") or 0)
        current = settings.templates.current(name)
        revision = settings.templates.revisions.get((name, number))
        told = f"made of template {name}, revision {number}"
        if revision is not None and revision.deprecated:
            instead = revision.document.get("replacedBy")
            told += ", which is deprecated" + (f": use template {instead}" if instead else "")
        if current is not None and current.number != number:
            told += f"; the platform's current one is {current.number}, and userswarm rollout moves to it"
        yield told
    if _is_unknown_here(parent, settings):
        yield "its template is not checked here: USERSWARM_TEMPLATES_DIR names the folder that the webhook reads"


def _explain_sleep(parent: Manifest, settings: Settings, now: datetime) -> Iterator[str]:
    """Say whether a swarm that may sleep is asleep, what keeps it awake, and what comes next."""
    status = parent.get("status") or {}
    told, lifecycle = read_lifecycle(compute_plan(parent, settings).swarm), status.get("lifecycle") or {}
    checked = lifecycle.get("checked") or {}
    if "asleepSince" in lifecycle:
        yield f"asleep since {lifecycle['asleepSince']} ({lifecycle.get('reason')})"
    elif lifecycle:
        yield f"awake since {lifecycle.get('awakeSince')} ({lifecycle.get('reason')})"
        sight = Sight(Observation({}, {}, {}), status, {}, now, metadata=parent["metadata"])
        due = look(told.rules, sight).due if told is not None else None
        if due is not None:
            yield f"falls asleep, or is asked whether it is busy, at {written_time(due)} if nobody uses it until then"
    if checked:
        said = checked.get("problem") or ("busy" if "busySince" in checked else "not busy")
        yield f"asked at {checked.get('at')} whether it is busy: {said}; asked again at {checked.get('again')}"
    for field, words in (("wakesAt", "wakes by itself at"), ("expiresAt", "expires, if nobody uses it, at")):
        if field in lifecycle:
            yield f"{words} {lifecycle[field]}"


def _condition_row(condition: Manifest, now: datetime) -> tuple[str, ...]:
    since = read_time(condition.get("lastTransitionTime"))
    age = _age((now - since).total_seconds()) if since is not None else "?"
    return (
        condition.get("type", "?"),
        condition.get("status", "?"),
        age,
        condition.get("reason", "?"),
        condition.get("message", ""),
    )


def _age(seconds: float) -> str:
    """Return a time span as kubectl shows it: in its largest unit that counts more than one."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def _children(call: HookRequest, answer: Manifest) -> Iterator[tuple[str, ...]]:
    """List every child that is observed or desired, and what an answer means for it."""
    desired = {(child["kind"], child["metadata"]["name"]) for child in answer["children"]}
    observed = {
        (child["kind"], child["metadata"]["name"]): child
        for objects in call.children.values()
        for child in objects.values()
    }
    yield "CHILD", "NAME", "STATE"
    for kind, name in sorted(desired | observed.keys()):
        child = observed.get((kind, name))
        yield kind, name, _child_state(child, wanted=(kind, name) in desired)


def _child_state(child: Observed | None, *, wanted: bool) -> str:
    if child is None:
        return "asked for, not there"
    if "deletionTimestamp" in child["metadata"]:
        return "being deleted"
    return "there" if wanted else "there, and let go by this answer"


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns; the last column is as wide as it likes."""
    rows = list(rows)
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
