"""`userswarm bootstrap` and `userswarm probe`: options in, lines and exit codes out."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import click

from userswarm.runtime.bootstrap import bootstrap as run_bootstrap
from userswarm.runtime.folder import BootstrapError
from userswarm.runtime.probe import Expectation, Target, one_line, parse_expectation, parse_target
from userswarm.runtime.probe import probe as run_probe

LONGEST_TIMEOUT = 3600

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
    sets is taken out, everything else stays as the runtime or its user wrote it, with comments and order. A live
    file that does not parse is kept as config.toml.broken-N and replaced.

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


def _target(_context: click.Context, _parameter: click.Parameter, url: str) -> Target:
    try:
        return parse_target(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _timeout(_context: click.Context, _parameter: click.Parameter, seconds: float) -> float:
    # In this order, nan is refused too.
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise click.BadParameter(f"must be more than 0 and at most {LONGEST_TIMEOUT} seconds.")
    return seconds


def _expectations(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> list[Expectation]:
    try:
        return [parse_expectation(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("target", metavar="URL", callback=_target)
@click.option(
    "--timeout", type=float, default=15.0, show_default=True, metavar="S", callback=_timeout, help="Seconds, in all."
)
@click.option(
    "--expect-json",
    "expectations",
    multiple=True,
    metavar="KEY=TEXT",
    callback=_expectations,
    help="What the JSON body must say: status=ok, ready=true, checks.db=up. Can be given more than once.",
)
@click.option(
    "--termination-log",
    type=_FILE,
    metavar="FILE",
    default=Path("/dev/termination-log"),
    show_default=True,
    help="Where the verdict goes as well if the file exists: Kubernetes shows it in the Pod's status.",
)
def probe(target: Target, timeout: float, expectations: list[Expectation], termination_log: Path) -> None:
    """Ask URL until it answers as expected, or the time is over.

    Passed is only status 200 with a JSON object that says all that is expected; without --expect-json any object
    passes. An HTML page with status 200 fails. URL is http://HOST[:PORT][/PATH]. Proxies in the environment are
    not used, and a redirect to another scheme, host or port is not followed.

    \b
    Exit codes:
      0  passed
      1  failed
      2  the options are wrong
    In one line it says what it saw: on stdout if it passed, else on stderr.
    """
    verdict = run_probe(target, expectations, timeout)
    # Only Kubernetes makes this file; elsewhere there is none, and nobody who would miss it.
    with suppress(OSError):
        descriptor = os.open(termination_log, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(verdict.line + "\n")
    click.echo(verdict.line, err=not verdict.passed)
    raise SystemExit(0 if verdict.passed else 1)
