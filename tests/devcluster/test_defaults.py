import json
from typing import Any

import pytest

from devcluster.admission import StorageAdmission, StorageClass
from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.defaults import as_stored
from devcluster.merge import read_last_applied
from fakes import (
    CAPTURED,
    NAMESPACE,
    claim,
    config_map,
    job,
    namespace,
    pod,
    refusal,
    secret,
    service,
    stateful_set,
)

# Decided by the real cluster, or by its other controllers, and different in every run.
VOLATILE = {"clusterIP", "clusterIPs", "volumeName"}


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.admission.append(StorageAdmission({"standard": StorageClass("standard")}, "standard"))
    server.create(namespace())
    server.create(namespace("userswarms"))
    return server


def stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: stable(item) for key, item in value.items() if key not in VOLATILE or item in ("None", ["None"])}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value


@pytest.mark.skipif(not CAPTURED.exists(), reason="the captured requests are not part of the repository")
@pytest.mark.parametrize("name", ["sync-2-children-created.json", "sync-3-ready.json", "sync-5-invalid-override.json"])
def test_what_a_real_hook_applied_is_stored_as_a_real_server_stored_it(api: ApiServer, name: str) -> None:
    request = json.loads((CAPTURED / name).read_text())
    compared = 0
    for group in request["children"].values():
        for captured in group.values():
            stored = api.create(read_last_applied(captured))
            for field in ("spec", "data", "automountServiceAccountToken"):
                assert stable(stored.get(field)) == stable(captured.get(field))
            assert stored["metadata"]["labels"] == captured["metadata"]["labels"]
            assert stored["metadata"].get("finalizers") == captured["metadata"].get("finalizers")
            assert ("generation" in stored["metadata"]) == ("generation" in captured["metadata"])
            compared += 1

    assert compared == 6


def test_what_is_empty_or_null_is_dropped_where_kubernetes_drops_it() -> None:
    sent = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {}, "annotations": {"kept": ""}, "creationTimestamp": None},
        "spec": {
            "nodeSelector": {},
            "tolerations": [],
            "hostNetwork": False,
            "priorityClassName": "",
            "securityContext": {},
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "env": [{"name": "E", "value": ""}],
                    "args": [],
                    "stdin": False,
                    "resources": {"limits": {}, "requests": {"cpu": None}},
                    "livenessProbe": {"initialDelaySeconds": 0, "periodSeconds": 5.0},
                    "ports": [],
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi", "medium": ""}}],
        },
    }

    assert as_stored("Pod", sent) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"kept": ""}},
        "spec": {
            "securityContext": {},
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "c",
                    "env": [{"name": "E"}],
                    "resources": {"requests": {}},
                    "livenessProbe": {"periodSeconds": 5},
                    "ports": [],
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        },
    }


def test_a_services_selector_is_a_map_and_every_other_one_a_structure() -> None:
    sent = {"metadata": {}, "spec": {"selector": {}}}

    assert as_stored("Service", sent)["spec"] == {}
    assert as_stored("StatefulSet", sent)["spec"] == {"selector": {}}
    assert as_stored("Service", {"spec": {"selector": {"a": ""}}})["spec"] == {"selector": {"a": ""}}


@pytest.mark.parametrize(
    ("sent", "stored"), [("1000m", "1"), (1, "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi")]
)
def test_quantities_are_stored_in_canonical_form(api: ApiServer, sent: Any, stored: str) -> None:
    made = api.create(pod(container={"resources": {"limits": {"memory": sent}}}))

    assert made["spec"]["containers"][0]["resources"] == {"limits": {"memory": stored}, "requests": {"memory": stored}}


def test_a_quantity_that_is_none_is_400(api: ApiServer) -> None:
    assert refusal(lambda: api.create(claim(size="much"))).code == 400


