"""What alice may try over HTTP/2, each attempt by its name: what is refused, what never ends well, what does no harm.

Envoy speaks HTTP/1.1 to runtimes and to the gate, so whatever is a line's end, a blank, a length or a coding there must
not come out of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gate.http2 import Client, Head, Stream
from gate.plays import Request
from gate.test_data_path import HOME, SMUGGLED

HOST = "swarms.example"
BOBS = "/v1/workspaces/bob/"

RESET = 0
"""Instead of a status: the stream is reset, or the connection ends."""


def head(
    *more: tuple[str, str],
    method: str = "GET",
    path: str = f"{HOME}/",
    authority: str = HOST,
    scheme: str = "http",
    user: str = "alice",
    without: str = "",
) -> Head:
    """Return a request's head, pseudo-headers first, even where more of them are asked for."""
    usual = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    pseudo = [pair for pair in usual if pair[0] != without] + [pair for pair in more if pair[0].startswith(":")]
    return [*pseudo, ("authorization", f"Bearer {user}"), *(pair for pair in more if not pair[0].startswith(":"))]


@dataclass(frozen=True, slots=True)
class Attack:
    """One request: its head, its body's frames, what comes behind them."""

    head: Head
    chunks: tuple[bytes, ...] = ()
    trailers: Head = ()

    def by(self, client: Client) -> Stream:
        return client.ask(self.head, *self.chunks, trailers=self.trailers)


def get(*more: tuple[str, str], **parts: str) -> Attack:
    return Attack(head(*more, **parts))


def post(*more: tuple[str, str], chunks: tuple[bytes, ...] = (b"hello",), trailers: Head = ()) -> Attack:
    return Attack(head(*more, method="POST"), chunks, trailers)


BODY = SMUGGLED.encode()
LINES = {"a return and a newline": "\r\n", "a newline": "\n", "a return": "\r", "a nul": "\0"}
INJECTED = "x-userswarm-user: user-bob"

_PSEUDO = {":method": "POST", ":scheme": "https", ":path": BOBS, ":authority": "bob.example"}

REFUSED: dict[str, tuple[Attack, int]] = {
    # What HTTP/1.1 would take for the end of a line.
    **{f"{name} in a value": (get(("x-a", f"b{end}{INJECTED}")), RESET) for name, end in LINES.items()},
    **{f"{name} in a name": (get((f"x-a{end}x-userswarm-user", "user-bob")), RESET) for name, end in LINES.items()},
    **{f"{name} in the path": (get(path=f"{HOME}/ HTTP/1.1{end}{INJECTED}"), RESET) for name, end in LINES.items()},
    **{
        f"{name} in the method": (get(method=f"GET {BOBS} HTTP/1.1{end}{INJECTED}{end}{end}GET"), RESET)
        for name, end in LINES.items()
    },
    **{f"{name} in the authority": (get(authority=f"{HOST}{end}{INJECTED}"), RESET) for name, end in LINES.items()},
    **{f"{name} in the scheme": (get(scheme=f"http{end}{INJECTED}"), RESET) for name, end in LINES.items()},
    # Names that are no token in lower case.
    "a blank in a name": (get(("x-a b", "c")), RESET),
    "a blank behind a name": (get(("content-length ", "5")), RESET),
    "a colon in a name": (get(("x-a: b", "c")), RESET),
    "a name in upper case": (get(("X-Userswarm-User", "user-bob")), RESET),
    "no name": (get(("", "b")), RESET),
    "a name beyond ASCII": (get(("x-\xe4", "b")), RESET),
    # Pseudo-headers.
    **{f"{name} twice": (get((name, value)), RESET) for name, value in _PSEUDO.items()},
    **{f"no {name}": (get(without=name), RESET) for name in _PSEUDO},
    **{
        f"{name} behind the headers": (Attack([*head(without=name), (name, value)]), RESET)
        for name, value in _PSEUDO.items()
    },
    "a pseudo-header that nobody knows": (get((":user", "user-bob")), RESET),
    "an answer's pseudo-header": (get((":status", "200")), RESET),
    "a protocol without CONNECT": (get((":protocol", "websocket")), RESET),
    # What only HTTP/1.1 has.
    "chunks": (post(("transfer-encoding", "chunked"), chunks=(b"0\r\n\r\n" + BODY,)), RESET),
    "chunks in upper case": (post(("Transfer-Encoding", "chunked"), chunks=(b"0\r\n\r\n" + BODY,)), RESET),
    "chunks and a length": (
        post(("transfer-encoding", "chunked"), ("content-length", "5"), chunks=(b"0\r\n\r\n",)),
        RESET,
    ),
    "identity": (post(("transfer-encoding", "identity")), RESET),
    "a connection that closes": (get(("connection", "close")), RESET),
    "a connection that nominates": (get(("connection", "x-userswarm-user")), RESET),
    "a connection that is kept": (get(("keep-alive", "timeout=5")), RESET),
    "a proxy's connection": (get(("proxy-connection", "keep-alive")), RESET),
    "an upgrade": (get(("upgrade", "websocket")), RESET),
    "an upgrade to another HTTP": (get(("upgrade", "h2c"), ("http2-settings", "AAMAAABk")), RESET),
    "te that is not for trailers": (get(("te", "gzip")), RESET),
    # Lengths that are none.
    **{
        f"a length of {length!r}": (post(("content-length", length)), RESET)
        for length in ("five", "+5", "-5", "0x5", "5, 5", "0, 5", "", "5 5", "9" * 30)
    },
    "two lengths": (post(("content-length", "5"), ("content-length", "0")), RESET),
    "two lengths that agree": (post(("content-length", "5"), ("content-length", "5")), RESET),
    # Paths that are none.
    "an empty path": (get(path=""), RESET),
    "a path without a slash": (get(path=HOME.removeprefix("/")), RESET),
    "an asterisk": (get(path="*"), RESET),
    "an absolute form": (get(path=f"http://bob.example{BOBS}"), RESET),
    "a path that names a host": (get(path=f"//bob.example{BOBS}"), 404),
    "a blank in the path": (get(path=f"{HOME}/ {BOBS}"), RESET),
    "a tab in the path": (get(path=f"{HOME}/\tHTTP/1.1"), RESET),
    "a delete in the path": (get(path=f"{HOME}/\x7f"), RESET),
    "a path that is no UTF-8": (get(path=f"{HOME}/\xe4"), 400),
    "a path beyond ASCII": (get(path=f"{HOME}/\xc3\xa4"), 400),
    "a query beyond ASCII": (get(path=f"{HOME}/?\xe4"), 400),
    "a fragment": (get(path=f"{HOME}/#{BOBS}"), 400),
    "an escaped slash": (get(path=f"{HOME}%2f..%2fbob/"), 400),
    "an escaped backslash": (get(path=f"{HOME}%5c..%5cbob/"), 400),
    # Methods.
    "a request line for a method": (get(method=f"GET {BOBS} HTTP/1.1"), RESET),
    "no method": (get(method=""), RESET),
    "a tunnel": (Attack([(":method", "CONNECT"), (":authority", "127.0.0.1:9"), *head()[4:]]), 404),
    "a tunnel with a path": (get(method="CONNECT"), RESET),
    "a tunnel for UDP": (get((":protocol", "connect-udp"), method="CONNECT"), 404),
    "a tunnel for IP": (get((":protocol", "connect-ip"), method="CONNECT"), RESET),
    "a WebSocket and more": (get((":protocol", "websocket, h2c"), method="CONNECT"), RESET),
    "a WebSocket and a header": (get((":protocol", f"websocket\r\n{INJECTED}"), method="CONNECT"), RESET),
    # Hosts.
    "a blank in the authority": (get(authority=f"{HOST} bob.example"), RESET),
    "a path in the authority": (get(authority=f"{HOST}{BOBS}"), RESET),
    "a user in the authority": (get(authority=f"bob@{HOST}"), RESET),
    "two hosts": (get(("host", "bob.example"), ("host", HOST)), RESET),
}


