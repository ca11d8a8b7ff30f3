"""The dev cluster stores and refuses what a real API server did, as tests/golden/apiserver has it recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from apiserver_cases import CHANGED, RECORDED, REFUSED, changed, comparable, refusal, stored
from devcluster.admission import StorageAdmission
from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.cluster import STORAGE_CLASSES
from devcluster.errors import ApiError
from fakes import Json, namespace

STORED = stored()


def recorded(name: str) -> dict[str, Json]:
    found: dict[str, Json] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.create(namespace())
    server.admission.append(StorageAdmission({each.name: each for each in STORAGE_CLASSES}, "standard"))
    return server


def answered(ask: Callable[[], Any]) -> Json:
    try:
        return comparable(ask())
    except ApiError as error:
        return refusal(error.code, error.message)


def test_all_that_is_asked_is_recorded() -> None:
    for name, cases in (("stored", STORED), ("refused", REFUSED), ("changed", CHANGED)):
        assert recorded(name).keys() == cases.keys()


@pytest.mark.parametrize("name", STORED)
def test_what_is_stored_is_what_a_real_server_stored(api: ApiServer, name: str) -> None:
    assert answered(lambda: api.create(STORED[name])) == recorded("stored")[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_what_a_real_server_refused(api: ApiServer, name: str) -> None:
    answer, real = answered(lambda: api.create(REFUSED[name])), recorded("refused")[name]
    assert answer["code"] == real["code"]
    # It need not name all of them.
    assert set(answer["fields"]) <= set(real["fields"])
    assert bool(answer["fields"]) is bool(real["fields"])


@pytest.mark.parametrize("name", CHANGED)
def test_what_can_be_changed_is_what_a_real_server_let_be_changed(api: ApiServer, name: str) -> None:
    before, patch = CHANGED[name]
    there = api.create(before)
    assert answered(lambda: api.update(changed(there, patch))) == recorded("changed")[name]
