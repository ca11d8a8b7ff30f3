"""Turn a parent's JSON into a frozen `UserSwarm`, or say everything that is wrong with it.

The schema's checks come from the CRD; here stand those that a CRD cannot make, or that an apiserver with an older
CRD did not make. Each looks only at fields that the schema found nothing wrong with, so all are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.config_toml import FILE_NAME, find_toml_problem, render_config
from userswarm.errors import InvalidParentError, Problem
from userswarm.isolation import (
    Isolation,
    build_isolation,
    check_limits,
    check_members,
    check_namespace,
    check_shared,
    check_workloads,
    is_dedicated,
    runtime_limits,
)
from userswarm.spec import quantity
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.spec.slugs import SWARM_PREFIX, swarm_name
from userswarm.wire.k8s import MAX_APPLIED_BYTES, Manifest, Observed, applied_size, too_large

NAME_PREFIX = "workspace-"
RETRY_ANNOTATION = "crawbl.ai/retry-verification"
"""Whoever changes this annotation's value asks for the smoke test to be tried anew."""

CONFIG_DIRECTORY = "/etc/userswarm"
"""Where the init container finds the rendered configuration."""

TMP_DIRECTORY = "/tmp"  # noqa: S108 - an emptyDir of the Pod's own

TAKEN_DIRECTORIES = (CONFIG_DIRECTORY, TMP_DIRECTORY, "/dev", "/proc", "/sys", "/var/run/secrets")

_AGENT_SLUG = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_QUALIFIED_NAME = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_QUALIFIED = "it must be letters, digits, '-', '_' and '.', at most 63, after a domain and '/' if any: example.com/kind"
_FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class UserSwarm:
    """A valid UserSwarm with every default filled in.

    Quantities are in Kubernetes' canonical form, times in seconds. `files` is all that the runtime finds in its
    configuration directory, config.toml included.
    """

    api_version: str
    name: str
    uid: str
    retry: str
    user_id: str
    workspace_id: str
    namespace: str
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    runtime_class: str
    priority_class: str
    image: str
    args: tuple[str, ...]
    port: int
    data_path: str
    pull_secret: str
    pull_policy: str
    env: tuple[tuple[str, str], ...]
    env_secret: str
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    storage_size: str
    storage_class: str
    retain: bool
    files: Mapping[str, str]
    verification_path: str
    verification_timeout: int
    verification_attempts: int
    suspend: bool
    isolation: Isolation | None


def parse_parent(parent: Observed, settings: Settings) -> UserSwarm:
    """Return the UserSwarm that a parent describes.

    Raises InvalidParentError with every problem, each with its path and what would be accepted.
    """
    schema = user_swarm_schema()
    # Judged as its user wrote it: defaults are right, and there are more of them.
    problems = schema.problems(parent)
    spec = schema.spec_with_defaults(parent)
    spoilt = [problem.path for problem in problems]
    metadata = parent["metadata"]
    for path, check in _CHECKS:
        if isinstance(spec, dict) and not any(_overlap(path, other) for other in spoilt):
            problems.extend(check(spec, settings))
    if isinstance(spec, dict):
        problems.extend(_check_secrets(spec, metadata["name"], spoilt, settings))
        problems.extend(_check_isolation(spec, metadata["name"], spoilt, settings))
    if problems:
        raise InvalidParentError(metadata["name"], sorted(problems, key=lambda problem: problem.path))
    return _build(parent, spec, settings)


