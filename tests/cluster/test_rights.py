"""Who may do what, asked of the server that decides it: each account has to live on what it is given, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.api import Api, Object
from cluster.control_plane import ControlPlane, kubeconfig_for
from cluster.life import NOW, sample, swarm
from cluster.metacontroller import Metacontroller
from contract.rendered import named, of_kind, rendered
from userswarm.backend import UserSwarmClient
from userswarm.spec.settings import Settings

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


def allowed(api: Api, user: str, groups: list[str], what: str) -> bool:
    """Ask the server: ``verb resource.group/subresource @namespace =name``."""
    verb, resource, *rest = what.split()
    resource, _, subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    where = next((each[1:] for each in rest if each.startswith("@")), "")
    name = next((each[1:] for each in rest if each.startswith("=")), "")
    asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {
            "user": user,
            "groups": [*groups, "system:authenticated"],
            "resourceAttributes": {**asked, "namespace": where, "name": name},
        },
    }
    return bool(api.create(review)["status"]["allowed"])


def account_allowed(api: Api, account: tuple[str, str], what: str) -> bool:
    namespace, name = account
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    return allowed(api, f"system:serviceaccount:{namespace}:{name}", groups, what)


def binding(kind: str, role: str, subject: Object, **metadata: str) -> Object:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": {"name": f"tests-{role}", **metadata},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def user(name: str) -> Object:
    return {"apiGroup": RBAC, "kind": "User", "name": name}


@pytest.fixture(scope="module")
def api(installed: Api) -> Iterator[Api]:
    """The API with people, a backend, and a Metacontroller for swarms that share a namespace."""
    made: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "backend"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "backend", "namespace": "backend"}},
    ]
    made += [binding("ClusterRoleBinding", role, user(f"cluster-{role}")) for role in PEOPLE_MAY]
    for role in MEMBERS:
        bound = binding("RoleBinding", f"userswarm-namespace-{role}", user(f"member-{role}"), namespace="other")
        made.append(bound)
    for bound in of_kind(rendered("rbac"), "ClusterRoleBinding", "RoleBinding"):
        if bound["roleRef"]["name"].startswith("userswarm-metacontroller"):
            bound["metadata"]["name"] += "-narrow"
            bound["subjects"] = [{"kind": "ServiceAccount", "namespace": NARROW[0], "name": NARROW[1]}]
            made.append(bound)
    for item in made:
        installed.create(item)
    yield installed
    for item in reversed(made):
        installed.delete(item)


@pytest.mark.parametrize("account", MAY, ids="/".join)
def test_an_account_may_do_what_it_has_to_and_no_more(api: Api, account: tuple[str, str]) -> None:
    assert [what for what in MAY[account] if not account_allowed(api, account, what)] == []
    assert [what for what in MUST_NOT[account] if account_allowed(api, account, what)] == []


@pytest.mark.parametrize("role", PEOPLE_MAY)
def test_people_of_the_platform_may_do_what_their_role_says_and_no_more(api: Api, role: str) -> None:
    assert [what for what in PEOPLE_MAY[role] if not allowed(api, f"cluster-{role}", [], what)] == []
    assert [what for what in PEOPLE_MUST_NOT[role] if allowed(api, f"cluster-{role}", [], what)] == []


@pytest.mark.parametrize("role", MEMBERS)
def test_a_member_may_do_what_their_role_says_inside_and_nothing_to_the_walls(api: Api, role: str) -> None:
    may, must_not = MEMBERS[role]
    assert [what for what in may if not allowed(api, f"member-{role}", [], what)] == []
    assert [what for what in must_not if allowed(api, f"member-{role}", [], what)] == []


@pytest.mark.parametrize(
    ("account", "name"),
    [(NARROW, "full"), (WIDE, "full"), (WIDE, "dedicated")],
    ids=["shared swarms only", "shared", "dedicated"],
)
def test_metacontroller_makes_a_swarm_with_no_more_than_its_own_roles(
    api: Api, controller: Object, account: tuple[str, str], name: str
) -> None:
    parent = sample(name)
    parent["metadata"]["name"] += f"-{account[1]}"
    # Who writes a Role has to hold what it gives.
    if name == "dedicated":
        parent["spec"]["access"]["role"] = "edit"
    kinds = controller if account == WIDE else named(rendered("controller"), "CompositeController", "userswarm")
    api.create(parent)
    try:
        worker = Metacontroller(api.acting_as_account(*account), kinds, Settings(), NOW)
        assert len(worker.settle(parent)) >= 6
        assert worker.refused == []
    finally:
        api.delete(parent)


def connection(control_plane: ControlPlane, api: Api, account: tuple[str, str], folder: Path) -> Path:
    """Return a kubeconfig with a token of an account."""
    namespace, name = account
    request: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token = api.request("POST", path, request)["status"]["token"]
    kubeconfig = folder / f"{name}.kubeconfig"
    kubeconfig.write_text(json.dumps(kubeconfig_for(control_plane.url, control_plane.authority, token)))
    return kubeconfig


def test_a_backend_lives_on_its_role(control_plane: ControlPlane, api: Api, tmp_path: Path) -> None:
    with UserSwarmClient(connection(control_plane, api, BACKEND, tmp_path)).cached() as client:
        assert client.cache_is_fresh
        client.ensure("rights", "alice", storage={"size": "3Gi"})
        client.ensure("rights", "alice", storage={"size": "4Gi"})
        client.touch("rights", "alice")
        client.suspend("rights", "alice")
        client.resume("rights", "alice")
        assert client.get("rights", "alice").name in [found.name for found in client.list()]
        client.delete("rights", "alice", wait=30)


def test_the_reaper_lives_on_its_role(control_plane: ControlPlane, api: Api, tmp_path: Path) -> None:
    orphan = swarm("workspace-orphan")
    owners = tmp_path / "owners.json"
    owners.write_text(json.dumps({"owners": [{"workspaceId": "other", "userId": "u"}]}))
    api.create(orphan)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "userswarm.cli", "reap", f"--owners-file={owners}", "--dry-run"),
            *("--min-age=0s", "--max-delete=100%", "--confirm-after=0s", "--claim-max-age=30d"),
            f"--kubeconfig={connection(control_plane, api, REAPER, tmp_path)}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "workspace-orphan" in done.stdout, done.stderr
    assert "forbidden" not in (done.stdout + done.stderr).lower()
    assert api.acting_as_account(*REAPER).delete(orphan) is None
    assert api.get(orphan) is None
