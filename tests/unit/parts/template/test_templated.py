"""A swarm of a template: its Pod, its volumes, and what stays as it is when the platform offers something else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import scenes
import template_samples as samples
from scenes import Json, Scene
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, DATABASE, DATABASE_ROLE, PLATFORM_KINDS, STATEFUL_SET, Kind

OWN = "swarm-workspace-a"
MAIN: Json = {"name": "runtime", "image": "agent:1", "ports": [{"name": "http", "port": 8080}]}
SSH = {"pattern": "swarm-{name}-ssh", "key": "id"}


def pod(name: str = "everything", **template: Any) -> Json:
    parent, settings = samples.swarm(name, **template)
    children = compute_plan(parent, settings).children()
    found: Json = next(each for each in children if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    return found


def container(spec: Json, name: str) -> Json:
    found: Json = next(each for each in [*spec["initContainers"], *spec["containers"]] if each["name"] == name)
    return found


def names(items: list[Json]) -> list[str]:
    return [each["name"] for each in items]


def offered(*texts: str) -> Any:
    return replace(samples.SETTINGS, templates=samples.read(*texts))


# --- the Pod ---------------------------------------------------------------------------------------------------------


def test_steps_come_first_then_what_has_to_be_up_then_the_rest_in_the_order_of_the_file() -> None:
    spec = pod(features={"golang": True})
    assert names(spec["initContainers"]) == ["git", "ssh", "warm", "proxy"]
    assert names(spec["containers"]) == ["runtime", "search", "browser"]
    assert [each.get("restartPolicy") for each in spec["initContainers"]] == [None, None, None, "Always"]
    own = ["workspace", "home", "tmp", "ssh", "prompts", "gocache"]
    assert names(spec["volumes"])[:6] == own
    assert all(name.startswith("step-") for name in names(spec["volumes"])[6:])
    assert names(container(spec, "runtime")["env"])[-1] == "GOPATH"


def test_every_container_is_restricted_and_says_so_itself() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (1000, 1000)
    assert spec["automountServiceAccountToken"] is False
    for each in [*spec["initContainers"], *spec["containers"]]:
        security = each["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is (each["name"] != "browser")


def test_quantities_are_as_they_are_stored() -> None:
    assert container(pod(), "runtime")["resources"]["requests"]["cpu"] == "250m"


def test_a_secret_of_a_step_is_in_no_other_container_and_in_no_argument_or_variable() -> None:
    spec = pod()
    secrets = {each["name"] for each in spec["volumes"] if "secret" in each}
    assert secrets == {"step-git-token", "step-git-ca", "step-ssh-key"}
    for each in [*spec["initContainers"], *spec["containers"]]:
        mounted = secrets & set(names(each.get("volumeMounts", [])))
        assert mounted == {name for name in secrets if name.startswith(f"step-{each['name']}-")}
    git = container(spec, "git")
    assert git["command"] == ["userswarm", "bootstrap", "git"]
    assert git["args"] == [
        *("--repository", "https://git.example/one.git", "--branch", "main", "--depth", "1"),
        *("--directory", "/workspace", "--token-file", "/etc/userswarm/token/token"),
        *("--ca-file", "/etc/userswarm/ca/ca", "--pull"),
    ]
    assert container(spec, "ssh")["args"] == [
        *("--key-file", "/etc/userswarm/key/key", "--directory", "/home/agent/.ssh"),
        *("--known-hosts", "/etc/userswarm/known-hosts/known-hosts"),
    ]
    assert {"name": "ssh", "mountPath": "/home/agent/.ssh"} in container(spec, "ssh")["volumeMounts"]


@pytest.mark.parametrize("hostile", ["$(TOKEN)", "$$(TOKEN)", "$$$(TOKEN)", "a: b\n- c", "'; rm -rf /", "$", "{{x}}"])
def test_what_a_user_says_is_that_very_text_once_kubernetes_has_expanded_it(hostile: str) -> None:
    spec = container(pod(parameters={"model": hostile}), "runtime")
    model = next(each for each in spec["env"] if each["name"] == "MODEL")
    assert expanded(model["value"]) == hostile
    assert expanded(spec["args"][0]) == f"--model={hostile}"
    assert len(spec["args"]) == 3


def expanded(text: str) -> str:
    """Return what Kubernetes makes of a text: https://github.com/kubernetes/kubernetes third_party/forked/golang."""
    result, at = "", 0
    while at < len(text):
        if text[at] == "$" and at + 1 < len(text):
            if text[at + 1] == "$":
                result, at = result + "$", at + 2
                continue
            end = text.find(")", at)
            if text[at + 1] == "(" and end > 0:
                result, at = result + "<a secret>", end + 1
                continue
        result, at = result + text[at], at + 1
    return result


