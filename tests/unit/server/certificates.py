"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


def require_openssl() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command, which makes the certificates, is not installed")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory of its own."""

    directory: Path
    pair: Pair

    @classmethod
    def make(cls, directory: Path, name: str = "authority") -> Authority:
        require_openssl()
        directory.mkdir(parents=True, exist_ok=True)
        pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", str(pair.key), "-out", str(pair.certificate)),
        )
        return cls(directory, pair)

    def issue(self, name: str) -> Pair:
        """Return a certificate for localhost and 127.0.0.1, good for servers and clients."""
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", str(pair.key), "-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", "2", "-extfile", str(extensions), "-CAcreateserial"),
            *("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key), "-out", str(pair.certificate)),
        )
        return pair

    def client_context(self, own: Pair | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority, and shows `own` where given."""
        context = ssl.create_default_context(cafile=self.pair.certificate)
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
