"""A template with everything set, as a Pod: each field in Kubernetes' own words, in the order of the file.

What comes out is held against the same table, and brought to *restricted* by the same code, as a tenant's workload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.identity import claim_name
from userswarm.spec.pods.hardening import Surroundings, complete_pod
from userswarm.spec.pods.pods import pod_spec
from userswarm.spec.pods.shapes import only
from userswarm.spec.settings import Settings
from userswarm.spec.slugs import SWARM_PREFIX, slug, swarm_name
from userswarm.spec.template.parameters import escaped
from userswarm.spec.template.steps import build_step
from userswarm.wire.k8s import Manifest

MAIN = "runtime"
"""The container that serves the user."""

MAIN_PORT = "http"
"""Its port to which the swarm's Service leads."""

_PATTERNS = ("pattern", "secretPattern", "passwordSecret")
"""Fields that name a Secret or a ConfigMap."""

_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False}
_PROBES = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}
_ACTIONS = ("http", "tcp", "exec")
_POD = pod_spec(only("Always", "a swarm's Pod does not end"), {})


@dataclass(frozen=True, slots=True)
class Names:
    """Whose Pod it is: what a template may say of a swarm."""

    name: str
    user: str
    workspace: str
    namespace: str

    def object(self, pattern: str) -> str:
        """Return the name of a Secret or ConfigMap."""
        return pattern.replace("{name}", slug(self.name)).replace("{user}", slug(self.user))

    def claim(self, volume: str) -> str:
        """Return the name of a volume's claim."""
        return claim_name(self.name, volume)

    def field(self, field: str) -> str:
        """Return one of the swarm's own fields."""
        value: str = getattr(self, field)
        return value


def build_pod(document: Manifest, names: Names, settings: Settings) -> tuple[Manifest, list[Problem]]:
    """Return the containers and volumes of a resolved template as a Pod's spec, and what is wrong with it.

    Where something is wrong the spec is not to be used.
    """
    problems = _find_foreign(document, names)
    asked: Sequence[Manifest] = document.get("init", ())
    steps = [build_step(step, document, names, settings) for step in asked if "container" not in step]
    built = iter(steps)
    first = [_container(step["container"], names) if "container" in step else next(built).container for step in asked]
    native = [each for each in document["containers"] if each.get("sidecar") == "native"]
    beside = [each for each in document["containers"] if each.get("sidecar") != "native"]
    claims = {volume["name"]: volume for volume in document.get("volumes", ()) if "claim" in volume}
    raw: Manifest = {
        "initContainers": [*first, *({**_container(each, names), "restartPolicy": "Always"} for each in native)],
        "containers": [_container(each, names) for each in beside],
        "volumes": [
            *(_volume(each, names) for each in document.get("volumes", ()) if each["name"] not in claims),
            *(volume for step in steps for volume in step.volumes),
        ],
    }
    pod = _POD(raw, "pod", problems)
    if problems:
        return {}, problems
    others = {volume["name"]: volume for volume in pod.get("volumes", ())}
    order = [volume["name"] for volume in document.get("volumes", ())]
    volumes = [
        {"name": name, "persistentVolumeClaim": {"claimName": names.claim(name)}} if name in claims else others[name]
        for name in [*order, *(name for name in others if name not in order)]
    ]
    if volumes:
        pod["volumes"] = volumes
    if settings.allowed_image_prefixes:
        # The steps are our own image's.
        allowed = (*settings.allowed_image_prefixes, settings.helper_image)
        settings = replace(settings, allowed_image_prefixes=allowed)
    problems += complete_pod(pod, "pod", Surroundings(swarm_name(names.name), True, settings))
    return pod, problems


def _find_foreign(document: Manifest, names: Names) -> list[Problem]:
    """Name what would be another swarm's: a pattern ends with what a user chose."""
    own = re.compile(re.escape(swarm_name(names.name)) + "-[a-z0-9]+")
    found = {names.object(pattern) for pattern in patterns_in(document)}
    return [
        Problem("pod", f"the name {name!r} is another swarm's")
        for name in sorted(found)
        if name.startswith(SWARM_PREFIX) and not own.fullmatch(name)
    ]


def patterns_in(value: Any) -> Sequence[str]:
    """Return every pattern of a name in a template."""
    if isinstance(value, list):
        return [found for each in value for found in patterns_in(each)]
    if not isinstance(value, dict):
        return []
    here = [each for key, each in value.items() if key in _PATTERNS and isinstance(each, str)]
    hosts = value.get("knownHosts", {})
    here += [hosts[kind] for kind in ("secret", "configMap") if kind in hosts]
    return [*here, *(found for key, each in value.items() for found in patterns_in(each))]


def _container(asked: Manifest, names: Names) -> Manifest:
    container: Manifest = {
        **{field: asked[field] for field in ("name", "image", "imagePullPolicy", "command", "args") if field in asked},
        **({"workingDir": asked["workingDir"]} if "workingDir" in asked else {}),
        "env": [_variable(each, names) for each in asked.get("env", ())],
        "envFrom": [_environment(each, names) for each in asked.get("envFrom", ())],
        "ports": [
            {"name": each["name"], "containerPort": each["port"], "protocol": each.get("protocol", "TCP")}
            for each in asked.get("ports", ())
        ],
        "resources": asked.get("resources", {}),
        "securityContext": {
            **_SECURITY,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            **asked.get("security", {}),
        },
        **{field: _probe(asked[name]) for name, field in _PROBES.items() if name in asked},
        "volumeMounts": [mount(each) for each in asked.get("mounts", ())],
    }
    return {field: value for field, value in container.items() if value or value is False}


def mount(asked: Mapping[str, Any]) -> Manifest:
    """Return a volumeMount."""
    more = {field: asked[field] for field in ("readOnly", "subPath") if field in asked}
    return {"name": asked["volume"], "mountPath": asked["path"], **more}


def _variable(asked: Manifest, names: Names) -> Manifest:
    if "secret" in asked:
        secret = asked["secret"]
        optional = {"optional": secret["optional"]} if "optional" in secret else {}
        source = {"secretKeyRef": {"name": names.object(secret["pattern"]), "key": secret["key"], **optional}}
        return {"name": asked["name"], "valueFrom": source}
    value = escaped(names.field(asked["fieldRef"])) if "fieldRef" in asked else asked.get("value", "")
    return {"name": asked["name"], **({"value": value} if value else {})}


def _environment(asked: Manifest, names: Names) -> Manifest:
    optional = {"optional": asked["optional"]} if "optional" in asked else {}
    prefix = {"prefix": asked["prefix"]} if "prefix" in asked else {}
    return {**prefix, "secretRef": {"name": names.object(asked["secretPattern"]), **optional}}


def _probe(asked: Manifest) -> Manifest:
    times = {field: value for field, value in asked.items() if field not in _ACTIONS}
    if "http" in asked:
        return {"httpGet": dict(asked["http"]), **times}
    if "tcp" in asked:
        return {"tcpSocket": dict(asked["tcp"]), **times}
    return {"exec": {"command": asked["exec"]}, **times}


def _volume(asked: Manifest, names: Names) -> Manifest:
    if "emptyDir" in asked:
        return {"name": asked["name"], "emptyDir": asked["emptyDir"]}
    kind, field = ("secret", "secretName") if "secret" in asked else ("configMap", "name")
    source = asked[kind]
    more = {each: source[each] for each in ("optional", "defaultMode") if each in source}
    return {"name": asked["name"], kind: {field: names.object(source["pattern"]), **more}}
