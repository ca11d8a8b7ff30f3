"""The children of a Dedicated swarm: what they say, that clusters take them, that they are quiet, how they go."""

from __future__ import annotations

import copy
import ipaddress
import random
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

import scenes
import workload_samples as samples
from devcluster.admission import restricted_violations
from devcluster.defaults import add_defaults, as_stored
from devcluster.merge import apply_update, set_last_applied
from userswarm.cli.rendering import render_children
from userswarm.compose.plan import compute_plan
from userswarm.parts.dedicated.network import INTERNET
from userswarm.spec.manifests import manifest_path
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import (
    CRON_JOB,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    NETWORK_POLICY,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    STATEFUL_SET,
)

Json = dict[str, Any]

VERSIONS = kubernetes_validate.utils.all_versions()[-3:]
OWN = "swarm-workspace-a"
MANAGED = {"isolation": "Dedicated"}
LENT = {"isolation": "Dedicated", "namespaceMode": "operator", "runtimeNamespace": "lent"}
ROOM: Json = {"quota": {"cpu": 9, "memory": "9Gi", "pods": 40}, "limitRange": {"max": {"cpu": 2, "memory": "2Gi"}}}
MEMBERS = [
    {"kind": "User", "name": "ada@example.com", "role": "admin"},
    {"kind": "Group", "name": "support", "role": "view"},
]
EVERYTHING: Json = {
    **ROOM,
    "access": {"role": "edit", "members": MEMBERS},
    "workloads": [
        samples.deployment(),
        samples.service(sessionAffinity="ClientIP"),
        samples.config_map(),
        samples.job(),
        samples.cron_job(),
    ],
}
OPEN = Settings(allow_pods_within_namespace=True, dns_cidrs=("169.254.20.10/32",), api_server_cidrs=("10.0.0.1/32",))


def swarm(placement: Json = MANAGED, **spec: Any) -> Json:
    parent: Json = scenes.user_swarm(placement=placement, **spec)
    return parent


def sample() -> Json:
    parent: Json = yaml.safe_load(manifest_path("samples/dedicated.yaml").read_text(encoding="utf-8"))
    parent["metadata"]["uid"] = "uid"
    return parent


def children(parent: Json, settings: Settings = scenes.SETTINGS) -> list[Json]:
    """Return all children that there can be at once."""
    return compute_plan(parent, settings).children()


def of_kind(made: list[Json], kind: Any) -> dict[str, Json]:
    """Return the children of a kind, by what comes after the swarm's name."""
    return {
        each["metadata"]["name"].removeprefix(OWN).removeprefix("-"): each for each in made if each["kind"] == kind.kind
    }


SPECS: dict[str, tuple[Json, Settings]] = {
    "least": (swarm(), scenes.SETTINGS),
    "everything": (swarm(**EVERYTHING), OPEN),
    "lent": (swarm(LENT, **EVERYTHING), OPEN),
    "lent, and nothing else": (swarm(LENT), scenes.SETTINGS),
    "the sample": (sample(), scenes.SETTINGS),
    "placed": (
        swarm(
            {
                **MANAGED,
                "runtimeClassName": "gvisor",
                "nodeSelector": {"pool": "walled"},
                "tolerations": [{"key": "walled", "operator": "Exists", "value": ""}],
            },
            **EVERYTHING,
        ),
        scenes.SETTINGS,
    ),
}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        *(("everything", version) for version in VERSIONS),
        *((name, VERSIONS[-2]) for name in SPECS if name != "everything"),
    ],
)
def test_every_cluster_takes_every_child(name: str, version: str) -> None:
    for child in children(*SPECS[name]):
        kubernetes_validate.validate(child, version, strict=True)


def pods(made: list[Json]) -> Iterator[tuple[str, Json]]:
    for child in made:
        if child["kind"] in (STATEFUL_SET.kind, JOB.kind, DEPLOYMENT.kind):
            yield child["metadata"]["name"], child["spec"]["template"]
        elif child["kind"] == CRON_JOB.kind:
            yield child["metadata"]["name"], child["spec"]["jobTemplate"]["spec"]["template"]


@pytest.mark.parametrize("name", SPECS)
def test_every_pod_meets_the_restricted_standard(name: str) -> None:
    found = list(pods(children(*SPECS[name])))
    assert found
    for _, template in found:
        assert list(restricted_violations(template["spec"])) == []


def stored(child: Json) -> Json:
    obj = as_stored(child["kind"], child)
    obj["metadata"]["uid"] = "uid"
    return add_defaults(child["kind"], obj, random.Random(1))


