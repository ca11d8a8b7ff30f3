"""Who may do what, and what nobody may: ``verb resource.group/subresource @namespace =name``, one line each.

Where no name is said any is meant, and where no namespace is, all of them.
"""

from __future__ import annotations

from contract.rendered import of_kind, rendered

NARROW = ("metacontroller", "narrow")
"""An account with what Metacontroller has where no swarm has a namespace of its own."""

WIDE, BACKEND = ("metacontroller", "metacontroller"), ("backend", "backend")
REAPER, WEBHOOK = ("userswarm-system", "userswarm-reaper"), ("userswarm-system", "userswarm-webhook")
SWARMS = "userswarms.crawbl.ai"
RBAC = "rbac.authorization.k8s.io"
OURS, THEIRS = " @userswarms", " @other"

NOBODYS = [
    f"create clusterroles.{RBAC}",
    f"create clusterrolebindings.{RBAC}",
    f"bind clusterroles.{RBAC} =cluster-admin",
    f"escalate roles.{RBAC}{OURS}",
    "impersonate users",
    "impersonate serviceaccounts @kube-system",
    f"create serviceaccounts/token{OURS}",
    f"create pods/exec{OURS}",
    f"create pods/attach{OURS}",
    f"create pods/ephemeralcontainers{OURS}",
    f"create secrets{OURS}",
    f"update secrets{OURS}",
    "get nodes",
    "create nodes/proxy",
    f"deletecollection {SWARMS}",
    f"deletecollection persistentvolumeclaims{OURS}",
    f"update {SWARMS}/scale",
    "update customresourcedefinitions.apiextensions.k8s.io",
    "update compositecontrollers.metacontroller.k8s.io",
    "delete validatingadmissionpolicies.admissionregistration.k8s.io",
    f"update resourcequotas{OURS} =userswarms",
]
"""What none of the accounts may do, but for what is said below."""


def each(verbs: str, *resources: str) -> list[str]:
    return [f"{verb} {resource}" for verb in verbs.split() for resource in resources]


def children(where: str) -> list[str]:
    """Return what has to be done with the children of a swarm, as the CompositeController lists them."""
    (controller,) = of_kind(rendered("controller"), "CompositeController")
    found = []
    for rule in controller["spec"]["childResources"]:
        group = rule["apiVersion"].rpartition("/")[0]
        resource = f"{rule['resource']}.{group}" if group else rule["resource"]
        found += [*each("get create update delete", resource + where), *each("list watch", resource)]
    return found


DRIVEN = [
    *each("get list watch", "compositecontrollers.metacontroller.k8s.io", "namespaces"),
    *each("get list watch", "customresourcedefinitions.apiextensions.k8s.io"),
    *each("get list watch update", SWARMS),
    *each("get update", f"{SWARMS}/status"),
    f"update {SWARMS}/finalizers",
    *each("create patch", "events @default"),
    *children(OURS),
]
MAY: dict[tuple[str, str], list[str]] = {
    NARROW: DRIVEN,
    WIDE: [
        *DRIVEN,
        *children(THEIRS),
        *each("create update delete", "namespaces"),
        *each("create update delete", f"roles.{RBAC}{THEIRS}", f"rolebindings.{RBAC}{THEIRS}"),
        *each("create update delete", f"networkpolicies.networking.k8s.io{THEIRS}", f"resourcequotas{THEIRS}"),
        *(f"bind clusterroles.{RBAC} =userswarm-namespace-{role}" for role in ("view", "edit", "admin")),
        *each("get list watch", "secrets"),
    ],
    BACKEND: each("get list watch create patch delete", SWARMS),
    REAPER: [*each("list delete", SWARMS), f"list persistentvolumeclaims{OURS}"],
    WEBHOOK: [
        *each("get list", f"pods{OURS}"),
        *each(
            "get", f"configmaps{OURS}", f"persistentvolumeclaims{OURS}", f"services{OURS}", f"statefulsets.apps{OURS}"
        ),
    ],
}
MUST_NOT: dict[tuple[str, str], list[str]] = {
    NARROW: [
        *each("create delete patch", SWARMS),
        *each("create update delete", f"configmaps{THEIRS}", f"statefulsets.apps{THEIRS}", "namespaces"),
        *each("create", f"pods{OURS}"),
        *each("patch", f"configmaps{OURS}", f"persistentvolumeclaims{OURS}"),
        *each("create update", f"roles.{RBAC}{OURS}", f"networkpolicies.networking.k8s.io{OURS}"),
        *each("get list", "secrets"),
        *NOBODYS,
    ],
    WIDE: [
        *each("create delete patch", SWARMS),
        *[what for what in NOBODYS if not what.startswith("update resourcequ")],
    ],
    BACKEND: [
        f"update {SWARMS}",
        *each("update patch", f"{SWARMS}/status"),
        *each("get list", f"pods{OURS}", f"configmaps{OURS}", f"secrets{OURS}", f"services{OURS}"),
        *NOBODYS,
    ],
    REAPER: [
        *each("get watch create update patch", SWARMS),
        *each("delete get", f"persistentvolumeclaims{OURS}"),
        f"list persistentvolumeclaims{THEIRS}",
        *each("get list", f"pods{OURS}", f"secrets{OURS}", f"configmaps{OURS}"),
        *NOBODYS,
    ],
    WEBHOOK: [
        *each(
            "create update patch delete", SWARMS, f"{SWARMS}/status", f"pods{OURS}", f"configmaps{OURS}", "namespaces"
        ),
        *each("get list", f"secrets{OURS}"),
        *NOBODYS,
    ],
}

