"""How controllers tell what happened: Kubernetes Events, with repeats counted instead of repeated."""

from __future__ import annotations

import contextlib
import hashlib

from devcluster.apiserver import ApiServer
from devcluster.errors import ApiError
from devcluster.objects import Observed


def record_event(api: ApiServer, about: Observed, kind: str, reason: str, message: str, *, source: str) -> None:
    """Record an event about an object; `kind` is Normal or Warning. What the server refuses is lost, as for real."""
    metadata = about["metadata"]
    # An event about something cluster-scoped goes to the namespace default.
    namespace = metadata.get("namespace") or "default"
    what = "\0".join((metadata["uid"], kind, reason, message, source))
    name = f"{metadata['name'][:230]}.{hashlib.sha256(what.encode()).hexdigest()[:16]}"
    now = api.clock.timestamp()
    seen = api.peek("v1", "Event", namespace, name)
    with contextlib.suppress(ApiError):
        if seen is not None:
            again = {"count": seen["count"] + 1, "lastTimestamp": now}
            api.patch("v1", "Event", namespace, name, again, actor=source)
            return
        involved = {name: metadata[name] for name in ("name", "namespace", "uid") if name in metadata}
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {"apiVersion": about["apiVersion"], "kind": about["kind"], **involved},
                "type": kind,
                "reason": reason,
                "message": message[:1024],
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "source": {"component": source},
            },
            actor=source,
        )
