"""What an operator does by the README, on a cluster of their own: nothing is refused, warned of, or left behind."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster import stand_ins
from cluster.api import Api, Object
from cluster.control_plane import ControlPlane, running
from cluster.life import SAMPLES
from cluster.waiting import until_nothing
from contract.rendered import (
    ALL_AT_ONCE,
    ALONE,
    NEEDED,
    ROOT,
    copy_manifests,
    offered_components,
    production_with,
    rendered,
    stand_in_upstream,
    switch_on,
    title,
)


def readme_lines(heading: str) -> list[str]:
    """Return the shell lines of a section's first block; one that ends with a backslash goes on in the next."""
    _, _, section = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n{heading}\n")
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found, f"README, {heading}: no block of shell"
    return found[1].replace("\\\n", "").splitlines()


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with a checkout, kubectl, and a cluster of their own."""

    checkout: Path
    control_plane: ControlPlane
    api: Api

    def run(self, line: str) -> None:
        """Run a line of shell; fail where it fails or warns."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.control_plane.kubeconfig),
            "PATH": f"{self.control_plane.kubectl.parent}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "warning" not in done.stderr.lower(), f"{line}\n{done.stderr}"

    def run_all(self, lines: list[str], overlay: Callable[[str], str]) -> None:
        for line in lines:
            self.run(overlay(line))

    def everything(self) -> dict[str, str]:
        """Return the resourceVersion of every object, but for what the control plane keeps of itself."""
        versions = {}
        groups = self.api.request("GET", "/apis")["groups"]
        for base in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
            for resource in self.api.request("GET", base)["resources"]:
                if "list" in resource["verbs"] and resource["name"] not in {"events", "leases", "apiservices"}:
                    for item in self.api.request("GET", f"{base}/{resource['name']}")["items"]:
                        metadata = item["metadata"]
                        where = f"{base}/{resource['name']} {metadata.get('namespace', '')}/{metadata['name']}"
                        versions[where] = metadata.get("resourceVersion", "")
        return versions

    def settled(self) -> dict[str, str]:
        """Return the same once the controllers have nothing to write any more."""
        last: dict[str, str] = {}

        def look() -> str:
            nonlocal last
            before, last = last, self.everything()
            return ", ".join(sorted(dict(before.items() ^ last.items())))

        until_nothing("still being written", look)
        return last


@pytest.fixture(scope="module")
def fresh(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A second control plane, with nothing on it."""
    with running(control_plane.kubectl.parent, tmp_path_factory.mktemp("fresh")) as fresh:
        yield fresh


@pytest.fixture
def operator(fresh: ControlPlane, tmp_path: Path) -> Operator:
    manifests = copy_manifests(tmp_path)
    stand_in_upstream(manifests, stand_ins.upstream())
    return Operator(tmp_path, fresh, Api.of(fresh))


INSTALL = readme_lines("## Install on a cluster")
AGAIN = [line for line in INSTALL if "TOKEN" not in line]
UNINSTALL = readme_lines("### Uninstall")


def production(line: str) -> str:
    """Return a line of the README as it stands, less what never ends."""
    return line.replace(" && kubectl get uswarm --watch", "")


def dev(line: str) -> str:
    """Return the same for the dev overlay, which takes the place of the token and of the production overlay."""
    return "" if "TOKEN" in line else production(line).replace("overlays/production", "overlays/dev")


def test_the_readme_installs_where_these_tests_look_for_it() -> None:
    assert [line for line in INSTALL if "kubectl apply -k manifests/overlays/production" in line]
    assert [line for line in UNINSTALL if "kubectl delete -k manifests/namespace" in line]


@pytest.mark.parametrize(("overlay", "components"), [(dev, []), (production, ALL_AT_ONCE)], ids=["dev", "production"])
def test_the_readme_installs_quietly_and_uninstalls_wholly(
    operator: Operator, overlay: Callable[[str], str], components: list[str]
) -> None:
    for crd in stand_ins.neighbours():
        operator.api.apply(crd)
    before = operator.settled()

    operator.run_all(INSTALL, overlay)
    for name in SAMPLES:
        # Of an image that production's platform.yaml does not allow: for a cluster of one's own.
        if overlay is dev or name != "echo":
            operator.run(f"kubectl apply -f manifests/samples/{name}.yaml")
    if components:
        switch_on(operator.checkout / "manifests", *components)
        operator.run_all(AGAIN, overlay)
    until_nothing("types not checked", lambda: unchecked(operator.api))
    assert [each for policy in policies(operator.api) for each in policy["status"]["typeChecking"].items()] == []

    installed = operator.settled()
    assert len(installed) > len(before) + 20
    operator.run_all(AGAIN, overlay)
    assert operator.settled() == installed

    operator.run_all(UNINSTALL, overlay)
    until_nothing("left behind", lambda: ", ".join(sorted(operator.everything().keys() - before.keys())))


def policies(api: Api) -> list[Object]:
    return api.all("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")


def unchecked(api: Api) -> str:
    """Name the policies whose expressions nobody has looked at yet."""
    return ", ".join(
        policy["metadata"]["name"]
        for policy in policies(api)
        if policy.get("status", {}).get("observedGeneration") != policy["metadata"]["generation"]
    )


def combinations() -> list[list[str]]:
    """Return every component alone and every pair, with what each needs, in the overlay's order."""
    offered = offered_components()
    pairs = [{*NEEDED.get(one, []), *NEEDED.get(two, []), one, two} for one, two in itertools.combinations(offered, 2)]
    # Both reapers bring the same CronJob.
    possible = [set(alone) for _, alone in ALONE] + [
        pair for pair in pairs if not {"reaper-url", "reaper-postgres"} <= pair
    ]
    unique = {tuple(name for name in offered if name in each) for each in possible}
    return [list(each) for each in sorted(unique)]


def test_every_component_is_taken_alone_and_with_every_other(fresh: ControlPlane) -> None:
    api = Api.of(fresh)
    for item in [*stand_ins.neighbours(), *stand_ins.metacontrollers(), *rendered("namespace"), *rendered("crd")]:
        api.apply(item)
    seen: set[str] = set()
    for components in combinations():
        for item in production_with(*components):
            text = json.dumps(item)
            if text not in seen:
                seen.add(text)
                api.apply(item, dryRun="All", fieldValidation="Strict")
                assert api.warnings == [], (components, title(item))
    assert len(seen) > 100
