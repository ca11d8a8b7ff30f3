from typing import Any

import pytest

from devcluster.admission import PROTECTION, restricted_violations
from fakes import NAMESPACE, Workloads, claim, config_map, namespace, pod, refusal


@pytest.fixture
def cluster() -> Workloads:
    return Workloads()


def test_a_claim_gets_the_default_class_and_its_protection(cluster: Workloads) -> None:
    made = cluster.api.create(claim())

    assert made["spec"]["storageClassName"] == "standard"
    assert made["metadata"]["finalizers"] == [PROTECTION]
    assert cluster.api.create(claim("e", storageClassName=""))["spec"]["storageClassName"] == ""


def test_a_claim_grows_only_where_its_class_can(cluster: Workloads) -> None:
    for name, storage_class in (("ok", "standard"), ("no", "fixed"), ("lost", "unknown")):
        cluster.api.create(claim(name, storageClassName=storage_class))
    cluster.settle()

    def grow(name: str) -> Any:
        patch = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        return cluster.api.patch("v1", "PersistentVolumeClaim", NAMESPACE, name, patch)

    assert grow("ok")["spec"]["resources"]["requests"]["storage"] == "2Gi"
    for name in ("no", "lost"):
        error = refusal(lambda name=name: grow(name))
        assert error.code == 403
        assert "only dynamically provisioned pvc can be resized" in error.message


def test_a_pod_needs_its_service_account(cluster: Workloads) -> None:
    error = refusal(lambda: cluster.api.create(pod(serviceAccountName="robot")))

    assert error.code == 403
    assert error.message.endswith('error looking up service account zoo/robot: serviceaccount "robot" not found')


def test_a_pod_gets_the_pull_secrets_of_its_service_account(cluster: Workloads) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": NAMESPACE},
        "imagePullSecrets": [{"name": "pull"}],
    }
    cluster.api.create(account)
    cluster.api.create({**account, "metadata": {"name": "plain", "namespace": NAMESPACE}, "imagePullSecrets": []})

    assert cluster.api.create(pod("a", serviceAccountName="robot"))["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert "imagePullSecrets" not in cluster.api.create(pod("b", serviceAccountName="plain"))["spec"]
    assert cluster.api.create(pod("c"))["spec"]["serviceAccountName"] == "default"


def test_a_pod_tolerates_a_node_that_is_away_for_a_while(cluster: Workloads) -> None:
    keys = [each["key"] for each in cluster.api.create(pod("a"))["spec"]["tolerations"]]
    assert keys == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    own = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]
    assert len(cluster.api.create(pod("b", tolerations=own))["spec"]["tolerations"]) == 2
    assert len(cluster.api.create(pod("c", tolerations=[{"operator": "Exists"}]))["spec"]["tolerations"]) == 1


ROOT = {"securityContext": {}}

VIOLATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "host network": ({"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
    "host path": ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, 'restricted volume type "hostPath"'),
    "no pod security context": (ROOT, "runAsNonRoot != true"),
    "no seccomp profile": ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
    "unconfined": (
        {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "Unconfined"}}},
        "seccompProfile",
    ),
    "root by number": (
        {"securityContext": {"runAsNonRoot": True, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}},
        "runAsUser=0",
    ),
    "privileged": ({"container": {"securityContext": {"privileged": True}}}, "privileged"),
    "escalation": ({"container": {"securityContext": {}}}, "allowPrivilegeEscalation != false"),
    "capabilities": (
        {
            "container": {
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
                }
            }
        },
        "unrestricted capabilities",
    ),
    "host port": ({"container": {"ports": [{"containerPort": 1, "hostPort": 1}]}}, "hostPort"),
    "an init container": ({"initContainers": [{"name": "init", "image": "i"}]}, 'container "init"'),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_is_not_restricted_is_refused_in_a_restricted_namespace_only(cluster: Workloads, name: str) -> None:
    changes, words = VIOLATIONS[name]
    bad = pod(**changes)
    error = refusal(lambda: cluster.api.create(bad))
    assert error.code == 403
    assert 'violates PodSecurity "restricted:latest"' in error.message
    assert words in error.message
    cluster.api.create(namespace("open"))
    bad["metadata"]["namespace"] = "open"
    assert cluster.api.create(bad)["metadata"]["name"] == "p"


def test_a_restricted_pod_violates_nothing() -> None:
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "runAsNonRoot": True,
        "runAsUser": 5,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "x"},
    }
    spec = {"containers": [{"name": "c", "securityContext": context}], "volumes": [{"name": "t", "emptyDir": {}}]}

    assert list(restricted_violations(spec)) == []


def test_other_kinds_and_operations_pass(cluster: Workloads) -> None:
    cluster.api.create(config_map())
    stored = cluster.api.create(pod())
    stored["metadata"]["labels"] = {"a": "b"}
    assert cluster.api.update(stored)["metadata"]["labels"] == {"a": "b"}
    cluster.api.create(claim())
    cluster.api.delete("v1", "PersistentVolumeClaim", NAMESPACE, "d")
