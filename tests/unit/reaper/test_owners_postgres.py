"""Owners out of a real PostgreSQL: read-only, in time, and whole."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from unit.reaper import postgres as server
from unit.reaper.fakes import FakeCluster, make_swarm, run
from userswarm.reaper.owners import Owners, OwnersError
from userswarm.reaper.owners.postgres import PostgresOwners
from userswarm.reaper.reap import Options
from userswarm.reaper.report import ExitCode

QUERY = "SELECT workspace_id, user_id FROM workspaces WHERE deleted_at IS NULL"
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def running() -> Iterator[server.Postgres]:
    try:
        server.find_binaries()
    except server.MissingError as error:
        pytest.skip(str(error))
    with server.start() as postgres:
        yield postgres


@pytest.fixture
def database(running: server.Postgres) -> server.Postgres:
    """The server with a platform's table: three live workspaces and a deleted one."""
    running.execute(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "CREATE TABLE workspaces (workspace_id text, user_id text, deleted_at timestamptz)",
        "INSERT INTO workspaces VALUES ('a', 'u1', NULL), ('b', 'u1', NULL), ('c', 'u2', NULL), ('d', 'u2', now())",
    )
    return running


def read(database: server.Postgres, query: str = QUERY, **options: Any) -> Owners:
    return PostgresOwners(query, dsn=database.dsn, **options).read(LATER)


def fault_of(database: server.Postgres, query: str, **options: Any) -> OwnersError:
    with pytest.raises(OwnersError) as caught:
        read(database, query, **options)
    return caught.value


def count(database: server.Postgres) -> int:
    return int(database.execute("SELECT count(*) FROM workspaces")[0][0])


def test_the_rows_are_the_owners(database: server.Postgres) -> None:
    assert read(database).by_workspace == {"a": "u1", "b": "u1", "c": "u2"}


def test_the_list_is_as_old_as_the_transaction(database: server.Postgres) -> None:
    before = database.execute("SELECT clock_timestamp()")[0][0]
    as_of = read(database).as_of
    after = database.execute("SELECT clock_timestamp()")[0][0]

    assert before <= as_of <= after


def test_the_snapshot_of_the_list_is_taken_after_the_time_that_it_is_true_at(database: server.Postgres) -> None:
    owners = read(database, "SELECT transaction_timestamp()::text AS workspace_id, 'u' AS user_id")
    (taken,) = map(datetime.fromisoformat, owners.by_workspace)

    assert owners.as_of < taken


def test_the_list_is_never_younger_than_the_start_of_the_read(database: server.Postgres) -> None:
    early = datetime(2020, 1, 1, tzinfo=UTC)

    assert PostgresOwners(QUERY, dsn=database.dsn).read(early).as_of == early


def test_columns_are_found_by_name_and_others_are_passed_over(database: server.Postgres) -> None:
    query = "SELECT 'x' AS note, user_id, workspace_id FROM workspaces WHERE workspace_id = 'a'"

    assert read(database, query).by_workspace == {"a": "u1"}


def test_a_percent_sign_and_a_trailing_semicolon_are_the_query_s_own(database: server.Postgres) -> None:
    query = "SELECT workspace_id, user_id FROM workspaces WHERE user_id LIKE 'u%' AND deleted_at IS NULL;"

    assert len(read(database, query).by_workspace) == 3


def test_ids_may_be_uuids_and_whole_numbers(database: server.Postgres) -> None:
    query = "SELECT '6B29FC40-CA47-1067-B31D-00DD010662DA'::uuid AS workspace_id, 17::bigint AS user_id"

    assert read(database, query).by_workspace == {"6b29fc40-ca47-1067-b31d-00dd010662da": "17"}


def test_more_rows_than_one_fetch_are_all_read(database: server.Postgres) -> None:
    query = "SELECT 'w' || n AS workspace_id, 'u' AS user_id FROM generate_series(1, 12001) AS n"

    assert len(read(database, query).by_workspace) == 12_001


