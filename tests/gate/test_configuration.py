"""The configuration that is written: Envoy itself finds nothing wrong with it, whatever the settings."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.serving import eventually
from gate.door import Door, opened, require_envoy
from unit.server.certificates import Authority
from userswarm.errors import SettingsError
from userswarm.gate.envoy.running import command, find_envoy, write_files
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.settings import GateSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "by host": {"domain": "swarms.example"},
    "by host alone": {"domain": "swarms.example", "path_prefix": ""},
    "a gate behind a socket": {"gate": "unix:/run/gate.sock"},
    "everything bounded": {"max_body_bytes": 1 << 30, "total_timeout": 60, "trusted_hops": 2},
    "nothing bounded": {"max_body_bytes": 0, "total_timeout": 0, "access_log": ""},
    "a log in a file": {"access_log": "/dev/null"},
    "IPv6": {"listen": "[::1]:8080", "status": "[::1]:8082", "gate": "[::1]:8081"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_envoy_takes_it_without_a_warning(name: str, tmp_path: Path) -> None:
    require_envoy()
    configuration = write_files(
        EnvoySettings(run_dir=str(tmp_path / "run"), stream_log=str(tmp_path / "pipe"), **SETTINGS[name])
    )
    # Envoy opens the pipe, and waits for who reads it.
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)
    validate = [*command(find_envoy(), configuration, workers=1), "--mode", "validate"]
    done = subprocess.run(validate, capture_output=True, text=True, check=False, timeout=120)
    os.close(pipe)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout + done.stderr
    assert "[warning]" not in done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_what_is_written_is_for_one_account_only_and_is_written_again(tmp_path: Path) -> None:
    settings = EnvoySettings(run_dir=str(tmp_path / "run"), stream_log=str(tmp_path / "pipe"))
    first = write_files(settings).read_text(encoding="utf-8")
    assert write_files(settings).read_text(encoding="utf-8") == first
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert yaml.safe_load(first)["static_resources"]["listeners"][0]["name"] == "users"


def test_tls_is_what_clients_speak(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "tls")
    pair = authority.issue("gate")
    with opened(tmp_path, tls_cert_file=str(pair.certificate), tls_key_file=str(pair.key)) as door:
        context = authority.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with door.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as secured:
            assert secured.selected_alpn_protocol() == "h2"
            assert secured.version() in ("TLSv1.2", "TLSv1.3")


def test_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    first, second = (Authority.make(tmp_path / name) for name in ("first", "second"))
    mounted = tmp_path / "mounted"
    mounted.mkdir()

    def mount(authority: Authority) -> None:
        """Do as the kubelet: the files are links into a folder, and one link more is exchanged for another."""
        pair, folder = authority.issue("gate"), mounted / f"..{authority.directory.name}"
        folder.mkdir()
        for source, name in ((pair.certificate, "tls.crt"), (pair.key, "tls.key")):
            source.rename(folder / name)
            if not (mounted / name).is_symlink():
                (mounted / name).symlink_to(f"..data/{name}")
        (mounted / "..new").symlink_to(folder.name)
        (mounted / "..new").rename(mounted / "..data")

    def is_trusted(door: Door, authority: Authority) -> bool:
        with door.connect() as plain, contextlib.suppress(ssl.SSLError):
            authority.client_context().wrap_socket(plain, server_hostname="localhost").close()
            return True
        return False

    mount(first)
    with opened(tmp_path, tls_cert_file=f"{mounted}/tls.crt", tls_key_file=f"{mounted}/tls.key") as door:
        assert is_trusted(door, first)
        mount(second)
        eventually(lambda: is_trusted(door, second))
        assert not is_trusted(door, first)


def test_settings_are_read_from_the_environment_and_every_bad_one_is_named() -> None:
    gate = GateSettings(hold=5, bind="0.0.0.0:8090", domain="swarms.example")
    read = EnvoySettings.from_environment({"USERSWARM_ENVOY_LISTEN": "0.0.0.0:443", "PATH": "/bin"}, gate)
    assert (read.listen, read.hold, read.idle_timeout) == ("0.0.0.0:443", 5, EnvoySettings().idle_timeout)
    assert (read.gate, read.domain) == ("127.0.0.1:8090", "swarms.example")
    bad = {
        "USERSWARM_ENVOY_LISTEN": "everywhere",
        "USERSWARM_ENVOY_MAX_HEADERS": "-1",
        "USERSWARM_ENVOY_LISTENER": "127.0.0.1:1",
        "USERSWARM_ENVOY_TLS_CERT_FILE": __file__,
    }
    with pytest.raises(SettingsError) as refused:
        EnvoySettings.from_environment(bad, gate)
    for variable in bad:
        assert variable in str(refused.value)
