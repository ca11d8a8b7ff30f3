"""The shapes of Kubernetes JSON, and how it writes times and sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from userswarm.spec import manifests
from userswarm.wire.k8s import CHILD_KINDS, STATEFUL_SET, applied_size, read_time, written_time


def test_a_kind_is_grouped_as_metacontroller_groups_it() -> None:
    assert STATEFUL_SET.group == "StatefulSet.apps/v1"
    assert len({kind.group for kind in CHILD_KINDS}) == len({kind.kind for kind in CHILD_KINDS}) == len(CHILD_KINDS)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({}, 2),
        ({"a": "b"}, 9),
        ({"a": "<>&"}, 8 + 18),
        ({"a": "ü"}, 10),
        ({"a": '"'}, 10),
    ],
)
def test_a_size_is_counted_as_go_writes_json(value: object, size: int) -> None:
    assert applied_size(value) == size


def test_times_are_written_in_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 11, 20, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert written_time(moment) == "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00.123456Z", datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-20T13:00:00+01:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00", None),
        ("2026-11-20", None),
        ("soon", None),
        ("", None),
        (None, None),
        (0, None),
    ],
)
def test_only_an_aware_time_is_read_as_one(text: object, moment: datetime | None) -> None:
    assert read_time(text) == moment


def test_manifests_are_found_in_a_wheel_first_and_in_a_checkout_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hooks" / "userswarm"
    monkeypatch.setattr(manifests, "_PACKAGE", package)
    with pytest.raises(FileNotFoundError, match=r"manifests/crd/x\.yaml"):
        manifests.manifest_path("crd/x.yaml")

    checkout = tmp_path / "manifests" / "crd" / "x.yaml"
    wheel = package / "_manifests" / "crd" / "x.yaml"
    for path in (checkout, wheel):
        path.parent.mkdir(parents=True)
        path.touch()
        assert manifests.manifest_path("crd/x.yaml") == path
