"""Which fields are ours, and whether applying would change anything: against what the API server does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.backend.world import API_VERSION, make_api
from userswarm.backend.fields import extract, is_unchanged, owned_fields
from userswarm.spec.schema import user_swarm_schema
from userswarm.wire.k8s import Manifest

US = "userswarm-backend"
NAME = "workspace-a"

ENV = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("ABC")}, optional={"value": st.sampled_from(["", "1", "2"])}),
    unique_by=lambda item: item["name"],
    min_size=1,
    max_size=3,
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "runtime": st.fixed_dictionaries(
            {},
            optional={
                "image": st.sampled_from(["a:1", "a:2"]),
                "port": st.sampled_from([42617, 8080]),
                "args": st.lists(st.sampled_from(["x", "y"]), max_size=2),
                "env": ENV,
                "resources": st.sampled_from([{"limits": {"cpu": "1"}}, {"limits": {"cpu": 1}}, {"requests": {}}]),
            },
        ),
        "storage": st.sampled_from([{"size": "2Gi"}, {"retainPolicy": "Retain"}]),
        "placement": st.sampled_from(
            [
                {"tolerations": [{"key": "a", "operator": "Exists"}]},
                {"tolerations": [{"key": "b"}], "nodeSelector": {"zone": "1"}},
                {"nodeSelector": {"zone": "1", "disk": "ssd"}},
            ]
        ),
        "config": st.fixed_dictionaries(
            {},
            optional={
                "defaultTemperature": st.sampled_from([0, 1, 1.0, 0.7]),
                "agents": st.dictionaries(st.sampled_from("ab"), st.sampled_from([{}, {"model": "m"}]), min_size=1),
                "files": st.dictionaries(st.sampled_from(["A.md", "B.md"]), st.sampled_from(["", "x"]), min_size=1),
            },
        ),
    },
)


def manifest(spec: Manifest, labels: dict[str, str] | None = None) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "UserSwarm",
        "metadata": {"name": NAME, "labels": labels or {"crawbl.ai/user": "u"}},
        "spec": {"userId": "u", **{name: value for name, value in spec.items() if value != {}}},
    }


def part(obj: Manifest) -> Manifest:
    return {"metadata": {"labels": obj["metadata"].get("labels", {})}, "spec": obj["spec"]}


def judge(desired: Manifest, observed: Manifest) -> bool:
    complete = user_swarm_schema().with_defaults(desired)
    return is_unchanged(part(desired), part(complete), part(observed), owned_fields(observed, US))


@given(spec=SPECS)
def test_nothing_is_changed_right_after_an_apply(spec: Manifest) -> None:
    observed = make_api().apply(manifest(spec), US)

    assert judge(manifest(spec), observed)


@given(first=SPECS, second=SPECS)
def test_unchanged_means_that_the_api_server_would_write_nothing(first: Manifest, second: Manifest) -> None:
    api = make_api()
    observed = api.apply(manifest(first), US)

    if judge(manifest(second), observed):
        again = api.apply(manifest(second), US)
        assert again["metadata"]["resourceVersion"] == observed["metadata"]["resourceVersion"]
    else:
        assert first != second


@given(spec=SPECS)
def test_extract_gives_back_what_was_applied(spec: Manifest) -> None:
    observed = make_api().apply(manifest(spec), US)

    found = extract(observed, owned_fields(observed, US))

    complete = part(user_swarm_schema().with_defaults(manifest(spec)))
    assert contains(complete, found)
    assert judge({**manifest({}), "spec": found["spec"]}, observed)


def contains(whole: Any, some: Any) -> bool:
    if isinstance(whole, dict) and isinstance(some, dict):
        return all(name in whole and contains(whole[name], value) for name, value in some.items())
    return bool(whole == some)


def test_fields_of_others_stay_out_of_it() -> None:
    api = make_api()
    desired = manifest({"runtime": {"image": "a:1", "env": [{"name": "A", "value": "1"}]}})
    api.apply(desired, US)
    theirs = {
        **manifest({"runtime": {"env": [{"name": "B", "value": "2"}]}, "suspend": True}),
        "metadata": {"name": NAME, "labels": {"team": "x"}},
    }
    observed = api.apply(theirs, "somebody")

    assert observed["spec"]["runtime"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert judge(desired, observed)
    found = extract(observed, owned_fields(observed, US))
    assert found["metadata"] == {"labels": {"crawbl.ai/user": "u"}}
    assert found["spec"] == desired["spec"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"runtime": {"image": "a:2"}}, "another value"),
        ({"runtime": {"image": "a:1", "port": 42617}}, "a default that was not applied before"),
        ({}, "a field less"),
        ({"runtime": {"image": "a:1"}, "suspend": False}, "a field more"),
    ],
)
def test_change_of_a_value_or_of_what_is_ours_is_a_change(spec: Manifest, reason: str) -> None:
    observed = make_api().apply(manifest({"runtime": {"image": "a:1"}}), US)

    assert not judge(manifest(spec), observed), reason


def test_label_counts_too() -> None:
    observed = make_api().apply(manifest({}, {"crawbl.ai/user": "u", "crawbl.ai/shard": "1"}), US)

    assert not judge(manifest({}, {"crawbl.ai/user": "u", "crawbl.ai/shard": "2"}), observed)
    assert not judge(manifest({}, {"crawbl.ai/user": "u"}), observed)


def test_value_that_somebody_changed_is_a_change() -> None:
    api = make_api()
    desired = manifest({"runtime": {"image": "a:1"}})
    api.apply(desired, US)
    observed = api.patch(API_VERSION, "UserSwarm", None, NAME, {"spec": {"runtime": {"image": "a:2"}}})

    assert not judge(desired, observed)


def test_what_nobody_applied_is_not_ours() -> None:
    api = make_api()
    observed = api.create(manifest({}))

    assert owned_fields(observed, US) == {}
    assert owned_fields({"metadata": {}}, US) == {}
    assert not judge(manifest({}), observed)


def test_plain_writes_and_status_under_our_name_are_no_apply() -> None:
    entries = [
        {"manager": US, "operation": "Update", "fieldsV1": {"f:spec": {}}},
        {"manager": US, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": "other", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
        {"manager": US, "operation": "Apply", "fieldsV1": {"f:metadata": {}}},
    ]

    assert owned_fields({"metadata": {"managedFields": entries}}, US) == {"f:metadata": {}}


@pytest.mark.parametrize("observed", [1, 1.5, "true", None, [], {}])
def test_true_is_nothing_but_true(observed: Any) -> None:
    assert not is_unchanged({"a": True}, {"a": True}, {"a": observed}, {"f:a": {}})
    assert is_unchanged({"a": True}, {"a": True}, {"a": True}, {"f:a": {}})


@pytest.mark.parametrize(
    ("desired", "observed", "owned"),
    [
        ({"a": {"b": 1}}, {"a": 1}, {"f:a": {"f:b": {}}}),
        ({"a": [{"k": 1}]}, {"a": 1}, {"f:a": {'k:{"k":1}': {"f:k": {}}}}),
        ({"a": [{"k": 1}]}, {"a": [{"k": 2}]}, {"f:a": {'k:{"k":1}': {"f:k": {}}}}),
        ({"a": [{"k": 2}]}, {"a": [{"k": 1}]}, {"f:a": {'k:{"k":1}': {"f:k": {}}}}),
        ({"a": ["x"]}, {"a": ["x"]}, {"f:a": {'v:"x"': {}, 'v:"y"': {}}}),
        (
            {"a": [{"k": 1}, {"k": 2}]},
            {"a": [{"k": 2}, {"k": 1}]},
            {"f:a": {'k:{"k":1}': {"f:k": {}}, 'k:{"k":2}': {"f:k": {}}}},
        ),
        ({"a": 1}, {}, {"f:a": {}}),
    ],
)
def test_what_does_not_fit_together_is_a_change(desired: Manifest, observed: Manifest, owned: Manifest) -> None:
    assert not is_unchanged(desired, desired, observed, owned)


def test_extract_keeps_the_order_of_a_list() -> None:
    owned: Manifest = {"f:a": {'k:{"k":1}': {"f:k": {}}, 'k:{"k":2}': {"f:k": {}}}}

    assert extract({"a": [{"k": 2}, {"k": 3}, {"k": 1}]}, owned) == {"a": [{"k": 2}, {"k": 1}]}


def test_extract_leaves_out_what_somebody_took_away() -> None:
    owned: Manifest = {
        "f:a": {},
        "f:b": {'k:{"k":1}': {".": {}, "f:k": {}, "f:v": {}}, 'k:{"k":2}': {".": {}, "f:k": {}}},
    }

    assert extract({"b": [{"k": 1, "v": 3, "w": 4}]}, owned) == {"b": [{"k": 1, "v": 3}]}
