"""The life of a swarm on the real server, as far as writes go: there is no node on which its Pods could run."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import yaml

from cluster.api import Api, Object
from cluster.metacontroller import Metacontroller
from contract.rendered import MANIFESTS
from template_samples import SETTINGS

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SAMPLES = sorted(path.stem for path in (MANIFESTS / "samples").glob("*.yaml"))

# A tenant may ask for it all the same.
_WITHOUT_EFFECT = "spec.SessionAffinity is ignored for headless services"


def swarm(name: str, **spec: Any) -> Object:
    """Return a UserSwarm as its user writes it."""
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name},
        "spec": {"userId": "user-1", **spec},
    }


def sample(name: str) -> Object:
    """Return one of manifests/samples."""
    found: Object = yaml.safe_load((MANIFESTS / "samples" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


class Life:
    """A swarm with a Metacontroller that goes on until it has nothing to write; deleted at the end (use ``with``)."""

    def __init__(self, api: Api, controller: Object, parent: Object) -> None:
        self.api = api
        self._metacontroller = Metacontroller(api, controller, SETTINGS, NOW)
        self._parent = parent

    def __enter__(self) -> Self:
        self.api.warnings.clear()
        self.api.create(self._parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.delete(self._parent)

    def stored(self) -> Object:
        """Return the UserSwarm as it is stored now."""
        found = self.api.get(self._parent)
        assert found is not None
        return found

    def settle(self) -> list[str]:
        """Write until all is as wanted; return what was written. Nothing may be refused or warned of."""
        written = self._metacontroller.settle(self._parent)
        assert self._metacontroller.refused == []
        assert [each for each in self.api.warnings if _WITHOUT_EFFECT not in each] == []
        (valid,) = (each for each in self.stored()["status"]["conditions"] if each["type"] == "SpecValid")
        assert valid["status"] == "True", valid["message"]
        return written

    def change(self, spec: Object) -> list[str]:
        """Give the swarm another spec and settle it."""
        self.api.update({**self.stored(), "spec": spec})
        return self.settle()

    def children(self, group: str) -> list[Object]:
        """Return the children of a kind, as in ``Service.v1``."""
        return list(self._metacontroller.children(self.stored())[group].values())

    def bind_claim(self) -> None:
        """Say that the volume is there."""
        for claim in self.children("PersistentVolumeClaim.v1"):
            size = claim["spec"]["resources"]["requests"]["storage"]
            self.api.merge(claim, {"status": {"phase": "Bound", "capacity": {"storage": size}}}, "status")
