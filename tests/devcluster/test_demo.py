"""`userswarm demo` ends well only if every promise held, and says which did not."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from click.testing import CliRunner

from userswarm.cli import cli
from userswarm.cli.demo import story
from userswarm.cli.demo import world as worlds
from userswarm.cli.demo.story import Story, run_demo
from userswarm.cli.demo.world import DemoError, webhook, world
from userswarm.errors import InvalidParentError
from userswarm.spec.manifests import manifest_path


def sample(**storage: str) -> dict[str, Any]:
    swarm: dict[str, Any] = yaml.safe_load(manifest_path("samples/minimal.yaml").read_text(encoding="utf-8"))
    if storage:
        swarm["spec"]["storage"] = storage
    return swarm


@contextmanager
def about(swarm: dict[str, Any], show: Callable[[str], object] = print) -> Iterator[Story]:
    with world(dedicated=story.is_dedicated(swarm)) as made:
        yield Story(swarm, made, show)


def tell(swarm: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    with about(swarm, lines.append) as told:
        told.tell()
    return lines


def test_the_command_tells_the_whole_story_and_ends_well() -> None:
    result = CliRunner().invoke(cli, ["demo"])

    assert result.exit_code == 0, result.output
    for line in ("READY", "SUSPENDED", "DELETING", "nothing is left behind"):
        assert line in result.output
    rows = dict(line.rsplit("  ", 1) for line in result.output.splitlines() if "  " in line.strip())
    assert rows[f"API writes in {3 * story.RESYNCS} resyncs while settled".ljust(42)].strip() == "0"


def test_a_volume_that_is_to_be_kept_is_all_that_stays() -> None:
    lines = tell(sample(retainPolicy="Retain"))

    assert any("kept: PersistentVolumeClaim" in line for line in lines)
    assert "  ok     nothing else is left behind" in lines


def test_secrets_that_a_swarm_names_are_there() -> None:
    swarm = yaml.safe_load(manifest_path("samples/full.yaml").read_text(encoding="utf-8"))

    lines = tell(swarm)

    assert "  ok     it is verified" in lines


def test_a_promise_that_does_not_hold_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "PATIENCE", 1)

    with pytest.raises(DemoError, match="not verified after 1 simulated seconds"):
        tell(sample())


def test_a_deletion_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with about(sample()) as told:
        told._cluster.apply(told._swarm)
        told._until("verified", lambda status: status.get("verified") is True)
        monkeypatch.setattr(story, "PATIENCE", 0.5)
        told._cluster.delete(told._name)

        with pytest.raises(DemoError, match="still there"):
            told._until_gone()


def test_a_failure_is_told_and_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "PATIENCE", 1)

    result = CliRunner().invoke(cli, ["demo"])

    assert result.exit_code == 1
    assert "FAILED: not verified" in result.output


def test_a_file_that_is_not_valid_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "swarm.yaml"
    file.write_text(yaml.safe_dump(sample(size="much")))

    with pytest.raises(InvalidParentError, match=r"spec\.storage\.size"):
        run_demo(file, keep=False, show=print)
    result = CliRunner().invoke(cli, ["demo", str(file)])
    assert result.exit_code == 1
    assert "Error: UserSwarm" in result.output


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes that are started be interrupted, even where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_kept_webhook_answers_until_it_is_interrupted() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "userswarm.cli", "demo", "--keep"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("kept: "):
                break
        address = lines[-1].split()[1]
        with urllib.request.urlopen(f"{address}/healthz") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_server_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(DemoError, match="ended with exit code 1"), webhook(1, {}):
        pytest.fail("no server was started")


def test_a_server_that_is_never_ready_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "START_SECONDS", 0)

    with pytest.raises(DemoError, match="not ready after 0 s"), webhook(1, {}):
        pytest.fail("nobody could be ready so early")


def test_what_is_left_behind_is_a_broken_promise() -> None:
    with about(sample()) as told:
        told._before.clear()

        with pytest.raises(DemoError, match="this did not hold: nothing is left behind"):
            told.tell()


def dedicated(**changes: Any) -> dict[str, Any]:
    swarm: dict[str, Any] = yaml.safe_load(manifest_path("samples/dedicated.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        section, field = path.split("__")
        swarm["spec"][section][field] = value
    return swarm


def test_a_dedicated_swarm_takes_its_namespace_along() -> None:
    lines = tell(dedicated(storage__retainPolicy="Delete"))

    name = dedicated()["metadata"]["name"]
    first = next(at for at, line in enumerate(lines) if f"create Namespace swarm-{name}" in line)
    assert not any("s  create " in line for line in lines[:first])
    assert any(f"delete Namespace swarm-{name}" in line for line in lines)
    assert "  ok     nothing is left behind" in lines


def test_a_dedicated_swarm_whose_volume_is_kept_leaves_the_namespace_too() -> None:
    lines = tell(dedicated())

    (kept,) = [line for line in lines if "kept: " in line]
    assert kept.count(",") == 1
    assert "Namespace swarm-" in kept
    assert "PersistentVolumeClaim swarm-" in kept
    assert "  ok     nothing else is left behind" in lines


def test_a_dedicated_swarm_may_live_in_a_namespace_that_is_lent() -> None:
    swarm = dedicated(
        placement__namespaceMode="operator", placement__runtimeNamespace="lent", storage__retainPolicy="Delete"
    )
    lines = tell(swarm)

    assert not any(" Namespace " in line for line in lines)
    assert any("create StatefulSet lent/" in line for line in lines)
    assert "  ok     nothing is left behind" in lines


def test_keeping_it_waits_for_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pause", interrupt)
    lines: list[str] = []

    assert run_demo(None, keep=True, show=lines.append)
    assert lines[-1].startswith("\nkept: http://127.0.0.1:")


def test_a_server_is_asked_until_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [503, 200]

    class Connection:
        def __init__(self, *address: object, timeout: float) -> None:
            self.request = lambda method, path: None
            self.close = lambda: None
            self.getresponse = lambda: SimpleNamespace(status=answers.pop(0))

    monkeypatch.setattr(http.client, "HTTPConnection", Connection)
    worlds._wait_until_ready(1, cast("subprocess.Popen[bytes]", SimpleNamespace(poll=lambda: None)))
    assert answers == []


@pytest.mark.parametrize("name", ["claude-code", "templated", "zeroclaw"])
def test_the_story_of_a_swarm_of_a_template_ends_well(name: str) -> None:
    result = CliRunner().invoke(cli, ["demo", str(manifest_path(f"samples/{name}.yaml"))])

    assert result.exit_code == 0, result.output
    kept = [line for line in result.output.splitlines() if "kept: PersistentVolumeClaim" in line]
    assert len(kept) == (name == "claude-code")
    assert all(f"-{volume}" in line for line in kept for volume in ("workspace", "home"))


def test_the_story_takes_the_platforms_own_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSWARM_TEMPLATES_DIR", str(tmp_path))

    result = CliRunner().invoke(cli, ["demo", str(manifest_path("samples/templated.yaml"))])

    assert result.exit_code == 1
    assert "there is no template 'http-agent'" in result.output
