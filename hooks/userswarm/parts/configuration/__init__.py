"""What a runtime finds in its configuration directory: config.toml and the files beside it, in one ConfigMap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from userswarm.errors import Problem
from userswarm.parts.configuration.toml import FILE_NAME, find_toml_problem, render_config
from userswarm.parts.shape import Part, Sight, Verdict, judge_present
from userswarm.spec.secrets import check_secret
from userswarm.spec.swarm import Asked, Check, Swarm
from userswarm.wire.freeze import last_applied
from userswarm.wire.k8s import CONFIG_MAP, MAX_APPLIED_BYTES, Manifest, applied_size, too_large

_AGENT_SLUG = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_FILE_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """`files` is all that the runtime finds, config.toml included."""

    files: Mapping[str, str]


def read(swarm: Swarm) -> Configuration | None:
    """Return a swarm's configuration, its layers merged; None for one whose template has none."""
    template = swarm.asked.template
    if template is not None and not template.resolved.get("config"):
        return None
    config, port = swarm.spec["config"], swarm.spec["runtime"]["port"]
    rendered = render_config(swarm.settings.base_config, port, config, config.get("tomlOverrides", ""))
    return Configuration(files={FILE_NAME: rendered, **config.get("files", {})})


def build(configuration: Configuration, swarm: Swarm) -> list[Manifest]:
    """Return the ConfigMap; no secret value is ever in it."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": swarm.identity.metadata(swarm.identity.config_map),
            "data": dict(configuration.files),
        }
    ]


def judge(configuration: Configuration, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Say what is wrong where the ConfigMap is not there."""
    return judge_present(CONFIG_MAP, swarm.identity.config_map, swarm, sight)


def is_stored(configuration: Configuration, swarm: Swarm, sight: Sight) -> bool:
    """Tell whether the ConfigMap that is there holds these files, and none that we have taken out.

    A key that somebody else added stays, for Metacontroller removes only what a hook once returned. One that is not
    there at all is no old configuration: a Pod waits for it.
    """
    stored = sight.observation.child(CONFIG_MAP, swarm.identity.namespace, swarm.identity.config_map)
    if stored is None:
        return True
    found, files = stored.get("data") or {}, configuration.files
    if found == files:
        return True
    return files.items() <= found.items() and (last_applied(stored) or {}).get("data") == files


def _check_overrides(asked: Asked) -> Iterator[Problem]:
    problem = find_toml_problem(asked.spec["config"].get("tomlOverrides", ""))
    if problem:
        yield Problem("spec.config.tomlOverrides", problem)


def _check_agents(asked: Asked) -> Iterator[Problem]:
    for slug in asked.spec["config"].get("agents", {}):
        if not _AGENT_SLUG.fullmatch(slug):
            yield Problem(
                f"spec.config.agents[{slug}]",
                f"{slug!r} is no agent's name; it must be a DNS label: a-z, 0-9 and - inside, at most 63",
            )


def _check_files(asked: Asked) -> Iterator[Problem]:
    files = asked.spec["config"].get("files", {})
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


def _check_env_secret(asked: Asked) -> Iterator[Problem]:
    secret = asked.spec["config"].get("envSecretRef", {}).get("name", "")
    return check_secret("spec.config.envSecretRef.name", secret, "env", asked)


PART = Part(
    name="configuration",
    condition="WorkloadReady",
    kinds=(CONFIG_MAP,),
    checks=(
        Check(("spec.config.tomlOverrides",), _check_overrides),
        Check(("spec.config.agents",), _check_agents),
        Check(("spec.config.files",), _check_files),
        Check(("spec.config.envSecretRef.name",), _check_env_secret),
    ),
    read=read,
    build=build,
    judge=judge,
)
