"""What the client is told whose token is not good: no more than that."""

from __future__ import annotations

from userswarm.gate.answers import Refused


def refuse(reason: str) -> Refused:
    """Return the refusal (401, as RFC 6750 has it); the reason is for audit alone."""
    return Refused(401, reason, "a valid bearer token is required", headers=[("WWW-Authenticate", "Bearer")])
