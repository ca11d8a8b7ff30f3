"""What alerts and panels ask of the gate and of its Envoy: both are asked as Prometheus does, and have to know it."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from contract.rendered import production_with
from contract.serving import eventually
from contract.test_gate_http import run_gate
from contract.test_manifests import expressions
from devcluster.rest import RestServer
from gate.stand_in import scene
from unit.backend.world import World, make_api, make_api_client

Series = list[tuple[str, dict[str, str]]]

# What Prometheus adds to all that it reads there.
ADDED = {"job": "userswarm-gate"}

BY = re.compile(r"\bby \(([^)]*)\)")


def read(text: str) -> Series:
    """Return what is told, by the names that are asked for: a parser would mend Envoy's."""
    lines = re.findall(r"^([a-z]\w*)(?:\{(.*)\})? \S+$", text, re.MULTILINE)
    return [(name, {**dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), **ADDED}) for name, labels in lines]


def asked(prefix: str) -> list[tuple[str, dict[str, str], set[str]]]:
    """Return each name that is asked for, with the labels that have to be equal and those that are summed by."""
    found = []
    for expression in expressions(production_with("gate", "prometheus")):
        by = {label.strip() for labels in BY.findall(expression) for label in labels.split(",")}
        for name, matchers in re.findall(rf"\b({prefix}\w+)(?:\{{([^}}]*)\}})?", BY.sub("", expression)):
            found.append((name, dict(re.findall(r'(\w+)="([^"]*)"', matchers)), by))
    assert found
    return found


@pytest.fixture(scope="module")
def envoys(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """What an Envoy says that has let one request through."""
    with scene(tmp_path_factory.mktemp("door")) as made:
        assert made.door.ask("GET", "/v1/workspaces/alice/", Authorization="Bearer alice")[0] == 200
        status, body = made.door.ask_status("/metrics")
        assert status == 200
        return read(body.decode())


def test_envoy_tells_what_is_asked(envoys: Series) -> None:
    for name, equal, by in asked("envoy_"):
        there = [labels for each, labels in envoys if each == name]
        assert there, f"no metric {name}"
        assert [labels for labels in there if equal.items() <= labels.items() and by <= labels.keys()], there


def test_envoy_tells_of_connections_that_it_turns_away(tmp_path: Path) -> None:
    name = "envoy_listener_downstream_global_cx_overflow"
    assert name in {each for each, _, _ in asked("envoy_")}
    with scene(tmp_path, max_connections=1) as made, made.door.connect(), made.door.connect():
        eventually(
            lambda: re.search(rf"^{name}\{{.*\}} 1$", made.door.ask_status("/metrics")[1].decode(), re.MULTILINE)
        )


def test_envoy_tells_that_nobody_decides(tmp_path: Path) -> None:
    name = "envoy_cluster_upstream_cx_connect_fail"
    assert (name, "gate") in {(each, equal.get("envoy_cluster_name")) for each, equal, _ in asked("envoy_")}
    with scene(tmp_path) as made:
        made.stage.stop(made.gate)
        assert made.door.ask("GET", "/v1/workspaces/alice/", Authorization="Bearer alice")[0] == 503
        told = made.door.ask_status("/metrics")[1].decode()
        assert re.search(rf'^{name}\{{envoy_cluster_name="gate"\}} [1-9]', told, re.MULTILINE)


def test_the_gate_tells_what_is_asked(tmp_path: Path) -> None:
    with RestServer(make_api(), bookmark_interval=0.2) as rest:
        api_client = make_api_client(rest.url)
        with run_gate(World(rest.api, rest, api_client), tmp_path) as gate:
            assert gate.ask("/check/v1/workspaces/a/")[0] == 404
            with urllib.request.urlopen(f"http://127.0.0.1:{gate.metrics_port}/metrics") as answer:
                told = read(answer.read().decode())
        api_client.close()
    assert {name for name, _, _ in asked("userswarm_gate_")} <= {name for name, _ in told}
