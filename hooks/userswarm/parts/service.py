"""The two Services of a swarm: the stable in-cluster address, and the one that names the Pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.shape import Part, Sight, Verdict, judge_present
from userswarm.spec.swarm import Asked, Check, Swarm
from userswarm.wire.k8s import SERVICE, Manifest

PORT_NAME = "http"


def read(swarm: Swarm) -> int:
    """Return the port at which the runtime answers."""
    port: int = swarm.spec["runtime"]["port"]
    return port


def build(port: int, swarm: Swarm) -> list[Manifest]:
    """Return both Services.

    They select on ``identity.selector()``, never on the full labels: labels may gain keys in a later release, while
    a selector has to keep matching the Pods that an earlier release made.
    """
    identity = swarm.identity
    # By name: the container may change its port without an edit here.
    ports = {"name": PORT_NAME, "port": port, "protocol": "TCP", "targetPort": PORT_NAME}
    headless: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.headless_service),
        "spec": {
            "clusterIP": "None",
            # The Pod's name in DNS, ready or not.
            "publishNotReadyAddresses": True,
            "selector": identity.selector(),
            "ports": [dict(ports)],
        },
    }
    front: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.name),
        "spec": {"type": "ClusterIP", "selector": identity.selector(), "ports": [dict(ports)]},
    }
    return [headless, front]


def judge(port: int, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge both Services; whether the one in front leads to the Pod, the verification finds out."""
    for name in (swarm.identity.headless_service, swarm.identity.name):
        missing = judge_present(SERVICE, name, swarm, sight)
        if missing is not None:
            return missing
    return Verdict(True, "Present", f"Service {swarm.identity.namespace}/{swarm.identity.name} is there")


def report(port: int, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return where the runtime is reached from inside the cluster."""
    name, namespace = swarm.identity.name, swarm.identity.namespace
    return {
        "runtimeNamespace": namespace,
        "serviceName": name,
        "endpoint": f"http://{name}.{namespace}.svc:{port}",
    }


def _check_route(asked: Asked) -> Iterator[Problem]:
    if asked.spec.get("exposure", {}).get("httpRoute", {}).get("enabled"):
        yield Problem(
            "spec.exposure.httpRoute.enabled",
            "true is not supported: a swarm is never reachable from outside, the backend proxies to its Service; "
            "set it to false",
        )


PART = Part(
    name="service",
    condition="ServiceReady",
    kinds=(SERVICE,),
    checks=(Check(("spec.exposure",), _check_route),),
    read=read,
    build=build,
    judge=judge,
    report=report,
    reports={"runtimeNamespace": str, "serviceName": str, "endpoint": str},
)
