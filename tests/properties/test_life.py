"""Any life of a few UserSwarms in one cluster, with all that people and machines do to them.

Whatever happens, the promises that `witness` watches hold after every step, and at the end everything recovers,
gets quiet, and can be deleted without a trace. In CI the run is bounded and always the same; for a long one with
new examples: pytest tests/properties/test_life.py --hypothesis-profile=userswarm-long (or
HYPOTHESIS_PROFILE=userswarm-long).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from devcluster.errors import ApiError
from devcluster.faults import Trouble
from devcluster.metacontroller import Metacontroller
from devcluster.objects import condition, controller_of, is_deleting, key_of, labels_of, uid_of
from stories import Access
from userswarm.cli.demo.cluster import USER_SWARM, Cluster, load_manifests
from userswarm.spec.schema import load_crd
from userswarm.spec.slugs import swarm_name
from userswarm.wire.k8s import CHILD_KINDS, CLAIM, CONFIG_MAP, POD, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET, Kind
from witness import LAST_APPLIED, Witness, forget_plans

Json = dict[str, Any]

NAMESPACE = "userswarms"
SHARD = "crawbl.ai/shard"
NAMES = ("workspace-a", "b", "Imitation.of--a.name".lower())
USERS = ("ann", "Béla/☃")

GOOD: list[Json] = [
    {"suspend": True},
    {"suspend": False},
    {"config": {"defaultTemperature": 0.2, "defaultModel": "m"}},
    {"config": {"defaultTemperature": 1.0}},
    {"config": {"defaultTemperature": 1}},
    {"config": {"tomlOverrides": "[gateway]\nrequire_pairing = false\n"}},
    {"config": {"tomlOverrides": None, "files": {}}},
    {"config": {"files": {"SOUL.md": "calm", "EMPTY.md": ""}, "agents": {"x": {"allowedTools": []}}}},
    {"config": {"envSecretRef": {"name": "not-there"}}},
    {"config": {"envSecretRef": None}},
    {"runtime": {"image": "ghcr.io/zeroclaw-labs/zeroclaw:v0.9.0"}},
    {"runtime": {"image": None}},
    {"runtime": {"port": 8080, "env": [{"name": "EMPTY", "value": ""}]}},
    {"runtime": {"port": 42617, "env": []}},
    {"runtime": {"resources": {"requests": {"cpu": "0.5"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}}},
    {"runtime": {"resources": {"requests": {"cpu": "500m", "memory": "0.25Gi"}}}},
    {"storage": {"size": "2048Mi"}},
    {"storage": {"size": "2.5Gi"}},
    {"storage": {"size": 4294967296}},
    {"storage": {"retainPolicy": "Retain"}},
    {"storage": {"retainPolicy": "Delete"}},
    {"placement": {"nodeSelector": {}, "tolerations": [{"operator": "Exists", "key": "", "value": ""}]}},
    {"verification": {"maxAttempts": 1, "timeoutSeconds": 3}},
    {"verification": {"maxAttempts": 2, "path": "/healthz"}},
    {"verification": {"mode": "Readiness"}},
    {"verification": {"mode": "Request"}},
]
BAD: list[Json] = [
    {"config": {"tomlOverrides": "= broken"}},
    {"exposure": {"httpRoute": {"enabled": True}}},
    {"runtime": {"dataPath": "/tmp/x"}},
    {"placement": {"priorityClassName": "system-node-critical"}},
    {"runtime": {"port": 80}},
    {"storage": {"size": "1Gi"}},
    {"storage": {"storageClassName": "first-consumer"}},
    {"runtime": {"resources": {"requests": {"cpu": "3"}}}},
    {"userId": "somebody-else"},
]
REPAIR: Json = {
    "suspend": False,
    "config": {"tomlOverrides": None, "envSecretRef": None},
    "exposure": None,
    "runtime": {"dataPath": None, "port": 42617, "resources": None},
    "placement": {"priorityClassName": None},
}
"""What makes any spec good again."""

SPECS: list[Json] = [
    {},
    {"storage": {"retainPolicy": "Retain"}},
    {"storage": {"storageClassName": "first-consumer"}},
    {"verification": {"maxAttempts": 1}},
    {"suspend": True},
    {"config": {"tomlOverrides": "= broken"}},
    {"config": {"envSecretRef": {"name": "not-there"}}},
]

TROUBLES: dict[str, tuple[Trouble, str, Json]] = {
    "crash loop": (Trouble.CRASH_LOOP, "{}-0", {}),
    "out of memory": (Trouble.CRASH_LOOP, "{}-0", {"exit_code": 137, "reason": "OOMKilled"}),
    "image pull": (Trouble.IMAGE_PULL, "{}-0", {}),
    "unschedulable": (Trouble.UNSCHEDULABLE, "{}-0", {}),
    "init failure": (Trouble.INIT_FAILURE, "{}-0", {}),
    "never ready": (Trouble.NEVER_READY, "{}-0", {}),
    "slow end": (Trouble.SLOW_TERMINATION, "{}-0", {"seconds": 20}),
    "not healthy": (Trouble.UNHEALTHY, "{}-0", {"message": "starting"}),
    "answers 500": (Trouble.UNHEALTHY, "{}-0", {"message": "500"}),
    "does not answer": (Trouble.UNHEALTHY, "{}-0", {"message": "hang"}),
    "claim pending": (Trouble.CLAIM_PENDING, "{}-data", {}),
    "resize stuck": (Trouble.RESIZE_STUCK, "{}-data", {}),
}

WAITS = (0.0, 0.004, 0.012, 0.1, 1.0, 5.0, 30.0)
DELETED = ("account", "config", "service", "headless", "stateful set", "pod")
names = st.sampled_from(NAMES)
waits = st.sampled_from(WAITS)


def child_names(name: str) -> dict[str, tuple[Kind, str]]:
    base = swarm_name(name)
    return {
        "account": (SERVICE_ACCOUNT, base),
        "config": (CONFIG_MAP, f"{base}-config"),
        "claim": (CLAIM, f"{base}-data"),
        "service": (SERVICE, base),
        "headless": (SERVICE, f"{base}-headless"),
        "stateful set": (STATEFUL_SET, base),
        "pod": (POD, f"{base}-0"),
    }


def _label(key: str) -> Json:
    return {"metadata": {"labels": {key: None}}}


EDITS: dict[str, tuple[str, Json]] = {
    "take the owner off the claim": ("claim", {"metadata": {"ownerReferences": None}}),
    "take the user off the claim": ("claim", {"metadata": {"annotations": {"crawbl.ai/user-id": None}}}),
    "grow the claim": ("claim", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}),
    "release the claim": ("claim", _label("controller-uid")),
    "take the owner off the StatefulSet": ("stateful set", {"metadata": {"ownerReferences": None}}),
    "release the StatefulSet": ("stateful set", _label("controller-uid")),
    "scale to 0": ("stateful set", {"spec": {"replicas": 0}}),
    "restart": ("stateful set", {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}}),
    "edit the checksum": (
        "stateful set",
        {"spec": {"template": {"metadata": {"annotations": {"crawbl.ai/checksum": "x"}}}}},
    ),
    "forget what was applied": ("stateful set", {"metadata": {"annotations": {LAST_APPLIED: None}}}),
    "forget what was applied to the claim": ("claim", {"metadata": {"annotations": {LAST_APPLIED: None}}}),
    "drop a label": ("config", _label("crawbl.ai/swarm")),
    "edit the config": ("config", {"data": {"config.toml": "mine = true"}}),
    "add a file": ("config", {"data": {"NEW.md": "mine"}}),
    "take the files": ("config", {"data": None}),
    "release the config": ("config", _label("controller-uid")),
    "lead the Service elsewhere": ("service", {"spec": {"selector": {"crawbl.ai/swarm": "elsewhere"}}}),
    "edit the port": ("service", {"spec": {"ports": [{"name": "http", "port": 1, "targetPort": "http"}]}}),
    "take the owner off the account": ("account", {"metadata": {"ownerReferences": None}}),
    "mount a token": ("account", {"automountServiceAccountToken": True}),
    "drop the Pod's labels": ("pod", _label("crawbl.ai/swarm")),
}

FOREIGN_SPECS: dict[str, Json] = {
    "account": {},
    "config": {"data": {"theirs": "x"}},
    "claim": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    "service": {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}},
    "headless": {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}},
    "stateful set": {
        "spec": {
            "replicas": 0,
            "serviceName": "theirs",
            "selector": {"matchLabels": {"app": "theirs"}},
            "template": {
                "metadata": {"labels": {"app": "theirs"}},
                "spec": {"containers": [{"name": "main", "image": "theirs"}]},
            },
        }
    },
}


def lenient_crd() -> Json:
    """Return our CRD as an older release had it: without the rules that keep a field from changing."""
    crd = copy.deepcopy(load_crd())
    _without_rules(crd)
    return crd


def _without_rules(part: Any) -> None:
    if isinstance(part, dict):
        part.pop("x-kubernetes-validations", None)
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _without_rules(each)


class Life(RuleBasedStateMachine):
    """Several swarms in a dev cluster; every rule is something that somebody does, and then lets time pass."""

    @initialize(
        version=st.sampled_from(["v2", "v1"]),
        access=st.booleans(),
        lenient=st.booleans(),
        shards=st.sampled_from([False, False, True]),
        spec=st.sampled_from(SPECS),
        wait=waits,
    )
    def start(self, version: str, access: bool, lenient: bool, shards: bool, spec: Json, wait: float) -> None:
        controllers = []
        for number in range(2 if shards else 1):
            controller = next(load_manifests("controller", "CompositeController"))
            for hook in controller["spec"]["hooks"].values():
                hook["version"] = version
            if shards:
                controller["metadata"]["name"] += f"-{number}"
                controller["spec"]["parentResource"]["labelSelector"] = {"matchLabels": {SHARD: str(number)}}
            controllers.append(controller)
        self.lenient, self.shards = lenient, shards
        self.users: dict[str, str] = {}
        self.edits = 0
        self.cluster = Cluster(controller=controllers[0], crd=lenient_crd() if lenient else None)
        self.cluster.gatherer = self.gatherer = Access(self.cluster)
        self.gatherer.objects = access
        self.api = self.cluster.api
        self.witness = Witness(self.cluster)
        self.controllers = [self.cluster.metacontroller]
        for controller in controllers[1:]:
            name = controller["metadata"]["name"].replace("userswarm", "metacontroller")
            self.controllers.append(Metacontroller(self.api, self.cluster.hooks, controller, actor=name))
            self.witness.watch(self.controllers[-1])
        self.create(NAMES[0], USERS[0], spec, wait)

    # What users do

    @rule(name=names, user=st.sampled_from(USERS), spec=st.sampled_from(SPECS), wait=waits)
    def create(self, name: str, user: str, spec: Json, wait: float) -> None:
        metadata = {"name": name, "labels": {SHARD: "0"}}
        body = {"apiVersion": USER_SWARM[0], "kind": USER_SWARM[1], "metadata": metadata}
        self._try(self.api.create, {**body, "spec": {"userId": user, **copy.deepcopy(spec)}})
        self._pass(wait)

    @rule(name=names, patch=st.sampled_from(GOOD), wait=waits)
    def edit(self, name: str, patch: Json, wait: float) -> None:
        self._try(self.cluster.edit, name, {"spec": patch})
        self._pass(wait)

    @rule(name=names, patch=st.sampled_from(BAD), wait=waits)
    def edit_badly(self, name: str, patch: Json, wait: float) -> None:
        if self.lenient and "userId" in patch:
            return  # Whose swarm it is, only the CRD keeps.
        self._try(self.cluster.edit, name, {"spec": patch})
        self._pass(wait)

    @rule(name=names, what=st.sampled_from(["label", "annotation", "retry"]), wait=waits)
    def annotate(self, name: str, what: str, wait: float) -> None:
        self.edits += 1
        metadata = {
            "label": {"labels": {"example.com/n": str(self.edits)}},
            "annotation": {"annotations": {"example.com/n": str(self.edits)}},
            "retry": {"annotations": {"crawbl.ai/retry-verification": str(self.edits)}},
        }[what]
        self._try(self.cluster.edit, name, {"metadata": metadata})
        self._pass(wait)

    @rule(name=names, wait=waits)
    def delete(self, name: str, wait: float) -> None:
        self._try(self.cluster.delete, name)
        self._pass(wait)

    @rule(name=names, shard=st.sampled_from("01"), wait=waits)
    def move(self, name: str, shard: str, wait: float) -> None:
        if self.shards:
            self._try(self.cluster.edit, name, {"metadata": {"labels": {SHARD: shard}}})
            self._pass(wait)

    @rule(name=names, wait=waits)
    def lose_the_status(self, name: str, wait: float) -> None:
        self._try(self.api.patch, *USER_SWARM, None, name, {"status": None}, subresource="status")
        self._pass(wait)

    # What people with access to the namespace do

    @rule(
        name=names,
        child=st.sampled_from(DELETED),
        wait=waits,
    )
    def delete_child(self, name: str, child: str, wait: float) -> None:
        kind, child_name = child_names(name)[child]
        self._try(self.api.delete, kind.api_version, kind.kind, NAMESPACE, child_name)
        self._pass(wait)

    @rule(name=names, wait=waits)
    def delete_claim(self, name: str, wait: float) -> None:
        self.delete_child(name, "claim", wait)

    @rule(name=names, what=st.sampled_from(sorted(EDITS)), wait=waits)
    def edit_child(self, name: str, what: str, wait: float) -> None:
        child, patch = EDITS[what]
        kind, child_name = child_names(name)[child]
        self._try(self.api.patch, kind.api_version, kind.kind, NAMESPACE, child_name, patch)
        self._pass(wait)

    @rule(name=names, child=st.sampled_from(sorted(FOREIGN_SPECS)), wait=waits)
    def create_foreign(self, name: str, child: str, wait: float) -> None:
        """Make somebody else's object under a child's name, where that is free."""
        kind, child_name = child_names(name)[child]
        if child == "claim" and self._exists(*child_names(name)["pod"]):
            return  # A Pod that waits for a claim starts on whatever gets its name: no hook is asked.
        metadata = {"name": child_name, "namespace": NAMESPACE}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        made = self._try(self.api.create, {**body, **copy.deepcopy(FOREIGN_SPECS[child])})
        if made is not None:
            self.witness.foreign.add(uid_of(made))
        self._pass(wait)

    @rule(wait=waits)
    def remove_foreign(self, wait: float) -> None:
        self._remove_foreign()
        self._pass(wait)

    # What machines do

    @rule(name=names, trouble=st.sampled_from(sorted(TROUBLES)), wait=waits)
    def break_something(self, name: str, trouble: str, wait: float) -> None:
        kind, pattern, details = TROUBLES[trouble]
        self.cluster.faults.inject(kind, pattern.format(swarm_name(name)), **details)
        self._pass(wait)

    @rule(wait=waits)
    def mend_everything(self, wait: float) -> None:
        self.cluster.faults.clear()
        self._pass(wait)

    @rule(objects=st.booleans(), services=st.booleans(), wait=waits)
    def allow(self, objects: bool, services: bool, wait: float) -> None:
        """Let the webhook look at objects and reach Services, or not."""
        self.gatherer.objects, self.gatherer.services = objects, services
        self._pass(wait)

    @rule(name=names, seconds=st.sampled_from([1, 20]), wait=waits)
    def blip(self, name: str, seconds: float, wait: float) -> None:
        pod = self.api.peek(POD.api_version, POD.kind, NAMESPACE, f"{swarm_name(name)}-0")
        if pod is not None and not is_deleting(pod) and condition(pod, "Ready").get("status") == "True":
            self.cluster.kubelet.blip(NAMESPACE, pod["metadata"]["name"], seconds)
        self._pass(wait)

    @rule(what=st.sampled_from(["drop", "lose", "repeat"]), hook=st.sampled_from(["sync", "finalize", "*"]))
    def disturb_next_call(self, what: str, hook: str) -> None:
        for controller in self.controllers:
            getattr(controller, f"{what}_next")(hook)

    @rule(what=st.sampled_from(["hooks", "Metacontroller", "Metacontroller, later"]), wait=waits)
    def restart(self, what: str, wait: float) -> None:
        forget_plans()
        if what == "Metacontroller":
            for controller in self.controllers:
                controller.restart()
        elif what == "Metacontroller, later":
            for controller in self.controllers:
                controller.stop()
            self._pass(wait)
            for controller in self.controllers:
                controller.start()
        self._pass(wait)

    @rule(seconds=st.sampled_from([60.0, 400.0, 1500.0]))
    def pass_time(self, seconds: float) -> None:
        self.cluster.run(seconds)

    # What holds all the time, and at the end

    @invariant()
    def no_promise_is_broken(self) -> None:
        if hasattr(self, "witness"):
            self.witness.look_at_writes()
            assert not self.witness.broken, "\n".join(self.witness.broken)

    def teardown(self) -> None:
        """Repair what was broken on purpose: everything has to recover, get quiet, and go without a trace."""
        if not hasattr(self, "witness") or self.witness.broken:
            return
        self._repair()
        self._until("all swarms recover", lambda: not list(self._unwell()), lambda: list(self._unwell()))
        self._stay_quiet()
        self._delete_all()
        self.no_promise_is_broken()

    def _repair(self) -> None:
        self.cluster.faults.clear()
        self.gatherer.objects = self.gatherer.services = True
        for controller in self.controllers:
            controller._caller.spoiled.clear()
        self._remove_foreign()
        self.edits += 1
        for swarm in self.api.list(*USER_SWARM):
            annotations = {"crawbl.ai/retry-verification": f"at the end, {self.edits}"}
            patch = {"spec": copy.deepcopy(REPAIR), "metadata": {"annotations": annotations}}
            self._try(self.cluster.edit, swarm["metadata"]["name"], patch)

    def _remove_foreign(self) -> None:
        """Remove what is under our names and nobody's: made by others, or edited until it is."""
        for kind in (*CHILD_KINDS, POD):
            for obj in self.api.list(kind.api_version, kind.kind, NAMESPACE):
                if kind is POD and "crawbl.ai/swarm" in labels_of(obj):
                    continue
                ours = kind is CLAIM and uid_of(obj) not in self.witness.foreign and self._is_known_claim(obj)
                if (kind is POD or controller_of(obj) is None) and not ours:
                    self._try(self.api.delete, obj["apiVersion"], obj["kind"], *key_of(obj))

    def _is_known_claim(self, claim: Json) -> bool:
        """Tell whether a claim that nobody owns says that it is of the swarm's user, as a retained one does."""
        user = (claim["metadata"].get("annotations") or {}).get("crawbl.ai/user-id")
        users = [
            swarm["spec"]["userId"]
            for swarm in self.api.list(*USER_SWARM)
            if f"{swarm_name(swarm['metadata']['name'])}-data" == claim["metadata"]["name"]
        ]
        return user is not None and all(user == each for each in users)

    def _unwell(self) -> Iterator[str]:
        for swarm in self.api.list(*USER_SWARM):
            status, metadata = swarm.get("status", {}), swarm["metadata"]
            seen = status.get("observedGeneration") == metadata["generation"]
            if is_deleting(swarm) or status.get("phase") != "Ready" or not seen:
                yield f"{metadata['name']}: {status.get('phase')}: {condition(swarm, 'Ready').get('message')}"

    def _until(self, what: str, reached: Callable[[], bool], told: Callable[[], object]) -> None:
        """Let at most so much time pass as Metacontroller's longest back-off takes."""
        for _ in range(50):
            self.cluster.run(30)
            self._do_as_told()
            self.no_promise_is_broken()
            if reached():
                return
        raise AssertionError(f"not reached: {what}: {told()}")

    def _do_as_told(self) -> None:
        """Delete the Pods that a status, or a teardown, asks to delete by hand."""
        for swarm in self.api.list(*USER_SWARM):
            for each in swarm.get("status", {}).get("conditions", []):
                if "delete the Pod" in each["message"] or "delete it by hand" in each["message"]:
                    name = f"{swarm_name(swarm['metadata']['name'])}-0"
                    self._try(self.api.delete, "v1", "Pod", NAMESPACE, name)

    def _stay_quiet(self) -> None:
        self.cluster.settle()
        before = len(self.api.writes)
        for _ in range(3):
            for controller in self.controllers:
                controller.resync()
            assert self.cluster.settle()
        written = [str(write) for write in self.api.writes[before:] if write.actor.startswith("metacontroller")]
        assert written == [], "a settled cluster is not left alone"

    def _delete_all(self) -> None:
        kept = {uid_of(claim) for claim in self._claims() if self._is_kept(claim)}
        for swarm in self.api.list(*USER_SWARM):
            self.cluster.delete(swarm["metadata"]["name"])
        self._until("all swarms go", lambda: not self.api.list(*USER_SWARM), lambda: list(self._unwell()))
        self.cluster.run(5)
        left = [
            f"{kind.kind} {each['metadata']['name']}"
            for kind, each in self.api.everything_in(NAMESPACE)
            if kind.kind not in {"Event", "PersistentVolumeClaim"}
        ]
        assert left == [], "something is left behind"
        assert {uid_of(claim) for claim in self._claims()} == kept, "claims are lost, or left behind"

    def _is_kept(self, claim: Json) -> bool:
        owner = controller_of(claim)
        if owner is None:
            return True
        parent = self.api.find_uid(owner["uid"])
        return parent is None or parent["spec"]["storage"]["retainPolicy"] == "Retain"

    def _claims(self) -> list[Json]:
        return self.api.list(CLAIM.api_version, CLAIM.kind, NAMESPACE)

    # How it is done

    def _try(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do what may be refused, as people's commands are."""
        try:
            return action(*arguments, **options)
        except ApiError as error:
            note(f"  refused: {error}")
            return None

    def _exists(self, kind: Kind, name: str) -> bool:
        return self.api.peek(kind.api_version, kind.kind, NAMESPACE, name) is not None

    def _pass(self, seconds: float) -> None:
        if seconds:
            self.cluster.run(seconds)


LONG = settings.get_current_profile_name() == "userswarm-long"

TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=2000 if LONG else 60,
    stateful_step_count=60 if LONG else 30,
    derandomize=not LONG,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
