"""The commands, as a person meets them."""

from __future__ import annotations

import io
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import scenes
from userswarm.cli import _Commands, main
from userswarm.spec.manifests import manifest_path

COMMANDS = list(_Commands.where)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("USERSWARM_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*args: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            code = main(list(args))
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code or 0, out, err

    return call


MINIMAL = manifest_path("samples/minimal.yaml")


def test_render_prints_the_children_of_a_file_or_of_standard_input(run: Any) -> None:
    code, out, err = run("render", str(MINIMAL))
    assert (code, err) == (0, "")
    assert len(list(yaml.safe_load_all(out))) == 6
    assert run("render", "-", stdin=MINIMAL.read_bytes()) == (0, out, "")


def test_render_answers_a_captured_request(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(scenes.verified().request()))
    code, out, _ = run("render", "--request", str(file))
    assert code == 0
    assert json.loads(out)["status"]["verified"] is True


@pytest.mark.parametrize(
    ("args", "stdin", "told"),
    [
        (("render", "-"), b"kind: Pod", "userswarm: -: document 1 is no UserSwarm"),
        (("render", "-"), b"\xff", "-: not UTF-8"),
        (("render", "/nowhere/at-all.yaml"), b"", "No such file"),
        (("render", "/"), b"", "Is a directory"),
        (("render", "--request", "-"), b"{}", "userswarm: children: must be an object, not nothing"),
        (("render", "--request", "-"), b"{", "not JSON"),
        (("explain", "-"), b"", "holds no object"),
        (("explain", "--request", "-"), b"{", "not JSON"),
    ],
)
def test_bad_input_is_told_on_standard_error_alone_with_exit_code_1(
    run: Any, args: tuple[str, ...], stdin: bytes, told: str
) -> None:
    code, out, err = run(*args, stdin=stdin)
    assert (code, out) == (1, "")
    assert told in err


def test_every_problem_has_a_line_of_its_own(run: Any) -> None:
    text = MINIMAL.read_text(encoding="utf-8") + "  usrId: x\n  storage: {size: 0}\n  suspend: maybe\n"
    code, out, err = run("render", "-", stdin=text.encode())
    assert (code, out) == (1, "")
    assert [line.split(": ")[3] for line in err.splitlines()] == ["spec.storage.size", "spec.suspend", "spec.usrId"]
    assert "did you mean userId?" in err


def test_all_bad_settings_are_named_at_once(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSWARM_WORKERS", "none")
    monkeypatch.setenv("USERSWARM_DEFAULT_IMAGE", "two words")
    code, out, err = run("render", str(MINIMAL))
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 2
    assert "USERSWARM_WORKERS='none': must be a whole number from 1 to 64" in err
    assert "USERSWARM_DEFAULT_IMAGE='two words'" in err


def test_settings_from_the_environment_count(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSWARM_DEFAULT_IMAGE", "registry.example/other:1")
    assert "image: registry.example/other:1" in run("render", str(MINIMAL))[1]


@pytest.mark.parametrize("args", [("render",), ("nonsense",), ("render", "--nonsense", "-"), ("crd", "x"), ()])
def test_wrong_usage_is_exit_code_2(run: Any, args: tuple[str, ...]) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert "Usage: userswarm" in err


def test_crd_prints_the_file_that_the_schema_is_read_from(run: Any) -> None:
    code, out, err = run("crd")
    assert (code, err) == (0, "")
    assert out == manifest_path("crd/userswarms.crawbl.ai.yaml").read_text(encoding="utf-8")


def test_explain_says_where_a_swarm_stands(run: Any, tmp_path: Path) -> None:
    scene = scenes.verified()
    for args, body in ((("explain", "-"), scene.parent), (("explain", "--request", "-"), scene.request())):
        code, out, _ = run(*args, stdin=json.dumps(body).encode())
        assert code == 0
        assert "workspace-a" in out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_worth_reading(run: Any, command: str, option: str) -> None:
    code, out, err = run(command, option)
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: userswarm {command}")
    assert len(out.splitlines()) > 4


def test_the_list_of_commands_says_what_each_is_for(run: Any) -> None:
    _, out, _ = run("--help")
    for command in COMMANDS:
        (line,) = [each for each in out.splitlines() if each.strip().startswith(command + " ")]
        assert len(line.split()) > 3


def test_the_package_itself_may_be_run(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["userswarm", "nonsense"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("userswarm.cli", run_name="__main__")
    assert ended.value.code == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_it_knows_its_version(run: Any) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("userswarm, version ")
