"""The gate as it is installed: its settings, who reaches it, what it may do, and an Envoy Gateway that asks it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.rendered import Object, named, of_kind, production_with, selects
from contract.test_manifests import validate
from contract.test_network_policy import (
    API_SERVER,
    BACKEND,
    DEDICATED,
    DNS,
    INTERNET,
    METACONTROLLER,
    NEIGHBOUR,
    PORT,
    PROMETHEUS,
    RUNTIME,
    STRANGER_INSIDE,
    Cluster,
    Pod,
    webhook,
)
from contract.test_rbac import READ, allow, permissions
from userswarm.gate.envoy.bootstrap import build_bootstrap
from userswarm.gate.envoy.http import connection_manager
from userswarm.gate.envoy.running import command
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.settings import GateSettings

USERS, STATUS, CHECKS, METRICS = 8443, 8082, 8090, 9090


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return production_with("gate")


@pytest.fixture(scope="module")
def beside_envoy_gateway() -> list[Object]:
    return production_with("gate", "gate-envoy-gateway")


def pod(objects: list[Object]) -> Object:
    spec: Object = named(objects, "Deployment", "userswarm-gate")["spec"]["template"]["spec"]
    return spec


def container(objects: list[Object], name: str) -> Object:
    spec = pod(objects)
    (found,) = (each for each in [*spec.get("initContainers", []), *spec["containers"]] if each["name"] == name)
    return dict(found)


def settings(objects: list[Object], name: str, scratch: Path) -> tuple[GateSettings, EnvoySettings]:
    """Return what a container's environment means; its files are there, if their folders are mounted."""
    own = container(objects, name)
    mounts = {mount["mountPath"] for mount in own["volumeMounts"]}
    environ = {each["name"]: each["value"] for each in own["env"]}
    for variable, value in environ.items():
        if variable.endswith("_FILE"):
            assert str(Path(value).parent) in mounts, variable
            stand_in = scratch / Path(value).name
            platform = named(objects, "ConfigMap", "userswarm-gate")["data"]
            stand_in.write_text(platform.get(stand_in.name, "content"), encoding="utf-8")
            environ[variable] = str(stand_in)
    gate = GateSettings.from_environment(environ)
    return gate, EnvoySettings.from_environment(environ, gate)


def test_both_who_decides_and_who_writes_for_envoy_start_with_their_environment(
    objects: list[Object], tmp_path: Path
) -> None:
    gate, envoy = settings(objects, "gate", tmp_path)
    assert settings(objects, "envoy-config", tmp_path) == (gate, envoy)
    assert gate.issuers[0].issuer.startswith("https://")
    assert (gate.bind, gate.metrics_bind) == (f"0.0.0.0:{CHECKS}", f"0.0.0.0:{METRICS}")
    assert (envoy.listen, envoy.status, envoy.gate) == (f"0.0.0.0:{USERS}", f"0.0.0.0:{STATUS}", f"127.0.0.1:{CHECKS}")
    shared = {mount["mountPath"] for mount in container(objects, "envoy")["volumeMounts"]}
    assert {envoy.run_dir, str(Path(envoy.stream_log).parent), "/etc/userswarm/tls"} <= shared


def test_envoy_is_the_one_that_the_tests_ask_and_called_as_they_do(objects: list[Object]) -> None:
    envoy = container(objects, "envoy")
    configuration = Path(EnvoySettings().run_dir) / "envoy.yaml"
    assert envoy["args"] == command("envoy", configuration, workers=2)[1:]
    assert re.fullmatch(r"envoyproxy/envoy:distroless-v1\.40\.\d+", envoy["image"])


def test_ports_lead_to_who_listens_there(objects: list[Object]) -> None:
    ports = {
        port["name"]: port["containerPort"] for each in pod(objects)["containers"] for port in each.get("ports", [])
    }
    assert ports == {"users": USERS, "envoy": STATUS, "checks": CHECKS, "metrics": METRICS}
    services = {name: named(objects, "Service", name)["spec"] for name in ("userswarm-gate", "userswarm-gate-users")}
    found = {name: {each["targetPort"]: each["port"] for each in spec["ports"]} for name, spec in services.items()}
    assert found["userswarm-gate"] == {"envoy": STATUS, "checks": CHECKS, "metrics": METRICS}
    # This one is made a LoadBalancer, which publishes all its ports.
    assert found["userswarm-gate-users"] == {"users": 443}
    for spec in services.values():
        assert selects({"matchLabels": spec["selector"]}, gate_pod(objects).labels)


