"""A tenant's own workloads: what is taken, how it is completed, and every attempt to break out that is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import scenes
from devcluster.admission import restricted_violations
from userswarm.parts.dedicated.workloads import (
    MAX_WORKLOADS_BYTES,
    Surroundings,
    Workload,
    complete_workloads,
    pod_template,
)
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import DEPLOYMENT, MAX_APPLIED_BYTES
from workload_samples import (
    CONTAINER,
    POD,
    config_map,
    container,
    cron_job,
    deployment,
    job,
    pod,
    service,
    with_container,
)

Json = dict[str, Any]

SWARM = "swarm-workspace-a"
ALONE = Surroundings(SWARM, True, scenes.SETTINGS)
LENT = Surroundings(SWARM, False, scenes.SETTINGS)
CHOSEN = Settings(allowed_secrets=("platform-keys",), allowed_image_prefixes=("registry.example/",))


def complete(workload: Json, surroundings: Surroundings = ALONE) -> Json:
    """Return a workload that has to be taken, completed."""
    (completed,) = taken([workload], surroundings)
    return completed.manifest


def taken(workloads: list[Json], surroundings: Surroundings = ALONE) -> list[Workload]:
    before = copy.deepcopy(workloads)
    completed, problems = complete_workloads(workloads, surroundings)
    assert problems == []
    assert workloads == before
    return completed


def refused(workload: Json, surroundings: Surroundings = ALONE) -> dict[str, str]:
    """Return the problems of a workload that has to be refused: paths below it, and messages."""
    completed, problems = complete_workloads([workload], surroundings)
    assert completed == []
    assert problems
    return {problem.path.removeprefix("spec.workloads[0]").removeprefix("."): problem.message for problem in problems}


SECURITY = f"{CONTAINER}.securityContext"

ATTEMPTS: dict[str, tuple[Json, str]] = {
    # The node.
    "share the node's network": (deployment(pod(hostNetwork=True)), f"{POD}.hostNetwork"),
    "share the node's processes": (deployment(pod(hostPID=True)), f"{POD}.hostPID"),
    "share the node's IPC": (deployment(pod(hostIPC=True)), f"{POD}.hostIPC"),
    "say true in another way": (deployment(pod(hostPID="true")), f"{POD}.hostPID"),
    "say false in another way": (deployment(pod(hostPID=0)), f"{POD}.hostPID"),
    "leave the user namespace": (deployment(pod(hostUsers=True)), f"{POD}.hostUsers"),
    "mount the node's disk": (
        deployment(pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
        f"{POD}.volumes[0].hostPath",
    ),
    "mount the node's disk behind an emptyDir": (
        deployment(pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}])),
        f"{POD}.volumes[0].hostPath",
    ),
    "take a port of the node": (
        with_container(ports=[{"containerPort": 80, "hostPort": 80}]),
        f"{CONTAINER}.ports[0].hostPort",
    ),
    "choose the node": (deployment(pod(nodeName="control-plane-1")), f"{POD}.nodeName"),
    "tolerate the control plane": (
        deployment(pod(tolerations=[{"operator": "Exists"}])),
        f"{POD}.tolerations",
    ),
    "leave the sandbox": (deployment(pod(runtimeClassName="runc")), f"{POD}.runtimeClassName"),
    "push others out": (
        deployment(pod(priorityClassName="system-node-critical")),
        f"{POD}.priorityClassName",
    ),
    "a raw device": (
        with_container(volumeDevices=[{"name": "v", "devicePath": "/dev/sda"}]),
        f"{CONTAINER}.volumeDevices",
    ),
    "a device by a claim": (with_container(resources={"claims": [{"name": "gpu"}]}), f"{CONTAINER}.resources.claims"),
    "a device by a resource": (
        with_container(resources={"limits": {"vendor.example/kvm": 1}}),
        f"{CONTAINER}.resources.limits[vendor.example/kvm]",
    ),
    "mounts that reach the node": (
        deployment(
            pod(
                containers=[
                    container(volumeMounts=[{"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}])
                ],
                volumes=[{"name": "v", "emptyDir": {}}],
            )
        ),
        f"{CONTAINER}.volumeMounts[0].mountPropagation",
    ),
    "a path out of a volume": (
        deployment(
            pod(
                containers=[container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "a/../../b"}])],
                volumes=[{"name": "v", "emptyDir": {}}],
            )
        ),
        f"{CONTAINER}.volumeMounts[0].subPath",
    ),
    "settings of the kernel": (
        deployment(pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
        f"{POD}.securityContext.sysctls",
    ),
    "a probe of the node": (
        with_container(livenessProbe={"httpGet": {"port": 80, "host": "169.254.169.254"}}),
        f"{CONTAINER}.livenessProbe.httpGet.host",
    ),
    "a probe of a neighbour": (
        with_container(readinessProbe={"tcpSocket": {"port": 80, "host": "10.0.0.1"}}),
        f"{CONTAINER}.readinessProbe.tcpSocket.host",
    ),
    "a hook that calls out": (
        with_container(lifecycle={"postStart": {"httpGet": {"host": "10.0.0.1", "port": 80}}}),
        f"{CONTAINER}.lifecycle",
    ),
    "names of its own": (
        deployment(pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["api"]}])),
        f"{POD}.hostAliases",
    ),
    "a resolver of its own": (deployment(pod(dnsPolicy="Default")), f"{POD}.dnsPolicy"),
    # Privileges.
    "be privileged": (with_container(securityContext={"privileged": True}), f"{SECURITY}.privileged"),
    "gain privileges": (
        with_container(securityContext={"allowPrivilegeEscalation": True}),
        f"{SECURITY}.allowPrivilegeEscalation",
    ),
    "add a capability": (
        with_container(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE", "SYS_ADMIN"]}}),
        f"{SECURITY}.capabilities.add[1]",
    ),
    "be root": (with_container(securityContext={"runAsUser": 0}), f"{SECURITY}.runAsUser"),
    "be root as a Pod": (deployment(pod(securityContext={"runAsUser": 0})), f"{POD}.securityContext.runAsUser"),
    "maybe be root": (with_container(securityContext={"runAsNonRoot": False}), f"{SECURITY}.runAsNonRoot"),
    "maybe be root as a Pod": (
        deployment(pod(securityContext={"runAsNonRoot": False})),
        f"{POD}.securityContext.runAsNonRoot",
    ),
    "no seccomp": (
        with_container(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        f"{SECURITY}.seccompProfile.type",
    ),
    "seccomp of its choice": (
        deployment(pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "open.json"}})),
        f"{POD}.securityContext.seccompProfile.localhostProfile",
    ),
    "no AppArmor": (
        with_container(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
        f"{SECURITY}.appArmorProfile",
    ),
    "all of /proc": (with_container(securityContext={"procMount": "Unmasked"}), f"{SECURITY}.procMount"),
    "another SELinux type": (
        deployment(pod(securityContext={"seLinuxOptions": {"type": "spc_t"}})),
        f"{POD}.securityContext.seLinuxOptions",
    ),
    "in an init container": (
        deployment(pod(initContainers=[container(name="i", securityContext={"privileged": True})])),
        f"{POD}.initContainers[0].securityContext.privileged",
    ),
    "in an ephemeral container": (
        deployment(pod(ephemeralContainers=[container(name="e")])),
        f"{POD}.ephemeralContainers",
    ),
    "nested in a CronJob": (
        {
            **cron_job(),
            "spec": {
                "schedule": "@daily",
                "jobTemplate": {"spec": job(pod(restartPolicy="Never", hostPID=True))["spec"]},
            },
        },
        "spec.jobTemplate.spec.template.spec.hostPID",
    ),
    # The Kubernetes API.
    "a token": (
        deployment(pod(automountServiceAccountToken=True)),
        f"{POD}.automountServiceAccountToken",
    ),
    "the runtime's account": (deployment(pod(serviceAccountName=SWARM)), f"{POD}.serviceAccountName"),
    "an account by its old name": (deployment(pod(serviceAccount=SWARM)), f"{POD}.serviceAccount"),
    "a token as a volume": (
        deployment(pod(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}])),
        f"{POD}.volumes[0].projected",
    ),
    # The network.
    "a Service outside": (service(type="LoadBalancer"), "spec.type"),
    "a Service on every node": (service(type="NodePort"), "spec.type"),
    "a Service that is a name": (service(type="ExternalName", externalName="x.example"), "spec.externalName"),
    "a Service with others' addresses": (service(externalIPs=["10.0.0.1"]), "spec.externalIPs"),
    "a port on every node": (service(ports=[{"port": 80, "nodePort": 30080}]), "spec.ports[0].nodePort"),
    "an address of its choice": (service(clusterIP="10.96.0.10"), "spec.clusterIP"),
    "a Service without a selector": (service(selector={}), "spec.selector"),
    "a second network": (
        {
            **deployment(),
            "spec": {
                **deployment()["spec"],
                "template": {
                    "metadata": {"labels": {"app": "web"}, "annotations": {"k8s.v1.cni.cncf.io/networks": "host"}},
                    "spec": pod(),
                },
            },
        },
        "spec.template.metadata.annotations[k8s.v1.cni.cncf.io/networks]",
    ),
    "a Service across clusters": (
        {**service(), "metadata": {"name": "web", "annotations": {"service.cilium.io/global": "true"}}},
        "metadata.annotations[service.cilium.io/global]",
    ),
    "leave the mesh": (
        {**deployment(), "metadata": {"name": "web", "labels": {"sidecar.istio.io/inject": "false"}}},
        "metadata.labels[sidecar.istio.io/inject]",
    ),
    # The swarm's own parts.
    "pass for the runtime": (
        {
            **deployment(),
            "spec": {
                "selector": {"matchLabels": {"app.kubernetes.io/component": "runtime"}},
                "template": {"metadata": {"labels": {"app.kubernetes.io/component": "runtime"}}, "spec": pod()},
            },
        },
        "spec.template.metadata.labels[app.kubernetes.io/component]",
    ),
    "pass for another swarm": (
        {**deployment(), "metadata": {"name": "web", "labels": {"crawbl.ai/swarm": "workspace-b"}}},
        "metadata.labels[crawbl.ai/swarm]",
    ),
    "lead to the runtime": (
        service(selector={"crawbl.ai/swarm": "workspace-a"}),
        "spec.selector[crawbl.ai/swarm]",
    ),
    "pass for a child of another controller": (
        {**deployment(), "metadata": {"name": "web", "labels": {"controller-uid": "x"}}},
        "metadata.labels[controller-uid]",
    ),
    "say what was applied": (
        {
            **deployment(),
            "metadata": {"name": "web", "annotations": {"metacontroller.k8s.io/last-applied-configuration": "{}"}},
        },
        "metadata.annotations[metacontroller.k8s.io/last-applied-configuration]",
    ),
    "belong to another": (
        {**deployment(), "metadata": {"name": "web", "ownerReferences": [{"uid": "x"}]}},
        "metadata.ownerReferences",
    ),
    "never go": ({**deployment(), "metadata": {"name": "web", "finalizers": ["x/y"]}}, "metadata.finalizers"),
    "the runtime's volume": (
        deployment(pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": f"{SWARM}-data"}}])),
        f"{POD}.volumes[0].persistentVolumeClaim",
    ),
    "a volume of its own": (
        deployment(pod(volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": {}}}])),
        f"{POD}.volumes[0].ephemeral",
    ),
    "a volume by a driver": (
        deployment(pod(volumes=[{"name": "v", "csi": {"driver": "secrets.example"}}])),
        f"{POD}.volumes[0].csi",
    ),
    "the runtime's name": (deployment(name=SWARM), "metadata.name"),
    "a smoke test's name": ({**job(), "metadata": {"name": "verify-x-1"}}, "metadata.name"),
    "Kubernetes' own name": ({**config_map(), "metadata": {"name": "kube-root-ca.crt"}}, "metadata.name"),
    "a Job that repeats itself": (job(ttlSecondsAfterFinished=0), "spec.ttlSecondsAfterFinished"),
    "a Job with others' Pods": (job(selector={"matchLabels": {"app": "x"}}), "spec.selector"),
    "a Job's label": (
        {
            **job(),
            "spec": {"template": {"metadata": {"labels": {"job-name": "x"}}, "spec": pod(restartPolicy="Never")}},
        },
        "spec.template.metadata.labels[job-name]",
    ),
    # Other kinds.
    "a Pod": ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod()}, "kind"),
    "a Secret": ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, "kind"),
    "a role": (
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "x"}},
        "kind",
    ),
    "a hole in the wall": (
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x"}},
        "kind",
    ),
    "a namespace": ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}, "kind"),
    "a known kind of another group": ({**deployment(), "apiVersion": "evil.example/v1"}, "kind"),
    "no kind": ({}, "kind"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_attempt_to_break_out_is_refused_by_the_name_of_its_field(attempt: str) -> None:
    workload, path = ATTEMPTS[attempt]
    assert path in refused(workload)
    assert path in refused(workload, LENT)


def test_a_namespace_is_forced_whatever_a_workload_says() -> None:
    asked = deployment()
    asked["metadata"]["namespace"] = "kube-system"
    scene = scenes.created(dedicated(workloads=[asked], quota={"cpu": 4, "memory": "4Gi", "pods": 9}))
    (found,) = scenes.children_of(scene.sync(), DEPLOYMENT)
    assert found["metadata"]["namespace"] == SWARM


def dedicated(**spec: Any) -> Json:
    parent: Json = scenes.user_swarm(placement={"isolation": "Dedicated"}, **spec)
    return parent


SECRETS: dict[str, Callable[[str], Json]] = {
    "by a variable": lambda name: with_container(
        env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]
    ),
    "by all variables": lambda name: with_container(envFrom=[{"secretRef": {"name": name}}]),
    "by a volume": lambda name: deployment(pod(volumes=[{"name": "v", "secret": {"secretName": name}}])),
    "by a pull": lambda name: deployment(pod(imagePullSecrets=[{"name": name}])),
}
CONFIG_MAPS: dict[str, Callable[[str], Json]] = {
    "by a variable": lambda name: with_container(
        env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": name, "key": "k"}}}]
    ),
    "by all variables": lambda name: with_container(envFrom=[{"configMapRef": {"name": name}}]),
    "by a volume": lambda name: deployment(pod(volumes=[{"name": "v", "configMap": {"name": name}}])),
}


@pytest.mark.parametrize("way", SECRETS)
def test_a_secret_of_another_swarm_is_refused_where_there_may_be_one(way: str) -> None:
    workload = SECRETS[way]
    assert "is not this swarm's" in next(iter(refused(workload("swarm-workspace-b-env"), LENT).values()))
    assert "allowed are" in next(
        iter(
            refused(
                workload("others"), Surroundings(SWARM, False, Settings(allowed_secrets=("platform-keys",)))
            ).values()
        )
    )
    for name in ("swarm-workspace-a-env", "swarm-workspace-a-pull", "others"):
        complete(workload(name), LENT)
    complete(workload("platform-keys"), Surroundings(SWARM, False, Settings(allowed_secrets=("platform-keys",))))
    # In a namespace of the swarm's own nobody else has one.
    complete(workload("swarm-workspace-b-env"))
    complete(workload("others"), Surroundings(SWARM, True, Settings(allowed_secrets=("platform-keys",))))


@pytest.mark.parametrize("way", CONFIG_MAPS)
def test_the_configuration_of_another_swarm_is_refused_where_there_may_be_one(way: str) -> None:
    workload = CONFIG_MAPS[way]
    assert "is not this swarm's" in next(iter(refused(workload("swarm-workspace-b-config"), LENT).values()))
    for name in ("swarm-workspace-a-config", "pages"):
        complete(workload(name), LENT)
    complete(workload("swarm-workspace-b-config"))


def test_images_are_limited_as_the_runtimes_are() -> None:
    chosen = Surroundings(SWARM, True, CHOSEN)
    complete(deployment(), chosen)
    evil = deployment(pod(initContainers=[container(name="i", image="evil.example/x")]))
    assert refused(evil, chosen) == {
        f"{POD}.initContainers[0].image": "'evil.example/x' is not allowed here; it must start with registry.example/"
    }


MISTAKES: dict[str, tuple[Json, str, str]] = {
    "an unknown field": (with_container(imagePulPolicy="Always"), f"{CONTAINER}.imagePulPolicy", "imagePullPolicy?"),
    "an unknown field far from any": (
        deployment(pod(volumes=[{"name": "v", "emptyDir": {"zzz": 1}}])),
        f"{POD}.volumes[0].emptyDir.zzz",
        "allowed are medium, sizeLimit",
    ),
    "an unknown field of a probe": (
        with_container(livenessProbe={"exec": {"command": ["x"]}, "periodSecond": 5}),
        f"{CONTAINER}.livenessProbe.periodSecond",
        "periodSeconds?",
    ),
    "an unknown field of a variable": (
        with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldpath": "metadata.name"}}}]),
        f"{CONTAINER}.env[0].valueFrom.fieldRef.fieldpath",
        "fieldPath?",
    ),
    "a status": ({**deployment(), "status": {"replicas": 1}}, "status.replicas", "allowed are"),
    "no metadata": ({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata", "is missing"),
    "no name": ({**config_map(), "metadata": {}}, "metadata.name", "is missing"),
    "no spec": ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}, "spec", "is missing"),
    "no container": (deployment(pod(containers=[])), f"{POD}.containers", "is missing"),
    "no template": (
        {**deployment(), "spec": {"selector": {"matchLabels": {"a": "b"}}}},
        "spec.template",
        "is missing",
    ),
    "containers that are no list": (deployment({"containers": container()}), f"{POD}.containers", "must be a list"),
    "a container that is none": (deployment({"containers": ["x"]}), CONTAINER, "must be an object"),
    "metadata that is none": ({**deployment(), "metadata": "web"}, "metadata", "must be an object"),
    "labels that are none": (
        {**deployment(), "metadata": {"name": "web", "labels": ["a"]}},
        "metadata.labels",
        "object",
    ),
    "replicas as a text": (deployment(replicas="3"), "spec.replicas", 'is "3"; must be a whole number from 0 to 1000'),
    "half a replica": (deployment(replicas=0.5), "spec.replicas", "whole number"),
    "replicas as a bool": (deployment(replicas=True), "spec.replicas", "whole number"),
    "too many replicas": (deployment(replicas=1001), "spec.replicas", "whole number"),
    "a flag as a text": (deployment(paused="yes"), "spec.paused", "true or false"),
    "a text as a number": (with_container(workingDir=5), f"{CONTAINER}.workingDir", "must be a text"),
    "arguments as a text": (with_container(args="-v"), f"{CONTAINER}.args", "list of texts"),
    "an argument that is a number": (with_container(args=[1]), f"{CONTAINER}.args", "list of texts"),
    "a variable that is a number": (
        with_container(env=[{"name": "A", "value": 1}]),
        f"{CONTAINER}.env[0].value",
        "text",
    ),
    "a variable's name": (with_container(env=[{"name": "1A"}]), f"{CONTAINER}.env[0].name", "variable's name"),
    "a variable twice": (
        with_container(env=[{"name": "A"}, {"name": "B"}, {"name": "A", "value": "1"}]),
        f"{CONTAINER}.env[2].name",
        "is 'A', as [0] is; each variable once",
    ),
    "a variable from two places": (
        with_container(
            env=[
                {
                    "name": "A",
                    "valueFrom": {
                        "fieldRef": {"fieldPath": "metadata.name"},
                        "secretKeyRef": {"name": "s", "key": "k"},
                    },
                }
            ]
        ),
        f"{CONTAINER}.env[0].valueFrom",
        "has fieldRef and secretKeyRef",
    ),
    "a variable from nowhere": (
        with_container(env=[{"name": "A", "valueFrom": {}}]),
        f"{CONTAINER}.env[0].valueFrom",
        "has none of them",
    ),
    "a variable with a value and a source": (
        with_container(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        f"{CONTAINER}.env[0].valueFrom",
        "beside value",
    ),
    "a field that no Pod has": (
        with_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}}]),
        f"{CONTAINER}.env[0].valueFrom.fieldRef.fieldPath",
        "a field of the Pod",
    ),
    "a quantity that is none": (
        with_container(resources={"limits": {"cpu": "lots"}}),
        f"{CONTAINER}.resources.limits[cpu]",
        "is not a quantity",
    ),
    "a quantity below zero": (
        with_container(resources={"requests": {"memory": "-1Gi"}}),
        f"{CONTAINER}.resources.requests[memory]",
        "is negative",
    ),
    "a request over its limit": (
        with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        f"{CONTAINER}.resources.requests.cpu",
        "2 is more than the limit, 1",
    ),
    "a size that is none": (
        deployment(pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "big"}}])),
        f"{POD}.volumes[0].emptyDir.sizeLimit",
        "is not a quantity",
    ),
    "a volume that is nothing": (deployment(pod(volumes=[{"name": "v"}])), f"{POD}.volumes[0]", "has none of them"),
    "a volume twice": (
        deployment(pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}])),
        f"{POD}.volumes[1].name",
        "as [0] is",
    ),
    "a mount of no volume": (
        with_container(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        f"{CONTAINER}.volumeMounts[0].name",
        "there is no volume 'v'",
    ),
    "a path with two volumes": (
        deployment(
            pod(
                containers=[
                    container(volumeMounts=[{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}])
                ],
                volumes=[{"name": "v", "emptyDir": {}}],
            )
        ),
        f"{CONTAINER}.volumeMounts[1].mountPath",
        "a path has one volume",
    ),
    "a container twice": (
        deployment(pod(containers=[container(), container()])),
        f"{POD}.containers[1].name",
        "as [0] is",
    ),
    "an init container with a container's name": (
        deployment(pod(initContainers=[container()])),
        f"{CONTAINER}.name",
        "a second container 'main'",
    ),
    "a probe for what ends": (
        deployment(pod(initContainers=[container(name="i", livenessProbe={"exec": {"command": ["x"]}})])),
        f"{POD}.initContainers[0].livenessProbe",
        "init container that ends",
    ),
    "an ordinary container that restarts": (
        with_container(restartPolicy="Always"),
        f"{CONTAINER}.restartPolicy",
        "is not a field",
    ),
    "a probe without an action": (
        with_container(livenessProbe={"periodSeconds": 5}),
        f"{CONTAINER}.livenessProbe",
        "has none of them",
    ),
    "a probe that Kubernetes refuses": (
        with_container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}),
        f"{CONTAINER}.livenessProbe.successThreshold",
        "from 1 to 1",
    ),
    "no port": (with_container(livenessProbe={"grpc": {"port": 0}}), f"{CONTAINER}.livenessProbe.grpc.port", "65535"),
    "a port's name": (
        with_container(livenessProbe={"tcpSocket": {"port": "123"}}),
        f"{CONTAINER}.livenessProbe.tcpSocket.port",
        "a port's name",
    ),
    "an empty port": (
        with_container(livenessProbe={"tcpSocket": {"port": ""}}),
        f"{CONTAINER}.livenessProbe.tcpSocket.port",
        "from 1 to 65535, or a port's name",
    ),
    "one number with two protocols": (
        service(
            ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        ),
        "spec.ports[1].port",
        "Metacontroller tells ports by their number",
    ),
    "one container port with two protocols": (
        with_container(ports=[{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]),
        f"{CONTAINER}.ports[1].containerPort",
        "Metacontroller tells ports by their number",
    ),
    "ports without names": (service(ports=[{"port": 1}, {"name": "b", "port": 2}]), "spec.ports[0].name", "is missing"),
    "a port's name twice": (
        service(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
        "spec.ports[1].name",
        "names must differ",
    ),
    "affinity's time without affinity": (
        service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}}),
        "spec.sessionAffinityConfig",
        "is for sessionAffinity ClientIP only",
    ),
    "a selector of other Pods": (
        deployment(selector={"matchLabels": {"app": "other"}}),
        "spec.selector.matchLabels",
        "must be among the labels",
    ),
    "a selector by expressions": (
        deployment(selector={"matchLabels": {"app": "web"}, "matchExpressions": []}),
        "spec.selector.matchExpressions",
        "is not a field",
    ),
    "a strategy that moves nothing": (
        deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
        "spec.strategy.rollingUpdate",
        "both 0",
    ),
    "a percentage of too much": (
        deployment(strategy={"rollingUpdate": {"maxSurge": "101%"}}),
        "spec.strategy.rollingUpdate.maxSurge",
        "a percentage",
    ),
    "a roll-out of what is recreated": (
        deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        "spec.strategy.rollingUpdate",
        "not for type Recreate",
    ),
    "a deadline before anything can be ready": (
        deployment(progressDeadlineSeconds=10, minReadySeconds=10),
        "spec.progressDeadlineSeconds",
        "more than minReadySeconds, 10",
    ),
    "a Deployment that ends": (deployment(pod(restartPolicy="Never")), f"{POD}.restartPolicy", '"Always"'),
    "a Deployment with a deadline": (
        deployment(pod(activeDeadlineSeconds=5)),
        f"{POD}.activeDeadlineSeconds",
        "is not a field",
    ),
    "a Job that never ends": (job(pod(restartPolicy="Always")), f"{POD}.restartPolicy", "Never, OnFailure"),
    "a Job that does not say": (job(pod()), f"{POD}.restartPolicy", "is missing; must be Never or OnFailure"),
    "a template's name": (
        {**job(), "spec": {"template": {"metadata": {"name": "x"}, "spec": pod(restartPolicy="Never")}}},
        "spec.template.metadata.name",
        "named by what makes them",
    ),
    "keys in both": (config_map(binaryData={"a": "YQ=="}), "binaryData[a]", "is in data too"),
    "binaries that are none": (config_map(binaryData={"b": "%%"}), "binaryData[b]", "must be base64"),
    "binaries that are numbers": (config_map(binaryData={"b": 5}), "binaryData[b]", "must be base64"),
    "binaries that are not ASCII": (config_map(binaryData={"b": "ä"}), "binaryData[b]", "must be base64"),
    "data that is a number": (config_map(data={"a": 1}), "data[a]", "must be a text"),
    "a file's name": (config_map(data={"..a": ""}), "data[..a]", "is no key"),
    "a ConfigMap for ever": (config_map(immutable=True), "immutable", "is not a field"),
    "a name with capitals": (deployment(name="Web"), "metadata.name", "start with a letter, at most 52"),
    "a Service's name that starts with a digit": (
        {**service(), "metadata": {"name": "1web"}},
        "metadata.name",
        "start with a letter, at most 63",
    ),
    "a Service's name that is too long": ({**service(), "metadata": {"name": "a" * 64}}, "metadata.name", "at most 63"),
    "a CronJob's name that is too long": (
        {**cron_job(), "metadata": {"name": "a" * 53}},
        "metadata.name",
        "at most 52",
    ),
    "a ConfigMap's name": ({**config_map(), "metadata": {"name": "a..b"}}, "metadata.name", "at most 253"),
    "a label's value": (
        {**deployment(), "metadata": {"name": "web", "labels": {"a": "b c"}}},
        "metadata.labels[a]",
        "a label's value",
    ),
    "a label's key": (
        {**deployment(), "metadata": {"name": "web", "labels": {"-a": ""}}},
        "metadata.labels[-a]",
        "no key",
    ),
    "an annotation's key": (
        {**deployment(), "metadata": {"name": "web", "annotations": {"a b": ""}}},
        "metadata.annotations[a b]",
        "no key",
    ),
    "a node's label": (deployment(pod(nodeSelector={"-/a": "b"})), f"{POD}.nodeSelector[-/a]", "no label's key"),
    "a long value": (with_container(workingDir=["x" * 99]), f"{CONTAINER}.workingDir", "…; must be"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_here_and_not_by_the_apiserver_at_every_sync(mistake: str) -> None:
    workload, path, told = MISTAKES[mistake]
    problems = refused(workload)
    assert told in problems[path]


SCHEDULES = ("* * * * *", "*/5 0-6,12 1 jan-mar,DEC mon-FRI", "0 07 ? * 0", "@hourly", "0/15 * * * *", "59 23 31 12 6")
NO_SCHEDULES = (
    "",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 7",
    "*/0 * * * *",
    "@every 1h",
    "@reboot",
    "TZ=UTC * * * * *",
    "1- * * * *",
    ", * * * *",
    "* * * * *\n",
    "0" * 300 + " * * * *",
)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_that_cron_reads_is_taken(schedule: str) -> None:
    assert complete(cron_job(schedule))["spec"]["schedule"] == schedule


@pytest.mark.parametrize("schedule", NO_SCHEDULES)
def test_a_schedule_that_cron_does_not_read_is_refused(schedule: str) -> None:
    assert "spec.schedule" in refused(cron_job(schedule))


def test_a_pod_is_completed_to_the_restricted_standard() -> None:
    for workload in (deployment(), job(), cron_job()):
        assert list(restricted_violations(pod_template(workload)["spec"]))  # type: ignore[index]
        completed = pod_template(complete(workload))
        assert completed is not None
        assert list(restricted_violations(completed["spec"])) == []
        assert completed["spec"]["automountServiceAccountToken"] is False
        assert completed["spec"]["enableServiceLinks"] is False
        assert completed["spec"]["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert completed["spec"]["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_what_is_safe_and_said_stays_as_it_was_said() -> None:
    security = {"runAsUser": 101, "runAsGroup": 0, "readOnlyRootFilesystem": True, "privileged": False}
    asked = deployment(
        pod(
            containers=[
                container(
                    securityContext={**security, "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["NET_RAW"]}}
                )
            ],
            securityContext={"runAsUser": 1000, "fsGroup": 0, "supplementalGroups": [5]},
            enableServiceLinks=True,
        )
    )
    spec = complete(asked)["spec"]["template"]["spec"]
    assert spec["enableServiceLinks"] is True
    assert spec["securityContext"] == {
        "runAsUser": 1000,
        "fsGroup": 0,
        "supplementalGroups": [5],
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["containers"][0]["securityContext"] == {
        **security,
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        "allowPrivilegeEscalation": False,
    }


def test_a_value_is_written_as_the_apiserver_stores_it() -> None:
    asked = deployment(
        pod(
            containers=[
                container(
                    resources={
                        "limits": {"cpu": "1000m", "memory": "1024Mi"},
                        "requests": {"cpu": 0.5, "memory": 64},
                    },
                    env=[{"name": "A", "value": ""}, {"name": "B", "value": None}],
                    livenessProbe={"httpGet": {"port": 8080.0, "path": ""}, "initialDelaySeconds": 0},
                    tty=False,
                    command=["", "x"],
                    args=[],
                    volumeMounts=[{"name": "v", "mountPath": "/v", "readOnly": False}],
                )
            ],
            hostNetwork=False,
            nodeSelector={},
            volumes=[
                {"name": "v", "emptyDir": {"sizeLimit": "1024Ki", "medium": ""}},
                {"name": "w", "emptyDir": {}},
            ],
        ),
        replicas=2.0,
        minReadySeconds=0,
        paused=False,
    )
    asked["metadata"] |= {"creationTimestamp": None, "labels": {}}
    asked["status"] = {}
    completed = complete(asked)
    assert json.dumps(completed["spec"]["replicas"]) == "2"
    assert completed.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert completed["metadata"] == {"name": "web"}
    assert completed["spec"].keys() == {"selector", "template", "strategy", "replicas"}
    spec = completed["spec"]["template"]["spec"]
    assert spec["volumes"] == [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "w", "emptyDir": {}}]
    assert "hostNetwork" not in spec
    assert "nodeSelector" not in spec
    (found,) = spec["containers"]
    assert json.dumps(found["livenessProbe"]) == '{"httpGet": {"port": 8080}}'
    assert found["env"] == [{"name": "A"}, {"name": "B"}]
    assert found["command"] == ["", "x"]
    assert found["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "64"},
    }
    assert found["volumeMounts"] == [{"name": "v", "mountPath": "/v"}]
    assert not {"tty", "args"} & found.keys()


def test_empty_values_of_maps_are_values() -> None:
    asked = config_map(data={"empty": ""}, binaryData={"b": "YWJj\nZGVm\r\n"})
    asked["metadata"]["labels"] = {"canary": "", "app.kubernetes.io/name": "pages"}
    asked["metadata"]["annotations"] = {"note": "", "checksum/config": "x", "prometheus.io/scrape": "true"}
    completed = complete(asked)
    assert completed["data"] == {"empty": ""}
    assert completed["binaryData"] == {"b": "YWJjZGVm"}
    assert completed["metadata"] == asked["metadata"]


def test_a_strategy_is_written_out_so_that_it_can_be_changed() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert complete(deployment())["spec"]["strategy"] == rolling
    assert complete(deployment(strategy={"rollingUpdate": {"maxUnavailable": 0}}))["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
    }
    assert complete(deployment(strategy={"type": "Recreate"}))["spec"]["strategy"] == {"type": "Recreate"}
    assert complete(deployment(minReadySeconds=5, progressDeadlineSeconds=6))["spec"]["minReadySeconds"] == 5


def test_a_service_is_written_out() -> None:
    assert complete(service())["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    sticky = complete(service(sessionAffinity="ClientIP", clusterIP="None", publishNotReadyAddresses=True))["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert sticky["clusterIP"] == "None"
    assert sticky["publishNotReadyAddresses"] is True
    asked = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    assert complete(asked)["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 60}}
    several = [{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 2, "protocol": "UDP"}]
    assert complete(service(ports=several))["spec"]["ports"] == [
        {"name": "a", "port": 1, "targetPort": "http", "protocol": "TCP"},
        {"name": "b", "port": 2, "targetPort": 2, "protocol": "UDP"},
    ]


def test_a_sidecar_may_have_probes() -> None:
    probe = {"exec": {"command": ["true"]}}
    asked = deployment(pod(initContainers=[container(name="s", restartPolicy="Always", startupProbe=probe)]))
    assert complete(asked)["spec"]["template"]["spec"]["initContainers"][0]["startupProbe"] == probe


def test_every_source_of_variables_and_files_is_taken() -> None:
    item = {"key": "k", "path": "a/b", "mode": 0o400}
    asked = deployment(
        pod(
            containers=[
                container(
                    env=[
                        {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
                        {
                            "name": "B",
                            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}},
                        },
                    ],
                    envFrom=[{"prefix": "P_", "configMapRef": {"name": "c", "optional": True}}],
                )
            ],
            nodeSelector={"kubernetes.io/arch": "amd64", "disk": "ssd"},
            volumes=[
                {"name": "a", "configMap": {"name": "c", "items": [item], "defaultMode": 0o444}},
                {"name": "b", "secret": {"secretName": "s", "items": [item], "optional": False}},
                {
                    "name": "c",
                    "downwardAPI": {
                        "items": [
                            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels['app']"}},
                            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}},
                        ]
                    },
                },
            ],
        )
    )
    spec = complete(asked)["spec"]["template"]["spec"]
    assert spec["volumes"] == asked["spec"]["template"]["spec"]["volumes"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64", "disk": "ssd"}
    assert spec["containers"][0]["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"] == "1"


def test_two_of_one_kind_and_name_are_refused_and_two_of_different_kinds_are_not() -> None:
    assert [each.name for each in taken([deployment(), service()])] == ["web", "web"]
    completed, problems = complete_workloads([deployment(), config_map(), deployment()], ALONE)
    assert [str(each) for each in problems] == [
        "spec.workloads[2].metadata.name: a second Deployment 'web'; names must differ"
    ]
    assert [each.name for each in completed] == ["web", "pages"]


def test_a_workload_with_a_problem_does_not_hide_those_of_others() -> None:
    bad = deployment(pod(hostPID=True, hostIPC=True))
    _, problems = complete_workloads([bad, config_map(), service(type="NodePort")], ALONE)
    assert [each.path for each in problems] == [
        "spec.workloads[0].spec.template.spec.hostPID",
        "spec.workloads[0].spec.template.spec.hostIPC",
        "spec.workloads[2].spec.type",
    ]


def test_all_workloads_together_have_a_size_and_each_has_to_fit_into_its_annotation() -> None:
    def filled(name: str, size: int) -> Json:
        return {**config_map(data={"a": "x" * size}), "metadata": {"name": name}}

    half = MAX_WORKLOADS_BYTES // 2
    taken([filled("a", half - 200), filled("b", half - 200)])
    _, problems = complete_workloads([filled("a", half), filled("b", half)], ALONE)
    (problem,) = problems
    assert problem.path == "spec.workloads"
    over = len(json.dumps([filled("a", half), filled("b", half)], separators=(",", ":"))) - MAX_WORKLOADS_BYTES
    assert f"{over} more than {MAX_WORKLOADS_BYTES}" in problem.message
    assert "fit, since Metacontroller keeps a copy" in refused(filled("a", MAX_APPLIED_BYTES - 4096))[""]
    complete(filled("a", MAX_APPLIED_BYTES - 4300))


def test_a_checksum_is_of_what_was_written() -> None:
    first, second = taken([deployment()])[0], taken([deployment()], LENT)[0]
    assert first.checksum == second.checksum
    assert taken([deployment(replicas=1)])[0].checksum != first.checksum
    shuffled = dict(reversed(deployment().items()))
    assert taken([shuffled])[0].checksum == first.checksum
