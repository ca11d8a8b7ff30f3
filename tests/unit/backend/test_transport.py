"""One request: what goes out, what comes of every odd answer, and how a cluster is found."""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from unit.backend.stub import Stub, answer, serve, stream
from unit.backend.world import make_api_client
from userswarm.backend import (
    ApiStatusError,
    BackendError,
    ConfigurationError,
    ConflictError,
    ExpiredError,
    FieldConflict,
    RetryPolicy,
    SilenceError,
    UnreachableError,
    UserSwarmClient,
)
from userswarm.backend.api import Transport, WatchEvent, WatchStream, connect
from userswarm.backend.transport.answers import is_permanent

ONCE = RetryPolicy(attempts=1)
SOON = RetryPolicy(attempts=5, base=0.001)


@contextmanager
def transport_to(stub: Stub, policy: RetryPolicy = ONCE) -> Iterator[Transport]:
    transport = Transport(make_api_client(stub.url), policy)
    yield transport
    transport.close()


def ask(*answers: bytes, policy: RetryPolicy = ONCE) -> dict[str, Any]:
    with serve(*answers) as stub, transport_to(stub, policy) as transport:
        return transport.request("GET", "/api/v1/x")


def refusal(*answers: bytes) -> BackendError:
    with pytest.raises(BackendError) as caught:
        ask(*answers)
    return caught.value


def test_request_carries_token_and_body() -> None:
    with serve(answer(200, b"{}")) as stub, transport_to(stub) as transport:
        transport.api_client.cookie = "session=1"
        transport.request("PATCH", "/a/b%20c", query={"fieldManager": "x y"}, body={"a": "ä"}, content_type="x/y")

        [request] = stub.requests
    assert request.startswith("PATCH /a/b%20c?fieldManager=x+y HTTP/1.1\n")
    assert request.endswith('\n\n{"a": "\\u00e4"}')
    for header in ("authorization: Bearer any", "Content-Type: x/y", "Accept: application/json", "Cookie: session=1"):
        assert header in request
    assert "User-Agent: " in request


def test_token_is_asked_for_anew_with_every_request() -> None:
    with serve(answer(200, b"{}"), answer(200, b"{}")) as stub, transport_to(stub) as transport:
        tokens = iter(["Bearer first", "Bearer second"])

        def renew(configuration: Any) -> None:
            configuration.api_key["BearerToken"] = configuration.api_key["authorization"] = next(tokens)

        transport.api_client.configuration.refresh_api_key_hook = renew
        transport.request("GET", "/")
        transport.request("GET", "/")

        assert "Bearer first" in stub.requests[0]
        assert "Bearer second" in stub.requests[1]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"nonsense\r\n\r\n",
        answer(200, b'{"a": 1}')[:-3],
        answer(200, b"<html>a proxy's page</html>"),
        answer(200, b"[]"),
        answer(200, b"\xff\xfe"),
    ],
)
def test_answer_that_cannot_be_used_is_asked_for_again(broken: bytes) -> None:
    assert isinstance(refusal(broken), UnreachableError)
    assert ask(broken, answer(200, b'{"a": 1}'), policy=SOON) == {"a": 1}


def test_nobody_there_is_unreachable() -> None:
    with serve() as stub:
        url = stub.url
    transport = Transport(make_api_client(url), ONCE)

    with pytest.raises(UnreachableError, match="GET /x"):
        transport.request("GET", "/x")


def test_silence_is_not_waited_for_for_ever() -> None:
    with serve(answer(200, b"{}")[:20] + b"", answer(200, b"{}")) as stub:
        transport = Transport(make_api_client(stub.url), ONCE, timeout=(1.0, 0.05))
        with pytest.raises(UnreachableError):
            transport.request("GET", "/")
        transport.close()


def test_redirect_is_not_followed() -> None:
    error = refusal(answer(302, b"", "Location: http://example.invalid/"))

    assert isinstance(error, ApiStatusError)
    assert error.status == 302


