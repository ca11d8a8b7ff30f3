"""A cluster to test against: opt-in by `-m e2e`, in KUBECONFIG, with Metacontroller installed.

    pytest tests/e2e -m e2e                                               # the hooks are installed in the cluster
    pytest tests/e2e -m e2e --e2e-webhook-url http://192.168.1.5:8080     # the hooks run on this machine
    pytest tests/e2e -m e2e --e2e-lab lab                                 # they run here, and may be killed

With a URL or a lab (see `e2e.lab`) the run brings a CompositeController of its own, which takes this run's swarms only.
Each option has a variable of its name: E2E_WEBHOOK_URL, E2E_LAB, E2E_RUNTIME_IMAGE, E2E_RUNTIME_ARGS (a JSON list),
E2E_TIMEOUT (seconds). Everything that is made has the run's prefix and is removed.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from contract.rendered import MANIFESTS
from e2e.cluster import Cluster, connect_cluster
from e2e.lab import Lab
from e2e.story import (
    E2E_LABEL,
    RUN_LABEL,
    RUNTIME_IMAGE,
    RUNTIME_SCRIPT,
    Object,
    Run,
    controller_for_run,
    controllers_that_take,
)
from e2e.templates import offer_templates
from userswarm.cli.demo.cluster import composite_controller


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e", "end-to-end tests against the cluster in KUBECONFIG")
    for option, text in (
        ("webhook-url", "where Metacontroller reaches the hooks; without it the installed ones are used"),
        ("lab", "the folder with the scripts of the lab in KUBECONFIG; without it some stories are left out"),
        ("runtime-image", f"an image whose /health answers {{'status': 'ok'}}; without it {RUNTIME_IMAGE}"),
        ("runtime-args", "its arguments, as a JSON list"),
        ("timeout", "seconds that a swarm may take for each step; 300 if not given"),
    ):
        variable = "E2E_" + option.upper().replace("-", "_")
        group.addoption(f"--e2e-{option}", default=os.environ.get(variable, ""), help=f"{text} [{variable}]")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    image = request.config.getoption("--e2e-runtime-image")
    arguments = request.config.getoption("--e2e-runtime-args")
    if image:
        args = json.loads(arguments) if arguments else ["daemon"]
    else:
        image, args = RUNTIME_IMAGE, ["python", "-u", "-c", RUNTIME_SCRIPT]
    return Run(uuid.uuid4().hex[:6], image, args)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    found = connect_cluster(float(request.config.getoption("--e2e-timeout") or 300))
    yield found
    found.close()


@pytest.fixture(scope="session")
def lab_if_any(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab | None]:
    """The lab with the hooks at work, None for another cluster."""
    scripts = request.config.getoption("--e2e-lab")
    if not scripts:
        yield None
        return
    place = tmp_path_factory.mktemp("hooks")
    lab = Lab(Path(scripts), place / "log", {"USERSWARM_TEMPLATES_DIR": str(offer_templates(place / "templates"))})
    lab.hooks.start()
    yield lab
    lab.hooks.kill()


@pytest.fixture(scope="session")
def lab(lab_if_any: Lab | None) -> Lab:
    """The lab; without one the test is skipped."""
    if lab_if_any is None:
        pytest.skip("only in a lab can parts of the cluster be killed, and Pods made to fail: --e2e-lab")
    return lab_if_any


@pytest.fixture(scope="session")
def webhook_url(request: pytest.FixtureRequest, lab_if_any: Lab | None) -> str:
    """Where the hooks of this run are; an empty text where the installed ones are used."""
    return lab_if_any.hooks.url if lab_if_any else str(request.config.getoption("--e2e-webhook-url"))


def _needed() -> Iterator[Object]:
    """Yield what a run needs besides its controller."""
    for relative in ("namespace/userswarms.yaml", "crd/userswarms.crawbl.ai.yaml", "components/dedicated/people.yaml"):
        yield from yaml.safe_load_all((MANIFESTS / relative).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def controller(webhook_url: str, cluster: Cluster, run: Run) -> Iterator[str]:
    """The name of the CompositeController that takes this run's swarms, installed here where it has to be."""
    missing = [each for each in _needed() if cluster.get(each["kind"], each["metadata"]["name"]) is None]
    made = [cluster.apply(each) for each in missing]
    cluster.wait_for_crd("userswarms.crawbl.ai")

    labels = {RUN_LABEL: run.name, E2E_LABEL: "true"}
    others = controllers_that_take(cluster.all("CompositeController"), labels)
    if webhook_url:
        assert not others, (
            f"{', '.join(others)} would take this run's swarms too: let them do it, and give no address of hooks"
        )
        own = controller_for_run(composite_controller(dedicated=True), run.name, webhook_url)
        made.append(cluster.apply(own))
        others = [own["metadata"]["name"]]
    assert len(others) == 1, f"one CompositeController should take this run's swarms, not {others or 'none'}"
    try:
        yield others[0]
    finally:
        # The order of uninstalling: the swarms, then who finalizes them, then what they are made of.
        cluster.remove_swarms(run.name)
        for manifest in reversed(made):
            cluster.delete(manifest["kind"], manifest["metadata"]["name"])
            cluster.wait_gone(manifest["kind"], manifest["metadata"]["name"])


@pytest.fixture
def swarms(cluster: Cluster, controller: str, run: Run) -> Iterator[Cluster]:
    """The cluster, with the swarms of the test removed after it."""
    yield cluster
    cluster.remove_swarms(run.name)
