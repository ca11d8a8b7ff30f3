"""Every field that a tenant's workload may have, kind by kind, and what each may say.

The table is closed on purpose. A field that nobody looked at could open a wall, and one that the apiserver does not
know would be dropped by it, and written again at every sync. What is neither here nor refused by name is unknown.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from userswarm.parts.dedicated.workloads.shapes import (
    Reader,
    amount,
    binary,
    flag,
    items,
    mapping,
    number,
    number_or_text,
    one_of,
    only,
    record,
    text,
    texts,
)
from userswarm.spec.quantity import canonical, canonical_amount
from userswarm.wire.k8s import CONFIG_MAP, CRON_JOB, DEPLOYMENT, JOB, SERVICE

_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_SUBDOMAIN = r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAKEN_KEYS = frozenset(("controller-uid", "job-name", "pod-template-hash"))
_OWN_LABELS = frozenset(f"app.kubernetes.io/{name}" for name in ("name", "instance", "version"))
_OPEN_ANNOTATIONS = ("checksum", "prometheus.io")

_FOREIGN_KEY = "a key with a domain may steer the platform, the network or the node; use one without"


def _label_key(key: str) -> str:
    if key in _OWN_LABELS:
        return ""
    if "/" in key:
        return f"is reserved for the platform: {_FOREIGN_KEY}, or {', '.join(sorted(_OWN_LABELS))}"
    return _plain_key(key)


def _annotation_key(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    if slash and domain not in _OPEN_ANNOTATIONS:
        return f"is reserved for the platform: {_FOREIGN_KEY}, or one of {', '.join(_OPEN_ANNOTATIONS)}"
    return _plain_key(name)


def _plain_key(key: str) -> str:
    if key in _TAKEN_KEYS:
        return "is reserved for Kubernetes' own controllers; use another"
    if not _KEY.fullmatch(key):
        return "is no key; must be letters, digits, '-', '_' and '.', at most 63"
    return ""


def _node_label(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    if _KEY.fullmatch(name) and (not slash or re.fullmatch(_SUBDOMAIN, domain)):
        return ""
    return "is no label's key"


def _file_name(key: str) -> str:
    if re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) and not key.startswith("..") and key != ".":
        return ""
    return "is no key; must be letters, digits, '-', '_' and '.', at most 253, and not start with '..'"


def _resource(key: str) -> str:
    if key in ("cpu", "memory", "ephemeral-storage"):
        return ""
    return "is not allowed here; allowed are cpu, memory and ephemeral-storage"


LABELS = mapping(_label_key, pattern=_LABEL_VALUE, told="a label's value: letters, digits, '-', '_', '.', at most 63")
ANNOTATIONS = mapping(_annotation_key)

_DNS_LABEL = text(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a DNS label: a-z, 0-9 and -, at most 63")
_OBJECT_NAME = text(_SUBDOMAIN, "a name: a-z, 0-9, - and ., at most 253")
_PORT_NAME = r"(?=[-a-z0-9]{1,15}\Z)(?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PORT_TOLD = "a port's name: a-z, 0-9 and single -, at most 15"
_PORT = number(1, 65535)
_PORT_OR_NAME = number_or_text(1, 65535, _PORT_NAME, _PORT_TOLD)
_SECONDS = number(1)
_USER = number(1)
_GROUP = number(0)
_MODE = number(0, 0o777)
_ANYTHING = text()

_OWN_PATH = "a path without '..' that does not start with '/'"
_RELATIVE = text(r"(?!/)(?!(.*/)?\.\.(/|\Z))[^\0]+", _OWN_PATH)

_OF_OBJECT = r"metadata\.(name|namespace|uid|labels|annotations)|metadata\.(labels|annotations)\['[-._/a-zA-Z0-9]+'\]"
_OF_POD = r"metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[-._/a-zA-Z0-9]+'\]"
_OF_STATUS = r"spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs)"


def _field_ref(pattern: str) -> Reader:
    return record(
        {
            "apiVersion": only("v1", "there is no other"),
            "fieldPath": text(pattern, "a field of the Pod, such as metadata.name"),
        },
        required=("fieldPath",),
    )


_RESOURCE_FIELD = record(
    {
        "containerName": _DNS_LABEL,
        "resource": one_of(
            *(f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage"))
        ),
        "divisor": amount(canonical),
    },
    required=("resource",),
)

_OPTIONAL = flag()
_KEY_OF = record({"name": _OBJECT_NAME, "key": _ANYTHING, "optional": _OPTIONAL}, required=("name", "key"))
_ALL_OF = record({"name": _OBJECT_NAME, "optional": _OPTIONAL}, required=("name",))
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")

_ENV = record(
    {
        "name": text(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,255}", "a variable's name"),
        "value": _ANYTHING,
        "valueFrom": record(
            {
                "fieldRef": _field_ref(f"{_OF_POD}|{_OF_STATUS}"),
                "resourceFieldRef": _RESOURCE_FIELD,
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
            "path": _ANYTHING,
            "port": _PORT_OR_NAME,
            "scheme": one_of("HTTP", "HTTPS"),
            "httpHeaders": items(
                record(
                    {"name": text(r"[-A-Za-z0-9]+", "a header's name"), "value": _ANYTHING}, required=("name", "value")
                ),
                key="name",
            ),
        },
        required=("port",),
        refused={"host": _TO_POD},
    ),
    "tcpSocket": record({"port": _PORT_OR_NAME}, required=("port",), refused={"host": _TO_POD}),
    "grpc": record({"port": _PORT, "service": _ANYTHING}, required=("port",)),
}


def _probe(*, ends_with_one_success: bool) -> Reader:
    return record(
        {
            **_ACTIONS,
            "initialDelaySeconds": number(0, zero_is_absent=True),
            "timeoutSeconds": _SECONDS,
            "periodSeconds": _SECONDS,
            "successThreshold": number(1, 1) if ends_with_one_success else _SECONDS,
            "failureThreshold": _SECONDS,
            **({"terminationGracePeriodSeconds": _SECONDS} if ends_with_one_success else {}),
        },
        one_among=tuple(_ACTIONS),
    )


_AMOUNTS = mapping(_resource, amount(canonical_amount))
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
        "runAsUser": _USER,
        "runAsGroup": _GROUP,
        "seccompProfile": _SECCOMP,
    },
    refused=dict.fromkeys(("procMount", "seLinuxOptions", "windowsOptions", "appArmorProfile"), _UNSAFE),
)
_POD_SECURITY = record(
    {
        "fsGroup": _GROUP,
        "fsGroupChangePolicy": one_of("Always", "OnRootMismatch"),
        "runAsNonRoot": only(True, _STANDARD),
        "runAsUser": _USER,
        "runAsGroup": _GROUP,
        "seccompProfile": _SECCOMP,
        "supplementalGroups": items(_GROUP),
    },
    refused=dict.fromkeys(("sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"), _UNSAFE),
)


def _container(*, first: bool) -> Reader:
    """Return the reader of a container, or of an init container, which may be one that stays."""
    return record(
        {
            "name": _DNS_LABEL,
            "image": text(r"[A-Za-z0-9][-A-Za-z0-9._/:@+]{0,511}", "an image reference"),
            "imagePullPolicy": one_of("Always", "IfNotPresent", "Never"),
            "command": texts,
            "args": texts,
            "workingDir": _ANYTHING,
            "env": items(_ENV, key="name", why="each variable once"),
            "envFrom": items(_ENV_FROM),
            "ports": items(
                record(
                    {
                        "name": text(_PORT_NAME, _PORT_TOLD),
                        "containerPort": _PORT,
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
                        "name": _DNS_LABEL,
                        "mountPath": text(r"/[^:\0]*", "an absolute path without ':'"),
                        "readOnly": flag(false_is_absent=True),
                        "subPath": _RELATIVE,
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


_ITEMS = items(
    record({"key": _ANYTHING, "path": _RELATIVE, "mode": _MODE}, required=("key", "path")),
    key="path",
    why="a path has one file",
)
_VOLUME_SOURCES: Mapping[str, Reader] = {
    "emptyDir": record({"medium": text("Memory", "Memory, or left out"), "sizeLimit": amount(canonical)}, kept=True),
    "configMap": record(
        {"name": _OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": _OPTIONAL}, required=("name",)
    ),
    "secret": record(
        {"secretName": _OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": _OPTIONAL},
        required=("secretName",),
    ),
    "downwardAPI": record(
        {
            "items": items(
                record(
                    {
                        "path": _RELATIVE,
                        "fieldRef": _field_ref(_OF_OBJECT),
                        "resourceFieldRef": _RESOURCE_FIELD,
                        "mode": _MODE,
                    },
                    required=("path",),
                    one_among=("fieldRef", "resourceFieldRef"),
                ),
                key="path",
                why="a path has one file",
            ),
            "defaultMode": _MODE,
        },
        required=("items",),
    ),
}
_VOLUME = record(
    {"name": _DNS_LABEL, **_VOLUME_SOURCES},
    required=("name",),
    one_among=tuple(_VOLUME_SOURCES),
    refused={
        "hostPath": "a workload sees nothing of its node",
        "persistentVolumeClaim": "the swarm's volume has one writer, the runtime",
        "ephemeral": "a workload makes no volume claims",
        "projected": "it could hold a token",
        "csi": "is not allowed here",
        "nfs": "is not allowed here",
    },
)

_HOST = "a workload stays in its own namespaces"
_PLACED = "the swarm's own spec.placement holds for its workloads too; leave it out"


def _pod_spec(restarts: Reader, more: Mapping[str, Reader]) -> Reader:
    return record(
        {
            "containers": items(_container(first=False), key="name"),
            "initContainers": items(_container(first=True), key="name"),
            "volumes": items(_VOLUME, key="name"),
            "restartPolicy": restarts,
            "terminationGracePeriodSeconds": number(0, 3600),
            "nodeSelector": mapping(_node_label, pattern=_LABEL_VALUE),
            "securityContext": _POD_SECURITY,
            "imagePullSecrets": items(record({"name": _OBJECT_NAME}, required=("name",)), key="name"),
            "automountServiceAccountToken": only(False, "a workload gets no token"),
            "enableServiceLinks": flag(),
            **{
                field: only(False, _HOST, kept=False)
                for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
            },
            **more,
        },
        required=("containers",),
        refused={
            **dict.fromkeys(
                ("tolerations", "runtimeClassName", "nodeName", "affinity", "schedulerName", "priorityClassName"),
                _PLACED,
            ),
            **dict.fromkeys(("serviceAccountName", "serviceAccount"), "a workload has no account and no token"),
            "hostUsers": _HOST,
            "hostAliases": "names are the cluster's DNS's",
            "dnsConfig": "names are the cluster's DNS's",
            "dnsPolicy": "names are the cluster's DNS's",
        },
    )


_TEMPLATE_METADATA = record(
    {"labels": LABELS, "annotations": ANNOTATIONS}, refused={"name": "Pods are named by what makes them; leave it out"}
)


def _template(restarts: Reader, more: Mapping[str, Reader]) -> Reader:
    return record({"metadata": _TEMPLATE_METADATA, "spec": _pod_spec(restarts, more)}, required=("spec",))


_HOW_MANY_OR_PERCENT = number_or_text(0, 1000, r"(100|[0-9]{1,2})%", "a percentage such as 25%")
_JOB_SPEC = record(
    {
        "parallelism": number(0, 1000),
        "completions": number(1, 1000),
        "backoffLimit": number(0),
        "activeDeadlineSeconds": _SECONDS,
        "suspend": flag(),
        "template": _template(one_of("Never", "OnFailure"), {"activeDeadlineSeconds": _SECONDS}),
    },
    required=("template",),
    refused={
        "ttlSecondsAfterFinished": "a Job that removes itself would be made, and run, again",
        "selector": "Kubernetes makes it",
        "manualSelector": "Kubernetes makes the selector",
    },
)


def _cron_field(least: int, most: int, *names: str) -> str:
    value = "|".join((*(str(each) for each in range(most, least - 1, -1)), *names))
    part = rf"(\*|\?|0*({value})(-0*({value}))?)(/0*[1-9][0-9]*)?"
    return f"{part}(,{part})*"


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SCHEDULE = (
    r"(?=.{1,256}\Z)(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|(?i:"
    + " +".join(
        (
            _cron_field(0, 59),
            _cron_field(0, 23),
            _cron_field(1, 31),
            _cron_field(1, 12, *_MONTHS),
            _cron_field(0, 6, *_DAYS),
        )
    )
    + "))"
)

_SPECS: Mapping[str, Reader] = {
    DEPLOYMENT.kind: record(
        {
            "replicas": number(0, 1000),
            "selector": record({"matchLabels": LABELS}, required=("matchLabels",)),
            "template": _template(only("Always", "a Deployment's Pods never end"), {}),
            "strategy": record(
                {
                    "type": one_of("RollingUpdate", "Recreate"),
                    "rollingUpdate": record({"maxSurge": _HOW_MANY_OR_PERCENT, "maxUnavailable": _HOW_MANY_OR_PERCENT}),
                }
            ),
            "minReadySeconds": number(0, zero_is_absent=True),
            "revisionHistoryLimit": number(0, 100),
            "progressDeadlineSeconds": _SECONDS,
            "paused": flag(false_is_absent=True),
        },
        required=("selector", "template"),
    ),
    SERVICE.kind: record(
        {
            "type": only("ClusterIP", "nothing of a swarm is reachable from outside"),
            "ports": items(
                record(
                    {
                        "name": _DNS_LABEL,
                        "port": _PORT,
                        "targetPort": _PORT_OR_NAME,
                        "protocol": one_of("TCP", "UDP", "SCTP"),
                    },
                    required=("port",),
                    refused={"nodePort": "nothing of a swarm is reachable from outside; leave it out"},
                ),
                key="port",
                why="Metacontroller tells ports by their number; each once",
            ),
            "selector": LABELS,
            "clusterIP": only("None", "for a headless Service; else leave it out"),
            "publishNotReadyAddresses": flag(false_is_absent=True),
            "sessionAffinity": one_of("None", "ClientIP"),
            "sessionAffinityConfig": record({"clientIP": record({"timeoutSeconds": number(1, 86400)})}),
        },
        required=("ports", "selector"),
        refused=dict.fromkeys(
            ("externalIPs", "externalName", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges"),
            "nothing of a swarm is reachable from outside; leave it out",
        ),
    ),
    JOB.kind: _JOB_SPEC,
    CRON_JOB.kind: record(
        {
            "schedule": text(_SCHEDULE, "a cron schedule such as 30 3 * * *, or @daily"),
            "timeZone": text(r"[A-Za-z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*", "a time zone such as Europe/Vienna"),
            "concurrencyPolicy": one_of("Allow", "Forbid", "Replace"),
            "suspend": flag(),
            "startingDeadlineSeconds": number(0),
            "successfulJobsHistoryLimit": number(0, 100),
            "failedJobsHistoryLimit": number(0, 100),
            "jobTemplate": record({"metadata": _TEMPLATE_METADATA, "spec": _JOB_SPEC}, required=("spec",)),
        },
        required=("schedule", "jobTemplate"),
    ),
}

_NAMES: Mapping[str, tuple[str, str]] = {
    kind: (rf"[a-z]([-a-z0-9]{{0,{most - 2}}}[a-z0-9])?", f"a-z, 0-9 and -, start with a letter, at most {most}")
    # A Job's Pods carry its name and more in a label of 63; a CronJob's Jobs carry the CronJob's, and a time.
    for kind, most in ((DEPLOYMENT.kind, 52), (SERVICE.kind, 63), (JOB.kind, 52), (CRON_JOB.kind, 52))
} | {CONFIG_MAP.kind: (_SUBDOMAIN, "a-z, 0-9, - and ., at most 253")}


def _whole(kind: str, body: Mapping[str, Reader], required: tuple[str, ...]) -> Reader:
    pattern, told = _NAMES[kind]
    metadata = {
        "name": text(pattern, f"a name here: {told}"),
        # Whatever it says, the namespace is the swarm's own.
        "namespace": _ANYTHING,
        "labels": LABELS,
        "annotations": ANNOTATIONS,
    }
    return record(
        {
            "apiVersion": _ANYTHING,
            "kind": _ANYTHING,
            "metadata": record(
                metadata,
                required=("name",),
                refused=dict.fromkeys(("ownerReferences", "finalizers"), "a workload belongs to its swarm"),
            ),
            # As `kubectl create --dry-run` writes it.
            "status": record({}),
            **body,
        },
        required=("metadata", *required),
    )


READERS: Mapping[str, Reader] = {
    CONFIG_MAP.kind: _whole(
        CONFIG_MAP.kind,
        {"data": mapping(_file_name), "binaryData": mapping(_file_name, binary)},
        (),
    ),
    **{kind: _whole(kind, {"spec": spec}, ("spec",)) for kind, spec in _SPECS.items()},
}
"""The reader of a whole workload of each kind."""
