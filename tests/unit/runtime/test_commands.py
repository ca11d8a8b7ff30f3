"""`userswarm bootstrap` and `userswarm probe` as a Pod starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from userswarm.runtime.probe import Expectation, Target, Verdict

from userswarm.runtime import commands
from userswarm.runtime.commands import bootstrap, probe


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.toml").write_text("a = 1\n")
    return {
        "--config": str(tmp_path / "etc" / "config.toml"),
        "--live": str(tmp_path / "volume" / ".zeroclaw" / "config.toml"),
        "--workspace": str(tmp_path / "volume" / "workspace"),
    }


def start(places: dict[str, str]) -> Result:
    return CliRunner().invoke(bootstrap, [word for option in places.items() for word in option])


def test_bootstrap_prepares_a_volume_and_says_so(places: dict[str, str]) -> None:
    result = start({**places, "--owner": "ada"})

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        ".userswarm-owner: written, this volume now belongs to ada",
        "config.toml: written",
    ]
    assert Path(places["--live"]).read_text() == "a = 1\n"


def test_bootstrap_fails_in_one_line(places: dict[str, str]) -> None:
    start({**places, "--owner": "ada"})
    result = start({**places, "--owner": "eve"})

    assert (result.exit_code, result.stdout) == (1, "")
    marker = Path(places["--live"]).parent / ".userswarm-owner"
    assert result.stderr == f"bootstrap: {marker}: the volume belongs to another owner; nothing was touched\n"


def test_bootstrap_keeps_odd_names_from_breaking_its_lines(places: dict[str, str]) -> None:
    (Path(places["--config"]).parent / "a\nb\x1b").write_text("")
    result = start(places)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("missing", ["--config", "--live", "--workspace"])
def test_bootstrap_needs_its_places(places: dict[str, str], missing: str) -> None:
    del places[missing]
    result = start(places)

    assert result.exit_code == 2
    assert missing in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--live", "ETC/other.toml", "three directories"),
        ("--workspace", "ETC/../volume/.zeroclaw", "three directories"),
        ("--workspace", "ETC", "three directories"),
        ("--live", "/", "must name a file"),
        ("--config", "", "must name a file"),
        ("--owner", "", "--owner must be"),
        ("--owner", "a b", "--owner must be"),
        ("--owner", "a\n", "--owner must be"),
        ("--owner", "a" * 254, "--owner must be"),
    ],
)
def test_bootstrap_refuses_options_that_make_no_sense(
    places: dict[str, str], option: str, value: str, reason: str
) -> None:
    places[option] = value.replace("ETC", str(Path(places["--config"]).parent)) if value else value
    result = start(places)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert not (Path(places.get("--live", "")) / ".." / "..").exists() or option == "--live"


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What probing would have said; the probe itself is tested elsewhere."""
    verdicts = [Verdict(True, "passed: all well")]

    def answer(target: Target, expectations: list[Expectation], timeout: float) -> Verdict:
        assert target == Target("h", 80, "/health")
        assert expectations == [Expectation(("status",), "ok"), Expectation(("a", "b"), "c")]
        assert timeout == 2.5
        return verdicts[0]

    monkeypatch.setattr(commands, "run_probe", answer)
    return verdicts


OPTIONS = ["http://h/health", "--timeout", "2.5", "--expect-json", "status=ok", "--expect-json", "a.b=c"]


def test_probe_says_on_stdout_that_it_passed(verdicts: list[Verdict]) -> None:
    result = CliRunner().invoke(probe, OPTIONS)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "passed: all well\n", "")


def test_probe_says_on_stderr_that_it_failed(verdicts: list[Verdict]) -> None:
    verdicts[0] = Verdict(False, "failed: status 500")
    result = CliRunner().invoke(probe, OPTIONS)

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "failed: status 500\n")


def test_probe_leaves_its_verdict_where_kubernetes_looks_for_it(verdicts: list[Verdict], tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.write_text("something longer that was there before\n")
    CliRunner().invoke(probe, [*OPTIONS, "--termination-log", str(log)])

    assert log.read_text() == "passed: all well\n"


def test_probe_makes_no_termination_log_and_needs_none(verdicts: list[Verdict], tmp_path: Path) -> None:
    for log in (tmp_path / "missing", tmp_path):
        assert CliRunner().invoke(probe, [*OPTIONS, "--termination-log", str(log)]).exit_code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["https://h/"],
        ["not a url"],
        ["http://h/", "--timeout", "0"],
        ["http://h/", "--timeout", "-1"],
        ["http://h/", "--timeout", "nan"],
        ["http://h/", "--timeout", "inf"],
        ["http://h/", "--timeout", "3601"],
        ["http://h/", "--timeout", "soon"],
        ["http://h/", "--expect-json", "status"],
        ["http://h/", "http://h/"],
    ],
)
def test_probe_refuses_wrong_options(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "run_probe", None)
    result = CliRunner().invoke(probe, options)

    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", [bootstrap, probe])
def test_help_tells_the_exit_codes(command: object) -> None:
    result = CliRunner().invoke(command, ["--help"])  # type: ignore[arg-type]

    assert result.exit_code == 0
    assert "  0  " in result.stdout
    assert "  1  " in result.stdout
    assert "  2  " in result.stdout


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, userswarm.runtime.commands; "
        "print(sorted({'flask', 'kubernetes', 'jsonschema', 'yaml', 'requests', 'tomlkit', 'prometheus_client',"
        " 'gunicorn', 'orjson'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