def _sent(count: int) -> Callable[[Request], bool]:
    return lambda request: len(request.body) == count


UNFINISHED: dict[str, Attack] = {
    "shorter than the body": post(("content-length", "5"), chunks=(b"hello" + BODY,)),
    "the rest in a frame of its own": post(("content-length", "5"), chunks=(b"hello", BODY)),
    "nothing, and a body": post(("content-length", "0"), chunks=(BODY,)),
    "longer than the body": post(("content-length", str(5 + len(BODY)))),
    "a length and no body": get(("content-length", str(len(BODY))), method="POST"),
    "too short on GET": Attack(head(("content-length", "0")), (BODY,)),
    "trailers that bring a body's pseudo-headers": post(trailers=[(":path", BOBS), (":method", "GET")]),
    "trailers that end a line": post(trailers=[("x-a", f"b\r\n\r\n{SMUGGLED}")]),
    "trailers that have a length": post(trailers=[("content-length", "0")]),
    "trailers that are chunked": post(trailers=[("transfer-encoding", "chunked")]),
}


def _is(name: str, value: str) -> Callable[[Request], bool]:
    return lambda request: request.get(name) == value


def _line(line: str) -> Callable[[Request], bool]:
    return lambda request: request.line == line


ARRIVE: dict[str, tuple[Attack, Callable[[Request], bool]]] = {
    "a length that is true": (post(("content-length", "5")), _sent(5)),
    "a request as a body": (post(chunks=(BODY,)), _sent(len(BODY))),
    "a last chunk as a body": (post(chunks=(b"0\r\n\r\n", BODY)), _sent(5 + len(BODY))),
    "a body on GET": (Attack(head(), (BODY,)), _sent(len(BODY))),
    "te for trailers": (get(("te", "trailers")), lambda _: True),
    "a cookie in crumbs": (get(("cookie", "a=1"), ("cookie", "b=2")), _is("cookie", "a=1; b=2")),
    "another host": (get(("host", "bob.example")), _is("host", HOST)),
    "the same host": (get(("host", HOST)), _is("host", HOST)),
    "a host for an authority": (get(("host", HOST), without=":authority"), _is("host", HOST)),
    "another scheme": (get(scheme="https"), _is("x-forwarded-proto", "http")),
    "a scheme that is none": (get(scheme="gopher"), _is("x-forwarded-proto", "http")),
    "a method in lower case": (get(method="get"), _line("get / HTTP/1.1")),
    "dots": (get(path=f"{HOME}/../bob/"), _line("GET /../bob/ HTTP/1.1")),
    "escaped dots": (get(path=f"{HOME}/%2e%2e/bob/"), _line("GET /%2e%2e/bob/ HTTP/1.1")),
    "another path in the query": (get(path=f"{HOME}/?{BOBS}"), _line(f"GET /?{BOBS} HTTP/1.1")),
    "trailers that are another user": (post(trailers=[("authorization", "Bearer bob")]), _is("authorization", "")),
    "trailers that name the user": (post(trailers=[("x-userswarm-user", "user-bob")]), _sent(5)),
}

ATTACKS = [*(attack for attack, _ in (*REFUSED.values(), *ARRIVE.values())), *UNFINISHED.values()]
