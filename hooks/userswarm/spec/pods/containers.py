"""Every field that a container may have."""

from __future__ import annotations

from collections.abc import Mapping

from userswarm.spec.pods.shapes import (
    Reader,
    amount,
    flag,
    items,
    mapping,
    number,
    one_of,
    only,
    record,
    text,
    texts,
)
from userswarm.spec.pods.words import (
    ANYTHING,
    DNS_LABEL,
    GROUP,
    OBJECT_NAME,
    PORT,
    PORT_NAME,
    PORT_OR_NAME,
    PORT_TOLD,
    RELATIVE,
    SECONDS,
    USER,
    resource,
)
from userswarm.spec.quantity import canonical, canonical_amount

OF_OBJECT = r"metadata\.(name|namespace|uid|labels|annotations)|metadata\.(labels|annotations)\['[-._/a-zA-Z0-9]+'\]"
_OF_POD = r"metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[-._/a-zA-Z0-9]+'\]"
_OF_STATUS = r"spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs)"


def field_ref(pattern: str) -> Reader:
    return record(
        {
            "apiVersion": only("v1", "there is no other"),
            "fieldPath": text(pattern, "a field of the Pod, such as metadata.name"),
        },
        required=("fieldPath",),
    )


RESOURCE_FIELD = record(
    {
        "containerName": DNS_LABEL,
        "resource": one_of(
            *(f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage"))
        ),
        "divisor": amount(canonical),
    },
    required=("resource",),
)

OPTIONAL = flag()
_KEY_OF = record({"name": OBJECT_NAME, "key": ANYTHING, "optional": OPTIONAL}, required=("name", "key"))
_ALL_OF = record({"name": OBJECT_NAME, "optional": OPTIONAL}, required=("name",))
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")

_ENV = record(
    {
        "name": text(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,255}", "a variable's name"),
        "value": ANYTHING,
        "valueFrom": record(
            {
                "fieldRef": field_ref(f"{_OF_POD}|{_OF_STATUS}"),
                "resourceFieldRef": RESOURCE_FIELD,
                "configMapKeyRef": _KEY_OF,
                "secretKeyRef": _KEY_OF,
            },
            one_among=_SOURCES,
        ),
    },
    required=("name",),
)
_ENV_FROM = record(
    {
        "prefix": text(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,255}", "the beginning of a variable's name"),
        "configMapRef": _ALL_OF,
        "secretRef": _ALL_OF,
    },
    one_among=("configMapRef", "secretRef"),
)

_TO_POD = "a probe asks the Pod itself; leave it out"
_ACTIONS: Mapping[str, Reader] = {
    "exec": record({"command": texts}, required=("command",)),
    "httpGet": record(
        {
            "path": ANYTHING,
            "port": PORT_OR_NAME,
            "scheme": one_of("HTTP", "HTTPS"),
            "httpHeaders": items(
                record(
                    {"name": text(r"[-A-Za-z0-9]+", "a header's name"), "value": ANYTHING}, required=("name", "value")
                ),
                key="name",
            ),
        },
        required=("port",),
        refused={"host": _TO_POD},
    ),
    "tcpSocket": record({"port": PORT_OR_NAME}, required=("port",), refused={"host": _TO_POD}),
    "grpc": record({"port": PORT, "service": ANYTHING}, required=("port",)),
}


def _probe(*, ends_with_one_success: bool) -> Reader:
    return record(
        {
            **_ACTIONS,
            "initialDelaySeconds": number(0, zero_is_absent=True),
            "timeoutSeconds": SECONDS,
            "periodSeconds": SECONDS,
            "successThreshold": number(1, 1) if ends_with_one_success else SECONDS,
            "failureThreshold": SECONDS,
            **({"terminationGracePeriodSeconds": SECONDS} if ends_with_one_success else {}),
        },
        one_among=tuple(_ACTIONS),
    )


_AMOUNTS = mapping(resource, amount(canonical_amount))
_RESOURCES = record(
    {"requests": _AMOUNTS, "limits": _AMOUNTS}, refused={"claims": "devices are not handed to workloads"}
)

_STANDARD = "the restricted Pod Security Standard asks for it"
_SECCOMP = record({"type": only("RuntimeDefault", _STANDARD)}, required=("type",))
_UNSAFE = "is not allowed here: the restricted Pod Security Standard leaves it to the container runtime"

_CONTAINER_SECURITY = record(
    {
        "allowPrivilegeEscalation": only(False, _STANDARD),
        "privileged": only(False, _STANDARD),
        "capabilities": record(
            {"add": items(only("NET_BIND_SERVICE", "no other capability is allowed")), "drop": texts}
        ),
        "readOnlyRootFilesystem": flag(),
        "runAsNonRoot": only(True, _STANDARD),
        "runAsUser": USER,
        "runAsGroup": GROUP,
        "seccompProfile": _SECCOMP,
    },
    refused=dict.fromkeys(("procMount", "seLinuxOptions", "windowsOptions", "appArmorProfile"), _UNSAFE),
)
POD_SECURITY = record(
    {
        "fsGroup": GROUP,
        "fsGroupChangePolicy": one_of("Always", "OnRootMismatch"),
        "runAsNonRoot": only(True, _STANDARD),
        "runAsUser": USER,
        "runAsGroup": GROUP,
        "seccompProfile": _SECCOMP,
        "supplementalGroups": items(GROUP),
    },
    refused=dict.fromkeys(("sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"), _UNSAFE),
)


def container(*, first: bool) -> Reader:
    """Return the reader of a container, or of an init container, which may be one that stays."""
    return record(
        {
            "name": DNS_LABEL,
            "image": text(r"[A-Za-z0-9][-A-Za-z0-9._/:@+]{0,511}", "an image reference"),
            "imagePullPolicy": one_of("Always", "IfNotPresent", "Never"),
            "command": texts,
            "args": texts,
            "workingDir": ANYTHING,
            "env": items(_ENV, key="name", why="each variable once"),
            "envFrom": items(_ENV_FROM),
            "ports": items(
                record(
                    {
                        "name": text(PORT_NAME, PORT_TOLD),
                        "containerPort": PORT,
                        "protocol": one_of("TCP", "UDP", "SCTP"),
                    },
                    required=("containerPort",),
                    refused=dict.fromkeys(("hostPort", "hostIP"), "a workload takes no port of its node; leave it out"),
                ),
                key="containerPort",
                why="Metacontroller tells ports by their number; each once",
            ),
            "resources": _RESOURCES,
            "volumeMounts": items(
                record(
                    {
                        "name": DNS_LABEL,
                        "mountPath": text(r"/[^:\0]*", "an absolute path without ':'"),
                        "readOnly": flag(false_is_absent=True),
                        "subPath": RELATIVE,
                    },
                    required=("name", "mountPath"),
                    refused={"mountPropagation": "mounts stay inside the container; leave it out"},
                ),
                key="mountPath",
                why="a path has one volume",
            ),
            "livenessProbe": _probe(ends_with_one_success=True),
            "readinessProbe": _probe(ends_with_one_success=False),
            "startupProbe": _probe(ends_with_one_success=True),
            "securityContext": _CONTAINER_SECURITY,
            "stdin": flag(false_is_absent=True),
            "tty": flag(false_is_absent=True),
            **({"restartPolicy": only("Always", "an init container either ends, or stays beside")} if first else {}),
        },
        required=("name", "image"),
        refused={"volumeDevices": "a workload gets no raw device", "lifecycle": "hooks are not supported here"},
    )
