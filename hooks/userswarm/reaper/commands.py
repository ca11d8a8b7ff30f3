"""``userswarm reap``: the options, what they mean, and how they must not be combined."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from userswarm.reaper.amounts import parse_duration, parse_share

if TYPE_CHECKING:
    from userswarm.reaper.owners import OwnerSource


def _read_by(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return a callback that reads an option's text by `parse`, and makes its ValueError a wrong usage."""

    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return read


DURATION: dict[str, Any] = {"metavar": "DURATION", "callback": _read_by(parse_duration)}
SHARE: dict[str, Any] = {"metavar": "N|N%", "callback": _read_by(parse_share)}
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("reap", short_help="Delete the UserSwarms that have no live owner.")
@click.option("--owners-url", metavar="URL", help="Live owners as paged JSON over HTTP (see above).")
@click.option(
    "--owners-token-file", type=FILE, help="Holds the bearer token for --owners-url; read anew for every page."
)
@click.option(
    "--owners-ca-file", type=FILE, help="The only authorities (PEM) that --owners-url trusts; default: the system's."
)
@click.option(
    "--owners-insecure-http",
    is_flag=True,
    help="Allow a http:// URL to another machine. Anyone on the way may forge the list.",
)
@click.option(
    "--owners-page-size",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    help="Owners asked for at a time.",
)
@click.option(
    "--owners-dsn",
    metavar="DSN",
    help="Live owners from PostgreSQL: a libpq string or URI. Passwords belong in a file.",
)
@click.option("--owners-dsn-file", type=FILE, help="Holds the DSN, in place of --owners-dsn.")
@click.option(
    "--owners-query",
    metavar="SQL",
    help="Gives columns workspace_id and user_id, a row for each live workspace; run read-only.",
)
@click.option("--owners-file", type=FILE, help="Live owners from a JSON or CSV file (see above).")
@click.option(
    "--owners-timeout",
    **DURATION,
    default="30s",
    show_default=True,
    help="For each page of a URL, each statement of PostgreSQL.",
)
@click.option(
    "--owners-attempts",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Tries of one read, where the fault may pass: no answer, a 5xx, a list that changed while it was paged.",
)
@click.option(
    "--confirm-after",
    **DURATION,
    default="60s",
    show_default=True,
    help="The pause between the two reads of the owners.",
)
@click.option(
    "--max-shrink",
    **SHARE,
    default="10%",
    show_default=True,
    help="How many owners fewer the second read may have, of the first; a percentage allows at least 3.",
)
@click.option(
    "--min-age", **DURATION, default="1h", show_default=True, help="Younger swarms are left, whatever else holds."
)
@click.option(
    "--max-age",
    **DURATION,
    help="Delete swarms labelled crawbl.ai/e2e=true that are this old, whoever owns them. They count for --max-delete.",
)
@click.option(
    "--expired",
    is_flag=True,
    help="Delete swarms, too, that are asleep and that nobody has used for their spec.lifecycle.expireAfter.",
)
@click.option(
    "--max-delete",
    **SHARE,
    default="10%",
    show_default=True,
    help="Of all swarms; if more would go, nothing does (exit code 3). A percentage allows at least 3, save 0%.",
)
@click.option(
    "--claim-max-age", **DURATION, help="List retained volume claims this old. Needs the right to list claims."
)
@click.option(
    "--claim-namespace",
    "claim_namespaces",
    multiple=True,
    default=("userswarms",),
    show_default=True,
    help="Where swarms run and retained claims lie; may be repeated.",
)
@click.option("--kubeconfig", type=FILE, help="Default: KUBECONFIG, the Pod this runs in, or ~/.kube/config.")
@click.option("--dry-run", is_flag=True, help="Do everything (both reads, too) but delete: say what would go, and why.")
@click.pass_context
def reap(ctx: click.Context, /, **given: Any) -> None:
    """Delete the UserSwarms that have no live owner.

    A swarm goes only if its workspace is in neither of two reads of the live owners, a minute apart. The second read
    is left out where the first leaves nothing to delete. In all doubt a swarm stays: while it is young, is being
    deleted, has the label crawbl.ai/keep (with any value), is malformed, has changed since it was listed, or if its
    workspace is listed under another user or in another spelling. A list of owners that is empty, short, unsorted,
    repeated, malformed or half read deletes nothing at all.

    With --expired those go, too, that are asleep and unused for as long as their own spec allows, if the hooks have
    said so and nobody has used them since; all other questions and limits hold for them, but for that of the owner.
    Without a list of owners nothing else goes.

    \b
    WHO IS ALIVE: one of --owners-url, --owners-dsn (or --owners-dsn-file) and
    --owners-file. An entry is a workspace and its one owner.
    \b
    --owners-url   GET URL?limit=1000, then URL?limit=1000&cursor=NEXT and so on:
                     {"owners": [{"workspaceId": "a", "userId": "u"}],
                      "next": NEXT or null, "total": 1234}
                   workspaceId rises strictly through all pages (by code point);
                   total is the same on each page, and what all pages hold. An
                   "asOf" time says that the list is older than the answer.
                   https, without redirects, without proxies.
    --owners-dsn   and --owners-query "SELECT workspace_id, user_id FROM ...";
                   one read-only transaction. Needs userswarm[postgres].
    --owners-file  The same JSON in one piece ("next" and "total" may be left
                   out), or the list of its "owners", or CSV: a first line
                   workspaceId,userId, a last line that ends in a newline and
                   may be "# total: N". Swarms younger than the file are left.

    \b
    OUTPUT: a JSON line for each swarm ("kind": "decision"; "decision": deleted,
    would-delete, left, withheld, skipped or failed; "reason" and "message"), one
    for each retained claim, and as the last line a summary.

    \b
    EXIT CODES
      0    done, also where there was nothing to do
      1    some deletes failed, or claims could not be listed; the rest is done
      2    wrong usage; nothing was read
      3    more would go than --max-delete allows; nothing was deleted
      4    the owners cannot be used; nothing was deleted
      5    the cluster cannot be reached, or does not let the swarms be listed
      130  stopped by SIGINT or SIGTERM; the lines say what was done
    """
    source = _choose_source(given)

    from userswarm.backend.api import UserSwarmApi, connect
    from userswarm.reaper.cluster import KubernetesCluster
    from userswarm.reaper.decide import Rules
    from userswarm.reaper.progress import Progress
    from userswarm.reaper.reap import Clock, Options
    from userswarm.reaper.reap import reap as run
    from userswarm.reaper.report import Report

    options = Options(
        rules=Rules(
            min_age=given["min_age"],
            max_age=given["max_age"],
            expired=given["expired"],
            max_delete=given["max_delete"],
            max_shrink=given["max_shrink"],
        ),
        confirm_after=given["confirm_after"],
        attempts=given["owners_attempts"],
        dry_run=given["dry_run"],
        claim_max_age=given["claim_max_age"],
        claim_namespaces=tuple(dict.fromkeys(given["claim_namespaces"])),
    )
    cluster = KubernetesCluster(lambda: UserSwarmApi(connect(kubeconfig=given["kubeconfig"])))
    # A CronJob's deadline sends SIGTERM: as with ^C, the summary is still written.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = Report(sys.stdout, dry_run=options.dry_run)
        code = run(cluster, source, options, report, progress=Progress(sys.stderr), clock=Clock())
    finally:
        signal.signal(signal.SIGTERM, before)
    for error in report.errors:
        click.echo(f"userswarm reap: {error}", err=True)
    ctx.exit(int(code))


