"""Every field that a tenant's workload may have, kind by kind, and what each may say.

The table is closed on purpose. A field that nobody looked at could open a wall, and one that the apiserver does not
know would be dropped by it, and written again at every sync. What is neither here nor refused by name is unknown.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Mapping

from userswarm.spec.pods.pods import TEMPLATE_METADATA, template
from userswarm.spec.pods.shapes import (
    Reader,
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
)
from userswarm.spec.pods.words import (
    ANNOTATIONS,
    ANYTHING,
    DNS_LABEL,
    LABELS,
    PORT,
    PORT_OR_NAME,
    SECONDS,
    SUBDOMAIN,
    file_name,
)
from userswarm.wire.k8s import CONFIG_MAP, CRON_JOB, DEPLOYMENT, JOB, SERVICE

_HOW_MANY_OR_PERCENT = number_or_text(0, 1000, r"(100|[0-9]{1,2})%", "a percentage such as 25%")
_JOB_SPEC = record(
    {
        "parallelism": number(0, 1000),
        "completions": number(1, 1000),
        "backoffLimit": number(0),
        "activeDeadlineSeconds": SECONDS,
        "suspend": flag(),
        "template": template(one_of("Never", "OnFailure"), {"activeDeadlineSeconds": SECONDS}),
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
            "template": template(only("Always", "a Deployment's Pods never end"), {}),
            "strategy": record(
                {
                    "type": one_of("RollingUpdate", "Recreate"),
                    "rollingUpdate": record({"maxSurge": _HOW_MANY_OR_PERCENT, "maxUnavailable": _HOW_MANY_OR_PERCENT}),
                }
            ),
            "minReadySeconds": number(0, zero_is_absent=True),
            "revisionHistoryLimit": number(0, 100),
            "progressDeadlineSeconds": SECONDS,
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
                        "name": DNS_LABEL,
                        "port": PORT,
                        "targetPort": PORT_OR_NAME,
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
            "jobTemplate": record({"metadata": TEMPLATE_METADATA, "spec": _JOB_SPEC}, required=("spec",)),
        },
        required=("schedule", "jobTemplate"),
    ),
}

_NAMES: Mapping[str, tuple[str, str]] = {
    kind: (rf"[a-z]([-a-z0-9]{{0,{most - 2}}}[a-z0-9])?", f"a-z, 0-9 and -, start with a letter, at most {most}")
    # A Job's Pods carry its name and more in a label of 63; a CronJob's Jobs carry the CronJob's, and a time.
    for kind, most in ((DEPLOYMENT.kind, 52), (SERVICE.kind, 63), (JOB.kind, 52), (CRON_JOB.kind, 52))
} | {CONFIG_MAP.kind: (SUBDOMAIN, "a-z, 0-9, - and ., at most 253")}


def _whole(kind: str, body: Mapping[str, Reader], required: tuple[str, ...]) -> Reader:
    pattern, told = _NAMES[kind]
    metadata = {
        "name": text(pattern, f"a name here: {told}"),
        # Whatever it says, the namespace is the swarm's own.
        "namespace": ANYTHING,
        "labels": LABELS,
        "annotations": ANNOTATIONS,
    }
    return record(
        {
            "apiVersion": ANYTHING,
            "kind": ANYTHING,
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
        {"data": mapping(file_name), "binaryData": mapping(file_name, binary)},
        (),
    ),
    **{kind: _whole(kind, {"spec": spec}, ("spec",)) for kind, spec in _SPECS.items()},
}
"""The reader of a whole workload of each kind."""
