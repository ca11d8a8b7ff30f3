"""What one part finds by one sight is computed once, however often the part is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

import scenes
from userswarm.parts import lifecycle, verification
from userswarm.parts.shape import Sight
from userswarm.wire.observe import Observation


def test_what_is_found_is_found_once_by_each_sight() -> None:
    asked: list[str] = []

    def find(config: str, sight: Sight) -> None:
        asked.append(config)

    sight = Sight(Observation({}, {}, {}), {}, {}, scenes.NOW)
    sight.once(find, "a")
    sight.once(find, "a")
    assert asked == ["a"]

    # Another answer of the Service, say: what was found before does not hold for it.
    replace(sight, http=scenes.HEALTHY).once(find, "b")
    assert asked == ["a", "b"]


@pytest.mark.parametrize(("room", "name"), [(verification, "_has_passed"), (lifecycle, "decide")])
def test_a_settled_sync_comes_to_each_conclusion_once(monkeypatch: pytest.MonkeyPatch, room: object, name: str) -> None:
    scene = scenes.verified(scenes.user_swarm(lifecycle={"idleAfter": "30m"}))
    scenes.step(scene)
    asked: list[object] = []
    conclude = getattr(room, name)
    monkeypatch.setattr(room, name, lambda *given, **more: asked.append(given) or conclude(*given, **more))
    scene.sync()
    assert len(asked) == 1