@pytest.mark.parametrize("name", SPECS)
def test_no_child_is_written_again_once_it_is_stored(name: str) -> None:
    for child in children(*SPECS[name]):
        if child["kind"] == JOB.kind:
            continue  # never updated
        observed = stored(child)
        set_last_applied(observed, child)
        assert apply_update(observed, child) == observed, child["kind"]


def test_a_limit_that_is_unset_is_removed_from_what_is_stored() -> None:
    before = of_kind(children(swarm(quota={"secrets": 3, "counts": {"leases": 1}})), RESOURCE_QUOTA)[""]
    after = of_kind(children(swarm()), RESOURCE_QUOTA)[""]
    observed = stored(before)
    set_last_applied(observed, before)
    assert {"secrets", "count/leases"} <= observed["spec"]["hard"].keys()
    assert apply_update(observed, after)["spec"] == after["spec"]


def test_nothing_of_an_answer_is_shared_with_another() -> None:
    first = children(swarm(**EVERYTHING))
    before = copy.deepcopy(first)

    def spoil(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            spoil(inner)
        if isinstance(value, dict | list):
            value.clear()

    spoil(children(swarm(**EVERYTHING)))
    assert children(swarm(**EVERYTHING)) == before


# --- the namespace ---------------------------------------------------------------------------------------------------


def test_the_namespace_says_whose_it_is_and_enforces_the_restricted_standard_at_one_version() -> None:
    namespace = of_kind(children(swarm()), NAMESPACE)[""]
    metadata = namespace["metadata"]
    assert metadata["name"] == OWN
    assert "namespace" not in metadata
    assert namespace.keys() == {"apiVersion", "kind", "metadata"}
    for mode in ("enforce", "audit", "warn"):
        assert metadata["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
        version = metadata["labels"][f"pod-security.kubernetes.io/{mode}-version"]
        shared = yaml.safe_load(manifest_path("namespace/userswarms.yaml").read_text(encoding="utf-8"))
        assert version == shared["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}-version"]
    assert metadata["labels"]["crawbl.ai/swarm"] == "workspace-a"
    assert metadata["labels"]["crawbl.ai/user"] == "user-1"
    assert metadata["annotations"]["crawbl.ai/user-id"] == "user-1"
    assert metadata["ownerReferences"][0]["uid"] == "uid-of-workspace-a"
    unstored = swarm()
    del unstored["metadata"]["uid"]
    assert "ownerReferences" not in of_kind(children(unstored), NAMESPACE)[""]["metadata"]


# --- the network -----------------------------------------------------------------------------------------------------


def policies(parent: Json, settings: Settings = scenes.SETTINGS) -> dict[str, Json]:
    return {name: each["spec"] for name, each in of_kind(children(parent, settings), NETWORK_POLICY).items()}


RUNTIME = {"crawbl.ai/swarm": "workspace-a", "app.kubernetes.io/component": "runtime"}
PORT = [{"port": 42617, "protocol": "TCP"}]


def test_everything_is_denied_but_what_is_said() -> None:
    found = policies(swarm())
    assert found.keys() == {"deny", "dns", "internet", "platform"}
    assert found["deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert found["dns"] == {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [
                    {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    }
                ],
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
            }
        ],
    }
    assert found["platform"] == {
        "podSelector": {"matchLabels": RUNTIME},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                # The backend, and the webhook, which verifies the runtime.
                "from": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
                    for name in ("backend", "userswarm-system")
                ],
                "ports": PORT,
            }
        ],
    }
    assert found["internet"]["podSelector"] == {}


PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "0.0.0.0", "198.18.0.1"),
    *("169.254.169.254", "169.254.20.10", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "fec0::1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::a00:1", "2002:a00:1::", "2001::1", "2001:db8::1", "4000::1", "1fff::1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "172.32.0.1", "192.169.0.1", "100.128.0.1", "168.63.129.17"),
    *("2606:4700::1111", "64:ff9b::808:808"),
]


def test_the_internet_is_what_is_not_private_by_any_way_to_write_it() -> None:
    (rule,) = policies(swarm())["internet"]["egress"]
    assert rule.keys() == {"to"}
    blocks = [
        (
            ipaddress.ip_network(each["ipBlock"]["cidr"]),
            [ipaddress.ip_network(cidr) for cidr in each["ipBlock"]["except"]],
        )
        for each in rule["to"]
    ]
    for whole, exceptions in blocks:
        assert all(each.version == whole.version and each.subnet_of(whole) for each in exceptions)  # type: ignore[arg-type]

    def reached(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address in whole and not any(address in each for each in out) for whole, out in blocks)

    assert [address for address in PRIVATE if reached(address)] == []
    assert [address for address in PUBLIC if not reached(address)] == []


