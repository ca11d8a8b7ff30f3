"""Volumes that outlived their swarm are found; those that still have an owner are not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from unit.reaper.fakes import NOW, stamp
from userswarm.reaper.claims import RetainedClaim, find_retained

WEEK = timedelta(days=7)


def make_claim(name: str = "swarm-a-data", *, age_days: float = 30, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "userswarms",
            "labels": {"crawbl.ai/swarm": "a"},
            "creationTimestamp": stamp(NOW - timedelta(days=age_days)),
            **metadata,
        },
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
    }


def test_a_claim_without_owner_is_listed_with_its_size_and_swarm() -> None:
    claim = make_claim(annotations={"crawbl.ai/name": "workspace-a"})

    assert find_retained([claim], NOW, WEEK) == [
        RetainedClaim("userswarms", "swarm-a-data", "workspace-a", "2Gi", NOW - timedelta(days=30))
    ]


def wrote(manager: str, days_ago: float, annotation: str) -> dict[str, Any]:
    """Return the managedFields entry of a manager that set one annotation."""
    return {
        "manager": manager,
        "time": stamp(NOW - timedelta(days=days_ago)),
        "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, f"f:{annotation}": {}}}},
    }


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ([wrote("metacontroller", 8, "crawbl.ai/released")], 8),
        ([wrote("kubectl", 2, "note"), {"manager": "kubelet"}, wrote("metacontroller", 9, "crawbl.ai/released")], 9),
        ([wrote("kubectl", 2, "note")], 30),
        ([wrote("metacontroller", 8, "crawbl.ai/released") | {"time": "once"}], 30),
        (["nonsense"], 30),
        (None, 30),
    ],
)
def test_age_runs_from_the_release_where_managed_fields_date_it_and_else_from_creation(fields: Any, days: int) -> None:
    (found,) = find_retained([make_claim(managedFields=fields)], NOW, WEEK)

    assert found.since == NOW - timedelta(days=days)


def test_a_claim_released_lately_is_not_listed_however_old_it_is() -> None:
    claim = make_claim(age_days=900, managedFields=[wrote("metacontroller", 6, "crawbl.ai/released")])

    assert find_retained([claim], NOW, WEEK) == []


def test_the_oldest_comes_first() -> None:
    claims = [make_claim("b", age_days=8), make_claim("a", age_days=9), make_claim("c", age_days=10)]

    assert [claim.name for claim in find_retained(claims, NOW, WEEK)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "claim",
    [
        make_claim(age_days=6.9),
        make_claim(ownerReferences=[{"kind": "UserSwarm", "name": "workspace-a"}]),
        make_claim(deletionTimestamp=stamp(NOW)),
        make_claim(creationTimestamp="never"),
        make_claim(name=""),
        make_claim(annotations=["released"]),
        None,
        {},
    ],
)
def test_no_other_claim_is_listed_and_none_stops_the_rest(claim: Any) -> None:
    assert [found.name for found in find_retained([claim, make_claim("good")], NOW, WEEK)] == ["good"]


def test_what_a_claim_does_not_say_is_left_empty() -> None:
    (found,) = find_retained([make_claim() | {"spec": {}}], NOW, WEEK)

    assert (found.size, found.swarm) == ("", "")
