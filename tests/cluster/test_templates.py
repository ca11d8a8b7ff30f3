"""Swarms of templates on the real API server: stored as sent, let in by *restricted*, and within a quota."""

from __future__ import annotations

from typing import Any

import pytest

import template_samples as samples
from cluster.api import Api, Object, RefusedError
from cluster.life import Life, swarm
from cluster.test_pods import PODS, admitted, dedicated, missing_pods, pods_of
from cluster.waiting import until_nothing

NAMES = sorted(samples.OFFERED.names())


def named(name: str, kind: str, **spec: Any) -> Object:
    return swarm(f"{kind}-{name}", **spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_swarm_of_every_template_is_stored_as_it_was_sent_whatever_is_on(
    installed: Api, controller: Object, name: str
) -> None:
    with Life(installed, controller, named(name, "stored", template=samples.asked(name))) as life:
        assert {each.split()[0] for each in life.settle()} == {"create"}
        assert life.settle() == []
        life.bind_claim()
        everything = samples.all_features(name)
        for features in (everything, dict.fromkeys(everything, False), {}):
            life.change({"userId": "user-1", "template": samples.asked(name, features=features)})
            assert life.settle() == []
        assert life.stored()["status"]["template"]["revision"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_pod_security_lets_the_pod_of_every_template_in(installed: Api, name: str) -> None:
    for features in ({}, samples.all_features(name)):
        (pod,) = pods_of({"template": samples.asked(name, features=features)})
        assert admitted(installed, pod) == ""


def test_what_a_template_makes_fits_a_namespace_of_its_own_with_a_quota(installed: Api, controller: Object) -> None:
    template = samples.asked("everything", features={"golang": True})
    with Life(installed, controller, named("everything", "dedicated", **dedicated(template=template))) as life:
        life.settle()
        life.bind_claim()
        life.settle()
        until_nothing("Pods that do not come about", lambda: missing_pods(life, *PODS))
        assert life.settle() == []


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"size": "1.5Gi"}, {}),
    ({"size": 2147483648}, {}),
    ({"model": "$(A) $$ <b> & \u2028 \U0001f41d\n- x: y"}, {}),
    ({"model": ""}, {}),
    ({"version": "v2"}, {"golang": True}),
]


@pytest.mark.parametrize(("parameters", "features"), PARAMETERS)
def test_a_parameter_is_stored_as_it_was_sent(
    installed: Api, controller: Object, parameters: dict[str, Any], features: dict[str, Any]
) -> None:
    template = samples.asked("everything", parameters=parameters, features=features)
    with Life(installed, controller, swarm("parameters", template=template)) as life:
        life.settle()
        life.bind_claim()
        life.settle()
        assert life.settle() == []
        assert life.stored()["spec"]["template"]["parameters"] == parameters


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"template": {}}, "spec.template.name: Required value"),
        ({"template": {"name": "A"}}, "spec.template.name"),
        ({"template": {"name": "a", "revision": 0}}, "spec.template.revision"),
        ({"template": {"name": "a", "features": {"x": "yes"}}}, "spec.template.features.x"),
        ({"template": {"name": "a"}, "runtime": {"args": ["x"]}}, "the template says the arguments"),
    ],
)
def test_what_makes_no_sense_the_api_server_refuses(installed: Api, spec: Object, told: str) -> None:
    with pytest.raises(RefusedError, match=told):
        installed.create(swarm("refused", **spec), dryRun="All")
