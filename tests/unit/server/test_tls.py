"""TLS: what is offered, who is let in, and what a renewed certificate does."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.server.certificates import Authority, Pair
from unit.server.serving import RunningWorker, make_app, read_answer, running
from unit.server.test_auth import Time
from unit.server.test_worker import BODY, CALL, exchange
from userswarm.errors import SettingsError
from userswarm.server.tls import CertificateFiles
from userswarm.spec.settings import Settings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("first")


def settings(pair: Pair, client_ca: str = "") -> Settings:
    return Settings(tls_cert_file=str(pair.certificate), tls_key_file=str(pair.key), client_ca_file=client_ca)


def connect(worker: RunningWorker, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = worker.connect()
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


@pytest.fixture
def worker(pair: Pair) -> Iterator[RunningWorker]:
    with running(make_app(settings(pair))) as running_worker:
        yield running_worker


def test_requests_are_answered_over_tls_on_a_connection_that_stays_open(
    worker: RunningWorker, authority: Authority
) -> None:
    with connect(worker, authority.client_context()) as sock:
        for _ in range(3):
            assert exchange(sock, CALL).code == 200
        sock.sendall(CALL[:-5])
        worker.wait_for_arriving(1)
        assert exchange(sock, CALL[-5:]).code == 200


def test_large_bodies_come_through_tls(worker: RunningWorker, authority: Authority) -> None:
    filler = b" " * 1_000_000
    request = CALL.replace(
        f"Content-Length: {len(BODY)}".encode(), f"Content-Length: {len(BODY) + len(filler)}".encode()
    )
    with connect(worker, authority.client_context()) as sock:
        sock.sendall(request + filler)
        assert read_answer(sock).code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("version", "accepted"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_nothing_below_tls_1_2_is_spoken(
    worker: RunningWorker, authority: Authority, version: str, accepted: bool
) -> None:
    context = authority.client_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    if accepted:
        with connect(worker, context) as sock:
            assert exchange(sock, CALL).code == 200
    else:
        with pytest.raises(OSError, match=r"alert|closed|reset|EOF"):
            connect(worker, context)


def test_plain_http_and_silence_at_the_tls_port_harm_nobody(worker: RunningWorker, authority: Authority) -> None:
    with worker.connect() as silent, worker.connect() as plain:
        plain.sendall(CALL)
        with connect(worker, authority.client_context()) as sock:
            assert exchange(sock, CALL).code == 200
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)


def test_with_a_client_ca_only_its_clients_are_let_in(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    clients = Authority.make(tmp_path / "clients", "clients")
    strangers = Authority.make(tmp_path / "strangers", "strangers")
    with running(make_app(settings(pair, str(clients.pair.certificate)))) as worker:
        with connect(worker, authority.client_context(clients.issue("metacontroller"))) as sock:
            assert exchange(sock, CALL).code == 200
        for own in (None, strangers.issue("stranger")):
            with pytest.raises((OSError, EOFError)):  # noqa: SIM117 - TLS 1.3 tells it with the first byte read
                with connect(worker, authority.client_context(own)) as sock:
                    exchange(sock, CALL)


def replace(target: Pair, source: Pair) -> None:
    shutil.copy(source.certificate, target.certificate)
    shutil.copy(source.key, target.key)


def served(context: ssl.SSLContext, authority: Authority) -> str:
    """Return the serial number of the certificate that a server with this context shows."""
    ours, theirs = socket.socketpair()
    client = authority.client_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with ours, theirs:
        server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(server_in, server_out, server_side=True)
        tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        for _ in range(10):
            for side in (tls, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                server_in.write(outgoing.read())
                incoming.write(server_out.read())
        shown = tls.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


def test_a_renewed_certificate_is_shown_to_new_clients_within_a_second(authority: Authority, tmp_path: Path) -> None:
    first, second = authority.issue("one"), authority.issue("two")
    live = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    replace(live, first)
    clock = Time()
    files = CertificateFiles(live.certificate, live.key, monotonic=clock)
    before = files.context()
    replace(live, second)

    assert files.context() is before, "looked at the files again too soon"
    clock.now += 1.0
    after = files.context()
    assert served(after, authority) != served(before, authority)
    clock.now += 1.0
    assert files.context() is after, "made a new context though nothing changed"


def test_a_half_written_renewal_leaves_the_old_certificate_until_it_is_whole(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = authority.issue("one"), authority.issue("two")
    live = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    replace(live, first)
    clock = Time()
    files = CertificateFiles(live.certificate, live.key, monotonic=clock)
    before = files.context()

    shutil.copy(second.certificate, live.certificate)  # its key is still that of the first
    clock.now += 1.0
    assert files.context() is before
    assert [record.levelno for record in caplog.records] == [logging.ERROR]

    shutil.copy(second.key, live.key)
    clock.now += 1.0
    assert files.context() is not before


def test_a_renewal_drops_no_connection(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = authority.issue("one"), authority.issue("two")
    live = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    replace(live, first)
    made = CertificateFiles.__init__

    def impatient(self: CertificateFiles, *files: Path | None) -> None:
        made(self, *files, interval=0.0)  # type: ignore[arg-type]

    monkeypatch.setattr(CertificateFiles, "__init__", impatient)
    with running(make_app(settings(live))) as worker, connect(worker, authority.client_context()) as old:
        assert exchange(old, CALL).code == 200
        replace(live, second)
        with connect(worker, authority.client_context()) as new:
            assert exchange(new, CALL).code == 200
            assert exchange(old, CALL).code == 200
            assert old.getpeercert() != new.getpeercert()


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
def test_files_that_cannot_be_used_stop_the_start(pair: Pair, tmp_path: Path, broken: str) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense", encoding="utf-8")
    files = {"certificate": pair.certificate, "key": pair.key, "client_ca": None, broken: nonsense}
    with pytest.raises(SettingsError, match="TLS_CERT_FILE"):
        CertificateFiles(**files)  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        CertificateFiles(**{**files, broken: tmp_path / "missing"})  # type: ignore[arg-type]