def test_a_pods_defaults(api: ApiServer) -> None:
    spec = api.create(pod(volumes=[{"name": "tmp"}]))["spec"]
    container = spec["containers"][0]

    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert spec["enableServiceLinks"] is True
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["schedulerName"]) == (
        "Always",
        "ClusterFirst",
        "default-scheduler",
    )
    assert (spec["terminationGracePeriodSeconds"], spec["priority"]) == (30, 0)
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["resources"] == {}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1", "IfNotPresent"),
        ("registry.example:5000/app", "Always"),
        ("registry.example:5000/app:1", "IfNotPresent"),
        ("app@sha256:0", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(api: ApiServer, image: str, policy: str) -> None:
    made = api.create(pod(container={"image": image}))

    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_the_resources(api: ApiServer, resources: Any, quality: str) -> None:
    assert api.create(pod(container={"resources": resources}))["status"]["qosClass"] == quality


def test_probes_environment_and_volumes_are_completed(api: ApiServer) -> None:
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "x"}}, {"path": "r"}]}},
    ]
    made = api.create(
        pod(
            container={
                "readinessProbe": {"httpGet": {"port": 80}},
                "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 3},
                "env": [
                    {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "B", "value": "x"},
                ],
            },
            volumes=[
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
                {"name": "p", "projected": {"sources": sources}},
            ],
            serviceAccountName="robot",
        )
    )["spec"]
    container = made["containers"][0]

    assert container["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["livenessProbe"]["periodSeconds"] == 3
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert made["volumes"][0]["configMap"]["defaultMode"] == 420
    assert made["volumes"][1]["secret"]["defaultMode"] == 256
    projected = made["volumes"][2]["projected"]["sources"]
    assert projected[0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert projected[1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert (made["serviceAccountName"], made["serviceAccount"]) == ("robot", "robot")


def test_a_stateful_sets_defaults(api: ApiServer) -> None:
    made = api.create(
        stateful_set(
            updateStrategy={"type": "OnDelete"},
            volumeClaimTemplates=[{"metadata": {"name": "d"}, "spec": {}}],
        )
    )

    assert made["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert made["spec"]["volumeClaimTemplates"][0]["kind"] == "PersistentVolumeClaim"
    assert made["status"] == {"replicas": 0, "availableReplicas": 0}


def test_a_jobs_defaults_carry_its_own_uid(api: ApiServer) -> None:
    sent = job()
    sent["spec"]["template"]["metadata"] = {"labels": {"app": "x"}}
    made = api.create(sent)
    uid = made["metadata"]["uid"]

    assert made["metadata"]["labels"] == {"app": "x"}
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"] == {
        "app": "x",
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }
    assert (made["spec"]["completions"], made["spec"]["suspend"]) == (1, False)
    assert "labels" not in api.create(job("bare"))["metadata"]


def test_a_secrets_texts_become_data(api: ApiServer) -> None:
    made = api.create(secret("s", key="value"))

    assert made["data"] == {"key": "dmFsdWU="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


def test_a_service_gets_an_address_unless_it_wants_none(api: ApiServer) -> None:
    assert api.create(service())["spec"]["clusterIP"].startswith("10.96.")
    headless = api.create(service("h", clusterIP="None"))["spec"]
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    assert api.create(service("p", ports=[{"port": 5}]))["spec"]["ports"] == [
        {"port": 5, "protocol": "TCP", "targetPort": 5}
    ]


def test_a_namespace_is_active_and_carries_its_name(api: ApiServer) -> None:
    made = api.get("v1", "Namespace", None, NAMESPACE)

    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


def test_an_empty_slice_says_null_as_a_real_one_does(api: ApiServer) -> None:
    made = api.create(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "e", "namespace": NAMESPACE},
            "addressType": "IPv4",
            "endpoints": None,
        }
    )

    assert (made["endpoints"], made["ports"]) == (None, None)


def test_a_kind_without_defaults_is_left_alone(api: ApiServer) -> None:
    assert api.create(config_map(data={}))["metadata"]["name"] == "c"
    assert "data" not in api.get("v1", "ConfigMap", NAMESPACE, "c")


def test_references_to_a_pods_own_fields_are_completed(api: ApiServer) -> None:
    amount = {"containerName": "main", "resource": "limits.cpu"}
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "cpu", "resourceFieldRef": {**amount, "divisor": "1000m"}},
    ]
    env = [{"name": "CPU", "valueFrom": {"resourceFieldRef": amount}}]
    probe = {"grpc": {"port": 9000}}
    volumes = [{"name": "v", "downwardAPI": {"items": items}}]
    spec = api.create(pod(container={"env": env, "livenessProbe": probe}, volumes=volumes))["spec"]

    (container,), (volume,) = spec["containers"], spec["volumes"]
    assert container["env"][0]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"
    assert container["livenessProbe"]["grpc"] == {"port": 9000, "service": ""}
    assert volume["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert volume["downwardAPI"]["items"][1]["resourceFieldRef"]["divisor"] == "1"


def test_a_service_that_holds_on_to_its_clients_says_for_how_long(api: ApiServer) -> None:
    stored = api.create(service(sessionAffinity="ClientIP"))

    assert stored["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