def test_every_container_is_restricted_also_those_that_come_first(objects: list[Object]) -> None:
    spec = pod(objects)
    assert len(spec["initContainers"]) + len(spec["containers"]) == 3
    for each in [*spec["initContainers"], *spec["containers"]]:
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_a_stop_lets_envoy_end_before_who_decides(objects: list[Object], tmp_path: Path) -> None:
    pauses = {name: container(objects, name)["lifecycle"]["preStop"]["sleep"]["seconds"] for name in ("envoy", "gate")}
    assert pauses["envoy"] < pauses["gate"]
    gate, _ = settings(objects, "gate", tmp_path)
    assert pauses["gate"] + gate.graceful_timeout < pod(objects)["terminationGracePeriodSeconds"]


def test_the_autoscaler_and_the_budget_are_for_the_gates_pods() -> None:
    objects = production_with("gate", "gate-hpa")
    deployment = named(objects, "Deployment", "userswarm-gate")["spec"]
    assert "replicas" not in deployment
    assert named(objects, "HorizontalPodAutoscaler", "userswarm-gate")["spec"]["scaleTargetRef"]["name"] == (
        "userswarm-gate"
    )
    budget = named(objects, "PodDisruptionBudget", "userswarm-gate")["spec"]
    assert selects(budget["selector"], deployment["template"]["metadata"]["labels"])


# --- rights ------------------------------------------------------------------------------------------------------


def test_the_gate_reads_userswarms_and_notes_that_they_are_used(objects: list[Object]) -> None:
    assert permissions(named(objects, "ClusterRole", "userswarm-gate")) == allow(
        "crawbl.ai", ["userswarms"], READ | {"patch"}
    )
    bound = [
        (binding["kind"], binding["roleRef"]["name"])
        for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        if {"kind": "ServiceAccount", "name": "userswarm-gate", "namespace": "userswarm-system"} in binding["subjects"]
    ]
    assert bound == [("ClusterRoleBinding", "userswarm-gate")]


def test_the_admission_policy_is_about_the_gates_own_account(objects: list[Object]) -> None:
    policy = named(objects, "ValidatingAdmissionPolicy", "userswarm-gate")["spec"]
    account = named(objects, "ServiceAccount", "userswarm-gate")["metadata"]
    user = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert [each["expression"] for each in policy["matchConditions"]] == [f"request.userInfo.username == '{user}'"]
    assert policy["failurePolicy"] == "Fail"


# --- network -----------------------------------------------------------------------------------------------------


def gate_pod(objects: list[Object]) -> Pod:
    template = named(objects, "Deployment", "userswarm-gate")["spec"]["template"]
    ports = {
        port["name"]: port["containerPort"] for each in template["spec"]["containers"] for port in each.get("ports", [])
    }
    return Pod("userswarm-system", template["metadata"]["labels"], ports)


def test_runtimes_let_the_gate_in_and_only_where_there_is_one(objects: list[Object]) -> None:
    gate = gate_pod(objects)
    assert Cluster(objects).connects(gate, RUNTIME, PORT)
    assert not Cluster(objects).connects(gate, RUNTIME, 22)
    assert not Cluster(production_with("hpa")).connects(gate, RUNTIME, PORT)
    assert Cluster(objects).connects(BACKEND, RUNTIME, PORT)
    assert not Cluster(objects).connects(METACONTROLLER, RUNTIME, PORT)


def test_users_reach_envoy_and_nothing_else_of_the_gate(objects: list[Object]) -> None:
    cluster, gate = Cluster(objects), gate_pod(objects)
    for source in (INTERNET, BACKEND, METACONTROLLER):
        assert cluster.connects(source, gate, USERS)
        for port in (CHECKS, METRICS, STATUS):
            assert not cluster.connects(source, gate, port), port
    for port in (METRICS, STATUS):
        assert cluster.connects(PROMETHEUS, gate, port)
    assert not cluster.connects(PROMETHEUS, gate, CHECKS)


def test_the_gate_reaches_runtimes_the_api_server_issuers_and_dns_and_nobody_else(objects: list[Object]) -> None:
    cluster, gate = Cluster(objects), gate_pod(objects)
    assert cluster.connects(gate, DNS, 53, "UDP")
    assert cluster.connects(gate, API_SERVER, 443)
    assert cluster.connects(gate, INTERNET, 443)
    # A namespace of a swarm's own has no policy here.
    assert cluster.connects(gate, DEDICATED, PORT)
    for target in (STRANGER_INSIDE, BACKEND, METACONTROLLER, webhook(), NEIGHBOUR):
        assert not cluster.connects(gate, target, 8080)


# --- an Envoy Gateway in Envoy's place ---------------------------------------------------------------------------


