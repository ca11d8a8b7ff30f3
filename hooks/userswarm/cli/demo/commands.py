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
def demo(file: Path | None, keep: bool) -> None:
    """Show the life of a UserSwarm on an embedded cluster.

    Starts the real webhook under gunicorn on a free loopback port; a cluster in memory calls it over HTTP as
    Metacontroller does. FILE, or a minimal sample, is applied, verified, left alone, changed, suspended, resumed and
    deleted; every write of Metacontroller is shown. The cluster's time is simulated, so this takes seconds.

    Exit codes: 0 all of it held and nothing was left behind, 1 something did not hold, 2 usage.
    """
    from userswarm.cli.demo.story import run_demo

    try:
        held = run_demo(file, keep=keep, show=click.echo)
    except (UserSwarmError, DevClusterError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if held else 1)
