"""A release that changes a Pod template restarts every user's runtime; it must be meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

import scenes
from userswarm.compose.plan import compute_plan
from userswarm.spec.manifests import manifest_path
from userswarm.wire.k8s import STATEFUL_SET


def _sample(name: str) -> scenes.Json:
    text = manifest_path(f"samples/{name}.yaml").read_text(encoding="utf-8")
    parent: scenes.Json = yaml.safe_load(text)
    parent["metadata"]["uid"] = "4a6d8f5e-0000-4000-8000-000000000001"
    return parent


OTHER_IMAGE = scenes.user_swarm(
    "workspace-other",
    runtime={
        "image": "registry.example/agent:2.1",
        "args": ["serve", "--port", "8080"],
        "port": 8080,
        "dataPath": "/data",
        "env": [{"name": "HOME", "value": "/data/home"}, {"name": "EMPTY", "value": ""}],
        "resources": {"requests": {"cpu": 1, "memory": "0.5Gi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}},
    },
    placement={"tolerations": [{"key": "", "operator": "Exists", "value": ""}]},
    verification={"path": "/healthz?full=1"},
)
SUSPENDED = scenes.user_swarm("workspace-suspended", suspend=True, runtime={"args": []})

SPECS = {
    "minimal": lambda: _sample("minimal"),
    "full": lambda: _sample("full"),
    "dedicated": lambda: _sample("dedicated"),
    "original": lambda: _sample("original"),
    "other-image": lambda: OTHER_IMAGE,
    "suspended": lambda: SUSPENDED,
}


@pytest.mark.parametrize("name", SPECS)
def test_a_release_leaves_every_stateful_set_as_it_was(name: str, golden: Callable[[str, str, str], None]) -> None:
    plan = compute_plan(SPECS[name](), scenes.SETTINGS)
    stateful_set = next(child for child in plan.children() if child["kind"] == STATEFUL_SET.kind)
    golden(
        f"stateful_set/{name}.yaml",
        yaml.safe_dump(stateful_set, sort_keys=False, width=120),
        "The release rule: a release that changes none of a template's inputs leaves every template byte-identical, "
        "for a changed one restarts EVERY user's runtime at once. If that is meant, say so in the release notes, "
        "and write the new template with --update-golden.",
    )
