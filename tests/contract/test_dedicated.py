"""manifests/components/dedicated: the kinds, permissions and roles that a swarm with its own namespace needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from contract.rendered import MANIFESTS, Object, named, of_kind, production_with, rendered
from scenes import SETTINGS
from userswarm.cli.demo.cluster import composite_controller
from userswarm.compose.plan import compute_plan
from userswarm.parts.dedicated.access import EDIT_RULES, VIEW_RULES
from userswarm.parts.dedicated.namespace import ALLOW_LABEL
from userswarm.spec.identity import SWARM_LABEL
from userswarm.spec.schema import load_crd
from userswarm.spec.slugs import SWARM_PREFIX
from userswarm.wire.k8s import CHILD_KINDS, COMPONENT_KINDS, DEDICATED_KINDS, PLATFORM_KINDS, Kind

THERE = [kind for kind in CHILD_KINDS if kind not in PLATFORM_KINDS]
"""Of the kinds that a swarm's own namespace may have."""

WRITE = ("get", "create", "update", "delete")
Permission = tuple[str, str, str]


@pytest.fixture(scope="module")
def dedicated() -> list[Object]:
    return production_with("dedicated")


@pytest.fixture(scope="module")
def sharded() -> list[Object]:
    return production_with("sharding", "dedicated")


def group_of(kind: Kind) -> str:
    return kind.api_version.rpartition("/")[0]


def permissions(rules: Any) -> set[Permission]:
    """Return what rules allow without any resourceNames, one verb on one resource each."""
    return {
        (group, resource, verb)
        for rule in rules
        if "resourceNames" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def granted_to(objects: list[Object], account: str, *, everywhere: bool) -> set[Permission]:
    """Return what a ServiceAccount may do in every namespace, or also where it has Roles."""
    kinds = ("ClusterRoleBinding",) if everywhere else ("ClusterRoleBinding", "RoleBinding")
    found: set[Permission] = set()
    for binding in of_kind(objects, *kinds):
        if binding["subjects"][0]["name"] == account:
            found |= permissions(named(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])["rules"])
    return found


def rules_of(controller: Object) -> list[tuple[str, str]]:
    return [(rule["apiVersion"], rule["resource"]) for rule in controller["spec"]["childResources"]]


def test_the_component_adds_its_kinds_in_their_order(dedicated: list[Object]) -> None:
    (plain,) = of_kind(rendered("overlays/production"), "CompositeController")
    (controller,) = of_kind(dedicated, "CompositeController")
    assert rules_of(controller) == rules_of(plain) + [(kind.api_version, kind.resource) for kind in DEDICATED_KINDS]


def test_every_dedicated_kind_is_updated_in_place(dedicated: list[Object]) -> None:
    (controller,) = of_kind(dedicated, "CompositeController")
    methods = {rule["resource"]: rule["updateStrategy"]["method"] for rule in controller["spec"]["childResources"]}
    assert methods.pop("jobs") == "OnDelete"
    assert set(methods.values()) == {"InPlace"}


def test_every_shard_gets_the_kinds(sharded: list[Object], dedicated: list[Object]) -> None:
    (single,) = of_kind(dedicated, "CompositeController")
    shards = of_kind(sharded, "CompositeController")
    assert len(shards) == 5
    for shard in shards:
        assert shard["spec"]["childResources"] == single["spec"]["childResources"]


def test_python_reads_the_same_list_as_kustomize(dedicated: list[Object]) -> None:
    (controller,) = of_kind(dedicated, "CompositeController")
    (plain,) = of_kind(rendered("controller"), "CompositeController")
    assert composite_controller(dedicated=True)["spec"]["childResources"] == controller["spec"]["childResources"]
    assert composite_controller() == plain