def _build(parent: Observed, spec: Manifest, settings: Settings) -> UserSwarm:
    metadata = parent["metadata"]
    placement, runtime, storage = spec["placement"], spec["runtime"], spec["storage"]
    config, verification = spec["config"], spec["verification"]
    isolation = build_isolation(spec, metadata["name"], settings) if is_dedicated(spec) else None
    resources = runtime["resources"]
    return UserSwarm(
        api_version=parent["apiVersion"],
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        retry=(metadata.get("annotations") or {}).get(RETRY_ANNOTATION, ""),
        user_id=spec["userId"],
        workspace_id=spec.get("workspaceId") or metadata["name"].removeprefix(NAME_PREFIX),
        namespace=placement["runtimeNamespace"],
        node_selector=placement.get("nodeSelector", {}),
        # The apiserver drops what is empty; a template that still held it would differ for ever.
        tolerations=tuple({k: v for k, v in each.items() if v != ""} for each in placement.get("tolerations", ())),
        runtime_class=placement.get("runtimeClassName", ""),
        priority_class=placement.get("priorityClassName", ""),
        image=_image(spec, settings),
        args=tuple(runtime.get("args", (runtime["mode"],))),
        port=runtime["port"],
        data_path=runtime["dataPath"],
        pull_secret=runtime.get("imagePullSecretName", ""),
        pull_policy=runtime.get("imagePullPolicy", ""),
        env=tuple((each["name"], each.get("value", "")) for each in runtime.get("env", ())),
        env_secret=config.get("envSecretRef", {}).get("name", ""),
        requests=_canonical(resources["requests"]),
        limits=_canonical(resources["limits"] if isolation is None else runtime_limits(resources, isolation)),
        storage_size=quantity.canonical(storage["size"]),
        storage_class=storage.get("storageClassName", ""),
        retain=storage["retainPolicy"] == "Retain",
        files={FILE_NAME: _render(spec, settings), **config.get("files", {})},
        verification_path=verification["path"],
        verification_timeout=verification["timeoutSeconds"],
        verification_attempts=verification["maxAttempts"],
        suspend=spec["suspend"],
        isolation=isolation,
    )


def _canonical(resources: Mapping[str, str | int]) -> dict[str, str]:
    return {name: quantity.canonical(amount) for name, amount in sorted(resources.items())}


def _image(spec: Manifest, settings: Settings) -> str:
    image: str = spec["runtime"].get("image") or settings.default_image
    return image


def _render(spec: Manifest, settings: Settings) -> str:
    config = spec["config"]
    return render_config(settings.base_config, spec["runtime"]["port"], config, config.get("tomlOverrides", ""))


