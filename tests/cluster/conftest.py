"""One real control plane for all tests of this folder.

    pytest tests/cluster                                              # built by Go, once, in some minutes
    CONTROL_PLANE_BINARIES=/usr/local/kubernetes pytest tests/cluster

Where neither can be had these tests skip, unless CONTROL_PLANE=required.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster import stand_ins
from cluster.api import Api, Object
from cluster.binaries import NoBinariesError, find_binaries
from cluster.control_plane import ControlPlane, running
from cluster.waiting import until_nothing
from contract.rendered import ALL_AT_ONCE, named, production_with, rendered
from userswarm.wire.k8s import COMPONENT_KINDS

CLASSES = [
    {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "tests.invalid",
        "allowVolumeExpansion": True,
    },
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"}, "handler": "runsc"},
]
"""What a cluster has of its own, and the samples name."""


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    try:
        binaries = find_binaries()
    except NoBinariesError as error:
        if os.environ.get("CONTROL_PLANE") == "required":
            pytest.fail(f"a cluster is required: {error}")
        pytest.skip(str(error))
    with running(binaries, tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Api:
    return Api.of(control_plane)


def wait_for_account(api: Api, namespace: str) -> None:
    """Wait until a new namespace has the account without which it takes no Pod."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    until_nothing("no account", lambda: "" if api.get(account) else namespace)


@pytest.fixture(scope="session")
def installed(admin: Api) -> Api:
    """The API with all of production installed, but for platform.yaml: without it the policies let everything pass."""
    before = [*CLASSES, *stand_ins.neighbours(), *stand_ins.metacontrollers()]
    ours = [each for name in ("namespace", "crd", "metacontroller") for each in rendered(name)]
    for item in [*before, *ours, *production_with(*ALL_AT_ONCE)]:
        if item["metadata"]["name"] != "userswarm-platform":
            admin.apply(item)
    for namespace in ("userswarms", "userswarm-system", "metacontroller"):
        wait_for_account(admin, namespace)
    return admin


@pytest.fixture(scope="session")
def controller() -> Object:
    """The CompositeController with every kind that is opt-in."""
    return named(production_with(*COMPONENT_KINDS), "CompositeController", "userswarm")
