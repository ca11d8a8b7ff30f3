"""A folder of templates: all of it is right, or everything that is wrong with it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import template_samples as samples
from userswarm.errors import SettingsError
from userswarm.spec.settings import Settings
from userswarm.spec.template.loading import compute_template_checksum, load_templates

SMALL: dict[str, Any] = yaml.safe_load(samples.SMALL)
MAIN: dict[str, Any] = SMALL["containers"][0]

EMPTY = [{"name": "v", "emptyDir": {}}]
MOUNT = [{"volume": "v", "path": "/v"}]


def main(**fields: Any) -> dict[str, Any]:
    return {"containers": [{**MAIN, **fields}]}


def beside(**fields: Any) -> dict[str, Any]:
    return {"containers": [MAIN, {"name": "beside", "image": "b:1", "sidecar": "plain", **fields}]}


def test_what_is_right_is_read() -> None:
    assert samples.TEMPLATES.names() == ["everything", "small"]
    assert samples.problems(samples.EVERYTHING) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    # Fields
    ({"volums": []}, "volums: is not a field that may be said here; did you mean volumes?"),
    ({"revision": 0}, "revision: is 0"),
    ({"name": "A"}, 'name: is "A"'),
    ({"containers": None}, "containers: is missing"),
    ({"features": {"A": {}}}, "features[A]: is no name"),
    ({"parameters": {"a-b": {"type": "string"}}}, "parameters[a-b]: is no name"),
    # The main container
    (main(name="main"), "containers: none is 'runtime'"),
    (main(sidecar="plain"), "containers: none is 'runtime'"),
    (main(ports=[{"name": "web", "port": 8080}]), "has no port 'http' of at least 1024"),
    (main(ports=[{"name": "http", "port": 80}]), "has no port 'http' of at least 1024"),
    (beside(sidecar=None), "containers[1].sidecar: is missing"),
    # Names and ports
    (beside(name="runtime"), "containers[1].name: is 'runtime', as [0] is"),
    (beside(ports=[{"name": "x", "port": 8080}]), "containers 'runtime' and 'beside' both want port 8080"),
    (
        {"features": {"x": {"containers": [{**MAIN, "name": "x", "sidecar": "plain"}]}}},
        "containers 'runtime' and 'x' both want port 8080",
    ),
    ({"features": {"x": {"containers": [MAIN]}}}, "containers: 'runtime' is the name of more than one"),
    (
        {"init": [{"container": {"name": "runtime", "image": "a"}}]},
        "containers: 'runtime' is the name of more than one",
    ),
    # Volumes
    (
        {"volumes": [{"name": "a-b", "claim": {"size": "1Gi"}}]},
        "volumes[a-b]: one with a claim is named by a-z and 0-9",
    ),
    ({"volumes": [{"name": "step-x", "emptyDir": {}}]}, "volumes[step-x]: a name with step-"),
    ({"volumes": [{"name": "config", "emptyDir": {}}]}, "volumes[config]: a name with step-"),
    ({"volumes": [{"name": "x"}]}, "must have one of claim, emptyDir, secret, configMap, and has none"),
    (main(mounts=[{"volume": "x", "path": "/x"}]), "containers[runtime].mounts: there is no volume 'x'"),
    ({"config": True}, "config: needs a volume 'data', with a claim"),
    ({"config": True}, "config: needs a volume 'tmp', an emptyDir"),
    (
        {
            **main(mounts=[{"volume": "v", "path": "/v"}]),
            "features": {"x": {"volumes": [{"name": "v", "emptyDir": {}}]}},
        },
        "containers[runtime].mounts: there is no volume 'v' where only",
    ),
    # Features
    ({"features": {"x": {"env": {"nobody": [{"name": "A"}]}}}}, "features[x].env[nobody]: there is no such container"),
    (
        {
            "features": {
                "x": {"mounts": {"runtime": [{"volume": "v", "path": "/v"}]}},
                "y": {"volumes": [{"name": "v", "emptyDir": {}}]},
            }
        },
        "containers[runtime].mounts: there is no volume 'v' where only",
    ),
    (
        {**main(env=[{"name": "A"}]), "features": {"x": {"env": {"runtime": [{"name": "A", "value": "2"}]}}}},
        "containers[runtime].env: 'A' is there more than once",
    ),
    # Steps
    ({"init": [{"git": {"repository": "https://a", "path": "/x"}}]}, "init[0].git.path: /x is in no volume"),
    ({"init": [{"ssh": {"path": "/x"}}]}, "init[0].ssh.secret: is missing"),
    # Names of Secrets: what a user chose comes last.
    (main(envFrom=[{"secretPattern": "{user}-keys"}]), "secretPattern: is"),
    (main(envFrom=[{"secretPattern": "swarm-other-env"}]), "secretPattern: is"),
    (main(envFrom=[{"secretPattern": "swarm-{name}-b-env"}]), "secretPattern: is"),
    # Variables
    (main(env=[{"name": "A", "value": "1", "fieldRef": "name"}]), "env[A]: has value and fieldRef"),
    (main(env=[{"name": "A", "fieldRef": "uid"}]), "env[0].fieldRef: is"),
    # Parameters
    (main(env=[{"name": "A", "parameter": "p"}]), "parameters: there is none of the name 'p', which is used"),
    (main(args=["$(param.p)"]), "parameters: there is none of the name 'p', which is used"),
    ({"parameters": {"p": {"type": "string"}}}, "parameters[p]: is used nowhere"),
    ({"parameters": {"p": {"type": "string", "minimum": 1}}}, "parameters[p].minimum: is not for type string"),
    ({"parameters": {"p": {"type": "string", "pattern": "("}}}, "parameters[p].pattern: '(' is no pattern"),
    ({"parameters": {"p": {"type": "integer", "default": 1.5}}}, "parameters[p].default: is 1.5"),
    ({"parameters": {"p": {"type": "quantity", "minimum": "x"}}}, "parameters[p].minimum"),
    ({"parameters": {"p": {"type": "string", "enum": [1]}}}, "parameters[p].enum[0]: is 1"),
    # What a template makes
    (main(image="a b"), "pod.containers[0].image: is"),
    (main(resources={"requests": {"cpu": "2"}}), "pod.containers[0].resources.requests.cpu: 2 is more than the limit"),
    (main(resources={"limits": {"gpu": "1"}}), "resources.limits[gpu]: is not allowed here"),
    ({"volumes": [{"name": "x", "emptyDir": {"sizeLimit": "much"}}]}, "emptyDir.sizeLimit"),
    # Defaults
    ({"defaults": {"verify": {}}}, "defaults.verify: is not a field"),
    ({"defaults": {"verification": {"path": "x"}}}, "defaults, as spec.verification.path"),
    ({"defaults": {"verification": {"paths": "/x"}}}, "defaults, as spec.verification.paths"),
    ({"defaults": {"runtimeClassName": 1}}, "defaults, as spec.placement.runtimeClassName"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG)
def test_what_is_wrong_is_named(fields: dict[str, Any], told: str) -> None:
    problems = samples.problems(samples.changed(samples.SMALL, **fields))
    assert any(told in problem for problem in problems), problems


BOUNDED = {"type": "string", "pattern": "[a-z]+", "default": "a"}
FREE = {"type": "string", "default": "a"}

PLACES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (main(env=[{"name": "A", "value": "$(param.p)"}]), FREE, ""),
    (main(env=[{"name": "A", "parameter": "p"}]), FREE, ""),
    (main(args=["--a=$(param.p)"]), FREE, ""),
    (main(args=["$(param.p)"]), FREE, "begins with parameter 'p', which might be any option"),
    (main(args=["$(param.p)"]), BOUNDED, ""),
    (main(image="a:$(param.p)"), FREE, "needs an enum or a pattern"),
    (main(image="a:$(param.p)"), BOUNDED, ""),
    (main(command=["a", "$(param.p)"]), BOUNDED, "may not stand here"),
    (main(command=["sh", "-c"], args=["echo $(param.p)"]), BOUNDED, "would be read by a shell"),
    (main(args=["-ec", "echo $(param.p)"]), BOUNDED, "would be read by a shell"),
    (main(workingDir="/$(param.p)"), BOUNDED, "may not stand here"),
    (main(env=[{"name": "A", "secret": {"pattern": "a", "key": "$(param.p)"}}]), BOUNDED, "may not stand here"),
    (main(readiness={"exec": ["test", "$(param.p)"]}), BOUNDED, "may not stand here"),
    (main(readiness={"http": {"path": "/$(param.p)", "port": 8080}}), BOUNDED, "may not stand here"),
    ({**main(mounts=[{"volume": "v", "path": "/$(param.p)"}]), "volumes": EMPTY}, BOUNDED, "may not stand here"),
    ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "$(param.p)"}}]}, {"type": "quantity", "default": 1}, ""),
    ({"volumes": [{"name": "v", "claim": {"size": "$(param.p)"}}]}, FREE, "needs an enum or a pattern"),
    ({"defaults": {"verification": {"path": "/$(param.p)"}}}, BOUNDED, "may not stand here"),
    (
        {**main(mounts=MOUNT), "volumes": EMPTY, "init": [{"git": {"repository": "$(param.p)", "path": "/v"}}]},
        FREE,
        "needs an enum or a pattern",
    ),
    (
        {**main(mounts=MOUNT), "volumes": EMPTY, "init": [{"git": {"repository": "a", "path": "/v/$(param.p)"}}]},
        BOUNDED,
        "may not stand here",
    ),
    ({"features": {"x": {"env": {"runtime": [{"name": "A", "value": "$(param.p)"}]}}}}, FREE, ""),
    ({"features": {"x": {"env": {"runtime": [{"name": "$(param.p)"}]}}}}, BOUNDED, "a variable's name"),
]


@pytest.mark.parametrize(("fields", "schema", "told"), PLACES)
def test_a_parameter_stands_only_where_no_value_can_do_harm(
    fields: dict[str, Any], schema: dict[str, Any], told: str
) -> None:
    problems = samples.problems(samples.changed(samples.SMALL, **fields, parameters={"p": schema}))
    assert any(told in problem for problem in problems) if told else problems == [], problems


def test_a_key_that_is_there_twice_is_refused() -> None:
    assert "the key 'revision' is there twice" in samples.problems(samples.SMALL + "revision: 2\n")[0]


def test_all_errors_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: [", encoding="utf-8")
    (tmp_path / "b.yml").write_text(samples.changed(samples.SMALL, revision="x", config="y"), encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text(f"{samples.SMALL}---\n{samples.SMALL}", encoding="utf-8")
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "d.yaml").write_text("not looked at", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"USERSWARM_TEMPLATES_DIR": str(tmp_path)})
    told = str(caught.value)
    for each in (
        "a.yaml: not YAML",
        "b.yml: revision:",
        "b.yml: config:",
        "sub/c.yaml: revision 1 of 'small' is there twice",
    ):
        assert each in told
    assert "d.yaml" not in told


def test_a_released_revision_that_changes_is_refused_and_a_candidate_may_change(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(samples.SMALL, encoding="utf-8")
    before = load_templates(str(tmp_path))
    file.write_text(samples.changed(samples.SMALL, description="other words", deprecated=True), encoding="utf-8")
    assert load_templates(str(tmp_path), before).revisions["small", 1].deprecated
    file.write_text(samples.changed(samples.SMALL, **main(image="agent:2")), encoding="utf-8")
    with pytest.raises(ValueError, match="revision 1 of 'small' was released, and is not what it was"):
        load_templates(str(tmp_path), before)
    file.write_text(samples.changed(samples.SMALL, candidate=True), encoding="utf-8")
    before = load_templates(str(tmp_path))
    file.write_text(samples.changed(samples.SMALL, **main(image="agent:2")), encoding="utf-8")
    assert load_templates(str(tmp_path), before).revisions["small", 1].document["containers"][0]["image"] == "agent:2"


def test_the_checksum_is_of_all_that_is_made_and_of_no_word_that_is_only_told() -> None:
    document = yaml.safe_load(samples.EVERYTHING)
    golang = {**document["features"]["golang"], "description": "x"}
    same = [
        {**document, "description": "x", "candidate": True, "deprecated": True, "replacedBy": "small"},
        {
            **document,
            "features": {**document["features"], "golang": golang},
        },
    ]
    assert {compute_template_checksum(each) for each in same} == {compute_template_checksum(document)}
    others = [
        {**document, "terminationGracePeriodSeconds": 61},
        {**document, "features": dict(reversed(document["features"].items()))},
        {**document, "containers": list(reversed(document["containers"]))},
    ]
    assert compute_template_checksum(document) not in {compute_template_checksum(each) for each in others}
    assert samples.TEMPLATES.revisions["everything", 1].checksum == compute_template_checksum(document)
