"""What others publish and UserSwarm is installed beside: Metacontroller's manifests, and the CRDs of its neighbours.

Building must not need the network, so these are stand-ins that take any spec. Where a checkout of the published CRDs
lies beside this one, those are taken.
"""

from __future__ import annotations

from typing import Any

import yaml

from contract.rendered import ROOT, UPSTREAM_STAND_IN

_PUBLISHED = ROOT.parent / "shared" / "crds"
_METACONTROLLER = "metacontroller-crds-v1.yaml"
DATABASES = ("Database", "DatabaseRole")


def upstream() -> str:
    """Return what Metacontroller's authors publish."""
    return f"{UPSTREAM_STAND_IN}\n---\n{_metacontrollers()}"


def metacontrollers() -> list[dict[str, Any]]:
    """Return Metacontroller's own CRDs."""
    return [each for each in yaml.safe_load_all(_metacontrollers()) if each is not None]


def _metacontrollers() -> str:
    published = _PUBLISHED / _METACONTROLLER
    if published.exists():
        return published.read_text(encoding="utf-8")
    return yaml.safe_dump_all(
        [
            _crd("metacontroller.k8s.io", "v1alpha1", "CompositeController", scope="Cluster"),
            _crd("metacontroller.k8s.io", "v1alpha1", "DecoratorController", scope="Cluster"),
            _crd("metacontroller.k8s.io", "v1alpha1", "ControllerRevision"),
        ]
    )


def neighbours() -> list[dict[str, Any]]:
    """Return what components of ours need: CRDs of others, and namespaces of the platform's and of Envoy Gateway."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "databases"}},
        *(_published(f"cnpg-v1.30.0.{kind.lower()}s") or _crd("postgresql.cnpg.io", "v1", kind) for kind in DATABASES),
        *(
            _crd("gateway.envoyproxy.io", "v1alpha1", kind)
            for kind in ("Backend", "ClientTrafficPolicy", "HTTPRouteFilter", "SecurityPolicy")
        ),
        _crd("gateway.networking.k8s.io", "v1", "HTTPRoute"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "envoy-gateway-system"}},
        _crd("cert-manager.io", "v1", "Certificate"),
        _crd("cert-manager.io", "v1", "Issuer"),
        _crd("monitoring.coreos.com", "v1", "PrometheusRule"),
        _crd("monitoring.coreos.com", "v1", "ServiceMonitor"),
    ]


def _published(name: str) -> dict[str, Any] | None:
    path = _PUBLISHED / f"{name}.yaml"
    found: dict[str, Any] | None = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _crd(group: str, version: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    plural = f"{kind.lower()}s".replace("ys", "ies")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups of Kubernetes itself want a word of approval.
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [
                {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}},
            ],
        },
    }
