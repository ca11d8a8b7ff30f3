import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import pytest

from devcluster.cluster import Cluster
from devcluster.hooks import HookConnectionError, HookResponse, connect
from devcluster.rest import RestServer
from fakes import controller, crd, widget


def test_a_hook_in_process_gets_fresh_json() -> None:
    seen: list[Any] = []

    def sync(request: Any) -> Any:
        seen.append(request)
        request["parent"]["changed"] = True
        return {"children": []}

    hooks = connect({"sync": sync})
    body = b'{"parent":{}}'
    answer = hooks("sync", body)
    hooks("sync", body)

    assert (answer.status, answer.body) == (200, b'{"children":[]}')
    assert seen == [{"parent": {"changed": True}}] * 2


def test_a_hook_in_process_may_choose_its_status() -> None:
    hooks = connect({"sync": lambda _: HookResponse(429, b"", {"retry-after": "3"})})

    assert hooks("sync", b"{}").status == 429


def test_what_a_hook_raises_is_a_500() -> None:
    answer = connect({"sync": lambda _: 1 // 0})("sync", b"{}")

    assert answer.status == 500
    assert "ZeroDivisionError" in json.loads(answer.body)["error"]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append((self.path, self.headers["Content-Type"], body))
        if server.mood == "hang up":
            return
        self.send_response(429 if server.mood == "busy" else 200)
        self.send_header("Content-Length", "2")
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.requests, made.mood = [], ""
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_hook_behind_a_url_is_posted_to(server: Any) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    hooks = connect({"sync": f"{url}/prefix/sync", "customize": f"{url}/other"})
    answers = [hooks("sync", b'{"a":1}'), hooks("customize", b"{}")]

    assert [(answer.status, answer.body) for answer in answers] == [(200, b"{}")] * 2
    assert server.requests == [("/prefix/sync", "application/json", b'{"a":1}'), ("/other", "application/json", b"{}")]


def test_status_and_headers_of_a_hook_behind_a_url_are_kept(server: Any) -> None:
    server.mood = "busy"
    answer = connect({"sync": f"http://127.0.0.1:{server.server_port}/"})("sync", b"{}")

    assert (answer.status, answer.headers["retry-after"]) == (429, "7")


def test_a_server_that_hangs_up_is_an_error(server: Any) -> None:
    server.mood = "hang up"
    with pytest.raises(HookConnectionError, match="http error: RemoteDisconnected"):
        connect({"sync": f"http://127.0.0.1:{server.server_port}/"})("sync", b"{}")


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hooks = connect({"sync": f"http://127.0.0.1:{unused.getsockname()[1]}/sync"})
        with pytest.raises(HookConnectionError, match="ConnectionRefusedError"):
            hooks("sync", b"{}")


def test_a_hook_that_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devcluster.hooks.TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hooks = connect({"sync": f"http://127.0.0.1:{listener.getsockname()[1]}/sync"})
        with pytest.raises(HookConnectionError, match="TimeoutError"):
            hooks("sync", b"{}")


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://host:port/path"):
        connect({"sync": url})


def test_a_hook_behind_a_url_may_read_the_cluster_that_calls_it() -> None:
    class Reading(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with urllib.request.urlopen(f"{rest.url}/apis/example.com/v1/widgets/w", timeout=5) as stored:
                answer = json.dumps({"status": {"phase": json.load(stored)["metadata"]["name"]}, "children": []})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Reading) as hook:
        thread = threading.Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        cluster = Cluster(controller(), {"sync": f"http://127.0.0.1:{hook.server_port}/sync"}, [crd("Widget")])
        with RestServer(cluster.api) as rest:
            cluster.apply(widget())
            cluster.settle(10)
        hook.shutdown()
        thread.join()

    assert cluster.api.get("example.com/v1", "Widget", None, "w")["status"]["phase"] == "w"


def test_a_hook_that_the_controller_names_has_to_be_given() -> None:
    with pytest.raises(ValueError, match="widgets: no hook is given for finalize"):
        Cluster(controller(hooks=("sync", "finalize")), {"sync": lambda _: {}}, [crd("Widget")])
