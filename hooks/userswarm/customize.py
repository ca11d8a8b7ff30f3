"""The customize hook: which objects besides the children sync and finalize want to see.

Metacontroller remembers the answer for as long as the parent's generation stays: it depends on the name and the
spec alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from userswarm.isolation import DEDICATED, OPERATOR
from userswarm.spec.identity import SWARM_LABEL, claim_name
from userswarm.spec.settings import Settings
from userswarm.spec.slugs import slug, swarm_name
from userswarm.verify import SERVICE_NAME_LABEL
from userswarm.wire.envelope import customize_response, parse_customize_request
from userswarm.wire.k8s import CLAIM, ENDPOINT_SLICE, NAMESPACE, POD, Kind, Manifest, Observed


def customize(request: Mapping[str, Any], settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the rules for a swarm's Pods, the EndpointSlices of its Service, and the claim under its name.

    It answers for a spec that cannot be built too: the way down needs to see the Pods. Raises RequestError and
    WrongParentError for what is no such request.
    """
    parent = parse_customize_request(request)
    name = parent["metadata"]["name"]
    placement = _placement(parent)
    dedicated = placement.get("isolation") == DEDICATED
    namespace = _dedicated_namespace(placement, name) if dedicated else _shared_namespace(placement, settings)
    return customize_response(
        [
            *([_cluster_rule(NAMESPACE, names=[namespace])] if dedicated else []),
            _rule(POD, namespace, labelSelector={"matchLabels": {SWARM_LABEL: slug(name)}}),
            _rule(ENDPOINT_SLICE, namespace, labelSelector={"matchLabels": {SERVICE_NAME_LABEL: swarm_name(name)}}),
            _rule(CLAIM, namespace, names=[claim_name(name)]),
        ]
    )


def _placement(parent: Observed) -> Mapping[str, Any]:
    spec = parent.get("spec")
    placement = spec.get("placement") if isinstance(spec, dict) else None
    return placement if isinstance(placement, dict) else {}


def _shared_namespace(placement: Mapping[str, Any], settings: Settings) -> str:
    """Return where a Shared swarm's children are; a namespace that is not allowed holds none."""
    namespace = placement.get("runtimeNamespace")
    return namespace if namespace in settings.allowed_namespaces else settings.allowed_namespaces[0]


def _dedicated_namespace(placement: Mapping[str, Any], name: str) -> str:
    """Return a Dedicated swarm's namespace: the operator's, if it is one, or the swarm's own."""
    namespace = placement.get("runtimeNamespace")
    of_operator = placement.get("namespaceMode") == OPERATOR
    return namespace if of_operator and isinstance(namespace, str) else swarm_name(name)


def _cluster_rule(kind: Kind, **selection: Any) -> Manifest:
    return {"apiVersion": kind.api_version, "resource": kind.resource, **selection}


def _rule(kind: Kind, namespace: str, **selection: Any) -> Manifest:
    return {**_cluster_rule(kind, **selection), "namespace": namespace}
