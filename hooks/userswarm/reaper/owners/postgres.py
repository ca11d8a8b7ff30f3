"""Owners from PostgreSQL: one query, in a read-only transaction, through a cursor on the server.

psycopg is an extra, ``userswarm[postgres]``, and imported only when a read begins. A transaction is one snapshot,
so the list is whole or the read fails; on a replica it is as old as the last transaction that arrived there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userswarm.reaper.owners import Owners, OwnersError, collect_owners

if TYPE_CHECKING:
    import psycopg

COLUMNS = ("workspace_id", "user_id")
FETCH = 5000
CONNECT_TIMEOUT = 10

_AS_OF = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() ELSE transaction_timestamp() END
"""


@dataclass(frozen=True, slots=True)
class PostgresOwners:
    """The owners that `query` selects, as columns workspace_id and user_id (text, uuid or a whole number).

    `dsn` is a libpq connection string or URI, `dsn_file` one in a file (give one of both); what it leaves out comes
    from PGHOST, PGPASSFILE and the other variables of libpq. `timeout` is seconds for each statement.
    """

    query: str
    dsn: str | None = None
    dsn_file: Path | None = None
    timeout: float = 30.0

    def describe(self) -> str:
        return "PostgreSQL"

    def read(self, now: datetime) -> Owners:
        try:
            import psycopg
        except ImportError as error:
            raise OwnersError("--owners-dsn needs psycopg: pip install 'userswarm[postgres]'") from error
        try:
            with psycopg.connect(
                self._conninfo(),
                # pgbouncer knows neither prepared statements nor settings given at start.
                prepare_threshold=None,
                application_name="userswarm-reap",
                connect_timeout=CONNECT_TIMEOUT,
                # A server that went away without a word is noticed within a minute.
                keepalives_idle=15,
                keepalives_interval=15,
                keepalives_count=3,
            ) as connection:
                connection.read_only = True
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                return self._select(connection, now)
        except psycopg.Error as error:
            raise OwnersError(f"PostgreSQL: {_one_line(error)}", transient=_is_transient(error)) from error

    def _select(self, connection: psycopg.Connection[tuple[Any, ...]], now: datetime) -> Owners:
        row = connection.execute(_AS_OF).fetchone()
        as_of = row[0] if row else None
        if not isinstance(as_of, datetime):
            raise OwnersError("PostgreSQL: a replica that cannot say how old it is; read from the primary")
        # The list's snapshot is that of the next transaction, so that a replica is never older than it says.
        connection.rollback()
        limit = f"{max(1, round(self.timeout * 1000))}ms"
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute("SELECT set_config(%s, %s, true)", (setting, limit))
        with connection.cursor(name="userswarm_owners") as cursor:
            # No parameters: a % in the query is a %. The server refuses a second statement behind a semicolon.
            cursor.execute(self.query.encode())
            owners = collect_owners(_rows(cursor))
        return Owners(owners, min(now, as_of.astimezone(UTC)))

    def _conninfo(self) -> str:
        import psycopg.conninfo

        dsn = self.dsn or ""
        if self.dsn_file is not None:
            try:
                dsn = self.dsn_file.read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise OwnersError(f"the DSN file {self.dsn_file} cannot be read: {type(error).__name__}") from error
        try:
            psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.Error:
            # libpq's own message quotes the string, and with it the password.
            raise OwnersError("the DSN is neither a libpq connection string nor a postgresql:// URI") from None
        return dsn


def _rows(cursor: psycopg.ServerCursor[tuple[Any, ...]]) -> Iterator[tuple[object, object]]:
    names = [column.name for column in cursor.description or ()]
    if any(names.count(column) != 1 for column in COLUMNS):
        raise OwnersError(f"the query gives the columns {', '.join(names)}; it must give workspace_id and user_id")
    workspace, user = (names.index(column) for column in COLUMNS)
    while rows := cursor.fetchmany(FETCH):
        for row in rows:
            yield _as_text(row[workspace]), _as_text(row[user])


def _as_text(value: object) -> object:
    """Return the text of an id that is a UUID or a whole number; the rest is for `collect_owners` to refuse."""
    if isinstance(value, uuid.UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    return value


def _is_transient(error: psycopg.Error) -> bool:
    """Whether the server was away, busy or overtaken; a query that is wrong or too slow stays so."""
    state = error.sqlstate
    if state is None:
        return type(error).__name__ in ("OperationalError", "ConnectionTimeout")
    return state[:2] in ("08", "40", "53") or state in ("57P01", "57P02", "57P03")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
