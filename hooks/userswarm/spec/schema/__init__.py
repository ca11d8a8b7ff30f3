"""The CRD, read as the apiserver reads it: defaults, pruning, validation.

`manifests/crd` is the only place where a field, a bound or a default is written. It is compiled once, into a small
jsonschema validator and two copying functions for every field, so that a hook call walks only what a user wrote.
CEL rules are no part of this; `parent` checks what has to hold between fields.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import yaml

from userswarm.errors import Problem
from userswarm.spec.manifests import manifest_path
from userswarm.spec.schema.compiling import compile_field
from userswarm.spec.schema.unknown import unknown, walk
from userswarm.spec.schema.validating import Validator, by_path, find_problems
from userswarm.wire.k8s import Manifest, Observed

CRD_FILE: Final = "crd/userswarms.crawbl.ai.yaml"


def load_crd(path: Path | None = None) -> Manifest:
    """Return the CustomResourceDefinition, from `path` or from where this project's manifests lie."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with (path or manifest_path(CRD_FILE)).open("rb") as stream:
        crd: Manifest = yaml.load(stream, Loader=loader)  # noqa: S506 - both loaders are safe ones
    return crd


@functools.cache
def user_swarm_schema() -> Schema:
    """Return the Schema of this project's own CRD, built at the first call."""
    return Schema(load_crd())


class Schema:
    """What the stored version of a CRD makes of an object; immutable, so threads may share it.

    Objects are JSON as a parser returns it: dict, list, str, int, float, bool and None. No method edits what it
    is given, and no result shares a part with it or with another result.
    """

    def __init__(self, crd: Observed) -> None:
        """Compile the CRD; raises SchemaError on a keyword that this module does not know."""
        version = next(version for version in crd["spec"]["versions"] if version["storage"])
        self._root = compile_field(version["schema"]["openAPIV3Schema"], "")
        self._spec, self._status = self._root.fields["spec"], self._root.fields["status"]
        # Status and metadata never make a parent invalid: they are ours and the apiserver's, not the user's.
        self._spec_only = Validator({"properties": {"spec": self._spec}, "required": {"spec": self._spec}})

    def with_defaults(self, obj: Observed) -> Manifest:
        """Return the object as the apiserver would store it: pruned, without needless nulls, defaults filled in.

        A null where none is allowed counts as absent. What has the wrong type is left for `problems` to name.
        """
        complete: Manifest = self._root.complete(dict(obj))
        return complete

    def prune(self, obj: Observed) -> Manifest:
        """Return the object without the fields that the CRD does not know, and without needless nulls."""
        pruned: Manifest = self._root.prune(dict(obj))
        return pruned

    def spec_with_defaults(self, obj: Observed) -> Any:
        """Return the spec alone, as `with_defaults` makes it, or None: for the hot path, which needs no more."""
        return self._spec.complete(obj.get("spec"))

    def problems(self, obj: Observed) -> list[Problem]:
        """Name all that is wrong with the object's spec, sorted by path; unknown fields are not.

        Defaults need not be filled in before: they are right, and what has one is never missing.
        """
        return find_problems(self._spec_only, dict(obj), "")

    def status_problems(self, status: Any) -> list[Problem]:
        """Name all for which the apiserver would refuse or prune a status, unknown fields and nulls included."""
        found = find_problems(self._status.validator, status, "status")
        for member in walk(self._status, status, "status"):
            if member.field is None:
                found.append(unknown(member))
            elif member.value is None and not member.field.nullable:
                found.append(Problem(member.path, "is null and would be pruned; leave it out"))
        return sorted(found, key=by_path)

    def unknown_fields(self, obj: Observed) -> list[Problem]:
        """Name every field that the CRD does not know, status and metadata apart, with the nearest that it does."""
        judged = {name: value for name, value in obj.items() if name != "status"}
        found = [unknown(member) for member in walk(self._root, judged, "") if member.field is None]
        return sorted(found, key=by_path)
