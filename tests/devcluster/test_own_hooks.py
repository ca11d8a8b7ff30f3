"""Our hooks in process answer the dev cluster as our server answers Metacontroller."""

from __future__ import annotations

import pytest

from userswarm.cli.demo.cluster import Cluster

A_POD = b'{"parent":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}},"children":{},"related":{}}'


@pytest.mark.parametrize("hook", ["sync", "finalize"])
@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (A_POD, 422)])
def test_what_our_hooks_refuse_has_our_servers_status(hook: str, body: bytes, status: int) -> None:
    assert Cluster().hooks(hook, body).status == status