def test_a_dsn_may_come_from_a_file_or_from_the_environment(
    database: server.Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn_file = tmp_path / "dsn"
    dsn_file.write_text(database.dsn + "\n")
    assert len(PostgresOwners(QUERY, dsn_file=dsn_file).read(LATER).by_workspace) == 3

    monkeypatch.setenv("PGHOST", str(database.directory))
    monkeypatch.setenv("PGUSER", server.USER)
    assert len(PostgresOwners(QUERY, dsn="dbname=postgres").read(LATER).by_workspace) == 3


WRITES = {
    "through a function": "SELECT * FROM pruned()",
    "as a statement of its own": "DELETE FROM workspaces RETURNING workspace_id, user_id",
    "inside WITH": "WITH gone AS (DELETE FROM workspaces RETURNING *) SELECT workspace_id, user_id FROM gone",
    "behind a semicolon": "SELECT workspace_id, user_id FROM workspaces; DELETE FROM workspaces",
    "behind a commit": "SELECT workspace_id, user_id FROM workspaces; COMMIT; DELETE FROM workspaces",
    "through a function that asks for more rights": "SELECT * FROM unlocked()",
    "by locking rows": "SELECT workspace_id, user_id FROM workspaces FOR UPDATE",
    "by a sequence": "SELECT nextval('numbers')::text AS workspace_id, 'u' AS user_id",
}


@pytest.mark.parametrize("way", WRITES)
def test_a_query_that_writes_fails_and_has_written_nothing(database: server.Postgres, way: str) -> None:
    body = "DELETE FROM workspaces RETURNING workspace_id, user_id"
    unlock = "PERFORM set_config(''transaction_read_only'', ''off'', false); RETURN QUERY"
    database.execute(
        f"CREATE FUNCTION pruned() RETURNS TABLE (workspace_id text, user_id text) LANGUAGE sql AS '{body}'",
        "CREATE FUNCTION unlocked() RETURNS TABLE (workspace_id text, user_id text) LANGUAGE plpgsql AS "
        f"'#variable_conflict use_column\nBEGIN {unlock} {body}; END'",
        "CREATE SEQUENCE numbers",
    )
    cluster = FakeCluster.of(make_swarm("gone"))
    outcome = run(cluster, PostgresOwners(WRITES[way], dsn=database.dsn), Options(attempts=1))

    assert outcome.code is ExitCode.OWNERS_UNUSABLE
    assert outcome.summary["errors"][0].startswith("PostgreSQL: ")
    assert cluster.calls == ["list"]
    assert count(database) == 4
    assert database.execute("SELECT is_called FROM numbers") == [(False,)]


def test_a_function_that_writes_is_stopped_by_the_read_only_transaction(database: server.Postgres) -> None:
    database.execute(
        "CREATE FUNCTION pruned() RETURNS TABLE (workspace_id text, user_id text) LANGUAGE sql AS "
        "'DELETE FROM workspaces RETURNING workspace_id, user_id'"
    )

    assert "cannot execute DELETE in a read-only transaction" in str(fault_of(database, "SELECT * FROM pruned()"))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT workspace_id, user_id FROM workspaces, pg_sleep(30)",
        "SELECT n::text AS workspace_id, 'u' AS user_id FROM generate_series(1, 9) AS n, pg_sleep(n * 30)",
    ],
)
def test_a_query_that_takes_too_long_is_cancelled_by_the_server(database: server.Postgres, query: str) -> None:
    error = fault_of(database, query, timeout=1.0)

    assert "canceling statement due to statement timeout" in str(error)
    assert not error.transient


