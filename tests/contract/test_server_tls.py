"""TLS as a client meets it: what is offered, who is let in, and who holds nobody up."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.serving import BODY, Server, eventually, serving
from contract.test_server_wire import CALL, exchange
from unit.server.certificates import Authority, Pair
from unit.server.serving import read_answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("first")


def words(pair: Pair, *more: str) -> tuple[str, ...]:
    certificate = ("--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key))
    return (*certificate, "--workers", "1", "--request-timeout", "60", *more)


@pytest.fixture(scope="module")
def server(authority: Authority, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("tls"), *words(pair), tls=authority.client_context()) as running:
        yield running


def connect(server: Server, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = server.open()
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def test_requests_are_answered_over_tls_on_a_connection_that_stays_open(server: Server, authority: Authority) -> None:
    with connect(server, authority.client_context()) as sock:
        for _ in range(3):
            assert exchange(sock, CALL).code == 200
        sock.sendall(CALL[:-5])
        assert exchange(sock, CALL[-5:]).code == 200


def test_large_bodies_come_through_tls(server: Server, authority: Authority) -> None:
    filler = b" " * 1_000_000
    request = CALL.replace(
        f"Content-Length: {len(BODY)}".encode(), f"Content-Length: {len(BODY) + len(filler)}".encode()
    )
    with connect(server, authority.client_context()) as sock:
        sock.sendall(request + filler)
        assert read_answer(sock).code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("version", "accepted"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_nothing_below_tls_1_2_is_spoken(server: Server, authority: Authority, version: str, accepted: bool) -> None:
    context = authority.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    if accepted:
        with connect(server, context) as sock:
            assert exchange(sock, CALL).code == 200
    else:
        with pytest.raises(OSError, match=r"alert|closed|reset|EOF"):
            connect(server, context)


def test_plain_http_and_silence_at_the_tls_port_harm_nobody(server: Server, authority: Authority) -> None:
    with server.open(), server.open() as plain:
        plain.sendall(CALL)
        with connect(server, authority.client_context()) as sock:
            assert exchange(sock, CALL).code == 200


def test_silence_at_the_tls_port_is_not_listened_to_for_ever(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    hasty = words(pair, "--request-timeout", "3")
    with serving(tmp_path, *hasty, tls=authority.client_context()) as server, server.open() as silent:
        own = silent.getsockname()[1]
        eventually(lambda: own in server.unread())
        eventually(lambda: own not in server.unread())


def test_with_a_client_ca_only_its_clients_are_let_in(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    clients = Authority.make(tmp_path / "clients", "clients")
    strangers = Authority.make(tmp_path / "strangers", "strangers")
    ours = authority.client_context(clients.issue("metacontroller"))
    with serving(tmp_path, *words(pair, "--client-ca-file", str(clients.pair.certificate)), tls=ours) as server:
        with connect(server, ours) as sock:
            assert exchange(sock, CALL).code == 200
        for own in (None, strangers.issue("stranger")):
            with pytest.raises((OSError, EOFError)):  # noqa: SIM117 - TLS 1.3 tells it with the first byte read
                with connect(server, authority.client_context(own)) as sock:
                    exchange(sock, CALL)
