"""`userswarm gate`: the command line of the gate."""

from __future__ import annotations

import os

import click

from userswarm.errors import UserSwarmError
from userswarm.gate.envoy.commands import envoy_config


@click.group(invoke_without_command=True)
@click.option("--envoy/--no-envoy", default=True, help="Start Envoy too, of userswarm[gate] or on the PATH.")
@click.pass_context
def gate(ctx: click.Context, envoy: bool) -> None:
    """Decide who may reach which runtime, with an Envoy that carries the bytes, or for a proxy of yours.

    Envoy asks at /check (its ext_authz filter), nginx at /auth (its auth_request); GET /healthz tells whether the gate
    lives, GET /readyz whether it can let anybody in.

    Every setting is read from the environment: USERSWARM_GATE_ISSUERS_FILE or USERSWARM_GATE_TOKEN_FILE say who is
    known, and one of them is needed. The cluster is that of KUBECONFIG, or of the Pod's ServiceAccount.

    SIGTERM stops in order: /readyz says no, and those who wait are answered.
    """
    if ctx.invoked_subcommand is not None:
        return
    try:
        if envoy:
            from userswarm.gate.envoy.running import serve_with_envoy

            ctx.exit(serve_with_envoy(os.environ))
        from userswarm.gate.launch import serve
        from userswarm.gate.settings import GateSettings

        serve(GateSettings.from_environment(os.environ))
    except UserSwarmError as error:
        raise click.ClickException(str(error)) from None


gate.add_command(envoy_config)