def _choose_source(given: dict[str, Any]) -> OwnerSource | None:
    """Return the one source of owners that was asked for; raise click.UsageError where it is none, or two.

    With --expired it may be none: then nobody goes for want of an owner.
    """
    from userswarm.reaper.owners.file import FileOwners
    from userswarm.reaper.owners.postgres import PostgresOwners
    from userswarm.reaper.owners.url import UrlOwners, check_url

    url, file = given["owners_url"], given["owners_file"]
    dsn, dsn_file, query = given["owners_dsn"], given["owners_dsn_file"], given["owners_query"]
    by_dsn = dsn is not None or dsn_file is not None
    sources = sum((url is not None, by_dsn, file is not None))
    if given["expired"] and not sources and query is None:
        return None
    if sources != 1:
        raise click.UsageError("say who is alive by exactly one of --owners-url, --owners-dsn[-file] and --owners-file")
    if dsn is not None and dsn_file is not None:
        raise click.UsageError("give --owners-dsn or --owners-dsn-file, not both")
    if by_dsn != (query is not None):
        raise click.UsageError("--owners-dsn and --owners-query go together")
    if url is None and (given["owners_token_file"] or given["owners_ca_file"] or given["owners_insecure_http"]):
        raise click.UsageError(
            "--owners-token-file, --owners-ca-file and --owners-insecure-http belong to --owners-url"
        )
    timeout: timedelta = given["owners_timeout"]
    if not timeout:
        raise click.UsageError("--owners-timeout must be longer than 0s")
    if url is not None:
        try:
            check_url(url, insecure_http=given["owners_insecure_http"])
        except ValueError as error:
            raise click.UsageError(f"--owners-url: {error}") from error
        return UrlOwners(
            url,
            token_file=given["owners_token_file"],
            ca_file=given["owners_ca_file"],
            timeout=timeout.total_seconds(),
            page_size=given["owners_page_size"],
        )
    if by_dsn:
        return PostgresOwners(query, dsn=dsn, dsn_file=dsn_file, timeout=timeout.total_seconds())
    return FileOwners(file)
