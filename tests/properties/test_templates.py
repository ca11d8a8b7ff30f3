"""Whatever features are on and whatever a user says: nothing clashes, nothing moves, and no value leaves its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import scenes
import template_samples as samples
from userswarm.compose.plan import Plan, compute_plan
from userswarm.errors import InvalidParentError
from userswarm.spec.template.revisions import Templates

Json = dict[str, Any]

FEATURES = st.fixed_dictionaries({}, optional={"golang": st.booleans(), "browser": st.booleans()})
HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.lists(
        st.sampled_from(
            [
                "$(TOKEN)",
                "$",
                "(",
                ")",
                "$$",
                "$(param.size)",
                "'",
                '"',
                "`id`",
                ";",
                "\n",
                "- a: b",
                "../",
                "--x",
                "{name}",
                "{{",
            ]
        ),
        max_size=6,
    ).map("".join),
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(["v1", "v2"]),
        "model": HOSTILE,
        "repository": st.sampled_from(["https://git.example/two.git", "ssh://git@git.example:22/three.git"]),
        "size": st.sampled_from(["1Gi", "1.5Gi", "100Gi", 2**31, "5e9"]),
    },
)


def plan(template: Json, templates: Templates = samples.TEMPLATES) -> Plan:
    parent = scenes.user_swarm(template=template)
    return compute_plan(parent, samples.swarm("small", templates)[1])


def pod_of(made: Plan) -> Json:
    found: Json = next(each for each in made.children() if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    return found


def containers(pod: Json) -> list[Json]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}")
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from leaves(each, f"{path}[{position}]")
    else:
        yield path, value


def problem_paths(template: Json) -> set[str]:
    try:
        plan(template)
    except InvalidParentError as error:
        return {problem.path for problem in error.problems}
    return set()


def unescaped(text: str) -> str:
    assert "$" not in text.replace("$$", "")
    return text.replace("$$", "$")


def check_whole(made: Plan) -> None:
    """Hold what every Pod of a template is: nothing twice, and nothing that is not there."""
    pod = pod_of(made)
    names = [each["name"] for each in containers(pod)]
    assert len(set(names)) == len(names)
    ports = [port["containerPort"] for each in containers(pod) for port in each.get("ports", ())]
    assert len(set(ports)) == len(ports)
    volumes = [each["name"] for each in pod.get("volumes", ())]
    assert len(set(volumes)) == len(volumes)
    for each in containers(pod):
        assert {mount["name"] for mount in each.get("volumeMounts", ())} <= set(volumes)
        for field, key in (("env", "name"), ("volumeMounts", "mountPath")):
            said = [item[key] for item in each.get(field, ())]
            assert len(set(said)) == len(said)
    claims = {each["metadata"]["name"] for each in made.children() if each["kind"] == "PersistentVolumeClaim"}
    mounted = {
        each["persistentVolumeClaim"]["claimName"] for each in pod.get("volumes", ()) if "persistentVolumeClaim" in each
    }
    assert mounted == claims


@given(FEATURES, PARAMETERS)
def test_nothing_clashes_whatever_is_asked_for(features: Json, parameters: Json) -> None:
    check_whole(plan({"name": "everything", "features": features, "parameters": parameters}))


@given(FEATURES, PARAMETERS, st.randoms(use_true_random=False))
def test_no_byte_changes_without_a_change_of_what_is_asked_for(features: Json, parameters: Json, shuffled: Any) -> None:
    first = plan({"name": "everything", "features": features, "parameters": parameters}).children()
    for each in (features, parameters):
        items = list(each.items())
        shuffled.shuffle(items)
        each.clear()
        each.update(items)
    # What is the default may be said, too.
    said = {"browser": True, "golang": False, **features}
    again = plan({"parameters": parameters, "features": said, "revision": 1, "name": "everything"}).children()
    assert orjson.dumps(again) == orjson.dumps(first)


@given(FEATURES, PARAMETERS)
def test_a_feature_only_adds_and_the_order_is_that_of_the_file(features: Json, parameters: Json) -> None:
    without = {"golang": False, "browser": False}
    base = pod_of(plan({"name": "everything", "features": without, "parameters": parameters}))
    pod = pod_of(plan({"name": "everything", "features": {**without, **features}, "parameters": parameters}))
    for field in ("initContainers", "containers"):
        for old, new in zip(base[field], pod[field], strict=False):
            assert old["name"] == new["name"]
            assert new.get("env", [])[: len(old.get("env", ()))] == old.get("env", [])
            assert new.get("volumeMounts", [])[: len(old.get("volumeMounts", ()))] == old.get("volumeMounts", [])
    assert [each["name"] for each in pod["containers"]][:2] == ["runtime", "search"]
    order = ["workspace", "home", "tmp", "ssh", "prompts", "gocache"]
    own = [each["name"] for each in pod["volumes"] if each["name"] in order]
    assert own == order[: len(own)]


@given(HOSTILE)
def test_a_hostile_value_reaches_only_the_places_it_is_meant_for_and_is_one_text_there(value: str) -> None:
    pod = dict(leaves(pod_of(plan({"name": "everything", "parameters": {"model": "harmless"}}))))
    spoilt = dict(leaves(pod_of(plan({"name": "everything", "parameters": {"model": value}}))))
    changed = {path for path in pod.keys() | spoilt.keys() if pod.get(path) != spoilt.get(path)}
    meant = {".containers[0].env[3].value": "", ".containers[0].args[0]": "--model="}
    assert changed <= meant.keys()
    for path, before in meant.items():
        assert unescaped(spoilt.get(path, "")) == before + value


@given(st.text(max_size=30), HOSTILE)
def test_a_hostile_value_of_any_other_parameter_is_refused(name: str, value: str) -> None:
    for parameter in ("version", "repository", "size", name):
        if parameter in ("model",) or value in ("", "v1", "v2"):
            continue
        template = {"name": "everything", "parameters": {parameter: value}}
        if parameter in ("size", "repository") and not problem_paths(template):
            # A text of digits is a quantity, and a URL is one of the pattern's.
            check_whole(plan(template))
        else:
            assert problem_paths(template) == {f"spec.template.parameters[{parameter}]"}


# --- templates of any author -----------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
VOLUMES = [
    {"name": name, source: ({"size": "1Gi"} if source == "claim" else {})}
    for name in NAMES
    for source in ("claim", "emptyDir")
]
MOUNTS = st.lists(
    st.fixed_dictionaries({"volume": st.sampled_from(NAMES), "path": st.sampled_from(["/a", "/b"])}),
    max_size=2,
    unique_by=lambda each: each["path"],
)
ENV = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["A", "B"]), "value": st.sampled_from(["x", "$(A)", "$(param.p)"])}),
    max_size=2,
    unique_by=lambda each: each["name"],
)


@st.composite
def beside(draw: st.DrawFn) -> list[Json]:
    names = draw(st.lists(st.sampled_from(["one", "two", "three"]), max_size=2, unique=True))
    return [
        {
            "name": name,
            "image": f"{name}:1",
            "sidecar": draw(st.sampled_from(["native", "plain"])),
            "ports": [{"name": "p", "port": draw(st.integers(8080, 8084))}],
            "env": draw(ENV),
            "mounts": draw(MOUNTS),
        }
        for name in names
    ]


STEPS = [{"container": {"name": name, "image": "i:1"}} for name in ("one", "step")]


@st.composite
def groups(draw: st.DrawFn) -> Json:
    return {
        "containers": draw(beside()),
        "volumes": draw(st.lists(st.sampled_from(VOLUMES), max_size=3, unique_by=lambda each: each["name"])),
        "init": [
            {"container": {"name": name, "image": "i:1"}}
            for name in draw(st.sets(st.sampled_from(["one", "s"]), max_size=1))
        ],
    }


@st.composite
def templates(draw: st.DrawFn) -> str:
    own = draw(groups())
    main = {
        "name": "runtime",
        "image": "r:1",
        "ports": [{"name": "http", "port": 8080}],
        "env": draw(ENV),
        "mounts": draw(MOUNTS),
    }
    features = {
        name: {
            **draw(groups()),
            "env": {"runtime": draw(ENV)},
            "mounts": {"runtime": draw(MOUNTS)},
            "default": draw(st.booleans()),
        }
        for name in draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True))
    }
    document = {"name": "drawn", "revision": 1, **own, "containers": [main, *own["containers"]], "features": features}
    if "$(param.p)" in yaml.safe_dump(document):
        document["parameters"] = {"p": {"type": "string"}}
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(templates(), HOSTILE)
def test_a_template_that_is_taken_makes_a_whole_pod_whatever_of_it_is_on(text: str, value: str) -> None:
    assume(samples.problems(text) == [])
    offered = samples.read(text)
    document = yaml.safe_load(text)
    names = list(document["features"])
    said = {"parameters": {"p": value}} if "parameters" in document else {}
    for on in itertools.product([False, True], repeat=len(names)):
        check_whole(plan({"name": "drawn", "features": dict(zip(names, on, strict=True)), **said}, offered))


@pytest.mark.parametrize("name", sorted(samples.SHIPPED.names()))
def test_every_shipped_template_makes_a_whole_pod_whatever_of_it_is_on(name: str) -> None:
    names = list(samples.all_features(name))
    for on in [*([each] for each in names), names, []]:
        features = {feature: feature in on for feature in names}
        check_whole(plan(samples.asked(name, features=features), samples.OFFERED))
