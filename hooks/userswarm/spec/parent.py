"""Turn a parent's JSON into a valid `Swarm`, or say everything that is wrong with it.

The schema's checks come from the CRD; those that a CRD cannot make are the parts'. Each looks only at fields that the
schema found nothing wrong with, so all are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from userswarm.errors import InvalidParentError
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import Asked, Check, Swarm, name_swarm
from userswarm.spec.template.applying import apply_template
from userswarm.wire.k8s import Observed


def parse_parent(parent: Observed, settings: Settings, checks: Iterable[Check]) -> Swarm:
    """Return the swarm that a parent describes.

    Raises InvalidParentError with every problem, each with its path and what would be accepted.
    """
    schema = user_swarm_schema()
    # Judged as its user wrote it: defaults are right, and there are more of them.
    problems = schema.problems(parent)
    spec = schema.spec_with_defaults(parent)
    metadata = parent["metadata"]
    spoilt = [problem.path for problem in problems]
    asked = None
    if isinstance(spec, dict):
        asked = Asked(metadata["name"], spec, settings)
        if "template" in spec:
            asked = apply_template(parent, asked, problems)
    if asked is not None:
        for check in checks:
            if not any(_overlap(path, other) for path in check.paths for other in spoilt):
                problems.extend(check.find(asked))
    if problems or asked is None:
        raise InvalidParentError(metadata["name"], sorted(problems, key=lambda problem: problem.path))
    return name_swarm(parent["apiVersion"], metadata.get("uid") or "", asked, metadata.get("annotations") or {})


def _overlap(path: str, other: str) -> bool:
    """Tell whether one path lies at or below the other."""
    shorter, longer = sorted((path, other), key=len)
    return longer.startswith(shorter) and longer[len(shorter) : len(shorter) + 1] in ("", ".", "[")
