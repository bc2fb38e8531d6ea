"""What the migrations make is what the tables say, on both databases, and it is made whole or not at all."""

from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, event, inspect, select
from sqlalchemy.exc import OperationalError

import reckon.store
from reckon.core import plans
from reckon.core.polls import Poll
from reckon.core.records import Balance
from reckon.errors import StoreError
from reckon.store import open_store
from reckon.store.engines import APPLICATION_ID, parse
from reckon.store.schema import REVISIONS
from reckon.store.tables import METADATA, SNAPSHOT
from tests.builders import DAY, at, book_of, contents, key_hash, policy, snapshot, usd, watched
from tests.store.faults import whenever


@contextmanager
def connected(url):
    engine = create_engine(parse(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def migrated(url):
    open_store(url, writes=True).close()


def script_directory():
    config = Config()
    config.set_main_option("script_location", str(Path(reckon.store.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_the_release_knows_exactly_the_revisions_it_ships_oldest_first():
    shipped = [script.revision for script in script_directory().walk_revisions()]

    assert list(reversed(shipped)) == list(REVISIONS)
    assert script_directory().get_heads() == [REVISIONS[-1]]


def test_alembic_finds_nothing_to_add_to_what_the_migrations_made(database_url):
    migrated(database_url)

    with connected(database_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": METADATA}
        )
        assert compare_metadata(context, METADATA) == []


# What Alembic does not compare: checks, strictness, rowids, the columns of primary keys and their order, identities.

_POSTGRES_COLUMNS = """
SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
  pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND c.relname <> 'alembic_version'
ORDER BY 1, 2
"""
_POSTGRES_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""
_POSTGRES_INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2
"""
_SQLITE_SCHEMA = """
SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name <> 'alembic_version' ORDER BY 1, 2
"""


def schema_of(url):
    """Return all that the database itself knows of its tables."""
    with connected(url) as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(_SQLITE_SCHEMA).all()
            return [(*row[:3], " ".join(row.sql.split()) if row.sql else None) for row in rows]
        questions = (_POSTGRES_COLUMNS, _POSTGRES_CONSTRAINTS, _POSTGRES_INDEXES)
        return [tuple(row) for question in questions for row in connection.exec_driver_sql(question)]


def test_the_migrations_make_what_the_tables_say_to_the_letter(fresh_database):
    with fresh_database() as by_migrations, fresh_database() as by_tables:
        migrated(by_migrations)
        with connected(by_tables) as connection:
            METADATA.create_all(connection)

        assert schema_of(by_migrations) == schema_of(by_tables)
        assert len(schema_of(by_tables)) > 10


def test_every_sqlite_table_is_strict_and_has_a_rowid_only_where_it_is_the_key(sqlite_url):
    migrated(sqlite_url)

    with connected(sqlite_url) as connection:
        tables = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
    ours = {table["name"]: (table["strict"], table["wr"]) for table in tables if table["name"] in METADATA.tables}
    numbered = {"owner", "key", "alert", "transition", "outbox", "route", "session", "owner_model"}
    assert ours == {name: (1, 0 if name in numbered else 1) for name in METADATA.tables}


# --- Half-way ------------------------------------------------------------------------------------------------------


@contextmanager
def dying_at(number):
    """Let the statement *number*, counted from 0, fail for good."""
    reached = count()
    died = []

    def die(_connection, _cursor, statement, *_):
        if next(reached) == number:
            died.append(statement)
            raise OperationalError(statement, {}, Exception("the process was killed"))

    event.listen(Engine, "before_cursor_execute", die)
    try:
        yield died
    finally:
        event.remove(Engine, "before_cursor_execute", die)


def migrating(url):
    """The statements of a migration that nothing disturbs."""
    statements = []
    with whenever("before_cursor_execute", lambda _connection, _cursor, statement, *_: statements.append(statement)):
        migrated(url)
    return statements


def tables_in(url):
    with connected(url) as connection:
        return inspect(connection).get_table_names()


def test_a_migration_killed_at_any_statement_leaves_no_half_schema_and_the_next_start_completes(
    fresh_database, some_of
):
    with fresh_database() as whole:
        statements = migrating(whole)
        expected = schema_of(whole)
    made = {said.split()[2].strip('"') for said in statements if said.lstrip().startswith("CREATE TABLE")}
    assert made == {*METADATA.tables, "alembic_version"}

    with fresh_database() as url:
        for number in some_of(range(len(statements)), 8):
            with dying_at(number) as died, pytest.raises(StoreError, match="the process was killed"):
                migrated(url)
            assert died == [statements[number]]
            assert tables_in(url) == [], f"after {died[0]}"

        migrated(url)
        assert schema_of(url) == expected


def test_a_migration_killed_half_way_is_completed_by_the_next_start(fresh_database):
    with fresh_database() as url:
        with dying_at(8), pytest.raises(StoreError):
            migrated(url)
        assert tables_in(url) == []

        with open_store(url, writes=True) as store, store.reading() as ledger:
            assert ledger.every_key() == []


def test_starting_again_migrates_nothing(database_url):
    migrated(database_url)
    before = schema_of(database_url)
    changed = []

    def watch(_connection, _cursor, statement, *_):
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            changed.append(statement)

    event.listen(Engine, "before_cursor_execute", watch)
    try:
        migrated(database_url)
    finally:
        event.remove(Engine, "before_cursor_execute", watch)

    assert (schema_of(database_url), changed) == (before, [])


# --- From an earlier release ---------------------------------------------------------------------------------------

NOON = at("2026-11-20 12:00")
OWNER_MAP = (watched("a"), watched("b"), watched("byok", "ben"))
TOTALS = ("0", "1", "4", "9", "7.5", "7.6", "8", "20", "30")  # with a fall that stays


def poll_on(store, day, *, keys=("a", "b", "byok")):
    now = NOON + day * DAY
    answers = (snapshot(now, TOTALS[day], key=name, byok=str(day) if name == "byok" else "0") for name in keys)
    poll = Poll(tuple(answers), (), (Balance(key_hash("a"), now, usd("9"), usd(day)),), balances_asked=True)
    owner_map = tuple(watched(name) for name in keys if name not in {"a", "b", "byok"}) + OWNER_MAP
    store.commit_poll(lambda state: plans.after_poll(state, poll, owner_map, policy(), now), policy(), now)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """All that a ledger holds after some days, as this release writes it down."""
    url = f"sqlite:///{tmp_path_factory.mktemp('history')}/reckon.db"
    with open_store(url, writes=True) as store:
        for day in range(8):
            poll_on(store, day)
        held = contents(book_of(store))
    with connected(url) as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in METADATA.sorted_tables
        }
    assert all(held[name] for name in ("snapshots", "corrections", "gaps", "windows", "days", "balances"))
    return rows, held


def lay_down_as_0001(url, rows):
    """Make a ledger as the release with schema 0001 would have left it."""
    engine = create_engine(parse(url))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(reckon.store.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        old = MetaData()
        old.reflect(connection)
        for table in old.sorted_tables:
            for row in rows.get(table.name, ()):
                values = {column.name: row[column.name] for column in table.columns}
                if table.name == "snapshot":
                    values |= {name: values[name] or 0 for name in ("byok_nanos", "byok_daily_nanos")}
                connection.execute(table.insert(), values)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for name in ("owner", "key"):
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"  # noqa: S608 - our own words
                )
    engine.dispose()


def all_rows(url):
    with connected(url) as connection:
        return {
            name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"')))  # noqa: S608 - our own words
            for name in inspect(connection).get_table_names()
        }


def test_a_ledger_of_the_first_release_is_taken_over_to_the_last_row_and_goes_on(fresh_database, history):
    rows, held = history
    with fresh_database() as url, fresh_database() as fresh:
        lay_down_as_0001(url, rows)
        with pytest.raises(StoreError, match=r"older Reckon \(schema 0001\)"):
            open_store(url, writes=False)

        with open_store(url, writes=True) as store:
            assert contents(book_of(store)) == held
            assert store.damage() == []
            with store.reading() as ledger:
                byok = ledger.connection.execute(select(SNAPSHOT.c.byok_nanos, SNAPSHOT.c.byok_daily_nanos)).all()
                assert ledger.alerts() == ledger.outbox() == []
            assert {nanos is None for row in byok for nanos in row} == {True, False}
            assert 0 not in {nanos for row in byok for nanos in row}
            before = book_of(store).amounts()
            poll_on(store, 8, keys=("a", "b", "byok", "new"))
            assert book_of(store).amounts().spend_nanos == before.spend_nanos + 2 * usd("10")

        migrated(fresh)
        assert schema_of(url) == schema_of(fresh)


def test_an_update_killed_at_any_statement_leaves_the_old_ledger_and_the_next_start_completes(
    fresh_database, history, some_of
):
    rows, held = history
    with fresh_database() as other:
        lay_down_as_0001(other, rows)
        statements = migrating(other)
    assert len(statements) > 12

    with fresh_database() as url:
        lay_down_as_0001(url, rows)
        before = all_rows(url)
        for number in some_of(range(len(statements)), 8):
            with dying_at(number) as died, pytest.raises(StoreError, match="the process was killed"):
                migrated(url)
            assert died == [statements[number]]
            assert all_rows(url) == before, f"after {died[0]}"

        migrated(url)
        with open_store(url, writes=False) as store:
            assert contents(book_of(store)) == held
