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
from cluster.rights import BACKEND, MAY, MEMBERS, MUST_NOT, NARROW, PEOPLE_MAY, PEOPLE_MUST_NOT, RBAC, REAPER, WIDE
from contract.rendered import named, of_kind, rendered
from userswarm.backend import UserSwarmClient
from userswarm.spec.settings import Settings


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
