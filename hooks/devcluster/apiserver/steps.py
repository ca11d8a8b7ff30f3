"""What an admission step is given: the object on its way in, and who sends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devcluster.kinds import Kind
from devcluster.objects import Manifest, Observed


@dataclass(slots=True)
class AdmissionRequest:
    """What an admission step may look at, edit (`object`) or refuse by raising ApiError.

    `operation` is CREATE, UPDATE, DELETE or STATUS; `old` is None for CREATE.
    """

    operation: str
    kind: Kind
    object: Manifest
    old: Observed | None
    actor: str


Admission = Callable[[AdmissionRequest], None]
