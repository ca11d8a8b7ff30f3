"""What the gate's account may do to a UserSwarm: note that it is used, and nothing more."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.api import Api, Object, RefusedError
from cluster.life import swarm
from cluster.waiting import until_nothing

USED: Object = {"metadata": {"annotations": {"crawbl.ai/last-activity": "2026-01-01T00:00:00Z"}}}
MORE: dict[str, tuple[Object, str]] = {
    "spec": ({"spec": {"suspend": True}}, "changes no spec"),
    "labels": ({"metadata": {"labels": {"crawbl.ai/shard": "1"}}}, "changes no label"),
    "finalizers": ({"metadata": {"finalizers": ["example.com/mine"]}}, "changes no finalizer"),
}


@pytest.fixture(scope="module")
def stored(installed: Api) -> Iterator[Object]:
    made = installed.create(swarm("gated"))
    yield made
    installed.delete(made)


def refusal(api: Api, obj: Object, patch: Any) -> str:
    try:
        api.merge(obj, patch, dryRun="All")
    except RefusedError as error:
        return error.message
    return ""


def lacks(api: Api, obj: Object, patch: Any, message: str) -> str:
    """Return what is said instead of a message; "" where it is said."""
    said = refusal(api, obj, patch)
    return "" if message in said else said or "nothing"


def test_the_gate_notes_activity_and_changes_nothing_else(installed: Api, stored: Object) -> None:
    gate = installed.acting_as_account("userswarm-system", "userswarm-gate")
    for what, (patch, message) in MORE.items():
        # A policy is not in force at once.
        until_nothing(f"{what} may be changed", functools.partial(lacks, gate, stored, patch, message))
    assert refusal(gate, stored, USED) == ""
    assert refusal(installed, stored, MORE["labels"][0]) == ""


def test_the_gate_makes_and_deletes_nothing(installed: Api, stored: Object) -> None:
    gate = installed.acting_as_account("userswarm-system", "userswarm-gate")
    assert gate.get(stored) is not None
    for ask in (lambda: gate.create(swarm("another")), lambda: gate.delete(stored)):
        with pytest.raises(RefusedError, match="forbidden"):
            ask()
