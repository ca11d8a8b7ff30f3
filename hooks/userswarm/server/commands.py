"""`userswarm serve`: the command line of the webhook."""

from __future__ import annotations

import os

import click

from userswarm.errors import UserSwarmError
from userswarm.spec.settings import PREFIX, Settings

_OVERRIDES = (
    ("bind", "ADDRESS:PORT", "Where Metacontroller calls."),
    ("workers", "N", "Worker processes; one per CPU is right."),
    ("metrics-bind", "ADDRESS:PORT", "Where Prometheus reads /metrics; none if not given."),
    ("token-file", "FILE", "Bearer tokens, one a line; all are valid, and the file is read again when it changes."),
    ("tls-cert-file", "FILE", "Certificate chain (PEM), read again when it changes."),
    ("tls-key-file", "FILE", "Its key (PEM)."),
    ("client-ca-file", "FILE", "Accept only clients with a certificate of this CA (mutual TLS)."),
    ("max-body-bytes", "N", "Larger requests get 413."),
    ("max-concurrent", "N", "Calls that one worker takes on at once; beyond, 429 with Retry-After: 1."),
    ("request-timeout", "SECONDS", "How long a request may take to arrive, or to be answered."),
    ("graceful-timeout", "SECONDS", "How long a stop waits for calls under way."),
    ("keep-alive", "SECONDS", "How long an idle connection stays open; above Metacontroller's 90."),
    ("log-level", "LEVEL", "debug (every call), info (calls that change something), warning or error."),
    ("log-format", "FORMAT", "json, or text for people."),
)


def _with_overrides(command: click.Command) -> click.Command:
    defaults = Settings()
    for name, metavar, text in _OVERRIDES:
        default = getattr(defaults, name.replace("-", "_"))
        shown = f"{text}  [default: {default}]" if default != "" else text
        command.params.append(click.Option([f"--{name}"], metavar=metavar, help=shown))
    command.params.append(
        click.Option(["--insecure-no-auth"], is_flag=True, default=None, help="Let anyone call who reaches the port.")
    )
    return command


@click.command()
def serve(**overrides: str | bool | None) -> None:
    """Answer Metacontroller's hook calls over HTTP.

    POST /sync and /finalize take a hook request and answer with JSON; GET /healthz tells whether the
    server lives, GET /readyz whether it wants calls.

    Every setting is read from the environment (USERSWARM_BIND for --bind, and so on); an option given here wins.
    Without a token file only the loopback address is served, unless --insecure-no-auth is given.

    What hooks need to see besides is read by the Pod's ServiceAccount or by KUBECONFIG; without either they know less.

    SIGTERM stops in order: /readyz says no, calls under way are answered, then the server ends.
    """
    environ = dict(os.environ)
    for name, value in overrides.items():
        if value is not None:
            environ[PREFIX + name.upper()] = str(value)
    try:
        from userswarm.server.launch import serve as serve_webhook

        serve_webhook(Settings.from_environment(environ))
    except UserSwarmError as error:
        raise click.ClickException(str(error)) from None


_with_overrides(serve)
