"""The command line: what it takes, what it refuses, and what it does not import before it must."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from userswarm.reaper.commands import reap
from userswarm.reaper.report import ExitCode

HOOKS = Path(__file__).parents[3] / "hooks"
FILE = ["--owners-file", "owners.json"]


def invoke(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(reap, list(words), env=environment)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of --owners-url, --owners-dsn[-file] and --owners-file"),
        ([*FILE, "--owners-url", "https://a.example/"], "exactly one of"),
        ([*FILE, "--owners-dsn", "", "--owners-query", "SELECT"], "exactly one of"),
        ([*FILE, "--owners-query", "SELECT"], "--owners-dsn and --owners-query go together"),
        (["--owners-dsn", "host=db"], "--owners-dsn and --owners-query go together"),
        (["--owners-dsn-file", "dsn"], "--owners-dsn and --owners-query go together"),
        (["--owners-dsn", "a", "--owners-dsn-file", "b", "--owners-query", "c"], "not both"),
        (["--owners-url", "http://a.example/"], "plain http is refused"),
        (["--owners-url", "https://user:pw@a.example/"], "must not carry a password"),
        ([*FILE, "--owners-token-file", "token"], "belong to --owners-url"),
        ([*FILE, "--owners-ca-file", "ca"], "belong to --owners-url"),
        ([*FILE, "--owners-insecure-http"], "belong to --owners-url"),
        ([*FILE, "--owners-timeout", "0s"], "must be longer than 0s"),
        ([*FILE, "--owners-attempts", "0"], "--owners-attempts"),
        ([*FILE, "--owners-page-size", "0"], "--owners-page-size"),
        ([*FILE, "--min-age", "60"], "'60' is no duration"),
        ([*FILE, "--confirm-after", "-1s"], "'-1s' is no duration"),
        ([*FILE, "--max-delete", "110%"], "'110%' is no share"),
        ([*FILE, "--max-shrink", "some"], "'some' is no share"),
        ([*FILE, "--force"], "No such option"),
        ([*FILE, "extra"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_wrong(words: list[str], message: str) -> None:
    result = invoke(*words)

    assert result.exit_code == ExitCode.USAGE == 2
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_safety_is_on_by_default() -> None:
    defaults: dict[str | None, Any] = {parameter.name: parameter.default for parameter in reap.params}

    assert defaults["min_age"] == "1h"
    assert defaults["max_delete"] == "10%"
    assert defaults["max_shrink"] == "10%"
    assert defaults["confirm_after"] == "60s"


def test_help_documents_every_exit_code_and_every_option() -> None:
    text = invoke("--help").stdout
    codes = text[text.index("EXIT CODES") : text.index("Options:")]

    assert {int(line.split()[0]) for line in codes.splitlines()[1:] if line.strip()} == set(map(int, ExitCode))
    assert all(parameter.help for parameter in reap.params if isinstance(parameter, click.Option))


def test_no_cluster_is_exit_code_5_with_a_summary(tmp_path: Path) -> None:
    for kubeconfig in ("none", "empty", "nonsense"):
        path = tmp_path / kubeconfig
        if kubeconfig != "none":
            path.write_text("" if kubeconfig == "empty" else "{{")
        result = invoke(*FILE, "--kubeconfig", str(path))

        assert result.exit_code == ExitCode.CLUSTER_UNREACHABLE, result.output
        assert '"result": "cluster-unreachable"' in result.stdout.splitlines()[-1]
        assert result.stderr.startswith("userswarm reap: ")


@pytest.mark.parametrize("module", ["userswarm.reaper.decide", "userswarm.reaper.commands", "userswarm.reaper.reap"])
def test_neither_kubernetes_nor_psycopg_is_imported_before_it_is_needed(module: str) -> None:
    program = f"import sys, {module}; print([m for m in ('kubernetes', 'psycopg', 'urllib3') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(HOOKS)}
    )

    assert done.stdout == "[]\n"


def test_the_decision_needs_no_i_o_at_all() -> None:
    program = (
        "import sys, userswarm.reaper.decide as d;"
        "print([m for m in ('socket', 'ssl', 'http.client', 'subprocess', 'orjson', 'click') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(HOOKS)},
    )

    assert done.stdout == "[]\n"
