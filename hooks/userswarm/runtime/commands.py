"""`userswarm bootstrap`, and its steps `git` and `ssh`: options in, lines and exit codes out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from userswarm.runtime.bootstrap import bootstrap as run_bootstrap
from userswarm.runtime.folder import BootstrapError

_FILE = click.Path(path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--config", type=_FILE, metavar="FILE", help="The rendered config.toml, in its ConfigMap.")
@click.option("--live", type=_FILE, metavar="FILE", help="The config.toml on the volume.")
@click.option("--workspace", type=_FILE, metavar="DIR", help="Where the runtime finds the other rendered files.")
@click.option(
    "--owner", metavar="ID", help="Whose volume it must be; recorded at the first start, and others are refused."
)
@click.pass_context
def bootstrap(
    ctx: click.Context, config: Path | None, live: Path | None, workspace: Path | None, owner: str | None
) -> None:
    """Prepare a swarm's volume before its runtime starts; or do one step of a template, see the commands below.

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
    if ctx.invoked_subcommand is not None:
        if any(given is not None for given in (config, live, workspace, owner)):
            raise click.UsageError("--config, --live, --workspace and --owner are for no step.")
        return
    if config is None or live is None or workspace is None:
        raise click.UsageError("--config, --live and --workspace are all required.")
    if not live.name or not config.name:
        raise click.UsageError("--config and --live must name a file.")
    places = {folder.resolve() for folder in (config.parent, live.parent, workspace)}
    if len(places) < 3:
        raise click.UsageError("--config, --live and --workspace must be in three directories.")
    if owner is not None and not re.fullmatch(r"[!-~]{1,253}", owner):
        raise click.UsageError("--owner must be 1 to 253 printable ASCII characters without blanks.")
    with _failing_in_one_line():
        run_bootstrap(config, live, workspace, owner, _say)


@bootstrap.command()
@click.option("--repository", required=True, metavar="URL", help="https://, ssh://, user@host:path, or file:///.")
@click.option("--branch", default="", metavar="NAME", help="Default: what the repository has checked out.")
@click.option(
    "--depth", type=click.IntRange(0), default=0, metavar="N", help="So many commits when it is cloned; 0 for all."
)
@click.option("--directory", required=True, type=_FILE, metavar="DIR", help="Where it shall be.")
@click.option("--token-file", type=_FILE, metavar="FILE", help="Holds the token for https://.")
@click.option("--key-file", type=_FILE, metavar="FILE", help="Holds the private key for ssh.")
@click.option("--known-hosts", type=_FILE, metavar="FILE", help="The hosts that ssh may talk to.")
@click.option("--ca-file", type=_FILE, metavar="FILE", help="The only authorities (PEM) that https:// trusts.")
@click.option("--pull", is_flag=True, help="Fast-forward what is there already.")
def git(
    repository: str,
    branch: str,
    depth: int,
    directory: Path,
    token_file: Path | None,
    key_file: Path | None,
    known_hosts: Path | None,
    ca_file: Path | None,
    pull: bool,
) -> None:
    """Clone a repository before a swarm's containers start.

    The directory may have other files in it: they stay. One that has a clone already is left as it is, or, with
    --pull, fast-forwarded; what cannot be pulled (no network, other commits, other changes) stays, is said, and is
    no failure.

    The token and the key are read from their files when they are wanted: they are in no argument, no environment, no
    line of output, and not in the clone. Nothing that a clone's owner wrote into it runs here.

    It needs a directory for temporary files (TMPDIR, or /tmp), and no other. Proxies are those of the environment.

    \b
    Exit codes:
      0  the repository is there
      1  it is not; one line on stderr says why
      2  the options are wrong
    """
    from userswarm.runtime.steps.clone import bring
    from userswarm.runtime.steps.remote import Remote

    remote = Remote(repository, branch, depth, token_file, key_file, known_hosts, ca_file)
    if problem := remote.problem():
        raise click.UsageError(problem)
    with _failing_in_one_line():
        bring(remote, directory, update=pull, say=_say)


@bootstrap.command()
@click.option("--key-file", required=True, type=_FILE, metavar="FILE", help="The private key, without a passphrase.")
@click.option("--directory", required=True, type=_FILE, metavar="DIR", help="What becomes ~/.ssh of a container.")
@click.option("--known-hosts", type=_FILE, metavar="FILE", help="Copied beside the key.")
def ssh(key_file: Path, directory: Path, known_hosts: Path | None) -> None:
    """Fill an ssh directory before a swarm's containers start: the key, its public key, known_hosts.

    The key gets the name that ssh looks for (id_ed25519, id_ecdsa, id_rsa).

    \b
    Exit codes:
      0  the directory is filled
      1  it is not; one line on stderr says why
      2  the options are wrong
    """
    from userswarm.runtime.steps.keys import place_keys

    with _failing_in_one_line():
        place_keys(key_file, directory, known_hosts, _say)


def _say(line: str) -> None:
    click.echo(one_line(line))


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    try:
        yield
    except BootstrapError as error:
        click.echo(f"bootstrap: {one_line(str(error))}", err=True)
        raise SystemExit(1) from None


def one_line(text: str) -> str:
    """Return a text with everything that could break a line or drive a terminal replaced by `?`."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