def test_refusal_carries_what_the_api_server_said() -> None:
    status = {"reason": "Forbidden", "message": "you may not", "details": {"kind": "userswarms"}}
    error = refusal(answer(403, json.dumps(status).encode()))

    assert isinstance(error, ApiStatusError)
    assert (error.status, error.reason, error.message) == (403, "Forbidden", "you may not")
    assert error.details == {"kind": "userswarms"}
    assert str(error) == "GET /api/v1/x: 403 Forbidden: you may not"


@pytest.mark.parametrize("body", [b"a proxy says no", b"[1]", b'{"message": "a proxy says no", "details": []}'])
def test_refusal_of_a_proxy_carries_its_text(body: bytes) -> None:
    error = refusal(answer(502, body))

    assert isinstance(error, ApiStatusError)
    assert (error.status, error.details) == (502, {})
    assert error.message in {"a proxy says no", "[1]"}


def test_conflict_about_fields_names_them() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "field": ".spec.suspend", "message": 'conflict with "kubectl"'},
        {"reason": "Something", "field": "x", "message": "y"},
    ]
    error = refusal(answer(409, json.dumps({"reason": "Conflict", "details": {"causes": causes}}).encode()))

    assert isinstance(error, ConflictError)
    assert error.fields == (FieldConflict(".spec.suspend", 'conflict with "kubectl"'),)


def test_410_is_expired() -> None:
    assert isinstance(refusal(answer(410, b"{}")), ExpiredError)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        (("Retry-After: 7",), b"{}", 7.0),
        (("Retry-After: soon",), b"{}", None),
        ((), b'{"details": {"retryAfterSeconds": 3}}', 3.0),
        ((), b"{}", None),
        ((f"Retry-After: {email.utils.formatdate(0)}",), b"{}", 0.0),
    ],
)
def test_retry_after_is_read(headers: tuple[str, ...], body: bytes, seconds: float | None) -> None:
    error = refusal(answer(429, body, *headers))

    assert isinstance(error, ApiStatusError)
    assert error.retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    error = refusal(answer(503, b"{}", f"Retry-After: {email.utils.formatdate(time.time() + 3600)}"))

    assert isinstance(error, ApiStatusError)
    assert error.retry_after is not None
    assert 3000 < error.retry_after <= 3600


@pytest.mark.parametrize("body", [b"{}", b'{"items": []}', b'{"items": {}, "metadata": {}}'])
def test_what_is_no_list_is_not_taken_for_an_empty_one(body: bytes) -> None:
    with serve(answer(200, body)) as stub, transport_to(stub) as transport, pytest.raises(UnreachableError):
        list(transport.pages("/api/v1/persistentvolumeclaims"))


# Watches


def watch(*answers: bytes, silence: float = 5.0) -> list[WatchEvent]:
    with serve(*answers) as stub, transport_to(stub) as transport:
        events = transport.watch("/w", resource_version="5", window=0.4, silence=silence, query={"a": "b"}).events()
        found = list(events)
        assert stub.requests[0].startswith(
            "GET /w?a=b&watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=1 "
        )
        return found


def event(kind: str, version: str = "7", **more: Any) -> bytes:
    line = json.dumps({"type": kind, "object": {"metadata": {"resourceVersion": version}, **more}}, ensure_ascii=False)
    return line.encode() + b"\n"


def test_watch_yields_events_however_they_are_cut_into_chunks() -> None:
    whole = event("ADDED", "7", text="äöü") + b"\n" + event("BOOKMARK", "8")
    pieces = [whole[index : index + 3] for index in range(0, len(whole), 3)]

    found = watch(stream(*pieces))

    assert [(each.type, each.resource_version) for each in found] == [("ADDED", "7"), ("BOOKMARK", "8")]
    assert found[0].object["text"] == "äöü"


def test_watch_that_is_refused_raises_what_the_status_says() -> None:
    with pytest.raises(ExpiredError):
        watch(answer(410, b"{}"))
    with pytest.raises(ApiStatusError, match="403"):
        watch(answer(403, b"{}"))


