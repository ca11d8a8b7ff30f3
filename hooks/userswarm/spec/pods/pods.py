"""Every field that a Pod may have."""

from __future__ import annotations

from collections.abc import Mapping

from userswarm.spec.pods.containers import (
    OF_OBJECT,
    OPTIONAL,
    POD_SECURITY,
    RESOURCE_FIELD,
    container,
    field_ref,
)
from userswarm.spec.pods.shapes import Reader, amount, flag, items, mapping, number, only, record, text
from userswarm.spec.pods.words import (
    ANNOTATIONS,
    ANYTHING,
    DNS_LABEL,
    LABEL_VALUE,
    LABELS,
    MODE,
    OBJECT_NAME,
    RELATIVE,
    node_label,
)
from userswarm.spec.quantity import canonical

_ITEMS = items(
    record({"key": ANYTHING, "path": RELATIVE, "mode": MODE}, required=("key", "path")),
    key="path",
    why="a path has one file",
)
_VOLUME_SOURCES: Mapping[str, Reader] = {
    "emptyDir": record({"medium": text("Memory", "Memory, or left out"), "sizeLimit": amount(canonical)}, kept=True),
    "configMap": record(
        {"name": OBJECT_NAME, "items": _ITEMS, "defaultMode": MODE, "optional": OPTIONAL}, required=("name",)
    ),
    "secret": record(
        {"secretName": OBJECT_NAME, "items": _ITEMS, "defaultMode": MODE, "optional": OPTIONAL},
        required=("secretName",),
    ),
    "downwardAPI": record(
        {
            "items": items(
                record(
                    {
                        "path": RELATIVE,
                        "fieldRef": field_ref(OF_OBJECT),
                        "resourceFieldRef": RESOURCE_FIELD,
                        "mode": MODE,
                    },
                    required=("path",),
                    one_among=("fieldRef", "resourceFieldRef"),
                ),
                key="path",
                why="a path has one file",
            ),
            "defaultMode": MODE,
        },
        required=("items",),
    ),
}
_VOLUME = record(
    {"name": DNS_LABEL, **_VOLUME_SOURCES},
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


def pod_spec(restarts: Reader, more: Mapping[str, Reader]) -> Reader:
    """Return the reader of a Pod's spec; `more` are fields of what makes the Pod."""
    return record(
        {
            "containers": items(container(first=False), key="name"),
            "initContainers": items(container(first=True), key="name"),
            "volumes": items(_VOLUME, key="name"),
            "restartPolicy": restarts,
            "terminationGracePeriodSeconds": number(0, 3600),
            "nodeSelector": mapping(node_label, pattern=LABEL_VALUE),
            "securityContext": POD_SECURITY,
            "imagePullSecrets": items(record({"name": OBJECT_NAME}, required=("name",)), key="name"),
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


TEMPLATE_METADATA = record(
    {"labels": LABELS, "annotations": ANNOTATIONS}, refused={"name": "Pods are named by what makes them; leave it out"}
)


def template(restarts: Reader, more: Mapping[str, Reader]) -> Reader:
    return record({"metadata": TEMPLATE_METADATA, "spec": pod_spec(restarts, more)}, required=("spec",))
