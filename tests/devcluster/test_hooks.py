import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from devcluster.hooks import HookConnectionError, HookResponse, HttpHooks, InProcessHooks


def test_a_hook_in_process_gets_fresh_json() -> None:
    seen: list[Any] = []

    def sync(request: Any) -> Any:
        seen.append(request)
        request["parent"]["changed"] = True
        return {"children": []}

    hooks = InProcessHooks({"sync": sync})
    body = b'{"parent":{}}'
    answer = hooks("sync", body)
    hooks("sync", body)

    assert (answer.status, answer.body) == (200, b'{"children":[]}')
    assert seen == [{"parent": {"changed": True}}] * 2


def test_a_hook_in_process_may_choose_its_status() -> None:
    hooks = InProcessHooks({"sync": lambda _: HookResponse(429, b"", {"retry-after": "3"})})

    assert hooks("sync", b"{}").status == 429


def test_what_a_hook_raises_is_a_500() -> None:
    answer = InProcessHooks({"sync": lambda _: 1 // 0})("sync", b"{}")

    assert answer.status == 500
    assert "ZeroDivisionError" in json.loads(answer.body)["error"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Any = self.server
        server.connections.add(self.client_address)
        # Before the answer: the test changes the mood as soon as it has it.
        closing = server.mood == "close"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append((self.path, dict(self.headers), body))
        if server.mood == "hang up":
            self.close_connection = True
            return
        self.send_response(429 if server.mood == "busy" else 200)
        self.send_header("Content-Length", "2")
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b"{}")
        # Without a word in the headers: the client finds out when it writes next.
        self.close_connection = closing

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.requests, made.connections, made.mood = [], set(), ""
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_http_hooks_post_json_over_one_connection(server: Any) -> None:
    hooks = HttpHooks(f"http://127.0.0.1:{server.server_port}/prefix/", token="secret")
    answers = [hooks("sync", b'{"a":1}'), hooks("customize", b"{}")]
    hooks.close()

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].headers["retry-after"] == "7"
    path, headers, body = server.requests[0]
    assert (path, body) == ("/prefix/sync", b'{"a":1}')
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer secret"
    assert server.requests[1][0] == "/prefix/customize"
    assert len(server.connections) == 1


def test_http_hooks_send_no_token_where_there_is_none(server: Any) -> None:
    server.mood = "busy"
    hooks = HttpHooks(f"http://127.0.0.1:{server.server_port}")
    assert hooks("sync", b"{}").status == 429
    hooks.close()

    assert "Authorization" not in server.requests[0][1]


def test_a_connection_that_the_server_closed_while_idle_is_opened_again(server: Any) -> None:
    hooks = HttpHooks(f"http://127.0.0.1:{server.server_port}")
    server.mood = "close"
    assert hooks("sync", b"1").status == 200
    server.mood = ""
    assert hooks("sync", b"2").status == 200
    hooks.close()

    assert len(server.connections) == 2


def test_a_server_that_hangs_up_is_an_error(server: Any) -> None:
    hooks = HttpHooks(f"http://127.0.0.1:{server.server_port}")
    server.mood = "hang up"
    with pytest.raises(HookConnectionError, match="http error: RemoteDisconnected"):
        hooks("sync", b"{}")
    assert len(server.requests) == 1
    server.mood = ""
    hooks("sync", b"{}")
    server.mood = "hang up"
    with pytest.raises(HookConnectionError, match="http error"):
        hooks("sync", b"{}")
    hooks.close()


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        hooks = HttpHooks(f"http://127.0.0.1:{unused.getsockname()[1]}", timeout=1)
        with pytest.raises(HookConnectionError, match="ConnectionRefusedError"):
            hooks("sync", b"{}")


def test_a_call_that_takes_too_long_is_not_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hooks = HttpHooks(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.05)
        with pytest.raises(HookConnectionError, match="TimeoutError"):
            hooks("sync", b"{}")


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://host:port"):
        HttpHooks(url)
