"""What all tests share: golden files, and Hypothesis without a clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples at each run, however slow the machine: whoever looks for new ones takes the long profile.
_SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("userswarm", _SLOW, derandomize=True)
settings.register_profile("userswarm-long", _SLOW, max_examples=3000)  # pytest --hypothesis-profile=…
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "userswarm"))

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str, str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the code answers now into tests/golden, to be read in the diff; CI never does",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return a check that a text is what lies under tests/golden; its last argument says what a change means."""
    update = bool(request.config.getoption("--update-golden"))

    def check(name: str, text: str, meaning: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        known = path.read_text(encoding="utf-8") if path.exists() else None
        assert text == known, f"tests/golden/{name} is not what the code answers now. {meaning}"

    return check
