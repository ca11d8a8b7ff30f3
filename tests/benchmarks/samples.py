"""Hook requests as Metacontroller sends them, recorded while the dev cluster brings one swarm up and down again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import orjson

from devcluster.clock import START
from devcluster.metacontroller import HookCall
from userswarm.cli.demo.cluster import Cluster
from userswarm.compose.plan import compute_plan
from userswarm.spec.settings import Settings

Json = dict[str, Any]

SETTINGS = Settings()

UUID_NAME = "workspace-8b1d6f04-52c7-4a39-b0e8-6a7f9c3d2e15"
SHORT_NAME = "workspace-alice"

STATES = ("new", "progressing", "passed", "settled", "frozen", "finalize")
"""The points of a swarm's life that are measured; `passed` is the call that first sees its Service answer."""

SIZES = {"35 KB": 35_000, "as it is": 0, "200 KB": 200_000}
"""The sizes that a settled request is brought to; 0 leaves it as a swarm with a UUID for its name makes it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, and the time at which it was sent."""

    hook: str
    body: bytes
    now: datetime

    def request(self) -> Json:
        """Return the request, decoded anew."""
        decoded: Json = orjson.loads(self.body)
        return decoded


@cache
def record(size: str) -> dict[str, Sample]:
    """Return a request for every one of STATES; those with a Pod are about as large as `size` of SIZES says."""
    wanted = SIZES[size]
    # Files of a swarm are sent three times: in its spec, in the ConfigMap, and in what was last applied of it.
    files = {f"NOTES-{number}.md": "All work and no play. " * 272 for number in range(8)} if wanted > 100_000 else {}
    small = 0 < wanted < 50_000
    swarm = user_swarm(SHORT_NAME if small else UUID_NAME, files)
    if small:
        swarm["spec"] = {"userId": "alice"}
    recorded = _record(swarm)
    fitted = {state: _trimmed(sample, wanted) for state, sample in recorded.items()} if wanted else recorded
    return {state: fitted[state] for state in STATES}


def user_swarm(name: str, files: dict[str, str] | None = None) -> Json:
    """Return a UserSwarm such as a backend applies."""
    config = {
        "defaultProvider": "anthropic",
        "defaultModel": "claude-sonnet-4-5",
        "agents": {"researcher": {"model": "claude-opus-4-1", "allowedTools": ["web_search", "file_read"]}},
        "files": {"SOUL.md": "# Soul\nCalm, exact, kind.\n", **(files or {})},
    }
    runtime = {"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}}
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name},
        "spec": {"userId": f"user-of-{name}", "runtime": runtime, "config": config},
    }


def _record(swarm: Json) -> dict[str, Sample]:
    cluster = Cluster(SETTINGS)
    calls: list[HookCall] = []
    cluster.metacontroller.observers.append(calls.append)
    name = swarm["metadata"]["name"]

    cluster.apply(swarm)
    cluster.settle()
    syncs = [call for call in calls if call.hook == "sync"]
    phases = [orjson.loads(call.response.body)["status"]["phase"] for call in syncs]
    cluster.metacontroller.resync()
    cluster.settle()
    settled = calls[-1]
    cluster.edit(name, {"spec": {"config": {"tomlOverrides": "= nothing"}}})
    cluster.settle()
    frozen = calls[-1]
    cluster.delete(name)
    cluster.settle()
    finalize = next(call for call in calls if call.hook == "finalize")

    chosen = {
        "new": syncs[0],
        "progressing": syncs[phases.index("Ready") - 1],
        "passed": syncs[phases.index("Ready")],
        "settled": settled,
        "frozen": frozen,
        "finalize": finalize,
    }
    samples = {
        state: Sample(call.hook, call.request, START + timedelta(seconds=call.at)) for state, call in chosen.items()
    }
    passed = samples["passed"]
    gathered = {**passed.request(), "unavailable": {}, "http": {"status": 200, "body": '{"status":"ok"}'}}
    return {**samples, "passed": Sample(passed.hook, orjson.dumps(gathered), passed.now)}


def _trimmed(sample: Sample, size: int) -> Sample:
    """Return the request without the managedFields of so many objects that it gets no larger than `size`.

    They are what differs most between clusters, and no hook reads them.
    """
    request = sample.request()
    objects = [
        each
        for field in ("related", "children")
        for group in request[field].values()
        for each in group.values()
        if "managedFields" in each["metadata"]
    ]
    for each in sorted(objects, key=lambda each: len(orjson.dumps(each["metadata"]["managedFields"])), reverse=True):
        if len(orjson.dumps(request)) <= size:
            break
        del each["metadata"]["managedFields"]
    return Sample(sample.hook, orjson.dumps(request), sample.now)


class Crowd:
    """The settled requests of many swarms, made from one by putting other names, uids and checksums in."""

    def __init__(self, size: str = "as it is") -> None:
        self._sample = record(size)["settled"]
        parent = self._sample.request()["parent"]
        self._name: str = parent["metadata"]["name"]
        self._uid: str = parent["metadata"]["uid"]
        self._checksum: str = parent["status"]["verifiedChecksum"]

    def name(self, number: int) -> str:
        """Return the name of one swarm, of the same length as all others."""
        return f"workspace-{number:08x}{self._name[18:]}"

    def body(self, number: int) -> bytes:
        """Return the request of one swarm: verified, with nothing to do."""
        body = self._sample.body.replace(self._name.encode(), self.name(number).encode())
        body = body.replace(self._uid.encode(), f"{number:08x}{self._uid[8:]}".encode())
        checksum = compute_plan(orjson.loads(body)["parent"], SETTINGS).checksum
        return body.replace(self._checksum.encode(), checksum.encode())

    def problem(self, number: int, answer: bytes) -> str:
        """Say what is wrong with the answer to that request, an empty text if nothing is."""
        decoded = orjson.loads(answer)
        name = self.name(number)
        if not decoded.get("status", {}).get("verified"):
            return f"{name}: not verified: {answer[:200]!r}"
        strangers = [
            child["metadata"]["name"]
            for child in decoded["children"]
            if child["metadata"]["annotations"]["crawbl.ai/name"] != name or name not in child["metadata"]["name"]
        ]
        return f"{name}: got children of others: {strangers}" if strangers or len(decoded["children"]) != 6 else ""