def test_a_table_that_somebody_locks_is_not_waited_for(database: server.Postgres) -> None:
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        import psycopg

        with psycopg.connect(database.dsn) as connection:
            connection.execute("LOCK TABLE workspaces")
            locked.set()
            done.wait()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert locked.wait(30)
        assert "timeout" in str(fault_of(database, QUERY, timeout=1.0))
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT workspace_id, user_id FROM workspaces WHERE false", "the list of owners is empty"),
        ("SELECT workspace_id FROM workspaces", "the query gives the columns workspace_id; it must give"),
        ("SELECT workspace_id, user_id, user_id FROM workspaces", "it must give workspace_id and user_id"),
        ("SELECT 'a' AS workspace_id, 'u' AS user_id FROM workspaces", "workspace 'a' is listed twice"),
        ("SELECT workspace_id, NULL AS user_id FROM workspaces", "its user id is None"),
        ("SELECT '' AS workspace_id, 'u' AS user_id", "its workspace id is ''"),
        ("SELECT 1.5 AS workspace_id, 'u' AS user_id", "its workspace id is Decimal('1.5')"),
        ("SELECT true AS workspace_id, 'u' AS user_id", "its workspace id is True"),
        ("SELECT workspace_id, user_id FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELEKT", "syntax error"),
        ("", "syntax error"),
        (
            "SELECT (3 - n)::text AS workspace_id, (1 / (3 - n))::text AS user_id FROM generate_series(1, 9) n",
            "division",
        ),
    ],
)
def test_a_query_that_gives_no_list_of_owners_is_an_error(database: server.Postgres, query: str, message: str) -> None:
    error = fault_of(database, query)

    assert message in str(error)
    assert "\n" not in str(error)
    assert not error.transient


def test_a_connection_that_is_cut_in_the_middle_is_a_fault_that_may_pass(database: server.Postgres) -> None:
    database.execute(
        "CREATE FUNCTION cut() RETURNS text LANGUAGE sql AS "
        "'SELECT pg_terminate_backend(pg_backend_pid())::text || pg_sleep(5)::text'"
    )
    error = fault_of(database, "SELECT workspace_id, cut() AS user_id FROM workspaces")

    assert "terminating connection" in str(error)
    assert error.transient


def test_a_server_that_is_not_there_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    with pytest.raises(OwnersError, match=r"PostgreSQL: connection .* failed: No such file") as caught:
        PostgresOwners(QUERY, dsn=f"host={tmp_path} user=nobody").read(LATER)

    assert caught.value.transient


@pytest.mark.parametrize("dsn", ["postgres//me:s3cret@host/db", "host=db password='s3cret", "nonsense=s3cret"])
def test_a_dsn_that_is_none_is_refused_without_showing_it(dsn: str, tmp_path: Path) -> None:
    dsn_file = tmp_path / "dsn"
    dsn_file.write_text(dsn)
    for source in (PostgresOwners(QUERY, dsn=dsn), PostgresOwners(QUERY, dsn_file=dsn_file)):
        with pytest.raises(OwnersError, match="neither a libpq connection string nor") as caught:
            source.read(LATER)

        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in source.describe()


def test_a_dsn_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OwnersError, match="cannot be read: FileNotFoundError"):
        PostgresOwners(QUERY, dsn_file=tmp_path / "none").read(LATER)


def test_without_psycopg_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "psycopg":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OwnersError, match=r"needs psycopg: pip install 'userswarm\[postgres\]'"):
        PostgresOwners(QUERY, dsn="").read(LATER)


def test_a_replica_is_as_old_as_what_arrived_there_last(database: server.Postgres) -> None:
    with server.start_replica(database) as replica:
        assert "a replica that cannot say how old it is" in str(fault_of(replica, QUERY))

        database.execute("INSERT INTO workspaces VALUES ('e', 'u3', NULL)")
        written = database.execute("SELECT clock_timestamp()")[0][0]
        for _ in range(600):
            if replica.execute("SELECT 1 FROM workspaces WHERE workspace_id = 'e'"):
                break
            replica.execute("SELECT pg_sleep(0.05)")
        owners = read(replica)

    assert "e" in owners.by_workspace
    assert written - timedelta(minutes=5) < owners.as_of <= written
