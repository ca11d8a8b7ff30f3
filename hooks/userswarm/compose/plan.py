"""All that follows from a UserSwarm's spec alone: its identity, its children, its checksum.

This is the one cache of the pure hooks, for one reason: the same spec comes at every sync, and rendering it is most
of the work. The key is the spec itself, not its generation, so the cache cannot be wrong about a UserSwarm that was
made anew under its name, one that was never stored, or other settings. It is bounded in bytes: a spec may be large.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from userswarm.errors import InvalidParentError, Problem
from userswarm.parts import PARTS
from userswarm.parts.shape import Part
from userswarm.spec.parent import parse_parent
from userswarm.spec.settings import MEBIBYTE, Settings
from userswarm.spec.swarm import RETRY_ANNOTATION, Swarm
from userswarm.spec.template.choosing import REVISION_ANNOTATION
from userswarm.wire.k8s import CONFIG_MAP, MAX_APPLIED_BYTES, STATEFUL_SET, Manifest, Observed, applied_size, too_large

REMEMBERED_BYTES = 6 * MEBIBYTE
"""About 450 plans of usual swarms, or a few of swarms with large files. It is meant for the swarms that are coming up,
each asked for twenty times in a row; where all of ten thousand are resynced, each is planned anew, in 0.2 ms."""

_BESIDE_TEXTS = 4096
"""Bytes that a plan takes besides its spec and its children: names, and the objects that hold them."""

_CHECKS = tuple(check for part in PARTS for check in part.checks)

_FIELD_OF_KIND = {CONFIG_MAP.kind: "spec.config", STATEFUL_SET.kind: "spec.runtime"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid UserSwarm with all that is built from it.

    `parts` are those that it has, each with its configuration and the groups of its children.
    """

    swarm: Swarm
    parts: tuple[tuple[Part, Any, frozenset[str]], ...]
    _built: bytes

    def built(self) -> list[list[Manifest]]:
        """Return the children of each part, in the order of `parts`, fresh at every call."""
        children: list[list[Manifest]] = orjson.loads(self._built)
        return children

    def children(self) -> list[Manifest]:
        """Return all children, whatever of them has to wait, fresh at every call."""
        return [child for children in self.built() for child in children]


def compute_plan(parent: Observed, settings: Settings) -> Plan:
    """Return the plan for a parent.

    Raises InvalidParentError with every problem of a parent that no children can be built from.
    """
    metadata = parent["metadata"]
    plan = _remembered.plan(
        (
            parent["apiVersion"],
            metadata["name"],
            metadata.get("uid") or "",
            (metadata.get("annotations") or {}).get(RETRY_ANNOTATION, ""),
            _dump(parent.get("spec")),
            settings,
            _template_said(parent),
        )
    )
    if isinstance(plan, InvalidParentError):
        # A fresh one: an exception keeps the frames of every raise, and with them the requests.
        raise InvalidParentError(plan.name, plan.problems)
    return plan


_Key = tuple[str, str, str, str, bytes, Settings, bytes]


def _template_said(parent: Observed) -> bytes:
    """Return what besides the spec says which revision of a template a swarm has; nothing for one without."""
    spec = parent.get("spec")
    if not isinstance(spec, dict) or "template" not in spec:
        return b""
    noted = (parent["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, "")
    return _dump([noted, (parent.get("status") or {}).get("template")])


class _Remembered:
    """Plans, and errors in their place, by all that they depend on; what was not asked for longest goes first."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[Plan | InvalidParentError, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def plan(self, key: _Key) -> Plan | InvalidParentError:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known[0]
        plan = _plan(*key)
        # The spec is there twice: as a part of the key, and as what was read of it.
        size = _BESIDE_TEXTS + 2 * len(key[4]) + (len(plan._built) if isinstance(plan, Plan) else 0)
        with self._lock:
            self._forget(key)
            self._known[key] = plan, size
            self._bytes += size
            while self._bytes > REMEMBERED_BYTES:
                self._forget(next(iter(self._known)))
        return plan

    def _forget(self, key: _Key) -> None:
        _, size = self._known.pop(key, (None, 0))
        self._bytes -= size


_remembered = _Remembered()


def _plan(
    api_version: str, name: str, uid: str, retry: str, spec: bytes, settings: Settings, template: bytes
) -> Plan | InvalidParentError:
    metadata: dict[str, Any] = {"name": name, "uid": uid, "annotations": {RETRY_ANNOTATION: retry}}
    parent = {"apiVersion": api_version, "kind": "UserSwarm", "metadata": metadata, "spec": orjson.loads(spec)}
    if template:
        metadata["annotations"][REVISION_ANNOTATION], known = orjson.loads(template)
        parent["status"] = {"template": known}
    try:
        return _compute_plan(parse_parent(parent, settings, _CHECKS))
    except InvalidParentError as error:
        return error.with_traceback(None)  # its frames hold all that was read of the spec


def _compute_plan(swarm: Swarm) -> Plan:
    configs: dict[Any, Any] = {}
    for part in PARTS:
        # Parts of one room read the same once.
        if part.read not in configs:
            configs[part.read] = part.read(swarm)
    parts = tuple((part, configs[part.read]) for part in PARTS if configs[part.read] is not None)
    built = [part.build(config, swarm) for part, config in parts]
    children = [child for each in built for child in each]
    problems = [
        Problem(_FIELD_OF_KIND.get(child["kind"], "spec"), too_large(f"the {child['kind']}'s fields are", size))
        for child in children
        if (size := applied_size(child)) > MAX_APPLIED_BYTES
    ]
    problems += [problem for part, config in parts for problem in part.misfits(config, children)]
    if problems:
        raise InvalidParentError(swarm.asked.name, problems)
    groups = [frozenset(f"{child['kind']}.{child['apiVersion']}" for child in each) for each in built]
    return Plan(swarm, tuple((*each, of) for each, of in zip(parts, groups, strict=True)), _dump(built))


def _dump(value: Any) -> bytes:
    """Return JSON to be remembered; orjson leaves as much room behind what it writes, and it would stay taken."""
    return bytes(memoryview(orjson.dumps(value)))
