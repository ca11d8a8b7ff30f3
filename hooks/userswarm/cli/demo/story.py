"""The story that `userswarm demo` tells, with the real webhook, and a promise checked at each step."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from devcluster.apiserver import WatchEvent, Write
from devcluster.errors import ApiError
from devcluster.workloads.namespaces import CONTENTS
from userswarm.cli.demo.cluster import Cluster
from userswarm.cli.demo.sleep import Sleep
from userswarm.cli.demo.wants import build_awaited, build_change, find_templates, may_stay
from userswarm.cli.demo.world import DemoError, World, world
from userswarm.cli.rendering import check_user_swarm, read_user_swarms
from userswarm.compose.plan import compute_plan
from userswarm.parts.dedicated.isolation import SHARED_NAMESPACE
from userswarm.parts.dedicated.namespace import ALLOW_LABEL
from userswarm.spec.manifests import manifest_path
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import DEDICATED, OPERATOR
from userswarm.spec.template.loading import load_templates
from userswarm.spec.template.revisions import NO_TEMPLATES
from userswarm.wire.k8s import NAMESPACE, POD, Manifest

ACTOR = "metacontroller"
PATIENCE = 600
"""Simulated seconds that a step may take."""

SECRETS_SECONDS = 1
"""After how many simulated seconds somebody puts the Secrets into a namespace that is new."""

RESYNCS = 100

Show = Callable[[str], object]


def run_demo(file: Path | None, *, keep: bool, show: Show) -> bool:
    """Tell the whole story of the UserSwarm in `file`, or of the minimal sample; return whether all of it held.

    Raises InputError and InvalidParentError for a file that holds no valid UserSwarm.
    """
    source = file if file is not None else manifest_path("samples/minimal.yaml")
    swarm = read_user_swarms(source.read_text(encoding="utf-8"), source.name)[0]
    templates = find_templates(swarm)
    settings = Settings(templates=NO_TEMPLATES if templates is None else load_templates(str(templates)))
    check_user_swarm(swarm, settings)
    begun = time.monotonic()
    with world(dedicated=is_dedicated(swarm), templates=templates) as made:
        show(f"webhook: userswarm serve, under gunicorn, at {made.url}")
        story = Story(swarm, made, show, settings)
        try:
            story.tell()
            show("\n6. another one that may sleep: idle, asked whether it is busy, asleep, woken by a touch")
            Sleep(show).tell()
        except (DemoError, ApiError) as error:
            show(f"\nFAILED: {error}")
            return False
        story.print_table(time.monotonic() - begun)
        if keep:
            _wait_for_interrupt(lambda: show(f"\nkept: {made.url} answers /sync and /finalize; Ctrl-C ends it"))
    return True


class Story:
    """One UserSwarm on one embedded cluster, from creation to deletion."""

    def __init__(self, swarm: Manifest, made: World, show: Show, settings: Settings | None = None) -> None:
        self._plan = compute_plan(swarm, settings or Settings())
        self._show = show
        self._swarm = swarm
        self._name = swarm["metadata"]["name"]
        self._retained = may_stay(self._plan)
        self._cluster = made.cluster
        self._api = self._cluster.api
        self._reads = made.rest.requests
        self._shown = 0
        self._phase = ""
        self._settled_writes = 0
        self._make_what_it_names()
        self._cluster.settle()
        self._before = _keys(self._cluster)

    def tell(self) -> None:
        """Go through every step; raises DemoError at the first promise that does not hold."""
        self._title(f"1. create {self._name}")
        self._cluster.apply(self._swarm)
        self._until("verified", lambda status: status.get("verified") is True)
        self._promise_quiet()

        self._title("2. change its configuration: the Pod restarts, and is verified anew")
        pod, checksum = self._pod_uid(), self._status()["verifiedChecksum"]
        self._cluster.edit(self._name, {"spec": build_change(self._plan)})
        self._pass("not verified", lambda status: status.get("verified") is False)
        self._until("verified anew", lambda status: status.get("verified") is True)
        self._promise(self._pod_uid() != pod, "the Pod runs with the new configuration")
        self._promise(self._status()["verifiedChecksum"] != checksum, "the new configuration has answered")
        self._promise_quiet()

        self._title("3. suspend it: no Pod, everything else stays")
        self._cluster.edit(self._name, {"spec": {"suspend": True}})
        self._until("suspended", lambda status: status.get("phase") == "Suspended")
        self._promise(self._pod_uid() is None, "the Pod is gone")
        self._promise_quiet()

        self._title("4. resume it: the new Pod is asked too, before anybody is sent to it")
        asked = len(self._cluster.traffic.requests)
        self._cluster.edit(self._name, {"spec": {"suspend": False}})
        self._until("verified", lambda status: status.get("verified") is True)
        self._promise(len(self._cluster.traffic.requests) == asked + 1, "one request was enough")

        self._title("5. delete it" + (", the volume stays" if self._retained else ""))
        self._cluster.delete(self._name)
        self._until_gone()
        left = sorted(_keys(self._cluster) - self._before)
        if self._retained:
            kept = [key for key in left if key[0] in ("PersistentVolumeClaim", "Namespace")]
            self._promise(bool(kept), f"kept: {', '.join(' '.join(key) for key in kept)}")
            left = [key for key in left if key not in kept]
        self._promise(not left, "nothing else is left behind" if self._retained else "nothing is left behind")

    def print_table(self, seconds: float) -> None:
        """Print what all of it cost."""
        controller = self._cluster.metacontroller
        writes = [write for write in self._api.writes if write.actor == ACTOR]
        rows = [
            ("hook calls", ", ".join(f"{name} {count}" for name, count in sorted(controller.calls.items()))),
            ("API writes by Metacontroller", str(len(writes))),
            ("  of them refused", str(sum(write.code != "ok" for write in writes))),
            (f"API writes in {3 * RESYNCS} resyncs while settled", str(self._settled_writes)),
            ("requests to the swarm's Service", str(len(self._cluster.traffic.requests))),
            ("API reads by the webhook", str(len(self._reads))),
            ("bytes to the hooks, and back", f"{controller.request_bytes:,} and {controller.response_bytes:,}"),
            ("simulated time", f"{self._cluster.clock.elapsed:.0f} s"),
            ("real time", f"{seconds:.1f} s"),
        ]
        self._show("")
        for name, value in rows:
            self._show(f"{name:<44}{value}")

    def _make_what_it_names(self) -> None:
        """Make what a platform's operator makes before such a swarm is created: its namespace and its Secrets.

        Into a namespace that is made with the swarm, the Secrets come as soon as it is there.
        """
        placement = self._swarm["spec"].get("placement", {})
        if is_dedicated(self._swarm) and placement.get("namespaceMode") != OPERATOR:
            self._api.subscribe(self._on_namespace)
            return
        namespace = placement.get("runtimeNamespace", SHARED_NAMESPACE)
        if self._api.peek("v1", NAMESPACE.kind, None, namespace) is None:
            labels = {ALLOW_LABEL: "true"}
            self._api.create(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
            )
        self._make_secrets(namespace)

    def _on_namespace(self, event: WatchEvent) -> None:
        if event.kind.kind == NAMESPACE.kind and event.type == "ADDED":
            name = event.object["metadata"]["name"]
            self._cluster.clock.after(SECRETS_SECONDS, lambda: self._furnish(name))

    def _furnish(self, namespace: str) -> None:
        """Make the Secrets in a new namespace; they are not the swarm's, nor is what Kubernetes puts there."""
        made = [*build_awaited(self._plan, namespace), *CONTENTS]
        self._make_secrets(namespace)
        self._before |= {(each["kind"], f"{namespace}/{each['metadata']['name']}") for each in made}

    def _make_secrets(self, namespace: str) -> None:
        for each in build_awaited(self._plan, namespace):
            self._api.create(each)

    def _until(self, what: str, reached: Callable[[Mapping[str, Any]], bool]) -> None:
        """Let time pass until the status is as wanted, and stays so."""
        self._pass(what, reached)
        self._cluster.settle()
        self._tell_news()
        self._promise(reached(self._status()), f"it is {what}")

    def _pass(self, what: str, reached: Callable[[Mapping[str, Any]], bool]) -> None:
        """Let time pass until the status is as wanted, if only for a moment, showing what happens."""
        deadline = self._cluster.clock.elapsed + PATIENCE
        while not reached(self._status()):
            if self._cluster.clock.elapsed > deadline:
                ready = [each for each in self._status().get("conditions", []) if each["type"] == "Ready"]
                raise DemoError(f"not {what} after {PATIENCE} simulated seconds: {ready}")
            self._cluster.run(0.25)
            self._tell_news()

    def _until_gone(self) -> None:
        deadline = self._cluster.clock.elapsed + PATIENCE
        while self._api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, self._name) is not None:
            if self._cluster.clock.elapsed > deadline:
                raise DemoError(f"still there after {PATIENCE} simulated seconds: {self._status()}")
            self._cluster.run(0.25)
            self._tell_news()
        self._cluster.settle()
        self._tell_news()

    def _promise_quiet(self) -> None:
        """Resync the settled swarm many times, and see that nobody writes."""
        before = len(self._api.writes)
        for _ in range(RESYNCS):
            self._cluster.metacontroller.resync()
            self._cluster.settle()
        written = self._api.writes[before:]
        self._settled_writes += len(written)
        self._promise(not written, f"settled: {RESYNCS} resyncs, {len(written)} writes")

    def _promise(self, held: bool, what: str) -> None:
        if not held:
            raise DemoError(f"this did not hold: {what}")
        self._show(f"  ok     {what}")

    def _tell_news(self) -> None:
        """Show the writes since the last news, and the phase if it changed."""
        writes: list[Write] = self._api.writes
        for write in writes[self._shown :]:
            if write.actor == ACTOR and write.kind != "Event" and write.verb != "update_status":
                place = f"{write.namespace}/{write.name}" if write.namespace else write.name
                refused = "" if write.code == "ok" else f" (refused: {write.code})"
                self._show(f"{write.at:6.1f}s  {write.verb:<7}{write.kind} {place}{refused}")
        self._shown = len(writes)
        status = self._status()
        ready: Manifest = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})
        phase = f"{status.get('phase')}: {ready.get('reason')}"
        if status and phase != self._phase:
            self._phase = phase
            self._show(f"{self._cluster.clock.elapsed:6.1f}s  {status['phase'].upper()}  {ready.get('message')}")

    def _title(self, text: str) -> None:
        self._show(f"\n{text}")

    def _status(self) -> Manifest:
        stored = self._api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, self._name)
        status: Manifest = stored.get("status", {}) if stored is not None else {}
        return status

    def _pod_uid(self) -> str | None:
        status = self._status()
        pod = self._api.peek("v1", POD.kind, status["runtimeNamespace"], f"{status['serviceName']}-0")
        return pod["metadata"]["uid"] if pod is not None else None


def is_dedicated(swarm: Manifest) -> bool:
    """Tell whether a swarm has a namespace of its own."""
    return bool(swarm["spec"].get("placement", {}).get("isolation") == DEDICATED)


def _keys(cluster: Cluster) -> set[tuple[str, str]]:
    """Return every object of the cluster by kind and place, but for those that only tell what happened."""
    return {
        (kind.kind, "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"]))))
        for kind in cluster.api.kinds
        if kind.kind not in ("Event",)
        for each in cluster.api.scan(kind.api_version, kind.kind)
    }


def _wait_for_interrupt(announce: Callable[[], object]) -> None:
    """Say that we wait, and wait; whoever reads it may interrupt at once."""
    try:
        announce()
        signal.pause()
    except KeyboardInterrupt:
        return
