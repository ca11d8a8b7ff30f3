"""Children are stored as they were sent: nothing to write in a swarm that is as wanted, one update for a change.

Metacontroller compares literally what is stored with what is desired, so whatever the server fills in, drops or writes
in another way would be one update at every sync, for ever.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from cluster.api import Api, Object
from cluster.metacontroller import Metacontroller
from contract.rendered import MANIFESTS
from userswarm.spec.settings import Settings

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SAMPLES = sorted(path.stem for path in (MANIFESTS / "samples").glob("*.yaml"))


def swarm(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name},
        "spec": {"userId": "user-1", **spec},
    }


class Life:
    """A swarm on the real server, with a Metacontroller that goes on until it has nothing to write."""

    def __init__(self, api: Api, controller: Object, parent: Object) -> None:
        self.api = api
        self.metacontroller = Metacontroller(api, controller, Settings(), NOW)
        self.parent = parent
        api.warnings.clear()
        api.create(parent)

    def settle(self) -> list[str]:
        """Write until all is as wanted; return what was written. Nothing may be refused or warned of."""
        written = self.metacontroller.settle(self.parent)
        assert self.metacontroller.refused == []
        assert self.api.warnings == []
        stored = self.api.get(self.parent)
        assert stored is not None
        (valid,) = (each for each in stored["status"]["conditions"] if each["type"] == "SpecValid")
        assert valid["status"] == "True", valid["message"]
        return written

    def change(self, spec: Object) -> list[str]:
        """Give the swarm another spec and settle it."""
        stored = self.api.get(self.parent)
        assert stored is not None
        self.api.update({**stored, "spec": spec})
        return self.settle()

    def bind_claim(self) -> None:
        """Say that the volume is there."""
        stored = self.api.get(self.parent)
        assert stored is not None
        for claim in self.metacontroller.children(stored)["PersistentVolumeClaim.v1"].values():
            size = claim["spec"]["resources"]["requests"]["storage"]
            self.api.merge(claim, {"status": {"phase": "Bound", "capacity": {"storage": size}}}, "status")

    def end(self) -> None:
        """Delete the swarm; its children go after it."""
        self.api.delete(self.parent)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_stored_as_it_was_sent(installed: Api, controller: Object, sample: str) -> None:
    parent = yaml.safe_load((MANIFESTS / "samples" / f"{sample}.yaml").read_text(encoding="utf-8"))
    life = Life(installed, controller, parent)
    try:
        written = life.settle()
        assert {each.split()[0] for each in written} == {"create"}
        assert len(written) >= 6
        life.bind_claim()
        assert life.settle() == []
    finally:
        life.end()
