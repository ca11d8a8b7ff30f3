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

import scenes
from properties.specs import BROKEN, SPECS, Spec
from scenes import Json, Scene
from userswarm.compose.plan import compute_plan
from userswarm.errors import CannotFreezeError, InvalidParentError
from userswarm.finalize import finalize
from userswarm.spec.identity import template_checksum
from userswarm.spec.quantity import parse
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.slugs import swarm_name
from userswarm.sync import sync
from userswarm.wire.k8s import (
    CHILD_KINDS,
    CLAIM,
    CONFIG_MAP,
    POD,
    RUNTIME_KINDS,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

NAMES = st.sampled_from(["workspace-a", "a", "x.y", "n" * 253, "a-headless"])
GONE = "2026-11-20T11:59:59Z"
EARLIER = "2026-11-20T11:30:00Z"


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
    kind = draw(st.sampled_from([POD, CLAIM, *RUNTIME_KINDS]))
    what = draw(st.sampled_from(["not read", "not found", "refused"]))
    if what == "not found":
        scene.related[kind.group] = {}
    else:
        scene.related.pop(kind.group, None)
        if what == "refused":
            scene.unavailable[kind.group] = "forbidden"


def _other_pod(draw: st.DrawFn, scene: Scene) -> None:
    for pod in scene.related.get(POD.group, {}).values():
        pod["metadata"]["uid"] = draw(st.sampled_from(["uid-pod-1", "uid-pod-2"]))
        if draw(st.booleans()):
            pod["metadata"]["deletionTimestamp"] = GONE


ANSWERS: list[Json | None] = [
    None,
    scenes.HEALTHY,
    {"status": 200, "body": ""},
    {"status": 200, "body": '{"status": "starting"}'},
    {"status": 500, "body": '{"status": "ok"}'},
    {"error": "no answer within 2 s"},
]


def _answer(draw: st.DrawFn, scene: Scene) -> None:
    scene.http = draw(st.sampled_from(ANSWERS))


def _unmanage(draw: st.DrawFn, scene: Scene) -> None:
    kind = draw(st.sampled_from(RUNTIME_KINDS))
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


def _earlier_life(draw: st.DrawFn, scene: Scene) -> None:
    """Its volume was left, and its Pod may be there, may be gone, or could not be looked at."""
    if not scene.children[STATEFUL_SET.group] or not scene.children[CLAIM.group]:
        return
    scenes.pod_of(scene)
    claims = list(scene.children[CLAIM.group].values())
    scene.children[CLAIM.group].clear()
    for claim in claims:
        left = scene.relate(copy.deepcopy(claim))
        left["metadata"]["ownerReferences"] = []
        if draw(st.booleans()):
            left["metadata"]["deletionTimestamp"] = GONE
        if draw(st.booleans()):
            left["metadata"]["annotations"]["crawbl.ai/user-id"] = "another user"
    scene.children[STATEFUL_SET.group].clear()
    if draw(st.booleans()):
        scene.related[POD.group].clear()
    elif draw(st.booleans()):
        del scene.related[POD.group]


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
    for kind in RUNTIME_KINDS:
        if kind is not CLAIM:
            scene.children[kind.group] = {}
    scene.related.get(POD.group, {}).clear()


def _back_to_a_recorded_spec(draw: st.DrawFn, scene: Scene) -> None:
    """What is wanted now was verified before, but what runs may be something else."""
    if draw(st.booleans()) and isinstance(scene.parent["spec"], dict):
        scene.parent["spec"]["runtime"] = {"image": "verified-before:1"}
    try:
        checksum = wanted(scene.parent, scene.settings)
    except InvalidParentError:
        return
    passed = {"verifiedChecksum": checksum, "verifiedAt": draw(st.sampled_from([EARLIER, "2026-11-20T12:30:00Z"]))}
    scene.parent["status"] = {**(scene.parent.get("status") or {}), **passed}


def wanted(parent: Json, settings: Any) -> str:
    """Return the checksum of what a spec asks for."""
    return next(map(template_checksum, scenes.children_of(whole(parent, settings), STATEFUL_SET)))


def whole(parent: Json, settings: Any = scenes.SETTINGS) -> Json:
    """Return all children that a spec asks for, as an answer that nothing holds back."""
    return {"children": compute_plan(parent, settings).children()}


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
    _answer,
    _unmanage,
    _foreign_claim,
    _earlier_life,
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
    states: list[Callable[..., Scene]] = [Scene, scenes.created, scenes.ready, scenes.verified]
    scene = draw(st.sampled_from(states))(parent)
    if scene.children[STATEFUL_SET.group] and draw(st.booleans()):
        scenes.pod_of(scene)
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
        allowed = {"status", "children", "resyncAfterSeconds", "needs"} | ({"finalized"} if hook is finalize else set())
        assert {"status", "children"} <= response.keys() <= allowed
        assert response.get("resyncAfterSeconds", 1) > 0
        assert user_swarm_schema().status_problems(response["status"]) == []
        keys = [key(child) for child in response["children"]]
        assert len(keys) == len(set(keys))
        managed = {kind.group for kind in CHILD_KINDS if any(r["resource"] == kind.resource for r in scene.resources)}
        assert {f"{child['kind']}.{child['apiVersion']}" for child in response["children"]} <= managed


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
def test_a_hook_needs_nothing_but_what_has_its_own_names(scene: Scene) -> None:
    request = scene.request()
    for hook in (sync, finalize):
        try:
            needs = hook(request, scene.settings, scene.now).get("needs", {})
        except CannotFreezeError:
            continue
        assert needs.keys() <= {"objects", "http"}
        name = swarm_name(request["parent"]["metadata"]["name"])
        for rule in needs.get("objects", ()):
            assert rule["namespace"] == "userswarms"
            assert all(each == name or each.startswith(f"{name}-") for each in rule["names"])
        if "http" in needs:
            assert (needs["http"]["service"], needs["http"]["namespace"]) == (name, "userswarms")
            assert needs["http"]["timeoutSeconds"] <= 5


@many
@given(observed(), st.booleans(), st.data())
def test_no_pod_is_started_on_a_volume_that_is_not_known_to_be_this_swarms(
    scene: Scene, earlier: bool, data: st.DataObject
) -> None:
    if earlier:
        _earlier_life(data.draw, scene)
    request = scene.request()
    try:
        response = sync(request, scene.settings, scene.now)
    except CannotFreezeError:
        return
    started = [each for each in response["children"] if each["kind"] == STATEFUL_SET.kind]
    there = [each for each in owned(request) if each["kind"] == STATEFUL_SET.kind]
    if not started or there:
        return
    volumes = started[0]["spec"]["template"]["spec"]["volumes"]
    (name,) = (each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each)
    everywhere = [each for objects in request["related"].values() for each in objects.values()]
    (claim,) = [each for each in (*owned(request), *everywhere) if key(each) == (CLAIM.kind, "userswarms", name)]
    assert "deletionTimestamp" not in claim["metadata"]
    if claim in everywhere:
        assert not claim["metadata"]["ownerReferences"]
        assert claim["metadata"]["annotations"]["crawbl.ai/user-id"] == request["parent"]["spec"]["userId"]
        assert request["related"][POD.group] == {}


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


def holds_every_clause(request: Json, settings: Any) -> bool:
    """Say what verified means from the request alone, in other words than the hooks do."""
    parent, one = request["parent"], compute_plan(request["parent"], settings).swarm.identity
    spec = compute_plan(parent, settings).swarm.spec
    if "deletionTimestamp" in parent["metadata"] or spec["suspend"]:
        return False
    children = {key(each): each for each in owned(request)}
    related = {key(each): each for objects in request["related"].values() for each in objects.values()}
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
    before = {each["type"]: each for each in _conditions(parent)}
    where = (CLAIM.kind, one.namespace, one.claim)
    claim = children.get(where) or related.get(where)
    if claim is None:
        # One that an earlier answer found: it is used, not watched.
        if before.get("StorageReady", {}).get("reason") != "ClaimRetained":
            return False
    elif not _is_a_good_claim(claim, spec, settings, owned=where in children):
        return False
    stateful_set = children[STATEFUL_SET.kind, one.namespace, one.name]
    status = stateful_set["status"]
    counts = (status["readyReplicas"], status["updatedReplicas"])
    if template_checksum(stateful_set) != wanted(parent, settings) or counts != (1, 1):
        return False
    if status["currentRevision"] != status["updateRevision"]:
        return False
    if status["observedGeneration"] < stateful_set["metadata"]["generation"]:
        return False
    if spec["verification"]["mode"] == "Readiness":
        return True
    answered = request.get("http") or {}
    if answered.get("status") == 200 and answered["body"] in ("", scenes.HEALTHY["body"]):
        return True
    known, ready = parent.get("status") or {}, before.get("WorkloadReady", {})
    return (
        known.get("verifiedChecksum") == wanted(parent, settings)
        and ready.get("status") == "True"
        and known.get("verifiedAt", "") >= ready["lastTransitionTime"]
    )


def _conditions(parent: Json) -> list[Json]:
    found = (parent.get("status") or {}).get("conditions")
    return found if isinstance(found, list) else []


def _is_a_good_claim(claim: Json, spec: Json, settings: Any, *, owned: bool) -> bool:
    if "deletionTimestamp" in claim["metadata"] or claim["status"]["phase"] != "Bound":
        return False
    if not owned and claim["metadata"].get("annotations", {}).get("crawbl.ai/user-id") != spec["userId"]:
        return False
    asked = Fraction(parse(spec["storage"]["size"]))
    granted = Fraction(parse(claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0")))
    return parse(claim["status"]["capacity"]["storage"]) >= (max(asked, granted) if owned else asked)


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
        assert holds_every_clause(request, scene.settings)


DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@given(valid_parents())
def test_a_valid_spec_is_built_whole_with_valid_names_and_selectors_that_reach_its_pod(parent: Json) -> None:
    children = whole(parent)["children"]
    assert [child["kind"] for child in children] == [
        "PersistentVolumeClaim",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Service",
        "StatefulSet",
    ]
    *_, headless, service, stateful_set = children
    labels = stateful_set["spec"]["template"]["metadata"]["labels"]
    assert all(DNS_1035.fullmatch(child["metadata"]["name"]) for child in children)
    for selector in (
        headless["spec"]["selector"],
        service["spec"]["selector"],
        stateful_set["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


@given(valid_parents())
def test_a_valid_spec_comes_to_be_verified_and_then_rests(parent: Json) -> None:
    parent["spec"].pop("suspend", None)
    scene = scenes.verified(parent)
    first, second = scene.sync(), scene.sync()
    assert first == second
    assert first["status"] == scene.parent["status"]
    # Only one that may sleep is looked at again: when it may.
    assert ("resyncAfterSeconds" in first) == ("lifecycle" in first["status"])


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
    plain, odd = (whole(scenes.user_swarm("a", **each)) for each in (spec, spelt))
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
def test_a_claim_goes_only_where_a_deletion_plainly_says_so(
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
    for claim in owned(request):
        if claim["kind"] == CLAIM.kind and "deletionTimestamp" not in claim["metadata"]:
            assert key(claim) in answered or plainly


@pytest.mark.parametrize("spec", [{}, {"suspend": True}])
def test_the_strategies_reach_what_they_are_for(spec: Spec) -> None:
    """A property that never meets its premise would hold of anything."""
    scene = scenes.verified()
    assert holds_every_clause(scene.request(), scene.settings)
    scene.parent["spec"] |= spec
    assert holds_every_clause(scene.request(), scene.settings) is not bool(spec)
