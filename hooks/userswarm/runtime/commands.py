"""`userswarm bootstrap`: options in, lines and exit codes out."""

from __future__ import annotations

import re
from pathlib import Path

import click

from userswarm.runtime.bootstrap import bootstrap as run_bootstrap
from userswarm.runtime.folder import BootstrapError

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--config", required=True, type=_FILE, metavar="FILE", help="The rendered config.toml, in its ConfigMap.")
@click.option("--live", required=True, type=_FILE, metavar="FILE", help="The config.toml on the volume.")
@click.option(
    "--workspace", required=True, type=_FILE, metavar="DIR", help="Where the runtime finds the other rendered files."
)
@click.option(
    "--owner", metavar="ID", help="Whose volume it must be; recorded at the first start, and others are refused."
)
def bootstrap(config: Path, live: Path, workspace: Path, owner: str | None) -> None:
    """Prepare a swarm's volume before its runtime starts.

    The rendered config.toml is merged into the live one: what it sets is set, what it set last time and no longer
    sets is taken out, everything else stays as the runtime or its user wrote it, with comments and order; a live
    file in a rare layout, or beyond 64 KiB, keeps its values only. One that does not parse is kept as
    config.toml.broken-N and replaced.

    The other files beside --config are copied beside --live and into --workspace. A copy in the workspace that
    was edited is kept.

    Nothing is ever half written, nothing is written where nothing changes, and it can be killed and run again at
    any time. Beside --live it keeps .config.toml.rendered, .userswarm-files and .userswarm-owner for that. Symbolic
    links on the volume are never followed.

    \b
    Exit codes:
      0  the volume is prepared
      1  it is not; one line on stderr names the path and the reason
      2  the options are wrong
    """
    if not live.name or not config.name:
        raise click.UsageError("--config and --live must name a file.")
    places = {folder.resolve() for folder in (config.parent, live.parent, workspace)}
    if len(places) < 3:
        raise click.UsageError("--config, --live and --workspace must be in three directories.")
    if owner is not None and not re.fullmatch(r"[!-~]{1,253}", owner):
        raise click.UsageError("--owner must be 1 to 253 printable ASCII characters without blanks.")
    try:
        run_bootstrap(config, live, workspace, owner, lambda line: click.echo(one_line(line)))
    except BootstrapError as error:
        click.echo(f"bootstrap: {one_line(str(error))}", err=True)
        raise SystemExit(1) from None


def one_line(text: str) -> str:
    """Return a text with everything that could break a line or drive a terminal replaced by `?`."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
