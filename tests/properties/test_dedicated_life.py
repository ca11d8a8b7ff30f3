"""Any life of a Dedicated swarm on the dev cluster: edits, deletions by hand, troubles, a second life."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devcluster.errors import ApiError
from devcluster.faults import Trouble
from stories import Access
from userswarm.cli.demo.cluster import Cluster, composite_controller
from witness import Witness

NAME = "workspace-walled"
SWARM = f"swarm-{NAME}"
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "300m", "memory": "256Mi"}}
PAGES = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pages"}, "data": {"a": "1"}}
DOOR = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "door"},
    "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]},
}
EDITS: dict[str, dict[str, Any]] = {
    "more quota": {"quota": {"cpu": "1.0", "memory": "1024Mi", "counts": {"deployments.apps": 3}}},
    "no quota of its own": {"quota": None},
    "too little quota": {"quota": {"cpu": "10m"}},
    "higher limits": {"limitRange": {"max": {"cpu": "0.5", "memory": "0.5Gi"}}},
    "a role": {"access": {"role": "edit", "members": [{"kind": "User", "name": "ada", "role": "view"}]}},
    "no role": {"access": None},
    "workloads": {"workloads": [PAGES, DOOR]},
    "a workload that breaks out": {"workloads": [{**DOOR, "spec": {**DOOR["spec"], "type": "LoadBalancer"}}]},
    "no workloads": {"workloads": None},
    "a model": {"config": {"defaultModel": "other"}},
    "suspend": {"suspend": True},
    "resume": {"suspend": False},
    "keep": {"storage": {"retainPolicy": "Retain"}},
    "do not keep": {"storage": {"retainPolicy": "Delete"}},
}
HEALED = {"quota": None, "limitRange": None, "workloads": [PAGES], "suspend": False}
BY_HAND = (
    ("v1", "ConfigMap", f"{SWARM}-config"),
    ("v1", "ResourceQuota", SWARM),
    ("v1", "LimitRange", SWARM),
    ("v1", "Service", SWARM),
    ("apps/v1", "StatefulSet", SWARM),
    ("networking.k8s.io/v1", "NetworkPolicy", f"{SWARM}-deny"),
)


class Life(RuleBasedStateMachine):
    """One Dedicated swarm, and a cluster in which anything may happen to it."""

    @initialize(lent=st.booleans())
    def start(self, lent: bool) -> None:
        self.lent = lent
        self.namespace = "lent" if lent else SWARM
        self.cluster = Cluster(controller=composite_controller(dedicated=True))
        self.cluster.gatherer = self.gatherer = Access(self.cluster)
        self.witness = Witness(self.cluster)
        if lent:
            labels = {"crawbl.ai/allow-userswarms": "true"}
            self.cluster.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lent", "labels": labels}}
            )
        self.create()

    def create(self) -> None:
        placement = {"isolation": "Dedicated"}
        if self.lent:
            placement |= {"namespaceMode": "operator", "runtimeNamespace": "lent"}
        self.cluster.apply(
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "metadata": {"name": NAME},
                "spec": {"userId": "user-1", "placement": placement, "runtime": {"resources": SMALL}},
            }
        )

    def is_there(self) -> bool:
        return self.cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is not None

    @rule(seconds=st.sampled_from([0.01, 0.5, 5, 60]))
    def pass_time(self, seconds: float) -> None:
        self.cluster.run(seconds)

    @precondition(is_there)
    @rule(edit=st.sampled_from(sorted(EDITS)), wait=st.sampled_from([0.0, 3.0, 30.0]))
    def edit(self, edit: str, wait: float) -> None:
        self.cluster.edit(NAME, {"spec": EDITS[edit]})
        self.cluster.run(wait)

    @rule(victim=st.sampled_from(BY_HAND))
    def delete_by_hand(self, victim: tuple[str, str, str]) -> None:
        api_version, kind, name = victim
        try:
            self.cluster.api.delete(api_version, kind, self.namespace, name)
        except ApiError as error:
            assert error.code == 404, error  # noqa: PT017 - what is not there cannot be deleted
        self.cluster.run(1)

    @precondition(is_there)
    @rule(wait=st.sampled_from([0.5, 20.0]))
    def delete(self, wait: float) -> None:
        self.cluster.delete(NAME)
        self.cluster.run(wait)

    @precondition(lambda self: not self.is_there())
    @rule()
    def live_again(self) -> None:
        self.create()
        self.cluster.run(2)

    @rule(trouble=st.sampled_from([Trouble.CRASH_LOOP, Trouble.UNHEALTHY, Trouble.CLAIM_PENDING]))
    def break_something(self, trouble: Trouble) -> None:
        self.cluster.faults.inject(trouble, "*", **({"message": "500"} if trouble is Trouble.UNHEALTHY else {}))
        self.cluster.run(10)
        self.cluster.faults.clear(None)

    @rule(objects=st.booleans(), services=st.booleans())
    def allow(self, objects: bool, services: bool) -> None:
        """Let the webhook look at objects and reach Services, or not."""
        self.gatherer.objects, self.gatherer.services = objects, services

    @rule(hook=st.sampled_from(["sync", "finalize"]))
    def lose_a_call(self, hook: str) -> None:
        self.cluster.metacontroller.drop_next(hook)

    @invariant()
    def nothing_was_answered_wrongly(self) -> None:
        self.witness.look_at_writes()
        assert not self.witness.broken, "\n".join(self.witness.broken)

    @invariant()
    def whoever_lent_a_namespace_finds_it_unchanged(self) -> None:
        if self.lent:
            namespace = self.cluster.api.get("v1", "Namespace", None, "lent")
            assert "ownerReferences" not in namespace["metadata"]
            assert "deletionTimestamp" not in namespace["metadata"]

    @invariant()
    def what_is_verified_has_its_walls(self) -> None:
        swarm = self.cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME)
        status = (swarm or {}).get("status", {})
        if status.get("verified") and status["observedGeneration"] == (swarm or {})["metadata"]["generation"]:
            assert status["runtimeNamespace"] == self.namespace
            assert next(each for each in status["conditions"] if each["type"] == "NamespaceReady")["status"] == "True"

    def teardown(self) -> None:
        if not hasattr(self, "cluster"):
            return
        self.cluster.faults.clear(None)
        self.gatherer.objects = self.gatherer.services = True
        for _ in range(40):
            if self.is_there() and "deletionTimestamp" not in self.cluster.user_swarm(NAME)["metadata"]:
                break
            self.cluster.run(30)
            if not self.is_there():
                self.create()
        self.cluster.edit(NAME, {"spec": HEALED})
        # Whoever let all attempts fail asks for more.
        self.cluster.edit(NAME, {"metadata": {"annotations": {"crawbl.ai/retry-verification": "at the end"}}})
        for _ in range(60):
            self.cluster.run(30)
            if self.cluster.user_swarm(NAME).get("status", {}).get("verified"):
                break
        status = self.cluster.user_swarm(NAME).get("status", {})
        assert status.get("verified") is True, status.get("conditions")
        self.cluster.settle()
        before = len(self.cluster.api.writes)
        for _ in range(5):
            self.cluster.metacontroller.resync()
            self.cluster.settle()
        assert [str(write) for write in self.cluster.api.writes[before:]] == []

        self.cluster.edit(NAME, {"spec": {"storage": {"retainPolicy": "Delete"}}})
        self.cluster.settle()
        retained = self.cluster.api.peek("v1", "Namespace", None, SWARM) is not None and not self._owned()
        self.cluster.delete(NAME)
        self.cluster.run(300)
        assert not self.is_there()
        if not self.lent and not retained:
            assert self.cluster.api.peek("v1", "Namespace", None, SWARM) is None

    def _owned(self) -> bool:
        return bool(self.cluster.api.get("v1", "Namespace", None, SWARM)["metadata"].get("ownerReferences"))


TestDedicatedLife = Life.TestCase
TestDedicatedLife.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
