"""A swarm that asks for a template, as if its spec had said all that the template says."""

from __future__ import annotations

from dataclasses import replace

from userswarm.errors import Problem
from userswarm.spec.swarm import Asked, Templated, find_workspace
from userswarm.spec.template.building import Names, build_pod
from userswarm.spec.template.choosing import FIELD, choose, find_unused
from userswarm.spec.template.defaults import overlay, own_fields, with_defaults
from userswarm.wire.k8s import Observed


def apply_template(parent: Observed, asked: Asked, problems: list[Problem]) -> Asked | None:
    """Return what a swarm with a template asks for in the end; None, and problems, where that cannot be told."""
    if any(problem.path.startswith(FIELD) for problem in problems):
        return None
    choice = choose(parent, asked.spec["template"], asked.settings.templates, problems)
    if choice is None or problems:
        return None
    own = own_fields(asked.spec)
    problems.extend(find_unused(own, choice.resolved))
    complete = replace(asked, spec=with_defaults(own, choice.resolved))
    user, workspace = complete.spec["userId"], find_workspace(asked.name, complete.spec)
    resolved = overlay(choice.resolved, complete.spec)
    pod, found = build_pod(resolved, Names(asked.name, user, workspace, complete.namespace), asked.settings)
    told = f"makes no Pod of template {choice.revision.name!r}, revision {choice.revision.number}"
    problems.extend(Problem(FIELD, f"{told}: {problem}") for problem in found)
    return replace(complete, template=Templated(choice.revision, resolved, pod))