def test_error_event_raises_what_its_status_says() -> None:
    with pytest.raises(ExpiredError, match="too old"):
        watch(stream(b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'))
    with pytest.raises(ApiStatusError, match="500"):
        watch(stream(b'{"type": "ERROR", "object": {}}\n'))


@pytest.mark.parametrize(
    "broken",
    [
        stream(event("ADDED"), end=False),
        stream(event("ADDED")[:-9]),
        stream(b"nonsense\n"),
        stream(b"[]\n"),
        stream(b'{"type": "ADDED"}\n'),
    ],
)
def test_watch_that_breaks_off_says_so(broken: bytes) -> None:
    with pytest.raises(UnreachableError, match="broke off"):
        watch(broken)


def test_stop_of_a_watch_that_has_ended_is_nothing() -> None:
    with serve(stream(event("ADDED"))) as stub, transport_to(stub) as transport:
        started = transport.watch("/w", resource_version="5", window=1, silence=5)
        list(started.events())
        started.stop()


def test_stop_of_a_watch_that_cannot_be_cut_short_lets_it_run_out() -> None:
    class OlderResponse:
        """As before urllib3 2.3."""

    WatchStream("watch /w", OlderResponse()).stop()


def test_silence_error_is_one_that_passes() -> None:
    assert issubclass(SilenceError, UnreachableError)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed")), True),
        (urllib3.exceptions.SSLError(ssl.SSLEOFError("handshake broke off")), False),
        (urllib3.exceptions.LocationParseError("http://["), True),
        (urllib3.exceptions.URLSchemeUnknown("gopher"), True),
        (urllib3.exceptions.ProtocolError("reset"), False),
    ],
)
def test_only_what_no_retry_can_mend_is_permanent(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent


def test_address_that_is_none_is_not_tried_again() -> None:
    slept: list[float] = []
    transport = Transport(make_api_client("gopher://cluster.example"), RetryPolicy(sleep=slept.append))

    with pytest.raises(UnreachableError):
        transport.request("GET", "/")
    assert not slept


# How a cluster is found


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No cluster anywhere; the home directory is returned."""
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write_kubeconfig(path: Path, server: str = "https://one.example:6443") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_no_cluster_says_what_would_do(nowhere: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"KUBECONFIG.*Pod.*\.kube/config"):
        connect()


def test_given_client_comes_first(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(nowhere / "one")))
    given = make_api_client("http://127.0.0.1:1")

    assert connect(nowhere / "two", given) is given


def test_given_file_comes_before_the_environment(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(nowhere / "one")))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    two = write_kubeconfig(nowhere / "two", "https://two.example")

    assert connect(two).configuration.host == "https://two.example"
    assert connect().configuration.host == "https://one.example:6443"


def test_pod_comes_before_the_home_directory(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    write_kubeconfig(nowhere / ".kube" / "config")
    assert connect().configuration.host == "https://one.example:6443"

    for name, text in (("SERVICE_TOKEN_FILENAME", "token-text"), ("SERVICE_CERT_FILENAME", "")):
        path = nowhere / name
        path.write_text(text)
        monkeypatch.setattr(incluster_config, name, str(path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigurationError, match="empty"):
        connect()

    import certifi

    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    found = connect()
    assert found.configuration.host == "https://10.0.0.1:443"
    assert "token-text" in str(found.configuration.auth_settings())


@pytest.mark.parametrize("content", ["", "{", "[]", "apiVersion: v1", "a: [b", "\x00"])
def test_file_that_is_no_kubeconfig_is_named(nowhere: Path, content: str) -> None:
    path = nowhere / "broken"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match="broken"):
        connect(path)
    with pytest.raises(ConfigurationError, match="missing"):
        connect(nowhere / "missing")


def test_client_closes_what_it_opened_and_nothing_else(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    given = make_api_client("http://127.0.0.1:1")

    def close(self: object) -> None:
        closed.append(self)

    monkeypatch.setattr(type(given), "close", close)

    with UserSwarmClient(api_client=given):
        pass
    assert not closed
    with UserSwarmClient(write_kubeconfig(nowhere / "one")):
        pass
    assert len(closed) == 1
