"""Apply what a backend wants of a swarm: the whole of it, or one field; write nothing where that is so already.

All is written by server-side apply under our own field manager, so labels and fields of others stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.backend.access import Access, check_owner
from userswarm.backend.api import API_VERSION, KIND, Budget
from userswarm.backend.dedicated import find_dedicated_problems
from userswarm.backend.errors import (
    ApiStatusError,
    BeingDeletedError,
    ConflictError,
    FieldConflictError,
    InvalidSpecError,
)
from userswarm.backend.fields import extract, is_unchanged, owned_fields
from userswarm.backend.model import MOVED_WHILE, Swarm, parse_swarm
from userswarm.backend.naming import swarm_labels
from userswarm.errors import Problem
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.template.choosing import REVISION_ANNOTATION
from userswarm.wire.k8s import Manifest, Observed


@dataclass(frozen=True, slots=True)
class Applying:
    """`force`: whether `apply` takes over fields that others have set; the labels come on every swarm it makes."""

    access: Access
    field_manager: str
    force: bool
    labels: dict[str, str]
    shard_count: int | None

    def build(self, name: str, workspace_id: str, user_id: str, spec: Mapping[str, Any]) -> Manifest:
        """Return what to apply to a UserSwarm that is not there yet."""
        ours = {"userId": user_id, "workspaceId": workspace_id}
        taken = [
            Problem(f"spec.{field}", "is the workspace's and its owner's: give it as the first two arguments")
            for field in sorted(ours.keys() & spec.keys())
        ]
        try:
            # Ours from here on, and nothing but JSON.
            sections = json.loads(json.dumps(spec, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidSpecError(name, [Problem("spec", f"must be what JSON can hold: {error}")]) from error
        desired: Manifest = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            # An empty section says nothing; applied, it would claim whatever others write into it.
            "spec": {field: value for field, value in sections.items() if value not in (None, {})} | ours,
        }
        schema = user_swarm_schema()
        problems = taken + schema.problems(desired) + schema.unknown_fields(desired)
        if problems := problems or find_dedicated_problems(desired):
            raise InvalidSpecError(name, problems)
        desired["metadata"]["labels"] = self.labels | swarm_labels(name, user_id, self.shard_count)
        return desired

    def apply(self, name: str, desired: Manifest, workspace_id: str, user_id: str) -> Swarm:
        """Make the swarm be as desired; raise what `UserSwarmClient.ensure` says."""
        budget = self.access.policy.budget()
        while True:
            try:
                return self._apply_once(name, desired, workspace_id, user_id, budget)
            except ConflictError as error:
                budget.pause(error)

    def set_field(
        self, workspace_id: str, user_id: str, field: str, value: Any, check: Callable[[Observed], object] | None = None
    ) -> Swarm:
        """Set one field of the spec, and leave all others; `check` may refuse by raising."""
        budget = self.access.policy.budget()
        while True:
            observed = self.access.get(workspace_id, user_id, budget)
            swarm = parse_swarm(observed)
            if swarm.deleting:
                raise BeingDeletedError(swarm.name)
            if check is not None:
                check(observed)
            if _same(observed["spec"].get(field) or type(value)(), value):
                return self.access.noted(observed)
            owned = owned_fields(observed, self.field_manager)
            # All that we have applied before, or it would be taken away; on exactly the state that was read, so
            # that forcing takes over this field and nothing else.
            ours = extract(observed, owned) if owned else {}
            manifest = {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {
                    **ours.get("metadata", {}),
                    "name": swarm.name,
                    "resourceVersion": swarm.resource_version,
                },
                "spec": {**ours.get("spec", {}), field: value},
            }
            try:
                return self.access.noted(
                    self.access.api.apply(manifest, field_manager=self.field_manager, force=True, budget=budget)
                )
            except ConflictError as error:
                budget.pause(error)

    def _apply_once(self, name: str, desired: Manifest, workspace_id: str, user_id: str, budget: Budget) -> Swarm:
        observed = self.access.find(name, budget)
        if observed is None:
            wanted = desired
        else:
            swarm = check_owner(parse_swarm(observed), workspace_id, user_id)
            if swarm.deleting:
                raise BeingDeletedError(name)
            wanted = _fit(desired, observed, owned_fields(observed, self.field_manager))
            if self._is_applied(wanted, observed):
                return self.access.noted(observed)
            # Not on another object, made anew in the meantime.
            wanted = {**wanted, "metadata": {**wanted["metadata"], "uid": swarm.uid}}
        try:
            stored = self.access.api.apply(wanted, field_manager=self.field_manager, force=self.force, budget=budget)
        except ApiStatusError as error:
            if not (error.status == 422 or (isinstance(error, ConflictError) and error.fields)):
                raise
            raise self._refusal(error, name, observed, workspace_id, user_id, budget) from error
        check_owner(parse_swarm(stored), workspace_id, user_id)
        return self.access.noted(stored)

    def move_template(self, swarm: Swarm, revision: int, moved_while: str) -> Swarm:
        """See `UserSwarmClient.move_template`."""
        template = swarm.template
        if template is None or template.pinned:
            raise ValueError(f"UserSwarm {swarm.name!r} is of no template, or pinned to a revision of it")
        if swarm.deleting:
            raise BeingDeletedError(swarm.name)
        metadata = {
            "uid": swarm.uid,
            "resourceVersion": swarm.resource_version,
            "annotations": {REVISION_ANNOTATION: f"{template.name}/{revision}", MOVED_WHILE: moved_while or None},
        }
        api = self.access.api
        return self.access.noted(api.merge(swarm.name, {"metadata": metadata}, field_manager=self.field_manager))

    def _is_applied(self, wanted: Observed, observed: Observed) -> bool:
        complete = user_swarm_schema().with_defaults(wanted)
        ours = {"labels", "annotations"} & wanted["metadata"].keys()
        desired, defaulted, found = (
            {
                "metadata": {field: manifest["metadata"].get(field, {}) for field in ours},
                "spec": manifest["spec"],
            }
            for manifest in (wanted, complete, observed)
        )
        return is_unchanged(desired, defaulted, found, owned_fields(observed, self.field_manager))

    def _refusal(
        self,
        error: ApiStatusError,
        name: str,
        observed: Observed | None,
        workspace_id: str,
        user_id: str,
        budget: Budget,
    ) -> Exception:
        """Return what a 422 or a conflict about fields means.

        Either somebody else was faster than we, or others own these fields, or the API server knows better than our
        schema.
        """
        found = self.access.find(name, budget)
        if found is not None:
            check_owner(parse_swarm(found), workspace_id, user_id)
        if _uid(found) != _uid(observed):
            # Made, or made anew, since we read it: ours, but not what we compared with. Read again.
            return ConflictError(error.what, 409, reason="Conflict", message=error.message)
        if isinstance(error, ConflictError):
            return FieldConflictError(name, error.fields)
        causes = error.details.get("causes") or ({"field": "spec", "message": error.message},)
        return InvalidSpecError(
            name, [Problem(str(cause.get("field", "")), str(cause.get("message", ""))) for cause in causes]
        )


def _fit(desired: Observed, observed: Observed, owned: Mapping[str, Any]) -> Manifest:
    """Return what to apply to the object that is there."""
    spec = dict(desired["spec"])
    if "workspaceId" not in observed["spec"]:
        # Made by hand, under the name that says it: the field cannot be added later.
        del spec["workspaceId"]
    for field in ("suspend", "workloads"):
        # Leaving it out would resume a suspended swarm, or remove what was deployed, by mistake.
        if field not in spec and f"f:{field}" in owned.get("f:spec", {}) and field in observed["spec"]:
            spec[field] = observed["spec"][field]
    return {**desired, "spec": spec}


def _same(left: Any, right: Any) -> bool:
    """Compare JSON, in which true is not 1."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _uid(manifest: Observed | None) -> str | None:
    return None if manifest is None else str(manifest["metadata"]["uid"])
