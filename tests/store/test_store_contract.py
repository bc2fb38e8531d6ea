"""What the ledger promises of itself, on both databases alike.

What is written is compared with the same plans written into plain dictionaries. Faults are put in where the database
driver is called, one statement after another, until a unit has run through without reaching one.
"""

import threading
from collections import Counter
from copy import deepcopy
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import DataError

from reckon.core import plans
from reckon.core.money import HIGHEST_PLAUSIBLE_NANOS
from reckon.core.polls import Poll
from reckon.core.records import Amounts, Balance, Failure, FailureReason, Meter, Reading, Snapshot
from reckon.core.windows import GRAIN, Window
from reckon.errors import StoreError, StoreMissing
from reckon.store import open_store
from reckon.store.engines import parse
from reckon.store.tables import KEY, METADATA, SNAPSHOT, TABLES
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Book,
    at,
    book_of,
    contents,
    failure,
    key_hash,
    policy,
    snapshot,
    total_of,
    usd,
    watched,
)
from tests.store.faults import failing, lost_connection, whenever

NOON = at("2026-11-20 12:00")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


@pytest.fixture
def emptied(store):
    """Take everything out of the store again: for tests that need a new ledger many times over."""

    def empty():
        with store._writer.begin() as connection:
            for table in reversed(TABLES):
                connection.execute(table.delete())

    return empty


def commit(store, poll, *, owner_map=(watched(),), now=NOON, zone="UTC"):
    terms = policy(zone)
    return store.commit_poll(lambda state: plans.after_poll(state, poll, owner_map, terms, now), terms, now)


def commit_one(store, when, total, **others):
    seen = snapshot(when, total, **others)
    return commit(store, Poll((seen,)), now=seen.at)


def spent(store):
    with store.reading() as ledger:
        (held,) = ledger.totals([Window(at("1970-01-01 00:00"), at("2100-01-01 00:00"))])
    return total_of(total.amounts for total in held).spend_nanos


# --- What is written is read back ----------------------------------------------------------------------------------

money = st.integers(0, usd("30")) | st.just(HIGHEST_PLAUSIBLE_NANOS)
readings = st.builds(Reading, money, money, money, money)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@st.composite
def polls(draw):
    """Return a story: each a poll, the owner map at the time, the zone, and its instant."""
    keys = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    owners = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    now = NOON
    story = []
    for _ in range(draw(st.integers(1, 8))):
        now += draw(st.sampled_from([1, 60, 900, 40_000, 200_000, -50_000])) * SECOND
        answering = draw(st.lists(st.sampled_from(keys), unique=True))
        story.append(
            (
                Poll(
                    tuple(
                        Snapshot(
                            key_hash(name),
                            now + draw(st.integers(0, 20)) * SECOND,
                            draw(readings),
                            draw(readings),
                            label=draw(st.none() | names),
                            created_at=draw(st.none() | st.just(now - MINUTE)),
                            workspace=draw(st.none() | st.sampled_from(["team", "other"])),
                        )
                        for name in answering
                    ),
                    tuple(
                        Failure(
                            key_hash(name),
                            draw(st.sampled_from(FailureReason)),
                            "said no",
                            draw(st.none() | st.just(30)),
                        )
                        for name in keys
                        if name not in answering
                    ),
                    tuple(
                        Balance(key_hash(name), now, draw(money), draw(money))
                        for name in draw(st.lists(st.sampled_from(keys), unique=True, max_size=2))
                    ),
                    balances_asked=draw(st.booleans()),
                    swept=draw(st.dictionaries(st.sampled_from(["team", "other"]), st.just(now))),
                ),
                tuple(
                    watched(name, draw(st.sampled_from(owners)))
                    for name in draw(st.lists(st.sampled_from(keys), unique=True))
                ),
                draw(st.sampled_from(["UTC", "UTC", "America/Santiago"])),
                now,
            )
        )
    return story


