"""The manifests as `kubectl kustomize` renders them, and what several contract tests ask of them."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
COMPONENTS = sorted(path.parent.name for path in MANIFESTS.glob("components/*/kustomization.yaml"))

Object = dict[str, Any]

# libyaml where PyYAML was built with it: the manifests are long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What Metacontroller's authors publish, as far as our patches touch it: building must not need the network.
UPSTREAM = "https://github.com/metacontroller/metacontroller//manifests/production?ref=v4.17.2"
UPSTREAM_STAND_IN = """
apiVersion: v1
kind: Namespace
metadata: {name: metacontroller}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: metacontroller, namespace: metacontroller}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metacontroller}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metacontroller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metacontroller}
subjects: [{kind: ServiceAccount, name: metacontroller, namespace: metacontroller}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: metacontroller, namespace: metacontroller, labels: {app.kubernetes.io/name: metacontroller}}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: metacontroller}}
  serviceName: ""
  template:
    metadata: {labels: {app.kubernetes.io/name: metacontroller}}
    spec:
      serviceAccountName: metacontroller
      containers:
        - name: metacontroller
          image: ghcr.io/metacontroller/metacontroller:v4.17.2
          command: [/usr/bin/metacontroller]
          args: [--zap-log-level=4, --discovery-interval=20s]
"""


def kustomize() -> list[str]:
    """Return the command that builds a directory; skip the test where there is none."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return command
    pytest.skip("neither kustomize nor kubectl is installed")


def build(directory: Path) -> list[Object]:
    """Return the objects that kustomize makes of a directory; a failure names what kustomize said."""
    done = subprocess.run([*kustomize(), str(directory)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{directory}: {done.stderr}"
    return [document for document in yaml.load_all(done.stdout, Loader=LOADER) if document is not None]


@functools.cache
def _rendered(name: str) -> str:
    if name != "metacontroller":
        return json.dumps(build(MANIFESTS / name))
    with tempfile.TemporaryDirectory() as scratch:
        copy = copy_manifests(Path(scratch))
        stand_in_upstream(copy, UPSTREAM_STAND_IN)
        return json.dumps(build(copy / "metacontroller"))


def stand_in_upstream(manifests: Path, text: str) -> None:
    """Let copied manifests build on a text instead of what Metacontroller's authors publish."""
    stand_in = manifests / "metacontroller" / "upstream"
    stand_in.mkdir()
    (stand_in / "all.yaml").write_text(text, encoding="utf-8")
    (stand_in / "kustomization.yaml").write_text("resources: [all.yaml]\n", encoding="utf-8")
    kustomization = manifests / "metacontroller" / "kustomization.yaml"
    kept = kustomization.read_text(encoding="utf-8")
    assert UPSTREAM in kept
    kustomization.write_text(kept.replace(UPSTREAM, "upstream"), encoding="utf-8")


def rendered(name: str) -> list[Object]:
    """Return the objects of ``manifests/<name>``, fresh at every call."""
    objects: list[Object] = json.loads(_rendered(name))
    return objects


def copy_manifests(scratch: Path) -> Path:
    """Copy the manifests into `scratch`, to be changed there, and return where they are."""
    return Path(shutil.copytree(MANIFESTS, scratch / "manifests"))


def production_with(*components: str) -> list[Object]:
    """Return the production overlay with opt-in components switched on as an operator does it: the # taken off."""
    objects: list[Object] = json.loads(_production_with(components))
    return objects


@functools.cache
def _production_with(components: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        manifests = copy_manifests(Path(scratch))
        switch_on(manifests, *components)
        return json.dumps(build(manifests / "overlays" / "production"))


def switch_on(manifests: Path, *components: str) -> None:
    """Switch opt-in components of copied manifests on as an operator does it: the # taken off."""
    kustomization = manifests / "overlays" / "production" / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    for component in components:
        commented = f"  # - ../../components/{component}\n"
        assert commented in text, f"{component} is not offered in overlays/production"
        text = text.replace(commented, f"  - ../../components/{component}\n")
    kustomization.write_text(text, encoding="utf-8")


def offered_components() -> list[str]:
    """Return the components that overlays/production offers behind a #, in its order."""
    text = (MANIFESTS / "overlays/production/kustomization.yaml").read_text(encoding="utf-8")
    marker = "  # - ../../components/"
    return [line.removeprefix(marker) for line in text.splitlines() if line.startswith(marker)]


# One of the two reapers excludes the other: both bring the same CronJob.
ALL_AT_ONCE = [name for name in offered_components() if name != "reaper-postgres"]
# What a component says it needs, at the top of its file.
NEEDED = {
    "cert-manager": ["tls"],
    "mtls": ["tls"],
    "reaper-claims": ["reaper-url"],
    "gate-hpa": ["gate"],
    "gate-envoy-gateway": ["gate"],
}
ALONE = [(name, [*NEEDED.get(name, []), name]) for name in offered_components()]


def kustomizations() -> list[str]:
    """Return every directory that can be built by itself, relative to manifests/."""
    return sorted(
        str(path.parent.relative_to(MANIFESTS))
        for path in MANIFESTS.rglob("kustomization.yaml")
        if yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] == "Kustomization"
    )


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [item for item in objects if item["kind"] in kinds]


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return the one object of this kind and name."""
    found = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def title(item: Object) -> str:
    """Return what to call an object in a message."""
    return f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def pod_specs(objects: Sequence[Object]) -> Iterator[tuple[str, Mapping[str, str], Object]]:
    """Yield title, labels and spec of every Pod template."""
    for item in objects:
        spec = item.get("spec", {})
        if item["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        template = spec.get("template") if isinstance(spec, dict) else None
        if item["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob"} and template:
            yield title(item), template["metadata"]["labels"], template["spec"]


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a metav1.LabelSelector matches: none matches nothing, an empty one everything."""
    if selector is None:
        return False
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        value, values = labels.get(rule["key"]), rule.get("values", [])
        holds = {
            "In": value is not None and value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not holds:
            return False
    return True