PEOPLE_MAY: dict[str, list[str]] = {
    "view": each("get list watch", SWARMS, f"{SWARMS}/status"),
    "edit": [*each("get list watch", SWARMS), *each("create update patch delete", SWARMS)],
    "admin": [*each("create update patch delete deletecollection", SWARMS), f"patch {SWARMS}/status"],
    "userswarm-auditor": [
        *each("get list watch", SWARMS, "compositecontrollers.metacontroller.k8s.io", "resourcequotas"),
        *each("get list watch", "networkpolicies.networking.k8s.io", "pods", "persistentvolumeclaims"),
        *each("get list", "validatingadmissionpolicies.admissionregistration.k8s.io"),
    ],
}
PEOPLE_MUST_NOT: dict[str, list[str]] = {
    "view": [*each("create update patch delete", SWARMS), "list secrets"],
    "edit": [*each("update patch", f"{SWARMS}/status"), f"deletecollection {SWARMS}"],
    "admin": ["update customresourcedefinitions.apiextensions.k8s.io", "delete namespaces @other =userswarms"],
    "userswarm-auditor": [
        *each("create update patch delete", SWARMS, "pods", "networkpolicies.networking.k8s.io"),
        *each("get list", "secrets", "configmaps", "pods/log"),
        *NOBODYS,
    ],
}

WALLS = [
    *each("update patch delete", f"resourcequotas{THEIRS}", f"limitranges{THEIRS}"),
    *each("create update patch delete", f"networkpolicies.networking.k8s.io{THEIRS}"),
    *each("create update patch delete", f"roles.{RBAC}{THEIRS}", f"rolebindings.{RBAC}{THEIRS}"),
    *each("delete update", "namespaces @other =other"),
    *each("delete update", f"persistentvolumeclaims{THEIRS}", f"statefulsets.apps{THEIRS}"),
    *each("get list", f"pods{OURS}", f"configmaps{OURS}", SWARMS, "nodes", "namespaces"),
    f"create serviceaccounts/token{THEIRS}",
]
"""What stands around a tenant in a namespace of their own, and what lies outside."""

READ = each("get list watch", f"pods{THEIRS}", f"pods/log{THEIRS}", f"services{THEIRS}", f"deployments.apps{THEIRS}")
WRITE = each("create update patch delete", f"deployments.apps{THEIRS}", f"jobs.batch{THEIRS}", f"configmaps{THEIRS}")
KEYS = [*each("get list", f"secrets{THEIRS}"), *each("create", f"pods/exec{THEIRS}", f"pods/portforward{THEIRS}")]
MEMBERS: dict[str, tuple[list[str], list[str]]] = {
    "view": (READ, [*WRITE, *KEYS, *WALLS]),
    "edit": ([*READ, *WRITE], [*KEYS, *WALLS]),
    "admin": ([*READ, *WRITE, *KEYS], WALLS),
}
