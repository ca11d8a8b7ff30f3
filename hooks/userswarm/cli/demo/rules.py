"""What each CEL rule of our CRD means, word for word: the dev cluster interprets no CEL."""

from __future__ import annotations

import re
from typing import Any

from devcluster.crd import Rule, Rules
from devcluster.objects import same_json
from userswarm.spec import quantity
from userswarm.spec.durations import parse_duration


def _within_limit(name: str) -> Rule:
    """Return the rule that a request does not exceed its limit, where both are there."""

    def holds(self: Any, _: Any) -> bool:
        request, limit = self.get("requests", {}).get(name), self.get("limits", {}).get(name)
        return request is None or limit is None or quantity.compare(request, limit) <= 0

    return holds


def _in_order(low: str, high: str) -> Rule:
    """Return the rule that a length of time does not exceed another one, where both are there and set a limit."""

    def holds(self: Any, _: Any) -> bool:
        less, more = parse_duration(self.get(low, "0s")), parse_duration(self.get(high, "0s"))
        return low not in self or more == 0 or less <= more

    return holds


RULES: Rules = {
    "self == oldSelf": same_json,
    "has(self.workspaceId) == has(oldSelf.workspaceId)": lambda self, old: (
        ("workspaceId" in self) == ("workspaceId" in old)
    ),
    "!has(self.template) || !has(self.runtime.args)": lambda self, _: (
        "template" not in self or "args" not in self["runtime"]
    ),
    "quantity(string(self.requests.cpu)).compareTo(quantity(string(self.limits.cpu))) <= 0": _within_limit("cpu"),
    "quantity(string(self.requests.memory)).compareTo(quantity(string(self.limits.memory))) <= 0": _within_limit(
        "memory"
    ),
    "!has(self.requests.ephemeral__dash__storage) || !has(self.limits.ephemeral__dash__storage) || "
    "quantity(string(self.requests.ephemeral__dash__storage))"
    ".compareTo(quantity(string(self.limits.ephemeral__dash__storage))) <= 0": _within_limit("ephemeral-storage"),
    "(has(self.storageClassName) ? self.storageClassName : '') == "
    "(has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')": lambda self, old: (
        self.get("storageClassName", "") == old.get("storageClassName", "")
    ),
    "quantity(string(self)).isGreaterThan(quantity('0'))": lambda self, _: quantity.compare(self, "0") > 0,
    "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0": lambda self, old: (
        quantity.compare(self, old) >= 0
    ),
    "self.all(k, k.matches('^[a-z]([-a-z0-9.]{0,251}[a-z0-9])?$'))": lambda self, _: all(
        re.fullmatch(r"[a-z]([-a-z0-9.]{0,251}[a-z0-9])?", key) for key in self
    ),
    "self.all(k, k.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'))": lambda self, _: all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", key) for key in self
    ),
    "self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != 'config.toml' && k != '.' && !k.startsWith('..'))": (
        lambda self, _: all(
            re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) and key not in {"config.toml", "."} and not key.startswith("..")
            for key in self
        )
    ),
    "!has(self.idleAfter) || !has(self.idleAfterVisit) || duration(self.idleAfter) == duration('0s') || "
    "duration(self.idleAfterVisit) <= duration(self.idleAfter)": _in_order("idleAfterVisit", "idleAfter"),
    "!has(self.maxAwake) || !has(self.minAwake) || duration(self.maxAwake) == duration('0s') || "
    "duration(self.minAwake) <= duration(self.maxAwake)": _in_order("minAwake", "maxAwake"),
    "duration(self) == duration('0s') || duration(self) >= duration('2m')": lambda self, _: (
        parse_duration(self) == 0 or parse_duration(self) >= 120
    ),
    "duration(self) == duration('0s') || duration(self) >= duration('1h')": lambda self, _: (
        parse_duration(self) == 0 or parse_duration(self) >= 3600
    ),
    "self.matches('^[^ ]+( +[^ ]+){4}$')": lambda self, _: (
        # matches() searches, and its $ is the very end.
        re.search(r"^[^ ]+( +[^ ]+){4}\Z", self) is not None
    ),
}
