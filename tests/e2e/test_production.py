"""The production overlay, with Metacontroller and the hooks acting as their own accounts, and a token between them."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.rendered import named, production_with, rendered
from e2e.cluster import NAMESPACE, Cluster
from e2e.lab import Hooks, Lab
from e2e.story import Object, Run, controller_for_run, is_verified
from userswarm.spec.settings import PREFIX

pytestmark = pytest.mark.e2e

TOKEN = "e2e-0123456789abcdef0123456789abcdef"
SYSTEM = "userswarm-system"
WEBHOOK = "userswarm-webhook"

# What the lab gives Metacontroller's account, and what production does without.
LAB_ADMIN = "metacontroller-lab-admin"

# Of the Deployment's variables, those that are about its Pod.
OF_THE_POD = ("BIND", "FILE", "WORKERS", "LOG")


@dataclass(frozen=True, slots=True)
class Production:
    """The hooks of the overlay, a run whose swarms are theirs, and what the two accounts were refused so far."""

    hooks: Hooks
    run: Run
    dedicated: bool
    lab: Lab
    log: Path

    def refused(self) -> list[str]:
        """Return what Metacontroller and the hooks complained of since they were started."""
        lines = self.lab.run('cat "$RUN/logs/metacontroller.log"').splitlines()
        lines += self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "forbidden" in line or "nauthorized" in line]


def kubectl(verb: str, objects: list[Object], *options: str) -> None:
    """Apply or delete objects; fail with what kubectl says."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    applied = ["--server-side", "--force-conflicts"] if verb == "apply" else []
    words = ["kubectl", verb, "-f", "-", *applied, *options]
    done = subprocess.run(words, input=listed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def installed(overlay: list[Object], run: Run, url: str) -> list[Object]:
    """Return the overlay with its namespaces, its controller calling the hooks at `url` for this run's swarms only."""
    own = named(overlay, "CompositeController", "userswarm")
    others = [each for each in overlay if each is not own]
    keys = {"token": TOKEN, "tokens": TOKEN}
    metadata = {"name": f"{WEBHOOK}-token", "namespace": SYSTEM}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
    return [*rendered("namespace"), secret, *others, controller_for_run(own, run.name, url)]


def settings_of(objects: list[Object]) -> dict[str, str]:
    """Return the variables that the overlay sets for the hooks."""
    container = named(objects, "Deployment", WEBHOOK)["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(PREFIX) and not any(part in name for part in OF_THE_POD)
    }


@pytest.fixture(scope="module", params=[(), ("dedicated",)], ids=["shared", "dedicated"])
def production(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    controller: str,
    run: Run,
    lab: Lab,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    overlay = production_with(*request.param)
    own = Run(f"{run.name}p", run.image, run.args)
    (folder / "tokens").write_text(f"{TOKEN}\n", encoding="utf-8")
    accounts = {name: str(folder / name) for name in ("webhook", "metacontroller")}
    settings = settings_of(overlay)
    settings |= {f"{PREFIX}TOKEN_FILE": str(folder / "tokens"), "KUBECONFIG": accounts["webhook"]}
    hooks = lab.new_hooks(settings, folder / "log")
    objects = installed(overlay, own, hooks.url)
    lab.kill("metacontroller")
    try:
        kubectl("apply", objects)
        # No controller besides: its kinds may be more than Metacontroller may see here.
        with cluster.without(("ClusterRoleBinding", LAB_ADMIN), ("CompositeController", controller)):
            lab.run(f"lab_sa_kubeconfig {SYSTEM} {WEBHOOK} {accounts['webhook']}")
            lab.run(f"lab_sa_kubeconfig metacontroller metacontroller {accounts['metacontroller']}")
            lab.run('rm "$RUN/logs/metacontroller.log"')
            hooks.start()
            lab.start("metacontroller", LAB_MC_KUBECONFIG=accounts["metacontroller"])
            yield Production(hooks, own, "dedicated" in request.param, lab, folder / "log")
            cluster.remove_swarms(own.name)
            lab.kill("metacontroller")
    finally:
        hooks.kill()
        lab.start("metacontroller")
        kept = [each for each in objects if each["metadata"]["name"] != NAMESPACE]
        kubectl("delete", kept, "--ignore-not-found")


def swarm_of(production: Production, name: str, **spec: object) -> Object:
    """Return a UserSwarm with the platform's own image, which its policy allows."""
    made = production.run.swarm(name, **spec)
    del made["spec"]["runtime"]
    return made


def test_swarms_live_and_die_by_no_more_rights_than_the_overlay_gives(cluster: Cluster, production: Production) -> None:
    storage = {"size": "64Mi", "retainPolicy": "Retain"}
    manifests = [swarm_of(production, "shared", storage=storage)]
    if production.dedicated:
        placement = {"isolation": "Dedicated"}
        manifests.append(swarm_of(production, "dedicated", placement=placement, access={"role": "view"}))
    for manifest in manifests:
        cluster.apply(manifest)
    verified = [cluster.wait(each["metadata"]["name"], "verified", is_verified) for each in manifests]
    for swarm in verified:
        cluster.delete("UserSwarm", swarm["metadata"]["name"])
        cluster.wait_gone("UserSwarm", swarm["metadata"]["name"])
    kept = cluster.get("PersistentVolumeClaim", verified[0]["status"]["claimName"], NAMESPACE)
    assert kept is not None
    assert "ownerReferences" not in kept["metadata"]
    assert production.refused() == []


def test_the_accounts_may_look_up_what_is_in_the_way_of_a_swarm(cluster: Cluster, production: Production) -> None:
    manifest = swarm_of(production, "unschedulable", placement={"nodeSelector": {"example.com/no-such": "node"}})
    cluster.apply(manifest)
    cluster.wait_for_reason(manifest["metadata"]["name"], "Unschedulable")
    assert production.refused() == []


def test_hooks_answer_only_who_has_the_token(production: Production) -> None:
    request = urllib.request.Request(f"{production.hooks.url}/sync", b"{}", {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 401
    refused.value.close()