def test_everything_written_is_read_back_as_it_was(store, emptied):
    @settings(max_examples=settings.default.max_examples // 5)
    @given(polls())
    def check(story):
        emptied()
        book = Book(watched=())
        for poll, owner_map, zone, now in story:
            book.zone = zone
            book.write(plans.after_poll(book.state(now), poll, owner_map, policy(zone), now))

            commit(store, poll, owner_map=owner_map, now=now, zone=zone)

            assert contents(book_of(store)) == contents(book)

    check()


def test_what_comes_later_to_a_window_a_gap_or_a_closed_day_is_added_to_what_is_there(store):
    book = Book()
    story = [
        # Both counters fall, hours apart, and are believed within days that are closed by then; what grew again while
        # they were down lies in the stretches of one another, and so does what the clock's stepping back brings.
        ("2026-11-20 12:00", "10", "10"),
        ("2026-11-20 15:00", "9", "11"),
        ("2026-11-20 18:00", "9.5", "10"),
        ("2026-11-21 00:10", "9.75", "10.5"),
        ("2026-11-21 03:00", "9.75", "10.75"),
        ("2026-11-21 06:00", "8", "9"),
        ("2026-11-20 15:00", "8.5", "9.5"),
        ("2026-11-20 15:01", "8.5", "9.5"),
        ("2026-11-20 15:02", "8.75", "9.75"),
        ("2026-11-22 00:10", "12", "12"),
    ]
    added = Counter()
    for when, total, byok in story:
        seen = snapshot(when, total, byok=byok)
        before = contents(deepcopy(book))

        book.poll(seen)
        commit(store, Poll((seen,)), now=seen.at)

        assert contents(book_of(store)) == contents(book), when
        for name in ("windows", "gaps", "days"):
            changed = [place for place, value in before[name].items() if contents(book)[name][place] != value]
            added[name] += len(changed)
    assert all(added[name] for name in ("windows", "gaps", "days"))
    assert any(spend and correction for spend, correction in book.windows.values())


def test_the_ledger_is_the_same_after_it_was_closed_and_opened(database_url):
    with open_store(database_url, writes=True) as store:
        commit_one(store, "2026-11-20 12:00", "10")
        commit_one(store, "2026-11-20 12:01", "10.000000001", byok="3")
        before = contents(book_of(store))

    with open_store(database_url, writes=False) as store:
        assert contents(book_of(store)) == before
    with open_store(database_url, writes=True) as store:
        assert contents(book_of(store)) == before
        commit_one(store, "2026-11-20 12:02", "11")
        assert spent(store) == usd("1")


def test_the_largest_counters_are_kept_to_the_nano_dollar(store):
    highest = HIGHEST_PLAUSIBLE_NANOS
    top = Reading(highest, highest, highest, highest)
    commit(store, Poll((Snapshot(key_hash("key"), NOON, Reading(highest - 1, 0, 0, 0), top),)))

    commit(store, Poll((Snapshot(key_hash("key"), NOON + MINUTE, top, top),)), now=NOON + MINUTE)

    held = book_of(store)
    assert held.key().counters.credits.mark_nanos == highest
    assert held.key().counters.byok.opening == top
    assert held.amounts() == Amounts(1, 0, 0, 0)


def test_a_snapshot_without_byok_money_holds_null_in_its_place_and_is_read_as_zero(store):
    commit_one(store, "2026-11-20 12:00", "10")
    commit_one(store, "2026-11-20 12:01", "10", byok="0.000000001")
    commit_one(store, "2026-11-20 12:02", "10", byok="2", byok_daily="1")

    with store.reading() as ledger:
        columns = select(SNAPSHOT.c.byok_nanos, SNAPSHOT.c.byok_daily_nanos).order_by(SNAPSHOT.c.n)
        held = [tuple(row) for row in ledger.connection.execute(columns)]
    assert held == [(None, None), (1, None), (usd("2"), usd("1"))]
    stored = book_of(store).snapshots[key_hash("key")]
    assert [(row.byok_nanos, row.byok_daily_nanos) for row in stored] == [(0, 0), (1, 0), (usd("2"), usd("1"))]


def test_sums_beyond_the_dollars_of_one_key_are_exact(store):
    keys = [f"key {n}" for n in range(1_000)]
    owner_map = tuple(watched(name) for name in keys)
    for n in range(4):
        total = f"{n * 999_999}.{n:09d}"
        seen = tuple(snapshot(NOON + n * MINUTE, total, key=name, byok=total) for name in keys)
        commit(store, Poll(seen), owner_map=owner_map, now=NOON + n * MINUTE)

    assert spent(store) == 1_000 * usd("2999997.000000003")


# --- Totals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def a_week(store):
    """A week of one key that is read every five hours."""
    book = Book()
    for n in range(34):
        seen = snapshot(NOON + n * 5 * HOUR, str(10 + n * n % 977 + n * 1_000), byok=str(n))
        book.poll(seen)
        commit(store, Poll((seen,)), now=seen.at)
    return book


def test_totals_over_any_edges_are_the_sums_of_their_windows(store, a_week):
    @settings(max_examples=30)
    @given(st.lists(st.tuples(st.integers(-10, 700), st.integers(0, 700)), max_size=20))
    def check(cuts):
        edges = [Window(NOON + first * GRAIN, NOON + (first + length) * GRAIN) for first, length in cuts]
        with store.reading() as ledger:
            assert ledger.totals(edges) == a_week.totals(*edges)

    check()


def test_thousands_of_edges_are_answered_in_their_order(store, a_week):
    edges = [Window(NOON + n * GRAIN, NOON + (n + 1) * GRAIN) for n in range(4_500)]

    with store.reading() as ledger:
        found = ledger.totals(edges)

    assert found == a_week.totals(*edges)
    assert total_of(total.amounts for held in found for total in held) == a_week.amounts()


def test_gaps_are_those_that_reach_into_the_span(store):
    for when, total in (("2026-11-20 12:00", "10"), ("2026-11-20 14:00", "11"), ("2026-11-20 16:00", "12")):
        commit_one(store, when, total)

    def gaps(start, end):
        with store.reading() as ledger:
            return [gap.n for gap in ledger.gaps(Window(at(start), at(end)))]

    assert gaps("2026-11-20 12:30", "2026-11-20 12:45") == [2]
    assert gaps("2026-11-20 13:00", "2026-11-20 15:00") == [2, 3]
    assert gaps("2026-11-20 11:00", "2026-11-20 12:00") == []
    assert gaps("2026-11-20 14:00", "2026-11-20 15:00") == [3]
    assert gaps("2026-11-20 16:00", "2026-11-20 17:00") == []


# --- A poll is written whole or not at all -------------------------------------------------------------------------


def test_a_decision_that_fails_leaves_nothing_behind(store):
    commit_one(store, "2026-11-20 12:00", "10")
    before = contents(book_of(store))

    def decide(state):
        plans.after_poll(state, Poll((snapshot("2026-11-20 12:01", "11"),)), (watched(),), policy(), NOON)
        raise LookupError("no such world")

    with pytest.raises(LookupError):
        store.commit_poll(decide, policy(), NOON)

    assert contents(book_of(store)) == before
    commit_one(store, "2026-11-20 12:02", "12")
    assert spent(store) == usd("2")


def test_a_poll_committed_twice_changes_nothing(store):
    owner_map = (watched("a"), watched("b"), watched("c"))
    commit(store, Poll(tuple(snapshot(NOON, "10", key=name) for name in "abc")), owner_map=owner_map)
    later = NOON + DAY
    poll = Poll((snapshot(later, "11", key="a"), snapshot(later, "9", key="b")), (failure("c", retry_after_seconds=9),))
    commit(store, poll, owner_map=owner_map, now=later)
    before = contents(book_of(store))

    commit(store, poll, owner_map=owner_map, now=later)

    assert contents(book_of(store)) == before


def interesting_poll():
    """Return a poll that writes to every table: an opening, growth, a gap, a closed day, a balance, a correction."""
    now = at("2026-11-21 00:30")
    return {
        "poll": Poll(
            (
                snapshot(now, "12", "1", key="a"),
                snapshot(now, "8", key="falls"),
                snapshot(now, "7", key="new"),
                snapshot(now, "10", key="idle"),
            ),
            (failure("dead"),),
            (Balance(key_hash("a"), now, usd("5"), usd("6")),),
            balances_asked=True,
            swept={"team": now},
        ),
        "owner_map": tuple(watched(name) for name in ("a", "falls", "new", "idle", "dead")),
        "now": now,
    }


def begin_interestingly(write):
    names = ("a", "falls", "idle")
    for when, falling in (("22:00", "10"), ("23:50", "8"), ("23:59", "8")):
        now = at(f"2026-11-20 {when}")
        answers = tuple(snapshot(now, falling if name == "falls" else "10", key=name) for name in names)
        write(Poll(answers), owner_map=tuple(watched(name) for name in names), now=now)


@pytest.fixture
def before_and_after(store, emptied):
    """What the ledger holds before and after the interesting poll, where nothing goes wrong."""
    begin_interestingly(lambda *args, **kwargs: commit(store, *args, **kwargs))
    before = contents(book_of(store))
    plan = commit(store, **interesting_poll())
    after = contents(book_of(store))
    assert all((plan.snapshots, plan.corrections, plan.gaps, plan.windows, plan.owner_days, plan.seen, plan.balances))
    emptied()
    begin_interestingly(lambda *args, **kwargs: commit(store, *args, **kwargs))
    assert contents(book_of(store)) == before
    return before, after


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_a_unit_that_fails_at_any_statement_is_run_again_whole(store, before_and_after, emptied, moment):
    _, after = before_and_after

    for number in count():
        with failing(moment, number, lost_connection()) as raised:
            commit(store, **interesting_poll())
        assert contents(book_of(store)) == after, f"statement {number}"
        if not raised:
            break
        emptied()
        begin_interestingly(lambda *args, **kwargs: commit(store, *args, **kwargs))

    assert number > 15  # or nothing failed at all


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_a_unit_that_is_refused_at_any_statement_leaves_nothing_behind(store, before_and_after, moment):
    before, after = before_and_after

    for number in count():
        with failing(moment, number, DataError("?", {}, Exception("this will never do"))) as raised:
            refusal = refusal_of(lambda: commit(store, **interesting_poll()))
        if not raised:
            break
        assert "this will never do" in refusal
        assert contents(book_of(store)) == before, f"statement {number}"

    assert number > 15
    assert refusal is None
    assert contents(book_of(store)) == after


def refusal_of(act):
    try:
        act()
    except StoreError as refusal:
        return str(refusal)
    return None


def test_a_unit_that_goes_on_failing_is_given_up_and_leaves_nothing_behind(store):
    commit_one(store, "2026-11-20 12:00", "10")
    before = contents(book_of(store))

    with (
        failing("before_cursor_execute", 0, lost_connection(), times=100) as raised,
        pytest.raises(StoreError, match="lost"),
    ):
        commit_one(store, "2026-11-20 12:01", "11")

    assert 1 < len(raised) < 10
    assert contents(book_of(store)) == before
    commit_one(store, "2026-11-20 12:02", "12")
    assert spent(store) == usd("2")


@pytest.mark.parametrize("arrives", [True, False], ids=["it arrived", "it did not arrive"])
def test_a_commit_whose_answer_was_lost_counts_once(store, before_and_after, arrives):
    _, after = before_and_after
    lost = []

    def lose(connection):
        if not lost:
            lost.append(True)
            if arrives:
                connection.connection.commit()
            raise lost_connection()

    with whenever("commit", lose):
        commit(store, **interesting_poll())

    assert lost
    assert contents(book_of(store)) == after


def test_what_a_poll_writes_is_a_handful_of_statements_whatever_the_number_of_keys(store):
    def statements(keys):
        owner_map = tuple(watched(f"{keys} {n}") for n in range(keys))
        for minute in range(2):
            executed = []
            seen = tuple(snapshot(NOON + minute * MINUTE, str(minute), key=entry.name) for entry in owner_map)
            with whenever("before_cursor_execute", lambda *_, executed=executed: executed.append(None)):
                commit(store, Poll(seen), owner_map=owner_map, now=NOON + minute * MINUTE)
        return len(executed)

    assert statements(1) == statements(300) < 20


def test_the_ids_of_keys_are_not_used_up_by_polls(store):
    # They are 32 bits wide; a number for every poll of every key would last ten thousand keys for half a year.
    for minute in range(30):
        commit_one(store, NOON + minute * MINUTE, str(minute))

    commit(store, Poll((snapshot(NOON + HOUR, "1", key="another"),)), owner_map=(watched(), watched("another")))

    with store.reading() as ledger:
        ids = ledger.connection.scalars(select(KEY.c.id).order_by(KEY.c.id)).all()
    assert ids == [1, 2]


# --- Readers and writers -------------------------------------------------------------------------------------------


def test_a_report_reads_what_was_committed_while_a_writer_is_at_work_and_neither_waits(store):
    commit_one(store, "2026-11-20 12:00", "10")
    before = contents(book_of(store))
    seen_meanwhile = []

    def decide(state):
        seen_meanwhile.append(contents(book_of(store)))
        return plans.after_poll(state, Poll((snapshot("2026-11-20 12:01", "11"),)), (watched(),), policy(), NOON)

    store.commit_poll(decide, policy(), NOON)

    assert seen_meanwhile == [before]
    assert spent(store) == usd("1")


def test_a_report_belongs_to_one_instant_however_long_it_takes(store):
    commit_one(store, "2026-11-20 12:00", "10")

    with store.reading() as ledger:
        first = ledger.every_key()
        commit_one(store, "2026-11-20 12:01", "11")
        assert ledger.every_key() == first
        assert ledger.totals([Window(NOON, NOON + DAY)]) == [[]]

    assert spent(store) == usd("1")


def test_what_single_figures_of_the_keys_say_is_what_all_of_them_say(store):
    with store.reading() as ledger:
        assert (ledger.retry_at(), ledger.first_opening()) == ({}, None)
    owner_map = tuple(watched(name, name) for name in ("ana", "ben", "cleo"))
    commit_one(store, "2026-11-20 12:00", "10")
    poll = Poll(failures=(Failure(owner_map[1].hash, FailureReason.RATE_LIMITED, "HTTP 429", retry_after_seconds=60),))
    store.commit_poll(lambda state: plans.after_poll(state, poll, owner_map, policy(), NOON), policy(), NOON)

    with store.reading() as ledger:
        keys = ledger.every_key()
        assert ledger.retry_at() == {key.hash: key.retry_at for key in keys if key.retry_at} != {}
        assert ledger.first_opening() == min(key.counters.opened_at for key in keys if key.counters)


def test_many_read_at_once(store):
    commit_one(store, "2026-11-20 12:00", "10")
    everyone = threading.Barrier(4, timeout=20)
    found = []

    def read():
        with store.reading() as ledger:
            everyone.wait()
            found.append(len(ledger.every_key()))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == [1, 1, 1, 1]


# --- Opening -------------------------------------------------------------------------------------------------------


def test_a_reader_makes_no_ledger(database_url):
    with pytest.raises(StoreMissing, match="reckon poll"):
        open_store(database_url, writes=False)

    with pytest.raises(StoreMissing):
        open_store(database_url, writes=False)


@pytest.mark.parametrize("writes", [True, False])
def test_a_ledger_of_a_newer_reckon_is_refused_and_left_alone(database_url, writes):
    with open_store(database_url, writes=True) as store:
        commit_one(store, "2026-11-20 12:00", "10")
    outside = create_engine(parse(database_url), isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StoreError, match=r"9999.*newer Reckon"):
        open_store(database_url, writes=writes)

    with outside.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"
        assert connection.scalar(select(func.count()).select_from(SNAPSHOT)) == 1
    outside.dispose()


def test_a_sound_database_shows_no_damage(store):
    commit_one(store, "2026-11-20 12:00", "10")

    assert store.damage() == []


# --- The schema ----------------------------------------------------------------------------------------------------

NOT_MONEY = {"Integer", "SmallInteger"}


def test_every_column_of_money_is_sixty_four_bits_of_integer_and_nothing_else_holds_any():
    held = {(table.name, column.name): column.type for table in METADATA.sorted_tables for column in table.columns}

    assert {
        place for place, type_ in held.items() if type(type_).__name__ in {"Numeric", "Float", "Double", "DateTime"}
    } == set()
    money = {place: type(type_).__name__ for place, type_ in held.items() if place[1].endswith("nanos")}
    assert set(money.values()) == {"BigInteger"}
    assert len(money) > 20
    small = {column for (_, column), type_ in held.items() if type(type_).__name__ in NOT_MONEY}
    ids = {"id", "key_id", "owner_id", "alert_id", "route_id", "session_id", "owner_model_id"}
    counts = {"n", "first_n", "last_n", "meter", "days", "missing", "generations", "requests"}
    counts |= {"openings", "history_days", "attempts", "refusals", "stretch_seconds", "settled_after_seconds"}
    flags = {"watched", "byok", "may_have_been_said", "from_activity", "again", "disabled", "include_byok_in_limit"}
    dips = {f"{meter}_dip_{name}" for meter in Meter for name in ("polls", "first_n")}
    assert small <= ids | counts | flags | dips
