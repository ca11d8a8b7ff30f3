"""A Dedicated swarm: a namespace of its own, a token that reaches no further, and people who may look in."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from e2e.cluster import Cluster
from e2e.story import Object, Run, is_verified

pytestmark = pytest.mark.e2e

SITE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "site"},
    "data": {"index.html": "<p>Built by an agent.</p>"},
}


def may(user: str, verb: str, resource: str, namespace: str) -> bool:
    """Ask the API server whether a user may do something."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    words = ["kubectl", "auth", "can-i", verb, resource, "--namespace", namespace, "--as", user]
    answer = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    assert answer in {"yes", "no"}, answer
    return answer == "yes"


def dedicated(run: Run, name: str) -> Object:
    return run.swarm(
        name,
        placement={"isolation": "Dedicated"},
        access={"role": "view", "members": [{"kind": "User", "name": "ada@example.com", "role": "edit"}]},
        workloads=[SITE],
    )


def test_a_dedicated_swarm_lives_and_dies_with_its_namespace(swarms: Cluster, run: Run) -> None:
    manifest = dedicated(run, "dedicated")
    swarms.apply(manifest)
    swarm = swarms.wait(manifest["metadata"]["name"], "verified", is_verified)
    namespace = swarm["status"]["runtimeNamespace"]
    found = swarms.get("Namespace", namespace)
    assert found is not None
    assert found["metadata"]["ownerReferences"][0]["uid"] == swarm["metadata"]["uid"]
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for kind in ("ResourceQuota", "LimitRange", "NetworkPolicy", "RoleBinding"):
        assert swarms.all(kind, namespace), kind
    assert swarms.get("ConfigMap", "site", namespace) is not None

    runtime = f"system:serviceaccount:{namespace}:{swarm['status']['serviceName']}"
    assert may(runtime, "list", "pods", namespace)
    assert not may(runtime, "get", "secrets", namespace)
    assert not may(runtime, "delete", "pods", namespace)
    assert not may(runtime, "list", "pods", "userswarms")
    assert may("ada@example.com", "create", "configmaps", namespace)
    assert not may("ada@example.com", "create", "rolebindings", namespace)
    assert not may("ada@example.com", "create", "configmaps", "userswarms")

    swarms.delete("UserSwarm", swarm["metadata"]["name"])
    swarms.wait_gone("UserSwarm", swarm["metadata"]["name"])
    swarms.wait_gone("Namespace", namespace)
