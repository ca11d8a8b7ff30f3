"""`userswarm demo`: the command line of the story."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from devcluster.errors import DevClusterError
from userswarm.errors import UserSwarmError


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--keep", is_flag=True, help="Leave the webhook running at the end, and print its address; Ctrl-C ends it."
)
@click.option("--gate", is_flag=True, help="Show how users reach their runtimes; needs userswarm[gate].")
def demo(file: Path | None, keep: bool, gate: bool) -> None:
    """Show the life of a UserSwarm on an embedded cluster.

    Starts the real webhook under gunicorn on a free loopback port; a cluster in memory calls it over HTTP as
    Metacontroller does. FILE, or a minimal sample, is applied, verified, left alone, changed, suspended, resumed and
    deleted; every write of Metacontroller is shown. The cluster's time is simulated, so this takes seconds.

    With --gate: two users with tokens of a throw-away issuer, the real gate and the real Envoy. Each reaches their own
    runtime and not the other's, streams pass, and a runtime that sleeps wakes under a request.

    Exit codes: 0 all of it held and nothing was left behind, 1 something did not hold, 2 usage.
    """
    from userswarm.cli.demo.gate import run_gate_demo
    from userswarm.cli.demo.story import run_demo

    if gate and (file is not None or keep):
        raise click.UsageError("--gate tells a story of its own: no FILE, no --keep")
    try:
        held = run_gate_demo(show=click.echo) if gate else run_demo(file, keep=keep, show=click.echo)
    except (UserSwarmError, DevClusterError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if held else 1)
