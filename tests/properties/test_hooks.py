"""What holds for every answer, whatever is asked for and whatever is observed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from userswarm.customize import customize

import scenes
from properties.specs import BROKEN, SPECS, Spec
from scenes import Json, Scene
from userswarm.compose.plan import Plan, compute_plan
from userswarm.errors import CannotFreezeError, InvalidParentError
from userswarm.finalize import finalize
from userswarm.spec.quantity import parse
from userswarm.spec.schema import user_swarm_schema
from userswarm.sync import sync
from userswarm.wire.k8s import (
    CHILD_KINDS,
    CLAIM,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    JOB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

NAMES = st.sampled_from(["workspace-a", "a", "x.y", "n" * 253, "a-headless"])
GONE = "2026-11-20T11:59:59Z"


@st.composite
def valid_parents(draw: st.DrawFn) -> Json:
    return scenes.user_swarm(draw(NAMES), **draw(SPECS))


def _any_child(draw: st.DrawFn, scene: Scene) -> Json | None:
    found = [each for objects in scene.children.values() for each in objects.values()]
    return draw(st.sampled_from(found)) if found else None


def _drop_one(draw: st.DrawFn, scene: Scene) -> None:
    child = _any_child(draw, scene)
    if child is not None:
        for objects in scene.children.values():
            for key in [key for key, each in objects.items() if each is child]:
                del objects[key]


def _end_one(draw: st.DrawFn, scene: Scene) -> None:
    child = _any_child(draw, scene)
    if child is not None:
        child["metadata"]["deletionTimestamp"] = GONE


def _forget_one(draw: st.DrawFn, scene: Scene) -> None:
    child = _any_child(draw, scene)
    if child is not None:
        child["metadata"].get("annotations", {}).pop(scenes.LAST_APPLIED, None)


def _edit_spec(draw: st.DrawFn, scene: Scene) -> None:
    scene.parent["spec"] = {**draw(SPECS), "userId": scene.parent["spec"].get("userId", "u")}
    scene.parent["metadata"]["generation"] += 1


def _break_spec(draw: st.DrawFn, scene: Scene) -> None:
    scene.parent["spec"] = draw(BROKEN)
    scene.parent["metadata"]["generation"] += 1


def _suspend(draw: st.DrawFn, scene: Scene) -> None:
    if isinstance(scene.parent["spec"], dict):
        scene.parent["spec"]["suspend"] = draw(st.booleans())


def _count(draw: st.DrawFn, scene: Scene) -> None:
    for stateful_set in scene.children[STATEFUL_SET.group].values():
        field = draw(st.sampled_from(["readyReplicas", "updatedReplicas", "observedGeneration", "currentRevision"]))
        stateful_set.setdefault("status", {})[field] = draw(
            st.sampled_from(["x", "y"] if field[0] == "c" else [0, 1, 2])
        )


def _shrink_claim(draw: st.DrawFn, scene: Scene) -> None:
    for claim in scene.children[CLAIM.group].values():
        claim["status"] = {
            "phase": draw(st.sampled_from(["Bound", "Pending", "Lost"])),
            "capacity": {"storage": draw(st.sampled_from(["1", "1Gi", "8Ei"]))},
        }


def _relate_less(draw: st.DrawFn, scene: Scene) -> None:
    kind = draw(st.sampled_from([POD, ENDPOINT_SLICE, CLAIM]))
    if draw(st.booleans()):
        scene.related.pop(kind.group, None)
    elif kind.group in scene.related:
        scene.related[kind.group].clear()


def _other_pod(draw: st.DrawFn, scene: Scene) -> None:
    for pod in scene.related.get(POD.group, {}).values():
        pod["metadata"]["uid"] = draw(st.sampled_from(["uid-pod-1", "uid-pod-2"]))
        if draw(st.booleans()):
            pod["metadata"]["deletionTimestamp"] = GONE


def _end_test(draw: st.DrawFn, scene: Scene) -> None:
    for job in scene.children[JOB.group].values():
        kind = draw(st.sampled_from(["Complete", "Failed", "Suspended"]))
        job["status"] = {
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": "2026-11-20T11:59:00Z", "reason": "R"}
            ]
        }


def _unmanage(draw: st.DrawFn, scene: Scene) -> None:
    kind = draw(st.sampled_from(CHILD_KINDS))
    scene.resources = [each for each in scene.resources if each["resource"] != kind.resource]
    scene.children[kind.group] = {}


def _foreign_claim(draw: st.DrawFn, scene: Scene) -> None:
    for claim in list(scene.children[CLAIM.group].values()):
        scene.drop(CLAIM, claim["metadata"]["name"])
        foreign = copy.deepcopy(claim)
        foreign["metadata"]["ownerReferences"] = draw(
            st.sampled_from([[], [{"kind": "Other", "name": "o", "uid": "o"}]])
        )
        if draw(st.booleans()):
            foreign["metadata"]["annotations"]["crawbl.ai/user-id"] = "another user"
        scene.relate(foreign)


def _older_claim(draw: st.DrawFn, scene: Scene) -> None:
    if not any(rule["resource"] == CLAIM.resource for rule in scene.resources):
        return  # what no rule lists is never among the children
    scene.add_child(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": draw(st.sampled_from(["older", "oldest"])), "namespace": "userswarms"},
            "spec": {},
        }
    )
    scene.related.get(CLAIM.group, {}).pop("userswarms/older", None)


def _lose_status(draw: st.DrawFn, scene: Scene) -> None:
    scene.parent["status"] = draw(
        st.sampled_from([None, {}, {"conditions": 7}, {"verifiedChecksum": "other"}, {"stage": 1, "stageSince": "x"}])
    )


def _v1_keys(draw: st.DrawFn, scene: Scene) -> None:
    for groups in (scene.children, scene.related):
        for objects in groups.values():
            renamed = {f"k{number}": each for number, each in enumerate(objects.values())}
            objects.clear()
            objects.update(renamed)


def _step(draw: st.DrawFn, scene: Scene) -> None:
    try:
        scene.adopt_status(scene.sync())
    except CannotFreezeError:
        return


def _only_claims_left(draw: st.DrawFn, scene: Scene) -> None:
    for kind in CHILD_KINDS:
        if kind is not CLAIM:
            scene.children[kind.group] = {}
    scene.related.get(POD.group, {}).clear()


def _back_to_a_recorded_spec(draw: st.DrawFn, scene: Scene) -> None:
    """What is wanted now was verified before, but what runs may be something else."""
    if draw(st.booleans()) and isinstance(scene.parent["spec"], dict):
        scene.parent["spec"]["runtime"] = {"image": "verified-before:1"}
    try:
        checksum = compute_plan(scene.parent, scene.settings).checksum
    except InvalidParentError:
        return
    scene.parent["status"] = {**(scene.parent.get("status") or {}), "verifiedChecksum": checksum}


CHANGES: list[Callable[[st.DrawFn, Scene], None]] = [
    _drop_one,
    _end_one,
    _forget_one,
    _edit_spec,
    _break_spec,
    _suspend,
    _count,
    _shrink_claim,
    _relate_less,
    _other_pod,
    _end_test,
    _unmanage,
    _foreign_claim,
    _older_claim,
    _lose_status,
    _only_claims_left,
    _back_to_a_recorded_spec,
    _step,
]


@st.composite
def observed(draw: st.DrawFn) -> Scene:
    """Draw a swarm at some point of its life, to which up to four things happened."""
    parent = draw(valid_parents())
    parent["spec"].pop("suspend", None)
    states: list[Callable[..., Scene]] = [Scene, scenes.created, scenes.ready, scenes.under_test, scenes.verified]
    scene = draw(st.sampled_from(states))(parent)
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=4)):
        change(draw, scene)
        scene.now += timedelta(seconds=draw(st.sampled_from([0, 1, 400])))
    if draw(st.booleans()):
        _v1_keys(draw, scene)
    return scene


many = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def key(child: Json) -> tuple[str, str, str]:
    return child["kind"], child["metadata"].get("namespace", ""), child["metadata"]["name"]


def owned(request: Json) -> list[Json]:
    return [each for objects in request["children"].values() for each in objects.values()]


@many
@given(observed())
def test_an_answer_is_strict_deterministic_and_leaves_its_request_alone(scene: Scene) -> None:
    request = scene.request()
    kept = copy.deepcopy(request)
    for hook in (sync, finalize):
        try:
            response = hook(request, scene.settings, scene.now)
        except CannotFreezeError:
            # No answer is safe, and that is one: nothing changes.
            assert any(scenes.LAST_APPLIED not in each["metadata"].get("annotations", {}) for each in owned(request))
            continue
        assert request == kept
        assert orjson.dumps(hook(request, scene.settings, scene.now)) == orjson.dumps(response)
        assert request == kept
        allowed = {"status", "children", "resyncAfterSeconds"} | ({"finalized"} if hook is finalize else set())
        assert {"status", "children"} <= response.keys() <= allowed
        assert response.get("resyncAfterSeconds", 1) > 0
        assert user_swarm_schema().status_problems(response["status"]) == []
        keys = [key(child) for child in response["children"]]
        assert len(keys) == len(set(keys))
        managed = {kind.group for kind in CHILD_KINDS if any(r["resource"] == kind.resource for r in scene.resources)}
        assert {f"{child['kind']}.{child['apiVersion']}" for child in response["children"]} <= managed
    assert customize(request, scene.settings, scene.now) == customize(kept, scene.settings, scene.now)
    assert request == kept


@many
@given(observed())
def test_no_answer_shares_an_object_with_its_request(scene: Scene) -> None:
    request = scene.request()
    kept = copy.deepcopy(request)
    for hook in (sync, finalize):
        try:
            response = hook(request, scene.settings, scene.now)
        except CannotFreezeError:
            continue
        _spoil(response)
        assert request == kept


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _spoil(member)
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            _spoil(member)
        value.append("spoilt")


@many
@given(observed())
def test_no_claim_of_a_swarm_that_is_not_deleted_is_ever_left_out(scene: Scene) -> None:
    request = scene.request()
    claims = {key(claim) for claim in owned(request) if claim["kind"] == CLAIM.kind}
    try:
        response = sync(request, scene.settings, scene.now)
    except CannotFreezeError:
        return
    assert claims <= {key(child) for child in response["children"]}


@many
@given(observed())
def test_a_broken_spec_is_answered_with_every_child_as_it_was_applied(scene: Scene) -> None:
    request = scene.request()
    try:
        response = sync(request, scene.settings, scene.now)
    except CannotFreezeError:
        return
    if response["status"]["phase"] == "Invalid":
        applied = [json.loads(each["metadata"]["annotations"][scenes.LAST_APPLIED]) for each in owned(request)]
        assert sorted(map(json.dumps, applied)) == sorted(map(json.dumps, response["children"]))
        assert "resyncAfterSeconds" not in response


def holds_every_clause(request: Json, plan: Plan) -> bool:
    """Say what verified means from the request alone, in other words than the hooks do."""
    parent, one = request["parent"], plan.identity
    if "deletionTimestamp" in parent["metadata"] or parent["spec"].get("suspend"):
        return False
    children = {key(each): each for each in owned(request)}
    related = {
        key(each): each for objects in request["related"].values() for each in objects.values() if "kind" in each
    }
    for kind, name in (
        (SERVICE_ACCOUNT, one.name),
        (CONFIG_MAP, one.config_map),
        (SERVICE, one.name),
        (SERVICE, one.headless_service),
        (STATEFUL_SET, one.name),
    ):
        child = children.get((kind.kind, one.namespace, name))
        if child is None or "deletionTimestamp" in child["metadata"]:
            return False
    where = (CLAIM.kind, one.namespace, one.claim)
    claim = children.get(where) or related.get(where)
    if claim is None or "deletionTimestamp" in claim["metadata"] or claim["status"]["phase"] != "Bound":
        return False
    annotations = claim["metadata"].get("annotations", {})
    if where not in children and annotations.get("crawbl.ai/user-id") != parent["spec"]["userId"]:
        return False
    asked = Fraction(parse(plan.swarm.storage_size))
    granted = Fraction(parse(claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0")))
    if parse(claim["status"]["capacity"]["storage"]) < (max(asked, granted) if where in children else asked):
        return False
    stateful_set = children[STATEFUL_SET.kind, one.namespace, one.name]
    status = stateful_set["status"]
    template = stateful_set["spec"]["template"]["metadata"]["annotations"]["crawbl.ai/checksum"]
    counts = (status["readyReplicas"], status["updatedReplicas"])
    if template != plan.checksum or counts != (1, 1) or status["currentRevision"] != status["updateRevision"]:
        return False
    if status["observedGeneration"] < stateful_set["metadata"]["generation"]:
        return False
    if ENDPOINT_SLICE.group in request["related"]:
        uids = {each["metadata"]["uid"] for each in related.values() if each["kind"] == "Pod"}
        slices = request["related"][ENDPOINT_SLICE.group].values()
        ready = {e["targetRef"]["uid"] for each in slices for e in each["endpoints"] if e["conditions"]["ready"]}
        if not (ready & uids if POD.group in request["related"] else ready):
            return False
    recorded = (parent.get("status") or {}).get("verifiedChecksum") == plan.checksum
    passed = [
        job
        for number in range(1, 21)
        if (job := children.get((JOB.kind, one.namespace, one.smoke_test(plan.series, number))))
        and any(c["type"] == "Complete" for c in job.get("status", {}).get("conditions", ()))
    ]
    return recorded or bool(passed)


@many
@given(observed(), st.booleans(), st.data())
def test_verified_is_only_said_while_every_clause_holds(scene: Scene, back: bool, data: st.DataObject) -> None:
    if back:
        _back_to_a_recorded_spec(data.draw, scene)
    request = scene.request()
    try:
        response = sync(request, scene.settings, scene.now)
    except CannotFreezeError:
        return
    if response["status"]["verified"]:
        assert response["status"]["phase"] == "Ready"
        assert holds_every_clause(request, compute_plan(request["parent"], scene.settings))


DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@given(valid_parents())
def test_a_valid_spec_is_built_whole_with_valid_names_and_selectors_that_reach_its_pod(parent: Json) -> None:
    response = Scene(parent).sync()
    assert [child["kind"] for child in response["children"]] == [
        "ServiceAccount",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Service",
        "Service",
        "StatefulSet",
    ]
    *_, headless, service, stateful_set = response["children"]
    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert all(DNS_1035.fullmatch(child["metadata"]["name"]) for child in response["children"])
    for selector in (
        headless["spec"]["selector"],
        service["spec"]["selector"],
        stateful_set["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    assert response["status"]["verified"] is False


@given(valid_parents())
def test_a_valid_spec_comes_to_be_verified_and_then_rests(parent: Json) -> None:
    parent["spec"].pop("suspend", None)
    scene = scenes.verified(parent)
    first, second = scene.sync(), scene.sync()
    assert first == second
    assert first["status"] == scene.parent["status"]
    assert "resyncAfterSeconds" not in first


@given(SPECS, st.data())
def test_two_spellings_of_one_spec_make_the_same_children(spec: Spec, data: st.DataObject) -> None:
    spelt = copy.deepcopy(spec)
    for name in ("storage", "config", "placement", "runtime"):
        spelt.setdefault(name, {})
    temperature = spelt["config"].get("defaultTemperature")
    if isinstance(temperature, int):
        spelt["config"]["defaultTemperature"] = float(temperature)
    spelt["placement"].setdefault("nodeSelector", {})
    spelt["runtime"].setdefault("env", [])
    spelt["storage"].setdefault("storageClassName", "")
    spelt["config"].setdefault("tomlOverrides", "")
    plain, odd = (Scene(scenes.user_swarm("a", **each)).sync()["children"] for each in (spec, spelt))
    assert odd == plain


@many
@given(observed(), st.booleans(), st.booleans(), st.data())
def test_finalized_is_only_said_when_nothing_is_left_and_nothing_is_made(
    scene: Scene, deleted: bool, alone: bool, data: st.DataObject
) -> None:
    if alone:
        _only_claims_left(data.draw, scene)
    if deleted:
        scene.parent["metadata"]["deletionTimestamp"] = GONE
    request = scene.request()
    response = finalize(request, scene.settings, scene.now)
    children = {key(child): child for child in response["children"]}

    assert children.keys() <= {key(each) for each in owned(request)}
    assert response["status"]["verified"] is False
    if response["finalized"]:
        assert not request["related"].get(POD.group)
        if deleted:
            assert not owned(request)
        else:
            # It has only left this controller: what is left are claims, and each is released.
            assert {each["kind"] for each in owned(request)} <= {CLAIM.kind}
            for claim in owned(request):
                if "deletionTimestamp" not in claim["metadata"]:
                    assert "ownerReferences" not in children[key(claim)]["metadata"]


@many
@given(observed(), st.booleans(), st.booleans(), st.data())
def test_a_claim_goes_only_last_and_only_where_a_deletion_plainly_says_so(
    scene: Scene, deleted: bool, alone: bool, data: st.DataObject
) -> None:
    if alone:
        _only_claims_left(data.draw, scene)
    policy = data.draw(st.sampled_from(["Delete", "Retain", None]))
    if policy and isinstance(scene.parent["spec"].get("storage", {}), dict):
        scene.parent["spec"]["storage"] = {**scene.parent["spec"].get("storage", {}), "retainPolicy": policy}
    if deleted:
        scene.parent["metadata"]["deletionTimestamp"] = GONE
    request = scene.request()
    answered = {key(child) for child in finalize(request, scene.settings, scene.now)["children"]}
    spec = request["parent"]["spec"]
    storage = spec.get("storage", {})
    plainly = deleted and storage is not None and storage.get("retainPolicy", "Delete") == "Delete"
    others = [each for each in owned(request) if each["kind"] != CLAIM.kind]
    left = others or request["related"].get(POD.group)
    for claim in owned(request):
        if claim["kind"] == CLAIM.kind and "deletionTimestamp" not in claim["metadata"]:
            assert key(claim) in answered or (plainly and not left)


@pytest.mark.parametrize("spec", [{}, {"suspend": True}])
def test_the_strategies_reach_what_they_are_for(spec: Spec) -> None:
    """A property that never meets its premise would hold of anything."""
    scene = scenes.verified()
    assert holds_every_clause(scene.request(), compute_plan(scene.parent, scene.settings))
    scene.parent["spec"] |= spec
    assert holds_every_clause(scene.request(), compute_plan(scene.parent, scene.settings)) is not bool(spec)
