"""One real control plane for all tests of this folder.

    pytest tests/cluster                                              # built by Go, once, in some minutes
    USERSWARM_TEST_BINARIES=/usr/local/kubernetes pytest tests/cluster

Where neither can be had these tests skip, unless USERSWARM_TEST_CLUSTER=required.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster.api import Api
from cluster.binaries import NoBinariesError, find_binaries
from cluster.control_plane import ControlPlane, running


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    try:
        binaries = find_binaries()
    except NoBinariesError as error:
        if os.environ.get("USERSWARM_TEST_CLUSTER") == "required":
            pytest.fail(f"a cluster is required: {error}")
        pytest.skip(str(error))
    with running(binaries, tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Api:
    return Api.of(control_plane)
