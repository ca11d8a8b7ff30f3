"""Who may do what through the Kubernetes API, inside a Dedicated swarm's namespace and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from userswarm.parts.dedicated.isolation import NO_ROLE, Isolation, Member
from userswarm.parts.dedicated.walls import wall
from userswarm.spec.identity import Identity
from userswarm.spec.slugs import digest
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import ROLE, ROLE_BINDING, Manifest

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


def build(isolation: Isolation, swarm: Swarm) -> list[Manifest]:
    """Return the Role and RoleBinding of the swarm's ServiceAccount, if it has any, and those of its members."""
    identity = swarm.identity
    manifests: list[Manifest] = []
    if isolation.access != NO_ROLE:
        manifests += [_role(isolation.access, identity), _own_binding(identity)]
    # A member named twice is one: Metacontroller would silently take one of two children with one name.
    manifests += [_member_binding(member, identity) for member in dict.fromkeys(isolation.members)]
    return manifests


def _role(access: str, identity: Identity) -> Manifest:
    rules = [_rule(rule, _READ) for rule in VIEW_RULES]
    if access == "edit":
        rules += [_rule(rule, _WRITE) for rule in EDIT_RULES]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": identity.metadata(identity.name),
        "rules": rules,
    }


def _rule(rule: Mapping[str, list[str]], verbs: list[str]) -> Manifest:
    return {**{field: list(names) for field, names in rule.items()}, "verbs": list(verbs)}


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


PART = wall("access", (ROLE, ROLE_BINDING), build)
