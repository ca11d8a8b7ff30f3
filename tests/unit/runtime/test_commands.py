"""`userswarm bootstrap` as a Pod starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from userswarm.runtime.commands import bootstrap


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


def test_help_tells_the_exit_codes() -> None:
    result = CliRunner().invoke(bootstrap, ["--help"])

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
