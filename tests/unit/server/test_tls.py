"""TLS: what is offered, who is let in, and what a renewed certificate does."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from unit.server.certificates import Authority, Pair
from unit.server.test_auth import Time
from userswarm.errors import SettingsError
from userswarm.server.tls import CertificateFiles


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("first")


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


def test_a_server_goes_on_with_what_the_files_hold_by_then(authority: Authority, tmp_path: Path) -> None:
    live = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    replace(live, authority.issue("one"))
    clock = Time()
    context = CertificateFiles(live.certificate, live.key, monotonic=clock).renewed_context()
    before = served(context, authority)
    replace(live, authority.issue("two"))
    clock.now += 1.0
    assert served(context, authority) != before


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


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
def test_files_that_cannot_be_used_stop_the_start(pair: Pair, tmp_path: Path, broken: str) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense", encoding="utf-8")
    files = {"certificate": pair.certificate, "key": pair.key, "client_ca": None, broken: nonsense}
    with pytest.raises(SettingsError, match="TLS_CERT_FILE"):
        CertificateFiles(**files)  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        CertificateFiles(**{**files, broken: tmp_path / "missing"})  # type: ignore[arg-type]