def test_a_user_id_is_no_expression_either() -> None:
    parent, settings = samples.swarm("everything")
    parent["spec"]["userId"] = "$(TOKEN)"
    children = compute_plan(parent, settings).children()
    spec = next(each for each in children if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    assert {"name": "AGENT_USER", "value": "$$(TOKEN)"} in container(spec, "runtime")["env"]


@pytest.mark.parametrize("user", ["swarm-workspace-b-env", "workspace-b"])
def test_no_choice_of_a_user_names_what_is_another_swarms(user: str) -> None:
    text = samples.changed(
        samples.SMALL,
        volumes=[
            {"name": "a", "secret": {"pattern": "keys-{user}"}},
            {"name": "b", "secret": {"pattern": "swarm-{name}-keys"}},
        ],
    )
    parent, _ = samples.swarm("small")
    parent["spec"]["userId"] = user
    children = compute_plan(parent, offered(text)).children()
    spec = next(each for each in children if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    used = [each["secret"]["secretName"] for each in spec["volumes"]]
    assert used == [f"keys-{user}", f"{OWN}-keys"]


@pytest.mark.parametrize(
    "fields",
    [
        {"volumes": [{"name": "a", "secret": {"pattern": "s{user}"}}]},
        {"volumes": [{"name": "a", "configMap": {"pattern": "s{user}"}}]},
        {"containers": [{**MAIN, "envFrom": [{"secretPattern": "s{user}"}]}]},
        {"containers": [{**MAIN, "env": [{"name": "A", "secret": {"pattern": "s{user}", "key": "a"}}]}]},
        {"database": {"cluster": "pg", "namespace": "databases", "role": {"passwordSecret": "s{user}"}}},
        {
            "containers": [{**MAIN, "mounts": [{"volume": "v", "path": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "init": [{"ssh": {"secret": SSH, "path": "/v", "knownHosts": {"configMap": "s{user}", "key": "k"}}}],
        },
    ],
)
def test_a_name_that_would_be_another_swarms_is_refused(fields: Json) -> None:
    text = samples.changed(samples.SMALL, **fields)
    parent, _ = samples.swarm("small")
    parent["spec"]["userId"] = "warm-workspace-b-env"
    with pytest.raises(InvalidParentError, match="the name 'swarm-workspace-b-env' is another swarm's"):
        compute_plan(parent, offered(text))


def test_with_a_configuration_it_is_merged_in_before_all_else() -> None:
    text = samples.changed(
        samples.SMALL,
        config=True,
        containers=[
            {
                "name": "runtime",
                "image": "agent:1",
                "ports": [{"name": "http", "port": 8080}],
                "mounts": [{"volume": "data", "path": "/data"}, {"volume": "tmp", "path": "/tmp"}],
            }
        ],
        volumes=[{"name": "data", "claim": {"size": "3Gi"}}, {"name": "tmp", "emptyDir": {}}],
    )
    parent, _ = samples.swarm("small")
    parent["spec"]["config"] = {"defaultModel": "large"}
    children = compute_plan(parent, offered(text)).children()
    spec = next(each for each in children if each["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    first = spec["initContainers"][0]
    assert (first["command"], first["args"][3]) == (["userswarm", "bootstrap"], "/data/.zeroclaw/config.toml")
    config_map = next(each for each in children if each["kind"] == "ConfigMap")
    assert 'default_model = "large"' in config_map["data"]["config.toml"]
    assert "port = 8080" in config_map["data"]["config.toml"]
    assert next(each for each in children if each["kind"] == "PersistentVolumeClaim")["spec"]["resources"] == {
        "requests": {"storage": "3Gi"}
    }


def test_without_a_configuration_there_is_no_config_map() -> None:
    parent, settings = samples.swarm("small")
    assert CONFIG_MAP.kind not in {each["kind"] for each in compute_plan(parent, settings).children()}


# --- what stays ------------------------------------------------------------------------------------------------------


def verified(name: str = "everything", **template: Any) -> Scene:
    return scenes.verified(*samples.swarm(name, **template))


def test_a_swarm_of_a_template_is_verified_and_remembers_its_revision() -> None:
    scene = verified()
    status = scene.parent["status"]
    revision = samples.TEMPLATES.revisions["everything", 1]
    assert (status["phase"], status["verified"]) == ("Ready", True)
    assert status["template"] == {"name": "everything", "revision": 1, "checksum": revision.checksum}
    assert "claimName" not in status
    again = scene.sync()
    assert (again["status"], again.get("needs")) == (status, None)


def test_a_new_revision_restarts_nobody_and_a_roll_out_moves_the_swarm_and_its_status() -> None:
    scene = verified("small")
    before = scene.sync()["children"]
    second = samples.changed(samples.SMALL, revision=2, containers=[{**MAIN, "image": "agent:2"}])
    scene.settings = offered(samples.SMALL, second)
    assert scene.sync()["children"] == before
    assert scene.sync()["status"]["template"]["revision"] == 1
    scene.parent["metadata"]["annotations"] = {"crawbl.ai/template-revision": "small/2"}
    scene.apply(scenes.step(scene))
    assert scene.parent["status"]["template"]["revision"] == 2
    assert scene.child(STATEFUL_SET)["spec"]["template"]["spec"]["containers"][0]["image"] == "agent:2"


@pytest.mark.parametrize(
    ("texts", "template", "path"),
    [
        ([], {}, "spec.template.name"),
        ([samples.changed(samples.SMALL, revision=2)], {}, "spec.template.revision"),
        ([samples.changed(samples.SMALL, terminationGracePeriodSeconds=5)], {}, "spec.template"),
        ([samples.SMALL], {"features": {"x": True}}, "spec.template.features[x]"),
        ([samples.SMALL], {"parameters": {"x": 1}}, "spec.template.parameters[x]"),
    ],
)
def test_what_cannot_be_built_leaves_the_children_as_they_are(texts: list[str], template: Json, path: str) -> None:
    scene = verified("small")
    stored = [child for group in scene.children.values() for child in group.values()]
    before = [json.loads(child["metadata"]["annotations"][scenes.LAST_APPLIED]) for child in stored]
    scene.settings = offered(*texts)
    scene.parent["spec"]["template"] |= template
    scene.parent["metadata"]["generation"] += 1
    answer = scene.sync()
    assert answer["status"]["phase"] == "Invalid"
    assert f"{path}: " in scenes.condition(answer, "SpecValid")["message"]
    key = lambda child: (child["kind"], child["metadata"]["name"])  # noqa: E731
    assert sorted(answer["children"], key=key) == sorted(before, key=key)
    assert answer["status"]["template"] == scene.parent["status"]["template"]
    # What the platform has to put right is looked at again; what its user has to, is told by a change of the spec.
    assert answer.get("resyncAfterSeconds") == (None if "[" in path else 60)


# --- volumes ---------------------------------------------------------------------------------------------------------


def claims(scene: Scene) -> list[str]:
    return sorted(each["metadata"]["name"].removeprefix(f"{OWN}-") for each in scene.children[CLAIM.group].values())


def test_each_volume_has_a_claim_of_its_own() -> None:
    scene = verified(features={"golang": True}, parameters={"size": "20Gi"})
    assert claims(scene) == ["gocache", "home", "workspace"]
    assert scene.child(CLAIM, f"{OWN}-workspace")["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert scene.child(CLAIM, f"{OWN}-home")["spec"]["storageClassName"] == "standard"


def test_a_volume_grows_and_never_shrinks() -> None:
    scene = verified(parameters={"size": "20Gi"})
    scene.parent["spec"]["template"]["parameters"]["size"] = "30Gi"
    asked = {each["metadata"]["name"]: each for each in scenes.children_of(scene.sync(), CLAIM)}
    assert asked[f"{OWN}-workspace"]["spec"]["resources"]["requests"]["storage"] == "30Gi"
    scene.parent["spec"]["template"]["parameters"]["size"] = "5Gi"
    answer = scene.sync()
    asked = {each["metadata"]["name"]: each for each in scenes.children_of(answer, CLAIM)}
    assert asked[f"{OWN}-workspace"]["spec"]["resources"]["requests"]["storage"] == "20Gi"
    told = scenes.condition(answer, "StorageReady")
    assert told["reason"] == "ClaimClamped"
    assert "its template's volumes[workspace].claim.size is 5Gi, but the volume has 20Gi" in told["message"]


def test_the_volume_of_a_feature_that_is_switched_off_is_kept_and_said() -> None:
    scene = verified(features={"golang": True})
    scene.parent["spec"]["template"]["features"] = {}
    scene.now += timedelta(seconds=60)
    scene.apply(scenes.step(scene))
    assert claims(scene) == ["gocache", "home", "workspace"]
    message = scenes.condition({"status": scene.parent["status"]}, "StorageReady")["message"]
    assert message.endswith(f"also kept, though not used: {OWN}-gocache")
    volumes = scene.child(STATEFUL_SET)["spec"]["template"]["spec"]["volumes"]
    assert "gocache" not in names(volumes)


@pytest.mark.parametrize("missing", ["home", "workspace"])
def test_no_pod_is_made_before_each_volume_is_the_swarms_own(missing: str) -> None:
    scene = Scene(*samples.swarm("everything"))
    for _ in range(4):
        answer = scene.sync()
        asked = [each for each in answer["children"] if each["metadata"]["name"] != f"{OWN}-{missing}"]
        assert STATEFUL_SET.kind not in {each["kind"] for each in asked}
        scene.apply({**answer, "children": asked})
        scene.adopt_status(answer)


def test_a_swarm_made_anew_finds_all_of_its_volumes_and_looks_them_up_once() -> None:
    scene = verified()
    kept = list(scene.children[CLAIM.group].values())
    for each in kept:
        each["metadata"].pop("ownerReferences", None)
    again = Scene(*samples.swarm("everything"))
    again.parent["metadata"]["uid"] = "uid-of-a-later-life"
    for _ in range(4):
        again.now += timedelta(seconds=6)
        answer = again.ask(*kept)
        # What exists already is not made anew.
        again.apply({**answer, "children": [each for each in answer["children"] if each["kind"] != CLAIM.kind]})
        again.adopt_status(answer)
    message = scenes.condition({"status": again.parent["status"]}, "StorageReady")
    assert message["reason"] == "ClaimRetained"
    assert again.child(STATEFUL_SET)
    assert claims(again) == []
    assert not any(rule["kind"] == "PersistentVolumeClaim" for rule in again.sync().get("needs", {}).get("objects", ()))
    # A volume that a feature brings later is none that was kept.
    again.parent["spec"]["template"]["features"] = {"golang": True}
    assert [each["metadata"]["name"] for each in scenes.children_of(again.sync(), CLAIM)] == [f"{OWN}-gocache"]


@pytest.mark.parametrize(("policy", "kept"), [("Delete", {"workspace"}), ("Retain", {"workspace", "home"})])
def test_a_volume_outlives_the_swarm_where_the_template_or_the_swarm_says_so(policy: str, kept: set[str]) -> None:
    scene = verified()
    scene.parent["spec"]["storage"] = {"retainPolicy": policy}
    answer = scene.deleted().finalize()
    released = [each for each in scenes.children_of(answer, CLAIM) if "ownerReferences" not in each["metadata"]]
    assert {each["metadata"]["name"].removeprefix(f"{OWN}-") for each in released} == kept


def test_the_namespace_of_a_volume_that_is_kept_is_kept() -> None:
    parent, settings = samples.swarm("everything")
    quota = {"cpu": 4, "memory": "4Gi", "pods": 9, "persistentVolumeClaims": 9}
    parent["spec"] |= {
        "placement": {"isolation": "Dedicated"},
        "quota": quota,
        "limitRange": {"max": {"cpu": 1, "memory": "1Gi"}},
    }
    scene = scenes.verified(parent, settings)
    answer = scene.deleted().finalize()
    assert {"Namespace", "PersistentVolumeClaim"} <= {each["kind"] for each in answer["children"]}


# --- a database ------------------------------------------------------------------------------------------------------


def with_database() -> Scene:
    """Return a swarm whose database is there."""
    scene = scenes.ready(*samples.swarm("http-agent", features={"postgres": True}))
    for kind in PLATFORM_KINDS:
        scene.child(kind)["status"] = {"applied": True, "observedGeneration": 1}
    scene.http = scenes.HEALTHY
    assert scenes.step(scene)["status"]["verified"] is True
    scene.http = None
    return scene


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (None, "RolloutInProgress", "is there such a Cluster"),
        ({"message": "replica cluster"}, "RolloutInProgress", "replica cluster"),
        ({"applied": True, "observedGeneration": 0}, "RolloutInProgress", "not applied yet"),
        ({"applied": False, "message": "no such role"}, "DatabaseRefused", "no such role"),
    ],
)
@pytest.mark.parametrize("kind", PLATFORM_KINDS, ids=lambda kind: kind.kind)
def test_a_swarm_is_not_verified_before_its_database_is_applied(
    kind: Kind, status: Json | None, reason: str, told: str
) -> None:
    scene = with_database()
    scene.now += timedelta(seconds=60)
    stored = scene.child(kind)
    if status is None:
        del stored["status"]
    else:
        stored["status"] = status
    answer = scene.sync()
    assert answer["status"]["verified"] is False
    found = scenes.condition(answer, "DatabaseReady")
    assert found["reason"] == reason
    assert told in found["message"]


def test_what_of_a_database_nobody_may_change_stays_as_it_is_and_is_said() -> None:
    scene = with_database()
    scene.child(DATABASE)["spec"]["cluster"] = {"name": "older"}
    answer = scene.sync()
    (wanted,) = scenes.children_of(answer, DATABASE)
    assert wanted["spec"]["cluster"] == {"name": "older"}
    assert "is in the cluster older, for good" in scenes.condition(answer, "DatabaseReady")["message"]


def test_a_swarm_that_moves_to_another_controller_leaves_its_database_to_it() -> None:
    scene = with_database()
    scene.finalizing = True
    kept: set[str] = set()
    for _ in range(4):
        answer = scene.finalize()
        kept = {each["kind"] for each in answer["children"] if "ownerReferences" not in each["metadata"]}
        if answer.get("finalized"):
            break
        scene.apply(answer)
    assert kept == {"PersistentVolumeClaim", "Database", "DatabaseRole"}


def test_a_swarm_that_is_deleted_lets_its_database_go_as_its_policy_says() -> None:
    scene = with_database().deleted()
    assert scene.finalize()["children"] == []
    assert scene.child(DATABASE)["spec"]["databaseReclaimPolicy"] == "retain"
    assert scene.child(DATABASE_ROLE)["spec"]["databaseRoleReclaimPolicy"] == "retain"


def test_no_two_swarms_share_a_database() -> None:
    names = set()
    for name in ("a-b", "a.b", "a_b", "a--b", "A-b", "workspace-a"):
        parent, settings = samples.swarm("http-agent", features={"postgres": True})
        parent["metadata"]["name"] = name
        children = compute_plan(parent, settings).children()
        names.add(next(each["spec"]["name"] for each in children if each["kind"] == "Database"))
    assert len(names) == 6
    assert all(re.fullmatch(r"swarm_[a-z0-9_]{1,57}", each) for each in names)