def test_a_dedicated_swarm_is_closed_to_what_a_shared_one_is() -> None:
    documents = yaml.safe_load_all((manifest_path("network/userswarms.yaml")).read_text(encoding="utf-8"))
    (egress,) = (each for each in documents if each["metadata"]["name"] == "runtime-egress")
    blocks = [each["ipBlock"] for rule in egress["spec"]["egress"] for each in rule["to"] if "ipBlock" in each]
    shared = {each["cidr"]: each["except"] for each in blocks}
    assert shared == {cidr: list(exceptions) for cidr, exceptions in INTERNET}


def test_what_the_platform_decides_opens_what_it_says_and_nothing_else() -> None:
    labels = (("team", "edge"), ("zone", "a"))
    found = policies(swarm(), Settings(platform_namespace_labels=labels))
    (rule,) = found["platform"]["ingress"]
    assert rule["from"][0] == {"namespaceSelector": {"matchLabels": dict(labels)}}
    (rule,) = policies(swarm(), Settings(webhook_namespace="hooks"))["platform"]["ingress"]
    assert rule["from"][1] == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hooks"}}}
    found = policies(swarm(), OPEN)
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in found["dns"]["egress"][0]["to"]
    assert found["within"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {}}]}],
        "egress": [{"to": [{"podSelector": {}}]}],
    }
    # The API is opened to the runtime alone, and only where it has a role.
    assert "api" not in found
    found = policies(swarm(access={"role": "view"}), OPEN)
    assert found["api"]["podSelector"] == {"matchLabels": RUNTIME}
    assert found["api"]["egress"] == [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}]
    assert "api" not in policies(swarm(access={"role": "view"}))


def test_in_a_lent_namespace_only_the_swarms_own_pods_are_touched() -> None:
    found = policies(swarm(LENT, access={"role": "view"}), OPEN)
    for each in found.values():
        assert each["podSelector"]["matchLabels"]["crawbl.ai/swarm"] == "workspace-a"
    own = {"matchLabels": {"crawbl.ai/swarm": "workspace-a"}}
    assert found["within"]["egress"] == [{"to": [{"podSelector": own}]}]
    assert found["within"]["ingress"] == [{"from": [{"podSelector": own}]}]


# --- access ----------------------------------------------------------------------------------------------------------


def test_without_access_there_are_no_roles_and_no_token() -> None:
    made = children(swarm())
    assert not of_kind(made, ROLE)
    assert not of_kind(made, ROLE_BINDING)
    assert all(template["spec"]["automountServiceAccountToken"] is False for _, template in pods(made))


@pytest.mark.parametrize("role", ["view", "edit"])
def test_a_role_is_the_runtimes_own_in_its_namespace_and_never_shows_a_secret(role: str) -> None:
    made = children(swarm(access={"role": role}, **ROOM, workloads=[samples.deployment()]))
    rules = of_kind(made, ROLE)[""]["rules"]
    resources = {resource for rule in rules for resource in rule["resources"]}
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    assert not resources & {"secrets", "serviceaccounts", "roles", "rolebindings", "namespaces", "resourcequotas", "*"}
    assert not resources & {"networkpolicies", "limitranges", "serviceaccounts/token", "pods/exec"}
    assert verbs == {"get", "list", "watch"} | ({"create", "delete", "patch", "update"} if role == "edit" else set())
    (binding,) = of_kind(made, ROLE_BINDING).values()
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": OWN}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": OWN, "namespace": OWN}]
    mounted = {name: template["spec"]["automountServiceAccountToken"] for name, template in pods(made)}
    assert mounted.pop(OWN) is True
    assert set(mounted.values()) == {False}


def test_members_are_bound_each_to_a_role_of_ours() -> None:
    made = of_kind(children(swarm(access={"members": [*MEMBERS, MEMBERS[0]]})), ROLE_BINDING)
    assert sorted((each["subjects"][0]["name"], each["roleRef"]["name"]) for each in made.values()) == [
        ("ada@example.com", "userswarm-namespace-admin"),
        ("support", "userswarm-namespace-view"),
    ]
    for each in made.values():
        assert each["roleRef"]["kind"] == "ClusterRole"
        (subject,) = each["subjects"]
        assert subject["apiGroup"] == "rbac.authorization.k8s.io"
        assert each["metadata"]["namespace"] == OWN
    # A binding's role cannot be changed: another role is another binding.
    other = [{**MEMBERS[0], "role": "view"}, {**MEMBERS[1], "kind": "User"}]
    assert not made.keys() & of_kind(children(swarm(access={"members": other})), ROLE_BINDING).keys()
    assert len(of_kind(children(swarm(access={"members": [*MEMBERS, *other]})), ROLE_BINDING)) == 4


