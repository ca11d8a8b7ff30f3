"""The pure hooks in process, part by part and whole."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import orjson

from benchmarks.measure import Cost, measure
from benchmarks.report import Report
from benchmarks.samples import SETTINGS, SIZES, STATES, Json, Sample, record
from userswarm.compose.desired import compute_desired
from userswarm.compose.needs import compute_needs
from userswarm.compose.plan import compute_plan
from userswarm.compose.status import compute_status
from userswarm.finalize import finalize
from userswarm.parts.shape import Sight
from userswarm.sync import sync
from userswarm.wire.conditions import read_conditions
from userswarm.wire.envelope import parse_hook_request
from userswarm.wire.observe import observe

_HOOKS = {"sync": sync, "finalize": finalize}
_numbers = count()


def run(report: Report, seconds: float) -> None:
    """Measure every part, and every state of a swarm."""
    for size in SIZES:
        samples = record(size)
        settled = samples["settled"]
        rows = [_row(part, cost) for part, cost in _parts(settled, seconds).items()]
        report.add(f"Parts of a settled sync, {len(settled.body):,} bytes ({size})", rows)
        rows = []
        for state in STATES:
            rows.append({**_row(state, _whole(samples[state], seconds)), "bytes": len(samples[state].body)})
        rows.append({**_row("settled, first seen", _first_seen(settled, seconds)), "bytes": len(settled.body)})
        report.add(f"Whole calls without JSON ({size})", rows)


def _row(name: str, cost: Cost) -> dict[str, str | int | float | None]:
    return {
        "": name,
        "best us": cost.best,
        "p50 us": cost.p50,
        "p90 us": cost.p90,
        "blocks": cost.blocks,
        "peak KB": cost.peak_bytes / 1024,
    }


def _parts(sample: Sample, seconds: float) -> dict[str, Cost]:
    request = sample.request()
    call = parse_hook_request(request)
    observation = observe(call)
    plan = compute_plan(call.parent, SETTINGS)
    before = call.parent["status"]
    sight = Sight(observation, before, read_conditions(before), sample.now, call.http)
    desired = compute_desired(plan, sight, call.managed)
    answer = sync(request, SETTINGS, sample.now)

    parts: dict[str, Callable[[Any], Any]] = {
        "decode": lambda _: orjson.loads(sample.body),
        "read the envelope": lambda _: parse_hook_request(request),
        "observe": lambda _: observe(call),
        "plan, remembered": lambda _: compute_plan(call.parent, SETTINGS),
        "standing children": lambda _: plan.children(),
        "desired (with the children)": lambda _: compute_desired(plan, sight, call.managed),
        "status": lambda _: compute_status(call.parent, plan.swarm, desired.findings, sample.now, looks=False),
        "needs": lambda _: compute_needs(plan.swarm, desired.findings),
        "encode": lambda _: orjson.dumps(answer),
    }
    costs = {name: measure(part, seconds=seconds) for name, part in parts.items()}
    costs["build (plan, not remembered)"] = measure(
        lambda parent: compute_plan(parent, SETTINGS), lambda: _stranger(request)["parent"], seconds=seconds
    )
    return costs


def _whole(sample: Sample, seconds: float) -> Cost:
    """Measure one hook; a new swarm is one that no plan is remembered of."""
    hook = _HOOKS[sample.hook]
    request = sample.request()
    new = not any(request["children"].values())
    return measure(
        lambda prepared: hook(prepared, SETTINGS, sample.now),
        (lambda: _stranger(request)) if new else (lambda: request),
        seconds=seconds,
    )


def _first_seen(sample: Sample, seconds: float) -> Cost:
    """Measure a settled swarm of which no plan is remembered, as after a restart."""
    request = sample.request()
    return measure(lambda prepared: sync(prepared, SETTINGS, sample.now), lambda: _stranger(request), seconds=seconds)


def _stranger(request: Json) -> Json:
    """Return the request with a uid that was never seen: nothing remembered fits it."""
    parent = request["parent"]
    metadata = {**parent["metadata"], "uid": f"uid-{next(_numbers)}"}
    return {**request, "parent": {**parent, "metadata": metadata}}