def test_an_envoy_gateway_leaves_only_who_decides(beside_envoy_gateway: list[Object], tmp_path: Path) -> None:
    spec = pod(beside_envoy_gateway)
    assert [each["name"] for each in spec["containers"]] == ["gate"]
    assert "initContainers" not in spec
    gate, _ = settings(beside_envoy_gateway, "gate", tmp_path)
    assert gate.access_log == ""
    mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    labels = gate_pod(beside_envoy_gateway).labels
    services = [each["spec"] for each in of_kind(beside_envoy_gateway, "Service")]
    led_here = [each for each in services if selects({"matchLabels": each.get("selector", {})}, labels)]
    ports = {port["name"] for each in led_here for port in each["ports"]}
    assert ports == {"checks", "metrics"}
    for item in beside_envoy_gateway:
        validate(item)


def test_an_envoy_gateway_asks_as_our_envoy_does(beside_envoy_gateway: list[Object]) -> None:
    policy = named(beside_envoy_gateway, "SecurityPolicy", "userswarm-gate")["spec"]["extAuth"]
    ours: dict[str, Any] = next(
        each["typed_config"]
        for each in connection_manager(EnvoySettings())["typed_config"]["http_filters"]
        if each["name"] == "envoy.filters.http.ext_authz"
    )
    assert policy["failOpen"] is ours["failure_mode_allow"] is False
    assert policy["statusOnError"] == ours["status_on_error"]["code"]
    assert policy["timeout"] == ours["http_service"]["server_uri"]["timeout"]
    assert policy["http"]["path"] == ours["http_service"]["path_prefix"]
    assert set(policy["headersToExtAuth"]) == {each["exact"] for each in ours["allowed_headers"]["patterns"]}
    told = ours["http_service"]["authorization_response"]
    names = {each["exact"] for rule in told.values() for each in rule["patterns"] if each["exact"].startswith("x-user")}
    assert set(policy["http"]["headersToBackend"]) == names
    (backend,) = policy["http"]["backendRefs"]
    assert backend["port"] in {
        port["port"] for port in named(beside_envoy_gateway, "Service", backend["name"])["spec"]["ports"]
    }


def test_an_envoy_gateway_goes_where_the_gate_says_and_hears_no_client(beside_envoy_gateway: list[Object]) -> None:
    route = named(beside_envoy_gateway, "HTTPRoute", "userswarm-gate")["spec"]
    rewrite = named(beside_envoy_gateway, "HTTPRouteFilter", "userswarm-gate")["spec"]["urlRewrite"]
    header = rewrite["hostname"]["header"]
    policy = named(beside_envoy_gateway, "SecurityPolicy", "userswarm-gate")["spec"]
    early = named(beside_envoy_gateway, "ClientTrafficPolicy", "userswarm-gate")["spec"]["headers"][
        "earlyRequestHeaders"
    ]
    assert header in policy["extAuth"]["http"]["headersToBackend"]
    assert set(policy["extAuth"]["http"]["headersToBackend"]) <= set(early["remove"])
    assert [each["name"] for each in policy["targetRefs"]] == ["userswarm-gate"]
    assert route["hostnames"]
    (rule,) = route["rules"]
    removed = [each["requestHeaderModifier"]["remove"] for each in rule["filters"] if "requestHeaderModifier" in each]
    assert removed == [["authorization", header]]
    # The same path as behind our own Envoy.
    listener = build_bootstrap(EnvoySettings())["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    own = manager["route_config"]["virtual_hosts"][0]["routes"][-1]["route"]["regex_rewrite"]
    assert rewrite["path"]["replaceRegexMatch"] == {
        "pattern": own["pattern"]["regex"],
        "substitution": own["substitution"],
    }


def test_an_envoy_gateway_alone_reaches_who_decides(beside_envoy_gateway: list[Object]) -> None:
    cluster, gate = Cluster(beside_envoy_gateway), gate_pod(beside_envoy_gateway)
    proxy = Pod("envoy-gateway-system", {"gateway.envoyproxy.io/owning-gateway-name": "users"})
    another = Pod("envoy-gateway-system", {"gateway.envoyproxy.io/owning-gateway-name": "others"})
    assert cluster.connects(proxy, gate, CHECKS)
    assert cluster.connects(proxy, RUNTIME, PORT)
    assert cluster.connects(PROMETHEUS, gate, METRICS)
    for source in (another, INTERNET, BACKEND):
        assert not cluster.connects(source, gate, CHECKS)
    assert not cluster.connects(another, RUNTIME, PORT)


def test_platform_yaml_says_whose_tokens_count(objects: list[Object]) -> None:
    platform = named(objects, "ConfigMap", "userswarm-platform")["data"]
    assert named(objects, "ConfigMap", "userswarm-gate")["data"]["issuers.toml"] == platform["gateIssuers"]
    monitoring = yaml.safe_dump(named(objects, "NetworkPolicy", "gate-metrics"))
    assert f"kubernetes.io/metadata.name: {platform['monitoringNamespace']}" in monitoring
