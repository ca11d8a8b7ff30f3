"""`userswarm gate`: the command line of the gate."""

from __future__ import annotations

import os

import click

from userswarm.errors import UserSwarmError


@click.group(invoke_without_command=True)
@click.pass_context
def gate(ctx: click.Context) -> None:
    """Decide for a proxy who may reach which runtime.

    Envoy asks at /check (its ext_authz filter), nginx at /auth (its auth_request); GET /healthz tells whether the gate
    lives, GET /readyz whether it can let anybody in.

    Every setting is read from the environment: USERSWARM_GATE_ISSUERS_FILE or USERSWARM_GATE_TOKEN_FILE say who is
    known, and one of them is needed. The cluster is that of KUBECONFIG, or of the Pod's ServiceAccount.

    SIGTERM stops in order: /readyz says no, and those who wait are answered.
    """
    if ctx.invoked_subcommand is not None:
        return
    from userswarm.gate.launch import serve
    from userswarm.gate.settings import GateSettings

    try:
        serve(GateSettings.from_environment(os.environ))
    except UserSwarmError as error:
        raise click.ClickException(str(error)) from None
