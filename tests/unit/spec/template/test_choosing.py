"""Which revision of a template a swarm has, what may be asked of it, and what it says in the place of the spec."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import scenes
import template_samples as samples
from userswarm.compose.plan import Plan, compute_plan
from userswarm.errors import InvalidParentError
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.template.choosing import REVISION_ANNOTATION
from userswarm.spec.template.revisions import Templates

FOUR = samples.read(
    samples.SMALL,
    samples.changed(samples.SMALL, revision=2),
    samples.changed(samples.SMALL, revision=3, deprecated=True),
    samples.changed(samples.SMALL, revision=4, candidate=True),
    samples.changed(samples.SMALL, name="old", deprecated=True),
)


def plan(
    template: dict[str, Any],
    templates: Templates = samples.TEMPLATES,
    *,
    noted: str = "",
    known: dict[str, Any] | None = None,
    **spec: Any,
) -> Plan:
    parent, settings = samples.swarm(templates=templates, **template)
    parent["spec"] |= spec
    if noted:
        parent["metadata"]["annotations"] = {REVISION_ANNOTATION: noted}
    if known is not None:
        parent["status"] = {"template": known}
    return compute_plan(parent, settings)


def number(template: dict[str, Any], **more: Any) -> int:
    made = plan({"name": "small", **template}, FOUR, **more).swarm.asked.template
    assert made is not None
    return made.revision.number


def problems(template: dict[str, Any], templates: Templates = samples.TEMPLATES, **more: Any) -> dict[str, str]:
    with pytest.raises(InvalidParentError) as caught:
        plan(template, templates, **more)
    return {problem.path: problem.message for problem in caught.value.problems}


HAS_ONE = {"name": "small", "revision": 1, "checksum": FOUR.revisions["small", 1].checksum}


def test_the_owner_says_before_a_roll_out_before_the_status_before_the_platform() -> None:
    assert number({}) == 2
    assert number({}, known=HAS_ONE) == 1
    assert number({}, known=HAS_ONE, noted="small/3") == 3
    assert number({"revision": 4}, known=HAS_ONE, noted="small/3") == 4


@pytest.mark.parametrize("noted", ["other/3", "3", "small/", "small/x", "small/03", "small/3 ", "", "small/3/4"])
def test_a_note_that_is_not_for_this_template_says_nothing(noted: str) -> None:
    assert number({}, known=HAS_ONE, noted=noted) == 1


@pytest.mark.parametrize("known", [{}, [], "x", {"name": "other", "revision": 1}, {"name": "small"}])
def test_a_status_that_does_not_say_which_revision_says_nothing(known: Any) -> None:
    assert number({}, known=known) == 2


def test_what_is_not_there_is_named_with_what_is() -> None:
    assert problems({"name": "smal"}) == {"spec.template.name": "there is no template 'smal'; did you mean small?"}
    assert "there are none" in problems({"name": "x"}, Templates())["spec.template.name"]
    told = "revision 9 of 'small', which its spec asks for, is not there; there are 1, 2, 3, 4"
    assert problems({"name": "small", "revision": 9}, FOUR) == {"spec.template.revision": told}
    assert "annotation" in problems({"name": "small"}, FOUR, noted="small/9")["spec.template.revision"]
    assert (
        "which it has" in problems({"name": "small"}, FOUR, known={**HAS_ONE, "revision": 9})["spec.template.revision"]
    )
    assert "no current revision" in problems({"name": "old"}, FOUR)["spec.template.revision"]


def test_a_revision_that_is_not_what_it_was_is_refused_and_another_one_is_not() -> None:
    changed = {**HAS_ONE, "checksum": "other"}
    assert "is not what this swarm was made of" in problems({"name": "small"}, FOUR, known=changed)["spec.template"]
    assert number({"revision": 2}, known=changed) == 2


@pytest.mark.parametrize(
    ("template", "path", "told"),
    [
        ({"features": {"golan": True}}, "spec.template.features[golan]", "did you mean golang?"),
        ({"features": {"x": False}}, "spec.template.features[x]", "there are browser, golang"),
        ({"parameters": {"sise": "1Gi"}}, "spec.template.parameters[sise]", "did you mean size?"),
        ({"parameters": {"size": "1Mi"}}, "spec.template.parameters[size]", "must be at least 1Gi"),
        ({"parameters": {"size": "101Gi"}}, "spec.template.parameters[size]", "must be at most 100Gi"),
        ({"parameters": {"size": True}}, "spec.template.parameters[size]", "must be a quantity"),
        ({"parameters": {"size": "-1Gi"}}, "spec.template.parameters[size]", "negative"),
        ({"parameters": {"version": "v3"}}, "spec.template.parameters[version]", "must be one of v1, v2"),
        ({"parameters": {"model": ["a"]}}, "spec.template.parameters[model]", "must be a text"),
        ({"parameters": {"model": {"a": 1}}}, "spec.template.parameters[model]", "must be a text"),
        ({"parameters": {"model": "x" * 4097}}, "spec.template.parameters[model]", "at most 4096"),
        ({"parameters": {"repository": "ext::sh"}}, "spec.template.parameters[repository]", "must match"),
        ({"parameters": {"repository": "https://a\n--x"}}, "spec.template.parameters[repository]", "must match"),
    ],
)
def test_what_may_not_be_asked_is_named_by_its_field(template: dict[str, Any], path: str, told: str) -> None:
    found = problems({"name": "everything", **template})
    assert list(found) == [path]
    assert told in found[path]


def test_a_parameter_without_a_default_is_asked_for_where_it_is_used() -> None:
    text = samples.changed(
        samples.SMALL,
        features={"x": {"env": {"runtime": [{"name": "A", "parameter": "p"}]}}},
        parameters={"p": {"type": "string", "description": "its colour"}},
    )
    templates = samples.read(text)
    assert plan({"name": "small"}, templates)
    on = {"name": "small", "features": {"x": True}}
    assert problems(on, templates) == {"spec.template.parameters[p]": "is missing; its colour"}
    assert plan({**on, "parameters": {"p": ""}}, templates)


def test_the_template_says_what_the_swarm_does_not_and_the_swarm_has_the_last_word() -> None:
    spec = plan({"name": "everything"}).swarm.spec
    assert spec["verification"] == {"mode": "Request", "path": "/healthz", "timeoutSeconds": 2, "maxAttempts": 3}
    assert spec["placement"]["runtimeClassName"] == "gvisor"
    assert (spec["runtime"]["image"], spec["runtime"]["port"]) == ("agent:v1", 8080)
    assert spec["runtime"]["resources"]["limits"] == {"cpu": "0.5", "memory": "256Mi"}
    own = plan(
        {"name": "everything"},
        verification={"mode": "Request", "path": "/live", "timeoutSeconds": 2, "maxAttempts": 5},
        lifecycle={"minAwake": "5m"},
        runtime={"image": "mine:1", "env": [{"name": "MODEL", "value": "large"}, {"name": "MORE", "value": "1"}]},
        config={"envSecretRef": {"name": "keys"}},
    ).swarm
    # The CRD's own default, which the API server fills in, is no choice.
    assert own.spec["verification"] == {"mode": "Request", "path": "/live", "timeoutSeconds": 2, "maxAttempts": 3}
    assert own.spec["lifecycle"] == {"idleAfter": "30m", "minAwake": "5m"}
    assert own.asked.template is not None
    main = own.asked.template.pod["containers"][0]
    assert main["image"] == "mine:1"
    env = [(each["name"], each.get("value")) for each in main["env"]]
    assert env[3:] == [("MODEL", "large"), ("TOKEN", None), ("MORE", "1")]
    assert main["envFrom"][-1] == {"secretRef": {"name": "keys"}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"runtime": {"args": ["x"]}}, "spec.runtime.args"),
        ({"runtime": {"port": 9000}}, "spec.runtime.port"),
        ({"runtime": {"mode": "gateway"}}, "spec.runtime.mode"),
        ({"runtime": {"dataPath": "/x"}}, "spec.runtime.dataPath"),
        ({"storage": {"size": "9Gi"}}, "spec.storage.size"),
        ({"config": {"defaultModel": "x"}}, "spec.config.defaultModel"),
        ({"runtime": {"image": "UPPER CASE"}}, "spec.runtime.image"),
        ({"config": {"envSecretRef": {"name": "swarm-other-env"}}}, "spec.config.envSecretRef.name"),
    ],
)
def test_what_only_the_template_says_is_refused(spec: dict[str, Any], path: str) -> None:
    assert path in problems({"name": "everything"}, **spec)


def test_every_image_but_that_of_our_own_steps_has_to_be_allowed() -> None:
    parent, settings = samples.swarm("everything")
    allowed = ("agent:", "proxy:", "search:", "warm:", "browser:")
    assert compute_plan(parent, replace(settings, allowed_image_prefixes=allowed))
    for missing in allowed:
        less = tuple(each for each in allowed if each != missing)
        with pytest.raises(InvalidParentError, match=f"'{missing}[^']*' is not allowed here"):
            compute_plan(parent, replace(settings, allowed_image_prefixes=less))


def test_a_spec_as_the_api_server_stores_it_means_the_same() -> None:
    parent, settings = samples.swarm("everything")
    stored = {**parent, "spec": user_swarm_schema().spec_with_defaults(parent)}
    assert compute_plan(stored, settings).children() == compute_plan(parent, settings).children()


def test_a_swarm_without_a_template_is_the_same_whatever_is_offered() -> None:
    parent = scenes.user_swarm()
    offered = compute_plan(parent, samples.SETTINGS).children()
    assert offered == compute_plan(parent, scenes.SETTINGS).children()
