"""A valid UserSwarm: what it asks for, every default filled in, and the names of all that belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from userswarm.errors import Problem
from userswarm.spec.identity import Identity, identify
from userswarm.spec.settings import Settings
from userswarm.spec.slugs import swarm_name
from userswarm.spec.template.revisions import Revision
from userswarm.wire.k8s import Manifest

NAME_PREFIX = "workspace-"
DEDICATED = "Dedicated"
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Templated:
    """A swarm's template: its revision, its fields with everything set, and the Pod that it makes."""

    revision: Revision
    resolved: Manifest
    pod: Manifest


@dataclass(frozen=True, slots=True)
class Asked:
    """What a parent asks for, its defaults filled in, before anybody found it valid.

    `template` is the one that it has, None for most.
    """

    name: str
    spec: Manifest
    settings: Settings
    template: Templated | None = None

    @property
    def dedicated(self) -> bool:
        """Whether it asks for a namespace of its own."""
        return bool(self.spec["placement"].get("isolation") == DEDICATED)

    @property
    def managed(self) -> bool:
        """Whether the namespace of a Dedicated swarm is made and deleted by us."""
        return bool(self.spec["placement"].get("namespaceMode") != OPERATOR)

    @property
    def namespace(self) -> str:
        """Where its children live: its own name is that of a namespace that we make."""
        if self.dedicated and self.managed:
            return swarm_name(self.name)
        namespace: str = self.spec["placement"]["runtimeNamespace"]
        return namespace


@dataclass(frozen=True, slots=True)
class Swarm:
    """A valid UserSwarm.

    `retry` is the value of the annotation by which somebody asks for its verification to be tried anew.
    """

    asked: Asked
    identity: Identity
    retry: str

    @property
    def spec(self) -> Manifest:
        """The spec; every field that the CRD has a default for is there. Never edited."""
        return self.asked.spec

    @property
    def settings(self) -> Settings:
        """What the platform's operator decides."""
        return self.asked.settings


@dataclass(frozen=True, slots=True)
class Check:
    """What a CRD cannot judge, or an older CRD did not judge, about some fields.

    `find` is only called where the schema found nothing wrong at, above or below any of `paths`.
    """

    paths: tuple[str, ...]
    find: Callable[[Asked], Iterator[Problem]]


def find_workspace(name: str, spec: Manifest) -> str:
    """Return the workspace that a UserSwarm serves."""
    workspace: str = spec.get("workspaceId") or name.removeprefix(NAME_PREFIX)
    return workspace


def name_swarm(api_version: str, uid: str, asked: Asked, annotations: Mapping[str, str]) -> Swarm:
    """Return a valid UserSwarm with the names of its children."""
    workspace_id = find_workspace(asked.name, asked.spec)
    identity = identify(api_version, asked.name, uid, asked.spec["userId"], workspace_id, asked.namespace)
    return Swarm(asked, identity, annotations.get(RETRY_ANNOTATION, ""))


RETRY_ANNOTATION = "crawbl.ai/retry-verification"
"""Whoever changes this annotation's value asks for the verification to be tried anew."""
