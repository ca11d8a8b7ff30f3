"""The admission controllers of a usual cluster that our objects meet.

Each is a step for `ApiServer.admission`: it edits the object on its way in, or refuses it. More steps (quotas, limit
ranges, faults that a test wants) are appended to that list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster import quantities
from devcluster.apiserver import Admission, AdmissionRequest, ApiServer
from devcluster.errors import forbidden
from devcluster.objects import Observed, labels_of

PROTECTION = "kubernetes.io/pvc-protection"


@dataclass(frozen=True, slots=True)
class StorageClass:
    """How a class of volumes behaves; `immediate` ones are bound before a pod wants them."""

    name: str
    immediate: bool = True
    expandable: bool = True


class StorageAdmission:
    """Names the default class, protects claims in use, and refuses to grow what cannot grow."""

    def __init__(self, classes: Mapping[str, StorageClass], default: str) -> None:
        self._classes = classes
        self._default = default

    def __call__(self, request: AdmissionRequest) -> None:
        """Edit or refuse a PersistentVolumeClaim."""
        if request.kind.kind != "PersistentVolumeClaim":
            return
        obj = request.object
        if request.operation == "CREATE":
            obj["spec"].setdefault("storageClassName", self._default)
            obj["metadata"].setdefault("finalizers", []).append(PROTECTION)
        elif request.operation == "UPDATE" and request.old is not None:
            want, have = (_storage(each) for each in (obj, request.old))
            found = self._classes.get(obj["spec"].get("storageClassName", ""))
            if quantities.compare(want, have) > 0 and (found is None or not found.expandable):
                raise forbidden(
                    request.kind.resource,
                    obj["metadata"]["name"],
                    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                    "must support resize",
                )


def _storage(claim: Observed) -> str:
    return str(claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0"))


def service_account(api: ApiServer) -> Admission:
    """Return the step that gives a pod its ServiceAccount's defaults, and refuses one without a ServiceAccount."""

    def step(request: AdmissionRequest) -> None:
        if request.kind.kind != "Pod" or request.operation != "CREATE":
            return
        obj = request.object
        spec, namespace = obj["spec"], obj["metadata"]["namespace"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        account = api.peek("v1", "ServiceAccount", namespace, name)
        if account is None:
            if name == "default":
                # The controller that makes every namespace's default account is not part of this cluster.
                return
            raise forbidden(
                "pods",
                obj["metadata"].get("name", ""),
                f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found',
            )
        if "imagePullSecrets" in account:
            spec.setdefault("imagePullSecrets", [dict(each) for each in account["imagePullSecrets"]])

    return step


def default_tolerations(request: AdmissionRequest) -> None:
    """Let a new pod stay for five minutes on a node that is not ready or not reachable."""
    if request.kind.kind != "Pod" or request.operation != "CREATE":
        return
    tolerations = request.object["spec"].setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            each.get("key") in {key, None} and each.get("effect") in {"NoExecute", None} for each in tolerations
        ):
            tolerations.append({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300})


def pod_security(api: ApiServer) -> Admission:
    """Return the step that enforces the restricted Pod Security Standard where a namespace's label says so."""

    def step(request: AdmissionRequest) -> None:
        if request.kind.kind != "Pod" or request.operation != "CREATE":
            return
        namespace = api.peek("v1", "Namespace", None, request.object["metadata"]["namespace"])
        if namespace is None or labels_of(namespace).get("pod-security.kubernetes.io/enforce") != "restricted":
            return
        violations = list(restricted_violations(request.object["spec"]))
        if violations:
            text = f'violates PodSecurity "restricted:latest": {", ".join(violations)}'
            raise forbidden("pods", request.object["metadata"].get("name", ""), text)

    return step


_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)


def restricted_violations(spec: Observed) -> Iterator[str]:
    """Yield how a pod's spec falls short of the restricted standard. Source: "Pod Security Standards"."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"host namespaces ({field}=true)"
    for volume in spec.get("volumes", ()):
        for kind in volume.keys() - _VOLUMES - {"name"}:
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'
    pod = spec.get("securityContext", {})
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        yield from _container_violations(container, pod)


def _container_violations(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    name = f'container "{container["name"]}"'
    context = container.get("securityContext", {})
    if context.get("privileged"):
        yield f"privileged ({name} must not set securityContext.privileged=true)"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"allowPrivilegeEscalation != false ({name} must set securityContext.allowPrivilegeEscalation=false)"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f'unrestricted capabilities ({name} must set securityContext.capabilities.drop=["ALL"])'
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"runAsNonRoot != true (pod or {name} must set securityContext.runAsNonRoot=true)"
    if context.get("runAsUser", pod.get("runAsUser")) == 0:
        yield f"runAsUser=0 (pod or {name} must not set runAsUser=0)"
    profile = context.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if profile not in {"RuntimeDefault", "Localhost"}:
        yield f'seccompProfile (pod or {name} must set securityContext.seccompProfile.type to "RuntimeDefault")'
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"hostPort ({name} uses hostPorts)"
