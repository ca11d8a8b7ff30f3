"""What the tests of Envoy's data path share: each has its own `made`, with the settings that it is about."""

from __future__ import annotations

import pytest

from gate.stand_in import Scene


@pytest.fixture
def at(made: Scene) -> Scene:
    """The module's scene, with nothing seen yet."""
    made.clear()
    return made
