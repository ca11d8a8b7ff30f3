"""What N swarms may cost: the table of a measured life, beside its budget and beside an earlier release's.

The budgets in seconds are of one machine with two cores. On another machine the ratio to the first release counts,
measured there in one afternoon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from benchmarks.lab import Lab, Life, Spent, bench
from benchmarks.report import Report, Value

CONTROLLER = ("metacontroller", "hooks")

BUDGETS = {
    300: {
        "all verified, s": 40.0,
        "writes per swarm": 9.5,
        "reads per swarm": 9.0,
        "Metacontroller and hooks, CPU s": 15.0,
        "API server, CPU s": 35.0,
        "gone, s": 22.0,
        "reads in 30 s idle": 0,
    }
}
"""By number of swarms, by measure: no more than that."""

RATIOS = {
    "all verified, s": 0.5,
    "Metacontroller and hooks, CPU s": 0.25,
    "API server, CPU s": 0.6,
    "gone, s": 0.46,
}
"""By measure: no more than that share of the first release's."""

GROWTH = 1.2
"""A thousand swarms may each cost Metacontroller and hooks so many times what each of 300 does."""

PER_SWARM = "Metacontroller and hooks, CPU ms per swarm"


def add_lives(
    report: Report, lab: Lab, swarms: Sequence[int], earlier: Mapping[int, Mapping[str, float]], whose: str = ""
) -> dict[int, dict[str, float]]:
    """Measure one crowd after the other, add their tables, and return what was measured by number of swarms."""
    measured: dict[int, dict[str, float]] = {}
    with bench(lab) as running:
        report.add(f"Metacontroller{whose}", [{"": "flags", "given": running.metacontroller_flags()}])
        for number in swarms:
            life, fewer = running.measure(number), measured.get(300, {})
            measured[number] = add_life(report, life, earlier.get(number, {}), fewer, whose)
    return measured


def add_life(
    report: Report, life: Life, against: Mapping[str, float], fewer: Mapping[str, float], whose: str = ""
) -> dict[str, float]:
    """Add the tables of one life; `against` and `fewer` are what an earlier release and what 300 swarms measured."""
    measured = measures(life)
    budgets: dict[str, float] = dict(BUDGETS.get(life.swarms, {}))
    if life.swarms >= 1000 and fewer:
        budgets[PER_SWARM] = GROWTH * fewer[PER_SWARM]
    rows: list[Mapping[str, Value]] = [
        {
            "": name,
            "measured": value,
            "budget": budgets.get(name),
            "against": against.get(name),
            "ratio": value / against[name] if against.get(name) else None,
            "ratio budget": RATIOS.get(name),
        }
        for name, value in measured.items()
    ]
    report.add(title(life.swarms) + whose, rows)
    report.add(f"{life.swarms} swarms: CPU seconds{whose}", [_cpu_row(*each) for each in _spans(life)])
    report.add(f"{life.swarms} swarms: requests per swarm{whose}", _request_rows(life))
    return measured


def title(swarms: int) -> str:
    """Return the name of the main table of so many swarms."""
    return f"{swarms} swarms at once"


def measures(life: Life) -> dict[str, float]:
    """Return what the budgets are about, by name."""
    controller = sum(life.create.cpu[name] for name in CONTROLLER)
    return {
        "all Pods ready, s": life.ready,
        "all verified, s": life.verified,
        "writes per swarm": _writes(life.create) / life.swarms,
        "of these status": life.create.count(lambda each: each.resource == "userswarms/status") / life.swarms,
        "reads per swarm": _reads(life.create) / life.swarms,
        "Metacontroller and hooks, CPU s": controller,
        PER_SWARM: 1000 * controller / life.swarms,
        "API server, CPU s": life.create.cpu["kube-apiserver"],
        "gone, s": life.delete.seconds,
        "writes in 30 s idle": _writes(life.idle),
        "reads in 30 s idle": _reads(life.idle),
        "load of the machine before": life.load[0],
        "load of the machine after": life.load[1],
    }


def read_earlier(path: Path, swarms: int) -> dict[str, float]:
    """Return what a report written with ``--json`` measured for so many swarms; nothing where it did not."""
    tables = orjson.loads(path.read_bytes())["tables"]
    return {row[""]: row["measured"] for row in tables.get(title(swarms), [])}


def _writes(spent: Spent) -> int:
    return spent.count(lambda each: not each.is_read)


def _reads(spent: Spent) -> int:
    return spent.count(lambda each: each.is_read)


def _spans(life: Life) -> list[tuple[str, Spent]]:
    return [("create", life.create), ("idle", life.idle), ("delete", life.delete)]


def _cpu_row(name: str, spent: Spent) -> Mapping[str, Value]:
    return {"": name, "seconds": spent.seconds, **spent.cpu, "all else on this machine": spent.others}


def _request_rows(life: Life) -> list[Mapping[str, Value]]:
    spans = _spans(life)
    kinds = sorted({asked for _, spent in spans for asked in spent.asked})
    return [
        {"": " ".join(asked), **{name: spent.asked[asked] / life.swarms for name, spent in spans}} for asked in kinds
    ]
