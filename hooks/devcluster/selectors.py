"""Label selectors: metav1.LabelSelector, and the text that ``kubectl -l`` takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.errors import bad_request


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet it, by the rules of set-based requirements."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        if self.operator == "In":
            return labels.get(self.key) in self.values
        return self.key not in labels or labels[self.key] not in self.values


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements together; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Yield the labels that a match must carry exactly: what an index can look up."""
        for requirement in self.requirements:
            if requirement.operator == "In" and len(requirement.values) == 1:
                yield requirement.key, next(iter(requirement.values))


EVERYTHING = Selector()


def from_labels(labels: Mapping[str, str]) -> Selector:
    """Build the selector of a plain map of labels."""
    return Selector(tuple(Requirement(key, "In", frozenset((value,))) for key, value in sorted(labels.items())))


def from_object(selector: Mapping[str, Any]) -> Selector:
    """Build a selector from a metav1.LabelSelector."""
    requirements = list(from_labels(selector.get("matchLabels") or {}).requirements)
    for expression in selector.get("matchExpressions") or ():
        operator = expression["operator"]
        if operator not in {"In", "NotIn", "Exists", "DoesNotExist"}:
            raise bad_request(f'"{operator}" is not a valid label selector operator')
        requirements.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or ())))
    return Selector(tuple(requirements))


_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*)?(?P<key>[\w./-]+)\s*"
    r"(?:(?P<equals>==?|!=)\s*(?P<value>[\w.-]*)|(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*(?:,|\Z)"
)


def from_text(text: str) -> Selector:
    """Build a selector from ``a=b,c!=d,e in (f,g),h,!i``."""
    requirements = []
    position = 0
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise bad_request(f"unable to parse requirement: {text[position:]!r}")
        position = term.end()
        key = term["key"]
        if term["equals"]:
            operator = "NotIn" if term["equals"] == "!=" else "In"
            requirements.append(Requirement(key, operator, frozenset((term["value"],))))
        elif term["set"]:
            values = frozenset(value.strip() for value in term["values"].split(","))
            requirements.append(Requirement(key, "In" if term["set"] == "in" else "NotIn", values))
        else:
            requirements.append(Requirement(key, "DoesNotExist" if term["absent"] else "Exists"))
    return Selector(tuple(requirements))
