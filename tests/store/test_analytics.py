"""What analytics told, by the hour: what is told anew replaces what was told before, and whose it was stays."""

from dataclasses import replace

import pytest

from reckon.core import plans
from reckon.core.analytics_plan import AccountDay, KeyHours, ModelHour
from reckon.core.polls import Poll
from reckon.core.windows import Window
from reckon.errors import StoreError
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, at, key_hash, policy, snapshot, watched
from tests.store.calling import EVER, NOON, POLICY, handed, settle, settled
from tests.store.faults import lost_connection, whenever

MIDNIGHT = at("2026-11-20 00:00")
TODAY = Window(MIDNIGHT, NOON + 30 * MINUTE)
LAPTOP, CI = key_hash("laptop"), key_hash("ci")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        sight(opened, NOON, ("laptop", "ana"), ("ci", "ben"))
        yield opened


def sight(store, when, *owned):
    """Let the ledger meet keys, each with its owner."""
    terms, entries = policy(), [watched(*each) for each in owned]
    seen = Poll(tuple(snapshot(when, key=name) for name, _ in owned))
    store.commit_poll(lambda state: plans.after_poll(state, seen, entries, terms, when), terms, when)


def hour(n, key=LAPTOP, model="maker/small", credits_nanos=5, **rest):
    return ModelHour(MIDNIGHT + n * HOUR, key, model, credits_nanos, **{"byok_nanos": 2, "requests": 3} | rest)


def told(*rows, key=LAPTOP, span=TODAY):
    return KeyHours(key, span, rows)


def held(store, span=EVER):
    with store.reading() as ledger:
        return ledger.model_hours(span)


def days(store):
    with store.reading() as ledger:
        return [tuple(row) for row in ledger.connection.exec_driver_sql("SELECT * FROM account_day ORDER BY day")]


def test_what_is_told_is_kept_with_whose_it_is(store):
    rows = [hour(1), hour(1, model=None, requests=None), hour(2, credits_nanos=-4)]
    store.keep_analytics([told(*rows), told(hour(1, CI), key=CI)])
    assert sorted(held(store), key=repr) == sorted(
        [*(replace(row, owner="ana") for row in rows), replace(hour(1, CI), owner="ben")], key=repr
    )
    with store.reading() as ledger:
        assert ledger.told_by_analytics(TODAY) == {LAPTOP: 7 + 7 - 2, CI: 7}
        assert ledger.told_by_analytics(Window(MIDNIGHT + 2 * HOUR, NOON)) == {LAPTOP: -2}


def test_what_is_told_anew_takes_the_place_of_all_that_was_told_of_that_key_in_that_span(store):
    store.keep_analytics([told(hour(1), hour(2), hour(12)), told(hour(1, CI), key=CI)])
    store.keep_analytics([told(hour(1, model="maker/large"), hour(3), span=Window(MIDNIGHT, MIDNIGHT + 6 * HOUR))])
    assert [(row.key_hash, row.start.hour, row.model) for row in held(store) if row.key_hash == LAPTOP] == [
        (LAPTOP, 1, "maker/large"),
        (LAPTOP, 3, "maker/small"),
        (LAPTOP, 12, "maker/small"),
    ]
    assert len(held(store)) == 4
    store.keep_analytics([told(key=CI)])
    assert {row.key_hash for row in held(store)} == {LAPTOP}


def test_an_hour_stays_with_whoever_held_the_key_when_it_was_first_told(store):
    store.keep_analytics([told(hour(1))])
    sight(store, NOON + HOUR, ("laptop", "ben"), ("ci", "ben"))
    store.keep_analytics([told(hour(1, credits_nanos=9), hour(1, model="maker/late"), hour(2))])
    assert {(row.start.hour, row.model): row.owner for row in held(store)} == {
        (1, "maker/small"): "ana",
        (1, "maker/late"): "ana",
        (2, "maker/small"): "ben",
    }


def test_a_key_that_the_ledger_does_not_know_is_left_out(store):
    store.keep_analytics([told(hour(1, key_hash("new")), key=key_hash("new")), told(hour(1))])
    assert {row.key_hash for row in held(store)} == {LAPTOP}


def test_a_day_of_the_account_is_replaced_by_what_is_no_older(store):
    day = AccountDay(MIDNIGHT.date(), 100, 7, NOON)
    store.keep_analytics(days=[day])
    store.keep_analytics(days=[replace(day, credits_nanos=50, as_of=NOON - MINUTE)])
    kept = ("analytics", "2026-11-20", 100, 7, int(NOON.timestamp()))
    assert days(store) == [kept]
    store.keep_analytics(days=[replace(day, credits_nanos=120), replace(day, day=(MIDNIGHT + DAY).date())])
    assert [row[:3] for row in days(store)] == [("analytics", "2026-11-20", 120), ("analytics", "2026-11-21", 100)]


def test_the_day_that_was_read_again_is_remembered(store):
    with store.reading() as ledger:
        assert ledger.day_read_again() is None
    for day in (MIDNIGHT.date(), (MIDNIGHT + DAY).date()):
        store.keep_analytics(read_again=day)
        with store.reading() as ledger:
            assert ledger.day_read_again() == day


def test_nothing_of_it_is_written_where_part_of_it_fails(store):
    def fail(_connection, _cursor, statement, *_):
        if "INTO account_day" in statement:
            raise lost_connection()

    with whenever("before_cursor_execute", fail), pytest.raises(StoreError):
        store.keep_analytics([told(hour(1))], [AccountDay(MIDNIGHT.date(), 1, 1, NOON)])
    assert (held(store), days(store)) == ([], [])


def test_generations_are_known_whether_they_wait_or_have_settled(store):
    store.hand_in([handed("waits"), handed("runs")], POLICY, NOON)
    settle(store, settled("runs"), settled("ran"))
    with store.reading() as ledger:
        assert ledger.known_generations(["waits", "runs", "ran", "new"]) == {"waits", "runs", "ran"}
        assert ledger.known_generations([]) == set()


def test_what_has_not_settled_is_told_apart_by_the_quarter_hour_it_lies_in(store):
    parts = [("a", 0), ("b", 14), ("c", 15), ("d", 16)]
    store.hand_in(
        [handed(name, key="laptop", created_at=NOON + n * MINUTE, credits_nanos=n) for name, n in parts], POLICY, NOON
    )
    with store.reading() as ledger:
        by_window = ledger.unsettled_by_window(EVER)
        (together,) = ledger.unsettled(EVER)
    assert [(start, total.generations, total.known_credits_nanos) for start, total in by_window] == [
        (NOON, 2, 14),
        (NOON + 15 * MINUTE, 2, 31),
    ]
    assert (together.generations, together.known_credits_nanos) == (4, 45)
