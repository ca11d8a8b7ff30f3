"""What counts as a request of the controller."""

from __future__ import annotations

from pathlib import Path

import orjson

from benchmarks.audit import Asked, requests_between


def test_the_controllers_requests_are_counted_once_each_and_nobody_elses(tmp_path: Path) -> None:
    def event(agent: str, verb: str, stage: str = "ResponseComplete", **target: str) -> bytes:
        return orjson.dumps({"userAgent": agent, "verb": verb, "stage": stage, "objectRef": target}) + b"\n"

    earlier = event("metacontroller/v4", "create", resource="services")
    during = [
        event("metacontroller/v4", "update", resource="userswarms", subresource="status"),
        event("metacontroller/v4", "update", "ResponseStarted", resource="userswarms", subresource="status"),
        event("metacontroller/v4", "watch", "ResponseStarted", resource="services"),
        event("metacontroller/v4", "watch", resource="services"),
        event("userswarm-webhook", "get", resource="pods"),
        event("userswarm-benchmark", "patch", resource="userswarms"),
        event("kube-controller-manager/v1.36", "create", resource="pods"),
        orjson.dumps({"userAgent": "metacontroller/v4", "verb": "get", "stage": "ResponseComplete"}) + b"\n",
    ]
    log = tmp_path / "audit.log"
    log.write_bytes(earlier + b"".join(during) + earlier)

    assert requests_between(log, len(earlier), len(earlier) + sum(map(len, during))) == {
        Asked("metacontroller", "update", "userswarms/status"): 1,
        Asked("metacontroller", "watch", "services"): 1,
        Asked("userswarm-webhook", "get", "pods"): 1,
    }
