"""How groups, objects and problems are named."""

from __future__ import annotations

from devcluster.kinds import Kind
from devcluster.objects import Observed, qualified_name


def name_of(obj: Observed) -> str:
    """Return an object's kind and name."""
    return f"{obj['kind']} {qualified_name(obj)}"


def aggregate(problems: list[str]) -> str:
    """Return several problems as one text, each of them once."""
    unique = list(dict.fromkeys(problems))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def group_name(kind: Kind) -> str:
    """Return the group of a kind in a request."""
    return f"{kind.kind}.{kind.api_version}"


def group_name_of(obj: Observed) -> str:
    """Return the group of an object in a request."""
    return f"{obj['kind']}.{obj['apiVersion']}"
