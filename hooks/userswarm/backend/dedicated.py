"""What `ensure` and `deploy` say about a namespace of the swarm's own, and what every controller would refuse of it.

Judged here is only what no setting of a platform's operator decides; the rest is in the swarm's status, and
`wait_verified` raises it. The rules are the hooks' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.dedicated.isolation import ISOLATION_CHECKS
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import Asked
from userswarm.wire.k8s import Manifest, Observed

_ANY_PLATFORM = Settings()
"""Any image and any Secret may be named: what is refused under these is refused everywhere."""


def add_isolation(
    spec: Mapping[str, Any], isolation: str | None, members: Sequence[Mapping[str, str]] | None
) -> tuple[dict[str, Any], list[Problem]]:
    """Return a spec with both put where the CRD has them, and what is said twice."""
    complete, problems = dict(spec), []
    for section, field, value in (("placement", "isolation", isolation), ("access", "members", members)):
        fields = complete.get(section) or {}
        # What is no section at all, the schema refuses.
        if value is None or not isinstance(fields, Mapping):
            continue
        if field in fields:
            problems.append(
                Problem(f"spec.{section}.{field}", f"is said twice; give it once, as {field}= or in {section}=")
            )
        complete[section] = {**fields, field: value if isinstance(value, str) else list(value)}
    return complete, problems


def find_dedicated_problems(desired: Observed) -> list[Problem]:
    """Return what a UserSwarm that fits the CRD cannot have, if it says whether it is Dedicated."""
    if "isolation" not in desired["spec"].get("placement", {}):
        # An earlier call, or somebody else, may have said it.
        return []
    spec: Manifest = user_swarm_schema().with_defaults(desired)["spec"]
    asked = Asked(desired["metadata"]["name"], spec, _ANY_PLATFORM)
    return [problem for check in ISOLATION_CHECKS for problem in check.find(asked)]
