"""`userswarm rollout`: the options, and what they mean."""

from __future__ import annotations

import signal
import sys
from datetime import timedelta
from pathlib import Path

import click

from userswarm.reaper.amounts import Share
from userswarm.reaper.commands import DURATION, FILE, SHARE


@click.command()
@click.argument("template")
@click.option("--to", "revision", required=True, type=click.IntRange(1), metavar="REV", help="The revision to move to.")
@click.option(
    "--percent",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    metavar="N",
    help="Of the template's swarms; by a hash of their names, so that the first 5 % are among the first 20 %.",
)
@click.option(
    "--max-unavailable",
    **SHARE,
    default="10%",
    show_default=True,
    help="How many of the template's swarms may be away at once: a batch. At least one.",
)
@click.option("--only-asleep", is_flag=True, help="Move only swarms without a Pod, asleep or suspended: nobody waits.")
@click.option(
    "--pause-on-failures",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Stop after a batch with which there were so many.",
)
@click.option(
    "--timeout",
    **DURATION,
    default="10m",
    show_default=True,
    help="A swarm that is not verified so long after its batch was moved has failed.",
)
@click.option("--kubeconfig", type=FILE, help="Default: KUBECONFIG, the Pod this runs in, or ~/.kube/config.")
@click.option("--dry-run", is_flag=True, help="Move nothing: say who would be moved, in which batch.")
@click.pass_context
def rollout(
    ctx: click.Context,
    template: str,
    revision: int,
    percent: int,
    max_unavailable: Share,
    only_asleep: bool,
    pause_on_failures: int,
    timeout: timedelta,
    kubeconfig: Path | None,
    dry_run: bool,
) -> None:
    """Move the swarms of a TEMPLATE to another revision, newer or older.

    Swarms are moved in batches; each batch has to be verified again before the next. After too many failures it stops
    by itself and says which swarms failed and why; those stay where they are, to be looked at. What has been done is
    known by the swarms themselves: run it again to go on, or with --to the old revision to go back.

    Not moved are swarms whose spec pins a revision, and those that are being deleted. Those that do not serve their
    users anyway are moved last, all at once, and do not count as failures. One that is asleep or suspended is moved,
    and built from the new revision when it wakes.

    \b
    OUTPUT: on a terminal a bar, and a line for whatever is not as it should be; else
    a JSON line for each swarm ("kind": "swarm"; "outcome": verified, resting,
    failed, still-troubled, skipped, would-move or not-moved), and as the last line a
    summary.

    \b
    EXIT CODES
      0    done, also where there was nothing to do
      1    stopped after failures; the summary says which, and why
      2    wrong usage; nothing was asked
      5    the cluster cannot be reached, or refuses
      130  stopped by SIGINT or SIGTERM
    """
    import time

    from userswarm.backend.client import UserSwarmClient
    from userswarm.backend.errors import ConfigurationError
    from userswarm.cli.rollout.plan import Choice
    from userswarm.cli.rollout.report import ExitCode, Report
    from userswarm.cli.rollout.roll import Limits, roll
    from userswarm.reaper.progress import Progress

    if not timeout:
        raise click.UsageError("--timeout must be longer than 0s")
    choice = Choice(template, revision, percent, max_unavailable, only_asleep)
    report = Report(sys.stdout, {"template": template, "to": revision, "percent": percent, "dryRun": dry_run})
    limits = Limits(pause_on_failures, timeout.total_seconds())
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with UserSwarmClient(kubeconfig) as client:
            code = roll(client, choice, limits, report, Progress(sys.stderr), clock=time.monotonic, dry_run=dry_run)
    except ConfigurationError as error:
        report.errors.append(str(error))
        code = report.finish(ExitCode.CLUSTER_UNREACHABLE, "")
    finally:
        signal.signal(signal.SIGTERM, before)
    ctx.exit(int(code))
