"""Pods of others' writing: brought to the *restricted* Pod Security Standard, and kept to their own Secrets.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from userswarm.errors import Problem
from userswarm.spec import quantity
from userswarm.spec.settings import Settings
from userswarm.spec.slugs import SWARM_PREFIX
from userswarm.wire.k8s import Manifest


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where workloads live: the swarm's own name, and whether the namespace holds nothing but this swarm."""

    swarm: str
    alone: bool
    settings: Settings


def containers_of(pod: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Iterate over a Pod's containers, first the init containers, each with its path."""
    for field in ("initContainers", "containers"):
        for position, container in enumerate(pod.get(field, ())):
            yield f"{field}[{position}]", container


def complete_pod(pod: Manifest, path: str, surroundings: Surroundings) -> Iterator[Problem]:
    """Complete a Pod's spec in place, and yield what is wrong with it."""
    settings = surroundings.settings
    pod["automountServiceAccountToken"] = False
    pod.setdefault("enableServiceLinks", False)
    security = pod.setdefault("securityContext", {})
    security["runAsNonRoot"] = True
    security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    security.setdefault("runAsUser", settings.runtime_user)
    for position, each in enumerate(pod.get("imagePullSecrets", ())):
        yield from _check_secret(each["name"], f"{path}.imagePullSecrets[{position}].name", surroundings)
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for position, volume in enumerate(pod.get("volumes", ())):
        where = f"{path}.volumes[{position}]"
        if "secret" in volume:
            yield from _check_secret(volume["secret"]["secretName"], f"{where}.secret.secretName", surroundings)
        if "configMap" in volume:
            yield from _check_config_map(volume["configMap"]["name"], f"{where}.configMap.name", surroundings)
    names: set[str] = set()
    for step, container in containers_of(pod):
        where = f"{path}.{step}"
        if container["name"] in names:
            yield Problem(f"{where}.name", f"a second container {container['name']!r}; names must differ")
        names.add(container["name"])
        yield from _complete_container(container, where, surroundings)
        if step.startswith("initContainers") and "restartPolicy" not in container:
            for field in sorted(container.keys() & {"livenessProbe", "readinessProbe", "startupProbe"}):
                yield Problem(f"{where}.{field}", "is not for an init container that ends; leave it out")
        for position, mount in enumerate(container.get("volumeMounts", ())):
            if mount["name"] not in volumes:
                yield Problem(f"{where}.volumeMounts[{position}].name", f"there is no volume {mount['name']!r}")


def _complete_container(container: Manifest, path: str, surroundings: Surroundings) -> Iterator[Problem]:
    image, prefixes = container["image"], surroundings.settings.allowed_image_prefixes
    if prefixes and not image.startswith(prefixes):
        yield Problem(f"{path}.image", f"{image!r} is not allowed here; it must start with {' or '.join(prefixes)}")
    security = container.setdefault("securityContext", {})
    security["allowPrivilegeEscalation"] = False
    security.setdefault("capabilities", {})["drop"] = ["ALL"]
    resources = container.get("resources", {})
    limits = resources.get("limits", {})
    for name, request in resources.get("requests", {}).items():
        if name in limits and quantity.compare(request, limits[name]) > 0:
            yield Problem(f"{path}.resources.requests.{name}", f"{request} is more than the limit, {limits[name]}")
    for position, variable in enumerate(container.get("env", ())):
        source, where = variable.get("valueFrom", {}), f"{path}.env[{position}].valueFrom"
        if source and "value" in variable:
            yield Problem(where, "must not be there beside value")
        if "secretKeyRef" in source:
            yield from _check_secret(source["secretKeyRef"]["name"], f"{where}.secretKeyRef.name", surroundings)
        if "configMapKeyRef" in source:
            yield from _check_config_map(
                source["configMapKeyRef"]["name"], f"{where}.configMapKeyRef.name", surroundings
            )
    for position, each in enumerate(container.get("envFrom", ())):
        where = f"{path}.envFrom[{position}]"
        if "secretRef" in each:
            yield from _check_secret(each["secretRef"]["name"], f"{where}.secretRef.name", surroundings)
        else:
            yield from _check_config_map(each["configMapRef"]["name"], f"{where}.configMapRef.name", surroundings)


def _check_secret(name: str, path: str, surroundings: Surroundings) -> Iterator[Problem]:
    """Refuse a Secret that may be somebody else's; in a namespace of the swarm's own all are the tenant's."""
    own = (f"{surroundings.swarm}-env", f"{surroundings.swarm}-pull")
    allowed = surroundings.settings.allowed_secrets
    if surroundings.alone or name in own:
        return
    if name.startswith(SWARM_PREFIX):
        yield Problem(path, f"{name!r} is not this swarm's: of the names with {SWARM_PREFIX} it may use {own}")
    elif allowed and name not in allowed:
        yield Problem(path, f"{name!r} is not allowed here; allowed are {', '.join((*own, *allowed))}")


def _check_config_map(name: str, path: str, surroundings: Surroundings) -> Iterator[Problem]:
    own = f"{surroundings.swarm}-config"
    if not surroundings.alone and name.startswith(SWARM_PREFIX) and name != own:
        yield Problem(path, f"{name!r} is not this swarm's: of the names with {SWARM_PREFIX} it may use {own!r}")
