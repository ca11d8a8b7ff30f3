"""Requests to an API server by who asked, verb and kind, counted from its audit log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import orjson

READS = ("get", "list", "watch")

# Kubernetes itself, its stand-ins, and whoever measures: what they ask for is no cost of the controller.
_OTHERS = ("kube-", "kubectl", "lab-", "userswarm-benchmark")


class Asked(NamedTuple):
    """What was asked: the first word of the user agent, the verb, and the resource with its subresource."""

    agent: str
    verb: str
    resource: str

    @property
    def is_read(self) -> bool:
        """Tell whether nothing was to be changed."""
        return self.verb in READS


def requests_between(log: Path, start: int, end: int) -> Counter[Asked]:
    """Count the controller's requests between two lengths of the log; its hooks' own requests are among them."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read(end - start).splitlines()
    asked = (_parse(orjson.loads(line)) for line in lines)
    return Counter(each for each in asked if each is not None and not each.agent.startswith(_OTHERS))


def _parse(event: dict[str, object]) -> Asked | None:
    verb = str(event["verb"])
    # A watch counts when it begins, any other request when it has been answered.
    if event["stage"] != ("ResponseStarted" if verb == "watch" else "ResponseComplete"):
        return None
    target = event.get("objectRef")
    if not isinstance(target, dict):
        return None
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    return Asked(str(event.get("userAgent", "")).partition("/")[0], verb, resource)