def test_an_installed_wheel_carries_the_component() -> None:
    text = (MANIFESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"manifests/components/dedicated" = "userswarm/_manifests/components/dedicated"' in text


def test_metacontroller_may_write_every_child_wherever_a_swarms_namespace_is(dedicated: list[Object]) -> None:
    granted = granted_to(dedicated, "metacontroller", everywhere=True)
    # Those of other components too: a Dedicated swarm may have what they bring.
    assert {(group_of(kind), kind.resource, verb) for kind in THERE for verb in WRITE} - granted == set()


def test_without_the_component_metacontroller_writes_nothing_outside_userswarms() -> None:
    others = [name for name in COMPONENT_KINDS if name != "dedicated"]
    granted = granted_to(production_with(*others), "metacontroller", everywhere=True)
    written = {(group, resource) for group, resource, verb in granted if verb in {"create", "delete", "update"}}
    ours = {"userswarms", "userswarms/status", "userswarms/finalizers"}
    assert written == {("crawbl.ai", resource) for resource in ours}


def test_metacontroller_holds_what_the_roles_of_a_swarm_give(dedicated: list[Object]) -> None:
    # Kubernetes lets nobody write a Role, or bind one, that gives more than the writer has.
    granted = granted_to(dedicated, "metacontroller", everywhere=True)
    parent = {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": "a", "uid": "u"},
        "spec": {
            "userId": "u",
            "placement": {"isolation": "Dedicated"},
            "access": {"role": "edit"},
            "quota": {"cpu": "1", "memory": "1Gi"},
            "limitRange": {"max": {"cpu": "1", "memory": "1Gi"}},
        },
    }
    (role,) = of_kind(compute_plan(parent, SETTINGS).children(), "Role")
    given = permissions(role["rules"])
    assert given <= granted
    # And no more for their sake: what it holds only to give away is exactly that.
    grants = permissions(named(dedicated, "ClusterRole", "userswarm-metacontroller-grants")["rules"])
    assert grants == given
    assert given == {
        *permissions([{**rule, "verbs": ["get", "list", "watch"]} for rule in VIEW_RULES]),
        *permissions([{**rule, "verbs": ["create", "delete", "patch", "update"]} for rule in EDIT_RULES]),
    }


def test_metacontroller_may_bind_the_members_roles_and_escalate_nothing(dedicated: list[Object]) -> None:
    schema = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    roles = schema["access"]["properties"]["members"]["items"]["properties"]["role"]["enum"]
    names = {f"userswarm-namespace-{role}" for role in roles}
    assert names == {role["metadata"]["name"] for role in of_kind(dedicated, "ClusterRole")} & names
    rules = [
        rule
        for role in of_kind(dedicated, "ClusterRole")
        for rule in role["rules"]
        if {"bind", "escalate", "impersonate"} & set(rule["verbs"])
    ]
    assert [(rule["resources"], rule["verbs"], set(rule["resourceNames"])) for rule in rules] == [
        (["clusterroles"], ["bind"], names)
    ]


def test_the_members_roles_add_up_and_leave_the_walls_alone(dedicated: list[Object]) -> None:
    view, edit, admin = (
        permissions(named(dedicated, "ClusterRole", f"userswarm-namespace-{role}")["rules"])
        for role in ("view", "edit", "admin")
    )
    assert view < edit < admin
    assert {verb for _, _, verb in view} == {"get", "list", "watch"}
    assert "secrets" not in {resource for _, resource, _ in edit}
    walls = {
        "limitranges",
        "namespaces",
        "networkpolicies",
        "persistentvolumeclaims",
        "resourcequotas",
        "rolebindings",
        "roles",
        "serviceaccounts",
        "statefulsets",
    }
    assert not {resource for _, resource, verb in admin if verb not in {"get", "list", "watch"}} & walls
    assert {resource for _, resource, _ in admin} - {resource for _, resource, _ in edit} == {
        "secrets",
        "pods/exec",
        "pods/portforward",
    }


def test_a_members_view_shows_at_least_what_the_swarms_own_view_does(dedicated: list[Object]) -> None:
    view = permissions(named(dedicated, "ClusterRole", "userswarm-namespace-view")["rules"])
    assert permissions([{**rule, "verbs": ["get", "list", "watch"]} for rule in VIEW_RULES]) <= view


def test_the_admission_policy_lets_a_dedicated_swarm_live_outside_the_shared_namespaces() -> None:
    policy = named(rendered("policy"), "ValidatingAdmissionPolicy", "userswarm")["spec"]
    variables = {each["name"]: each["expression"] for each in policy["variables"]}
    (rule,) = [each for each in policy["validations"] if "allowedNamespaces" in each["expression"]]
    assert rule["expression"] == "variables.dedicated || variables.runtimeNamespace in variables.allowedNamespaces"
    # In the CRD's own words.
    path, default, wanted = re.fullmatch(
        r"object\.(spec[\w.?]+)\.orValue\('(\w+)'\) == '(\w+)'", variables["dedicated"]
    ).groups()  # type: ignore[union-attr]
    schema: Any = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for field in path.replace("?", "").split("."):
        schema = schema["properties"][field]
    assert schema["default"] == default
    assert wanted in schema["enum"]
    # Nothing else in it asks where a swarm lives.
    assert sum("amespace" in each["expression"] for each in policy["validations"]) == 1


def test_metacontrollers_policy_covers_every_child_and_names_the_namespaces_as_the_hooks_do(
    dedicated: list[Object],
) -> None:
    policy = named(dedicated, "ValidatingAdmissionPolicy", "userswarm-metacontroller")["spec"]
    binding = named(dedicated, "ValidatingAdmissionPolicyBinding", "userswarm-metacontroller")["spec"]
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert {kind.resource for kind in THERE} - set(rule["resources"]) == set()
    assert {group_of(kind) for kind in THERE} - set(rule["apiGroups"]) == set()
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}
    text = yaml.safe_dump(policy, width=10_000)
    assert f"startsWith('{SWARM_PREFIX}')" in text
    assert f"'{ALLOW_LABEL}'" in text
    known: set[str] = set()
    for variable in policy["variables"]:
        assert set(re.findall(r"variables\.(\w+)", variable["expression"])) <= known
        known.add(variable["name"])
    assert set(re.findall(r"variables\.(\w+)", yaml.safe_dump(policy["validations"], width=10_000))) <= known
    (subject,) = named(dedicated, "ClusterRoleBinding", "userswarm-metacontroller-dedicated")["subjects"]
    assert (
        f"system:serviceaccount:{subject['namespace']}:{subject['name']}" in policy["matchConditions"][0]["expression"]
    )
    platform = named(dedicated, "ConfigMap", binding["paramRef"]["name"])
    assert set(re.findall(r"params\.data\.(\w+)", text)) <= platform["data"].keys()


def test_no_member_role_shows_another_swarm(dedicated: list[Object]) -> None:
    # They are bound in one namespace; what is cluster-scoped, or a swarm of somebody else's, is not theirs.
    bound = {binding["roleRef"]["name"] for binding in of_kind(dedicated, "ClusterRoleBinding")}
    for role in ("view", "edit", "admin"):
        assert f"userswarm-namespace-{role}" not in bound
        rules = named(dedicated, "ClusterRole", f"userswarm-namespace-{role}")["rules"]
        assert "crawbl.ai" not in {group for group, _, _ in permissions(rules)}
    assert SWARM_LABEL.startswith("crawbl.ai/")
