"""The requests of a real Metacontroller, through the hooks: strict answers, valid children, the same bytes again.

They were captured with other hooks, whose objects had other names: to ours, theirs are children of another release.
Those hooks asked for related objects by customize; whoever has such a hook may still send them.
"""

from __future__ import annotations

import copy
import functools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import orjson
import pytest
import referencing
from kubernetes_validate import utils

from userswarm.finalize import finalize
from userswarm.server import gathering
from userswarm.server.gathering import Unavailable
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.sync import sync
from userswarm.wire.k8s import CHILD_KINDS

REQUESTS = Path(__file__).resolve().parents[3] / "shared" / "metacontroller-requests"
FILES = sorted(path.name for path in REQUESTS.glob("*.json") if path.name != "customize.json")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATEST = int(kubernetes_validate.latest_version().split(".")[1])
MINORS = [f"1.{minor}" for minor in range(LATEST - 2, LATEST + 1)]

pytestmark = pytest.mark.skipif(not FILES, reason=f"no captured requests at {REQUESTS}")


def load(name: str) -> Any:
    return orjson.loads((REQUESTS / name).read_bytes())


class NoAccess:
    """A webhook that may look at nothing."""

    def read(self, need: Any) -> Any:
        raise Unavailable("forbidden")

    def ask(self, need: Any) -> Any:
        raise Unavailable("no network")


def answer(name: str, request: Any) -> Any:
    hook = finalize if "finalize" in name else sync
    return gathering.answer(hook, request, Settings(), NOW, NoAccess())


@functools.cache
def validator(kind: str, api_version: str, minor: str) -> jsonschema.protocols.Validator:
    """Return what `kubernetes-validate --strict` validates with; it would read its files anew for every object."""
    folder = f"kubernetes-json-schema/v{minor}.0-local-strict"
    group, _, version = api_version.rpartition("/")
    file = f"{kind.lower()}-{group.partition('.')[0]}-{version}.json" if group else f"{kind.lower()}-{version}.json"
    registry: Any = referencing.Registry()
    for name in (file, "_definitions.json"):
        registry = referencing.Resource.from_contents(utils.schema_contents(f"{folder}/{name}", minor)) @ registry
    return jsonschema.Draft202012Validator(utils.schema_contents(f"{folder}/{file}", minor), registry=registry)


@pytest.mark.parametrize("name", FILES)
def test_the_answer_is_one_that_strict_decoding_takes(name: str) -> None:
    response = answer(name, load(name))
    allowed = {"status", "children", "resyncAfterSeconds"} | ({"finalized"} if "finalize" in name else set())
    assert {"status", "children"} <= response.keys() <= allowed
    assert user_swarm_schema().status_problems(response["status"]) == []


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("name", FILES)
def test_children_are_valid_in_the_newest_three_minors(name: str, minor: str) -> None:
    known = {kind.group for kind in CHILD_KINDS}
    for child in answer(name, load(name))["children"]:
        if f"{child['kind']}.{child['apiVersion']}" in known:
            validator(child["kind"], child["apiVersion"], minor).validate(child)


@pytest.mark.parametrize("name", FILES)
def test_the_second_answer_has_the_bytes_of_the_first_and_the_request_is_untouched(name: str) -> None:
    request = load(name)
    kept = copy.deepcopy(request)
    first = orjson.dumps(answer(name, request))
    assert orjson.dumps(answer(name, request)) == first
    assert request == kept
    # And in whatever order the members of its objects come.
    sorted_keys = orjson.loads(orjson.dumps(request, option=orjson.OPT_SORT_KEYS))
    assert json.loads(orjson.dumps(answer(name, sorted_keys))) == json.loads(first)


@pytest.mark.parametrize("name", [name for name in FILES if "sync" in name])
def test_no_claim_and_no_namespace_is_ever_left_out_of_a_sync(name: str) -> None:
    request = load(name)
    returned = {(child["kind"], child["metadata"]["name"]) for child in answer(name, request)["children"]}
    for group, objects in request["children"].items():
        if group in ("PersistentVolumeClaim.v1", "Namespace.v1"):
            assert {(each["kind"], each["metadata"]["name"]) for each in objects.values()} <= returned


@pytest.mark.parametrize("name", [name for name in FILES if "finalize" in name])
def test_finalized_is_only_said_when_nothing_is_left(name: str) -> None:
    request = load(name)
    left = [each for objects in request["children"].values() for each in objects.values()]
    assert answer(name, request)["finalized"] is (not left)


def test_a_broken_override_on_a_running_swarm_freezes_its_children() -> None:
    request = load("sync-5-invalid-override.json")
    response = answer("sync-5-invalid-override.json", request)
    assert response["status"]["phase"] == "Invalid"
    applied = [
        orjson.loads(each["metadata"]["annotations"]["metacontroller.k8s.io/last-applied-configuration"])
        for objects in request["children"].values()
        for each in objects.values()
    ]
    assert sorted(map(orjson.dumps, response["children"])) == sorted(map(orjson.dumps, applied))
