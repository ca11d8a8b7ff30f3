"""What a real API server stores and refuses is what tests/golden/apiserver says; --update-golden records it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apiserver_cases import CHANGED, REFUSED, changed, comparable, refusal, stored
from cluster.api import Api, Object, RefusedError
from cluster.conftest import wait_for_account
from conftest import Golden
from fakes import NAMESPACE, namespace

MEANING = "The dev cluster is held against this: record it anew, and read the difference."


@pytest.fixture(scope="module")
def api(installed: Api) -> Iterator[Api]:
    installed.create(namespace())
    wait_for_account(installed, NAMESPACE)
    yield installed
    installed.delete(namespace())


def answered(ask: Callable[[], Object]) -> Any:
    try:
        return comparable(ask())
    except RefusedError as error:
        return refusal(error.code, error.message)


def text(recorded: Any) -> str:
    return json.dumps(recorded, indent=1, sort_keys=True) + "\n"


def test_what_is_stored_is_recorded(api: Api, golden: Golden) -> None:
    found = {name: answered(lambda obj=obj: api.create(obj, dryRun="All")) for name, obj in stored().items()}
    assert [name for name, answer in found.items() if "code" in answer] == []
    golden("apiserver/stored.json", text(found), MEANING)


def test_what_is_refused_is_recorded(api: Api, golden: Golden) -> None:
    found = {name: answered(lambda obj=obj: api.create(obj, dryRun="All")) for name, obj in REFUSED.items()}
    assert [name for name, answer in found.items() if "code" not in answer] == []
    golden("apiserver/refused.json", text(found), MEANING)


def test_what_can_be_changed_is_recorded(api: Api, golden: Golden) -> None:
    found = {}
    for name, (before, patch) in CHANGED.items():
        there = api.create(before)
        found[name] = answered(lambda there=there, patch=patch: api.update(changed(there, patch), dryRun="All"))
        api.delete(there)
    golden("apiserver/changed.json", text(found), MEANING)
