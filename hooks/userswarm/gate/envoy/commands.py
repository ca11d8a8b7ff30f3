"""`userswarm gate envoy-config`: Envoy's configuration, written where Envoy and the gate both see it."""

from __future__ import annotations

import os

import click


@click.command("envoy-config")
def envoy_config() -> None:
    """Write Envoy's configuration into USERSWARM_ENVOY_RUN_DIR, and print where it is.

    It is made of the gate's settings and of the USERSWARM_ENVOY_* variables: LISTEN, STATUS, TLS_CERT_FILE and
    TLS_KEY_FILE, TRUSTED_HOPS, ACCESS_LOG, and the bounds of what passes. Beside it goes the pipe `streams`, in which
    Envoy tells the gate what is open (USERSWARM_GATE_ACCESS_LOG).
    """
    from userswarm.gate.envoy.running import write_files
    from userswarm.gate.envoy.settings import EnvoySettings
    from userswarm.gate.settings import GateSettings

    settings = EnvoySettings.from_environment(os.environ, GateSettings.from_environment(os.environ))
    click.echo(write_files(settings))