# --- workloads -------------------------------------------------------------------------------------------------------


def test_a_workloads_pods_are_never_the_runtimes() -> None:
    asked = samples.deployment()
    asked["spec"]["template"]["metadata"]["labels"] |= {
        "app.kubernetes.io/name": "shop",
        "app.kubernetes.io/version": "1",
    }
    made = children(swarm(**{**EVERYTHING, "workloads": [asked, *EVERYTHING["workloads"][1:]]}))
    services = of_kind(made, SERVICE)
    for name, template in pods(made):
        labels = template["metadata"]["labels"]
        component = "runtime" if name == OWN else "workload"
        assert labels["app.kubernetes.io/component"] == component
        assert labels["crawbl.ai/swarm"] == "workspace-a"
        for service in (services[""], services["headless"]):
            assert (service["spec"]["selector"].items() <= labels.items()) is (component == "runtime")
    deployment = of_kind(made, DEPLOYMENT)["web"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["app.kubernetes.io/name"] == "shop"
    assert labels["app.kubernetes.io/version"] == "1"
    assert labels["app.kubernetes.io/part-of"] == "userswarm"
    assert services["web"]["spec"]["selector"] == {
        "app": "web",
        "crawbl.ai/swarm": "workspace-a",
        "app.kubernetes.io/component": "workload",
    }
    assert services["web"]["spec"]["selector"].items() <= labels.items()


def test_a_workload_belongs_to_its_swarm_and_keeps_its_own_words() -> None:
    asked = samples.config_map()
    asked["metadata"] |= {"labels": {"tier": "front"}, "annotations": {"note": "mine"}}
    (found,) = (each for each in children(swarm(workloads=[asked])) if each["metadata"]["name"] == "pages")
    assert found["metadata"]["labels"]["tier"] == "front"
    assert found["metadata"]["labels"]["app.kubernetes.io/name"] == "userswarm"
    assert found["metadata"]["annotations"]["note"] == "mine"
    assert found["metadata"]["annotations"]["crawbl.ai/user-id"] == "user-1"
    assert len(found["metadata"]["annotations"]["crawbl.ai/workload-checksum"]) == 64


def test_a_workload_runs_where_the_runtime_may_and_in_its_sandbox() -> None:
    placement = {
        **MANAGED,
        "runtimeClassName": "gvisor",
        "nodeSelector": {"pool": "walled"},
        "tolerations": [{"key": "walled", "operator": "Exists"}],
    }
    asked = samples.deployment(samples.pod(nodeSelector={"pool": "open", "disk": "ssd"}))
    workloads = [asked, samples.job(), samples.cron_job()]
    for name, template in pods(children(swarm(placement, workloads=workloads, **ROOM))):
        spec = template["spec"]
        assert spec["runtimeClassName"] == "gvisor"
        assert spec["tolerations"] == [{"key": "walled", "operator": "Exists"}]
        assert spec["nodeSelector"] == {"pool": "walled", **({"disk": "ssd"} if name == "web" else {})}
    for _, template in pods(children(swarm(workloads=workloads, **ROOM))):
        assert not template["spec"].keys() & {"runtimeClassName", "tolerations"}


# --- the sample ------------------------------------------------------------------------------------------------------


def test_the_sample_shows_every_kind_of_wall_and_runs_the_resources_that_it_says() -> None:
    made = children(sample())
    found = {each["kind"] for each in made}
    assert found >= {"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding", "Deployment"}
    (stateful_set,) = (each for each in made if each["kind"] == STATEFUL_SET.kind)
    assert (
        stateful_set["spec"]["template"]["spec"]["containers"][0]["resources"]
        == sample()["spec"]["runtime"]["resources"]
    )


@pytest.mark.parametrize("placement", [MANAGED, LENT])
def test_render_shows_what_will_stand_once_the_namespace_does(placement: Json) -> None:
    text = render_children(yaml.safe_dump(swarm(placement)), "x.yaml", scenes.SETTINGS)
    shown = [(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text)]
    standing = compute_plan(swarm(placement), scenes.SETTINGS).children()
    assert shown == [(each["kind"], each["metadata"]["name"]) for each in standing]
    assert (NAMESPACE.kind in {kind for kind, _ in shown}) is (placement is MANAGED)
