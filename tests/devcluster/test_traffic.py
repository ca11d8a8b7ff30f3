"""Requests to Services: who answers them, as a plain call and over the HTTP proxy."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from devcluster import proxy
from devcluster.faults import Trouble
from devcluster.proxy import ServiceProxy
from devcluster.traffic import HEALTH, UPSTREAM, Traffic
from fakes import NAMESPACE, Workloads, pod, service


class Shop(Workloads):
    """A cluster with one Service and, once it has settled, one Pod behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic(self.api, self.faults)
        self.api.create(service("shop"))
        self.api.create(pod("shop"))

    def ask(self, name: str = "shop", port: int = 80, **options: Any) -> dict[str, Any]:
        return self.traffic.request(name, NAMESPACE, port, "/health", **options)

    def annotate(self, **annotations: str) -> None:
        named = {{"health": HEALTH, "upstream": UPSTREAM}[name]: text for name, text in annotations.items()}
        self.api.patch("v1", "Pod", NAMESPACE, "shop", {"metadata": {"annotations": named}})


@pytest.fixture
def shop() -> Shop:
    made = Shop()
    made.settle()
    return made


def test_a_ready_pod_answers_for_its_service(shop: Shop) -> None:
    assert shop.ask() == {"status": 200, "body": '{"status":"ok"}'}
    assert shop.traffic.requests == ["GET http://shop.zoo.svc:80/health"]


def test_a_service_answers_only_while_it_has_a_ready_pod() -> None:
    shop = Shop()
    assert shop.ask() == {"error": "Service shop has no ready endpoint"}
    shop.settle()
    assert shop.ask()["status"] == 200
    shop.faults.inject(Trouble.NEVER_READY)
    shop.settle()
    assert shop.ask() == {"error": "Service shop has no ready endpoint"}


def test_what_is_not_there_does_not_answer(shop: Shop) -> None:
    assert shop.ask("other") == {"error": "no such Service: other.zoo"}
    assert shop.ask(port=81) == {"error": "Service shop has no port 81"}


def test_a_port_that_no_container_has_leads_nowhere(shop: Shop) -> None:
    shop.api.patch("v1", "Service", NAMESPACE, "shop", {"spec": {"ports": [{"port": 80, "targetPort": "admin"}]}})
    shop.settle()

    assert shop.ask() == {"error": "Service shop has no ready endpoint"}


@pytest.mark.parametrize(
    ("health", "answer"),
    [
        ("degraded", {"status": 200, "body": '{"status":"degraded"}'}),
        ("500", {"status": 500, "body": '{"status":"error"}'}),
        ("hang", {"error": "no answer within 2 s"}),
    ],
)
def test_a_pod_answers_as_it_is_told_to(shop: Shop, health: str, answer: dict[str, Any]) -> None:
    shop.annotate(health=health)
    assert shop.ask(timeout=2) == answer


def test_a_fault_is_stronger_than_an_annotation_and_passes(shop: Shop) -> None:
    shop.annotate(health="degraded")
    shop.faults.inject(Trouble.UNHEALTHY, "shop", message="503")
    assert shop.ask()["status"] == 503
    shop.faults.clear()
    assert shop.ask()["body"] == '{"status":"degraded"}'


class Container(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        told = f"{self.path} {self.headers['X-Word']} {self.rfile.read(int(self.headers['Content-Length'])).decode()}"
        self._answer(201, told.encode())

    def do_GET(self) -> None:
        self._answer(200, self.path.encode())

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "text/x-told")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Container) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_process_may_play_the_container(shop: Shop, upstream: str) -> None:
    shop.annotate(upstream=upstream)
    assert shop.ask() == {"status": 200, "body": "/health"}


def test_a_process_that_is_gone_does_not_answer(shop: Shop) -> None:
    shop.annotate(upstream="127.0.0.1:1")
    assert "refused" in shop.ask()["error"]


# The proxy


@pytest.fixture
def address(shop: Shop) -> Iterator[tuple[str, int]]:
    with ServiceProxy(shop.traffic) as running:
        host, _, port = running.url.removeprefix("http://").partition(":")
        yield host, int(port)


def fetch(address: tuple[str, int], method: str, url: str, body: bytes | None = None) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request(method, url, body, {"X-Word": "please"})
        response = connection.getresponse()
        return response.status, response.read(), response.headers["Content-Type"]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://shop.zoo.svc:80/health", 200, b'"ok"'),
        ("http://shop.zoo.svc/health", 200, b'"ok"'),
        ("http://shop.zoo.svc.cluster.local:80/", 200, b'"ok"'),
        ("http://other.zoo.svc:80/", 502, b"no such Service"),
        ("http://shop.zoo.svc:81/", 502, b"no port 81"),
        ("http://example.com/", 502, b"must be http://SERVICE.NAMESPACE.svc"),
    ],
)
def test_the_proxy_leads_to_services_alone(address: tuple[str, int], url: str, code: int, words: bytes) -> None:
    status, body, content_type = fetch(address, "GET", url)

    assert (status, content_type) == (code, "application/json")
    assert words in body


def test_the_proxy_says_that_nobody_is_ready(shop: Shop, address: tuple[str, int]) -> None:
    shop.faults.inject(Trouble.NEVER_READY)
    shop.settle()

    assert fetch(address, "GET", "http://shop.zoo.svc:80/")[0] == 503


def test_the_proxy_passes_a_request_on_whole(shop: Shop, address: tuple[str, int], upstream: str) -> None:
    shop.annotate(upstream=upstream)

    answer = fetch(address, "POST", "http://shop.zoo.svc:80/chat?a=b", b"hello")

    assert answer == (201, b"/chat?a=b please hello", "text/x-told")


def test_a_pod_that_hangs_holds_its_request_only(
    shop: Shop, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "LONGEST", 0.05)
    shop.annotate(health="hang")

    assert fetch(address, "GET", "http://shop.zoo.svc:80/")[0] == 504


def test_the_proxy_says_that_a_process_is_gone(shop: Shop, address: tuple[str, int]) -> None:
    shop.annotate(upstream="127.0.0.1:1")

    assert fetch(address, "GET", "http://shop.zoo.svc:80/")[0] == 502
