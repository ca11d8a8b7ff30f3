"""TLS from certificate files, read again when they change.

New connections get the new certificate; those that are open live on. A renewal that cannot be used (half written,
key and certificate of two renewals) leaves the last good one in place, loudly, until it can.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from userswarm.errors import SettingsError
from userswarm.spec.settings import Settings
from userswarm.web.files import fingerprint

logger = logging.getLogger(__name__)


class CertificateFiles:
    """A certificate chain, its key and, for mutual TLS, the CA of the clients.

    The files are looked at no more than once in `interval` seconds.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        client_ca: Path | None = None,
        *,
        interval: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the files; raises SettingsError where they cannot be used."""
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._interval = interval
        self._monotonic = monotonic
        self._look_again = monotonic() + interval
        self._seen = self._fingerprints()
        try:
            self._context = self._make_context()
        except OSError as error:  # ssl.SSLError is one too
            raise SettingsError(f"USERSWARM_TLS_CERT_FILE, _KEY_FILE or CLIENT_CA_FILE: {error}") from error

    @classmethod
    def of(cls, settings: Settings) -> CertificateFiles:
        """Return the files that the settings name."""
        client_ca = Path(settings.client_ca_file) if settings.client_ca_file else None
        return cls(Path(settings.tls_cert_file), Path(settings.tls_key_file), client_ca)

    def renewed_context(self) -> ssl.SSLContext:
        """Return a context for a server's lifetime: each handshake goes on with what the files hold by then.

        OpenSSL asks for a server's name, whether the client gave one or not, before a certificate is shown or wanted.
        """

        def renew(sock: ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
            sock.context = self.context()

        context = self._make_context()
        context.sni_callback = renew  # type: ignore[assignment]
        return context

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        now = self._monotonic()
        if now >= self._look_again:
            self._look_again = now + self._interval
            seen = self._fingerprints()
            if seen != self._seen:
                try:
                    self._context = self._make_context()
                except OSError as error:
                    # Not remembered as seen: what was half written is whole a second later.
                    logger.error("cannot read the certificates again, the old ones stay: %s", error)  # noqa: TRY400
                else:
                    self._seen = seen
                    logger.info("read the certificates again")
        return self._context

    def _fingerprints(self) -> tuple[object, ...]:
        files = (self._certificate, self._key, self._client_ca)
        return tuple(fingerprint(file) for file in files if file is not None)

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate, self._key)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
