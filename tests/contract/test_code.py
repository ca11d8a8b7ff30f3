"""The code is clean: lint, format, types and layers, as their tools see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> str:
    """Run a tool in the checkout and return what it says; fail with that where it finds something."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_ruff_finds_nothing_to_complain_about() -> None:
    run(sys.executable, "-m", "ruff", "check", "hooks", "tests")


def test_all_code_is_formatted() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", "hooks", "tests")


def test_all_types_are_right() -> None:
    run(sys.executable, "-m", "mypy")


def test_data_flows_one_way_through_the_layers() -> None:
    # import-linter has no module to run: its script lies beside the interpreter.
    assert "0 broken" in run(sys.executable, str(Path(sys.executable).parent / "lint-imports"), "--no-cache")