def _check_namespace(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    namespace = spec["placement"]["runtimeNamespace"]
    # A Dedicated swarm has a namespace of its own, or one whose own label says that it may be used.
    if not is_dedicated(spec) and namespace not in settings.allowed_namespaces:
        allowed = ", ".join(settings.allowed_namespaces)
        yield Problem("spec.placement.runtimeNamespace", f"{namespace!r} is not allowed here; allowed are {allowed}")


def _check_node_selector(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    for name in spec["placement"].get("nodeSelector", {}):
        if not _is_qualified_name(name):
            yield Problem(f"spec.placement.nodeSelector[{name}]", f"{name!r} is no label's name; {_QUALIFIED}")


def _check_tolerations(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    """Refuse what the apiserver refuses in a Pod: it would refuse the StatefulSet at every sync."""
    for position, each in enumerate(spec["placement"].get("tolerations", ())):
        where = f"spec.placement.tolerations[{position}]"
        key, exists = each.get("key", ""), each.get("operator", "Equal") == "Exists"
        if key and not _is_qualified_name(key):
            yield Problem(f"{where}.key", f"{key!r} is no taint's name; {_QUALIFIED}")
        if not key and not exists:
            yield Problem(f"{where}.operator", "must be Exists where key is empty: that tolerates every taint")
        if exists and each.get("value"):
            yield Problem(f"{where}.value", f"{each['value']!r} is not compared by operator Exists; leave it out")
        if "tolerationSeconds" in each and each.get("effect") != "NoExecute":
            yield Problem(f"{where}.effect", "must be NoExecute where tolerationSeconds is set")


def _is_qualified_name(name: str) -> bool:
    return len(name.rpartition("/")[0]) <= 253 and _QUALIFIED_NAME.fullmatch(name) is not None


def _check_image(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    image, prefixes = _image(spec, settings), settings.allowed_image_prefixes
    if prefixes and not image.startswith(prefixes):
        yield Problem(
            "spec.runtime.image", f"{image!r} is not allowed here; it must start with {' or '.join(prefixes)}"
        )


def _check_data_path(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    path = spec["runtime"]["dataPath"].rstrip("/")
    for taken in TAKEN_DIRECTORIES:
        if f"{path}/".startswith(f"{taken}/") or f"{taken}/".startswith(f"{path}/"):
            yield Problem("spec.runtime.dataPath", f"{path!r} meets {taken}, which is taken; use one such as /data")


def _check_resources(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    resources = spec["runtime"]["resources"]
    for name, request in sorted(resources["requests"].items()):
        limit = resources["limits"].get(name)
        if limit is not None and quantity.compare(request, limit) > 0:
            yield Problem(
                f"spec.runtime.resources.requests.{name}",
                f"{request} is more than the limit, {limit}; set limits.{name} to at least {request}",
            )


def _check_size(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    size = spec["storage"]["size"]
    if quantity.compare(size, 0) <= 0:
        yield Problem("spec.storage.size", f"{size} is no size for a volume; it must be more than 0, such as 2Gi")


def _check_overrides(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    problem = find_toml_problem(spec["config"].get("tomlOverrides", ""))
    if problem:
        yield Problem("spec.config.tomlOverrides", problem)


def _check_agents(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    for slug in spec["config"].get("agents", {}):
        if not _AGENT_SLUG.fullmatch(slug):
            yield Problem(
                f"spec.config.agents[{slug}]",
                f"{slug!r} is no agent's name; it must be a DNS label: a-z, 0-9 and - inside, at most 63",
            )


def _check_files(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    files = spec["config"].get("files", {})
    for name in files:
        if not _FILE_NAME.fullmatch(name) or name.startswith("..") or name in (FILE_NAME, "."):
            yield Problem(
                f"spec.config.files[{name}]",
                f"{name!r} is no name for a file here; it must be letters, digits, '-', '_' and '.', not start "
                f"with '..', and not be {FILE_NAME}, which is made from the other fields",
            )
    size = applied_size(files)
    if size > MAX_APPLIED_BYTES:
        yield Problem("spec.config.files", too_large("are", size))


def _check_secrets(spec: Manifest, name: str, spoilt: list[str], settings: Settings) -> Iterator[Problem]:
    """Refuse Secrets that are another swarm's: in a shared namespace a name is all it takes to read one."""
    for path, suffix in (("spec.config.envSecretRef.name", "env"), ("spec.runtime.imagePullSecretName", "pull")):
        if any(_overlap(path, other) for other in spoilt):
            continue
        value: Any = spec
        for step in path.split(".")[1:]:
            value = value.get(step, {})
        own = f"{swarm_name(name)}-{suffix}"
        if not value or value == own:
            continue
        if value.startswith(SWARM_PREFIX):
            yield Problem(path, f"{value!r} is not this swarm's: of the names with {SWARM_PREFIX} it may use {own!r}")
        elif settings.allowed_secrets and value not in settings.allowed_secrets:
            allowed = ", ".join((own, *settings.allowed_secrets))
            yield Problem(path, f"{value!r} is not allowed here; allowed are {allowed}")


def _check_isolation(spec: Manifest, name: str, spoilt: list[str], settings: Settings) -> Iterator[Problem]:
    """Check what only a Dedicated swarm has, each part unless the schema found something wrong with it."""
    decisive = ("isolation", "namespaceMode", "runtimeNamespace")
    if any(_overlap(f"spec.placement.{field}", other) for field in decisive for other in spoilt):
        return
    if not is_dedicated(spec):
        yield from check_shared(spec)
        return
    yield from check_namespace(spec, name)
    for path, problems in (
        ("spec.workloads", check_workloads(spec, name, settings)),
        ("spec.limitRange", check_limits(spec)),
        ("spec.access", check_members(spec)),
    ):
        if not any(_overlap(path, other) for other in spoilt):
            yield from problems


def _check_priority(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    name = spec["placement"].get("priorityClassName", "")
    if name.startswith("system-"):
        yield Problem("spec.placement.priorityClassName", f"{name!r} is for the cluster's own Pods; use another class")


def _check_route(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    if spec.get("exposure", {}).get("httpRoute", {}).get("enabled"):
        yield Problem(
            "spec.exposure.httpRoute.enabled",
            "true is not supported: a swarm is never reachable from outside, the backend proxies to its Service; "
            "set it to false",
        )


_Check = Callable[[Manifest, Settings], Iterator[Problem]]

_CHECKS: tuple[tuple[str, _Check], ...] = (
    ("spec.placement.runtimeNamespace", _check_namespace),
    ("spec.placement.priorityClassName", _check_priority),
    ("spec.placement.nodeSelector", _check_node_selector),
    ("spec.placement.tolerations", _check_tolerations),
    ("spec.runtime.image", _check_image),
    ("spec.runtime.dataPath", _check_data_path),
    ("spec.runtime.resources", _check_resources),
    ("spec.storage.size", _check_size),
    ("spec.config.tomlOverrides", _check_overrides),
    ("spec.config.agents", _check_agents),
    ("spec.config.files", _check_files),
    ("spec.exposure", _check_route),
)


def _overlap(path: str, other: str) -> bool:
    """Tell whether one path lies at or below the other."""
    shorter, longer = sorted((path, other), key=len)
    return longer.startswith(shorter) and longer[len(shorter) : len(shorter) + 1] in ("", ".", "[")
