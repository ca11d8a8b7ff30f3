"""What a request to a Service meets: no such Service, no ready endpoint, or what the Pod behind it answers.

    cluster.request("web", "default", 80, "/health") == {"status": 200, "body": '{"status": "ok"}'}

No container runs here, so an annotation of the Pod says what it answers: HEALTH a text for `status`, a number for the
HTTP status, or `hang`; UPSTREAM the ``127.0.0.1:PORT`` of a process that plays the container.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

import orjson

from devcluster.apiserver import ApiServer
from devcluster.errors import DevClusterError
from devcluster.faults import Faults, Trouble
from devcluster.objects import Observed

HEALTH = "devcluster/health"
UPSTREAM = "devcluster/upstream"

HANG = "hang"

_SLICE = ("discovery.k8s.io/v1", "EndpointSlice")


class Unreachable(DevClusterError):  # noqa: N818 - it is an answer more than an error
    """A request reaches no Pod; `code` is what a proxy answers then."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class HangError(DevClusterError):
    """The Pod takes a request and never answers."""


class Traffic:
    """What kube-proxy, the cluster's DNS and the containers do with HTTP requests."""

    def __init__(self, api: ApiServer, faults: Faults) -> None:
        self.api = api
        self.requests: list[str] = []
        self._faults = faults

    def request(self, service: str, namespace: str, port: int, path: str, *, timeout: float = 5) -> dict[str, Any]:
        """Return `status` and `body` of the answer to a GET, or the `error` where none comes."""
        try:
            status, body, _ = self.send("GET", service, namespace, port, path, timeout=timeout)
        except HangError:
            return {"error": f"no answer within {timeout:g} s"}
        except (Unreachable, OSError, http.client.HTTPException) as error:
            return {"error": str(error)}
        return {"status": status, "body": body.decode(errors="replace")}

    def send(
        self,
        method: str,
        service: str,
        namespace: str,
        port: int,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,
    ) -> tuple[int, bytes, str]:
        """Return status, body and content type; raises Unreachable, HangError, or what an upstream process makes."""
        self.requests.append(f"{method} http://{service}.{namespace}.svc:{port}{path}")
        with self.api.lock:
            pod = self._pod(service, namespace, port)
        annotations = pod["metadata"].get("annotations", {})
        if UPSTREAM in annotations:
            return _forward(annotations[UPSTREAM], method, path, body, headers or {}, timeout)
        fault = self._faults.find(Trouble.UNHEALTHY, pod)
        health = fault.message if fault is not None else annotations.get(HEALTH, "ok")
        if health == HANG:
            raise HangError(f"{pod['metadata']['name']} does not answer")
        status, told = (int(health), "error") if health.isdigit() else (200, health)
        return status, orjson.dumps({"status": told}), "application/json"

    def _pod(self, service: str, namespace: str, port: int) -> Observed:
        found = self.api.peek("v1", "Service", namespace, service)
        if found is None:
            raise Unreachable(502, f"no such Service: {service}.{namespace}")
        names = [each.get("name") for each in found["spec"].get("ports", ()) if each["port"] == port]
        if not names:
            raise Unreachable(502, f"Service {service} has no port {port}")
        for listed in self.api.list(*_SLICE, namespace, {"kubernetes.io/service-name": service}):
            # A port that no container has under that name leads nowhere.
            leads = any(each.get("name") in names and "port" in each for each in listed["ports"] or ())
            for endpoint in (listed["endpoints"] or ()) if leads else ():
                pod = self.api.peek("v1", "Pod", namespace, endpoint["targetRef"]["name"])
                if endpoint["conditions"]["ready"] and pod is not None:
                    return pod
        raise Unreachable(503, f"Service {service} has no ready endpoint")


def _forward(
    upstream: str, method: str, path: str, body: bytes, headers: Mapping[str, str], timeout: float
) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection(upstream, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get("Content-Type", "text/plain")
    finally:
        connection.close()
