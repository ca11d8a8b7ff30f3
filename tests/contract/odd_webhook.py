"""`userswarm` with hooks that do what a request says: need what it names, tell what they saw, answer at length."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from userswarm.cli import main
from userswarm.server import app
from userswarm.spec.settings import Settings


def odd_hook(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
    wishes = request["parent"]["spec"]
    seen = {name: request[name] for name in ("http", "related", "unavailable") if name in request}
    return {
        "status": {"seen": seen, "text": "x" * wishes.get("length", 0)},
        "children": [],
        "needs": wishes.get("needs"),
    }


if __name__ == "__main__":
    app._load_hooks = lambda: dict.fromkeys(app.HOOKS, odd_hook)
    main()
