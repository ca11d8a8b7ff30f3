"""Who may do what through the Kubernetes API, inside a Dedicated swarm's namespace and nowhere else."""

from __future__ import annotations

from userswarm.identity import Identity
from userswarm.isolation import Isolation, Member
from userswarm.k8s import Manifest
from userswarm.slugs import digest

_RBAC = "rbac.authorization.k8s.io"

# Secrets are in none of them: who may read a namespace's Secrets has the keys that its runtime works with.
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "patch", "update"]

VIEW_RULES = (
    {
        "apiGroups": [""],
        "resources": ["configmaps", "events", "persistentvolumeclaims", "pods", "pods/log", "services"],
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets"]},
    {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"]},
)
"""What the role view may read."""

EDIT_RULES = (
    {"apiGroups": [""], "resources": ["configmaps", "pods", "services"]},
    {"apiGroups": ["apps"], "resources": ["deployments"]},
    {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"]},
)
"""What the role edit may write besides."""


def build_access(isolation: Isolation, identity: Identity) -> list[Manifest]:
    """Return the Role and RoleBinding of the swarm's ServiceAccount, if it has any, and those of its members."""
    manifests: list[Manifest] = []
    if isolation.access != "none":
        manifests += [_role(isolation.access, identity), _own_binding(identity)]
    manifests += [_member_binding(member, identity) for member in isolation.members]
    return manifests


def _role(access: str, identity: Identity) -> Manifest:
    rules = [{**rule, "verbs": list(_READ)} for rule in VIEW_RULES]
    if access == "edit":
        rules += [{**rule, "verbs": list(_WRITE)} for rule in EDIT_RULES]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": identity.metadata(identity.name),
        "rules": rules,
    }


def _own_binding(identity: Identity) -> Manifest:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": identity.metadata(identity.name),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": identity.name},
        "subjects": [{"kind": "ServiceAccount", "name": identity.name, "namespace": identity.namespace}],
    }


def _member_binding(member: Member, identity: Identity) -> Manifest:
    """Return one member's binding to one of the ClusterRoles of manifests/rbac.

    The role is part of the name: a binding's role cannot be changed, so another role is another binding.
    """
    name = f"{identity.name}-{digest(f'{member.kind}/{member.name}/{member.role}')[:13]}"
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": identity.metadata(name),
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": f"userswarm-namespace-{member.role}"},
        "subjects": [{"kind": member.kind, "name": member.name, "apiGroup": _RBAC}],
    }
