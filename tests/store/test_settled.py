"""Settled generations: each counted once, whatever crashes, and every sum the same by whichever way it is made."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.generations import GenerationState
from reckon.core.tokens import TokenPools
from reckon.core.windows import CalendarUnit, Window, calendar
from reckon.errors import StoreError
from reckon.store import open_store
from tests.builders import DAY, HOUR, SECOND, at, key_hash, watched
from tests.store.calling import (
    EVER,
    NOON,
    POLICY,
    claim,
    differences,
    handed,
    later,
    listed,
    settle,
    settled,
    totals,
)
from tests.store.faults import failing, lost_connection, whenever

BERLIN, KATHMANDU, LORD_HOWE = (ZoneInfo(key) for key in ("Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"))
ROLLED_UP = ("owner", "model", "requested_model")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def rows_of(store, table):
    with store.reading() as ledger:
        return sorted(map(tuple, ledger.connection.exec_driver_sql(f"SELECT * FROM {table}")), key=repr)  # noqa: S608 - our own words


# --- Once ----------------------------------------------------------------------------------------------------------


def test_a_settled_generation_is_listed_with_all_that_is_known_of_it(store):
    store.hand_in([handed("a", key="key")], POLICY, NOON, [watched()])
    facts = {"requested_model": "openrouter/auto", "provider": "Host", "app": "App", "session": "s"}
    generation = settled("a", 1_000, key="key", byok_nanos=20, **facts)

    settle(store, generation)

    (call,) = listed(store)
    assert call.facts == generation.facts
    assert (call.id, call.owner, call.key_hash, call.key_name) == ("a", "ana", key_hash("key"), "key")
    assert (call.state, call.expired) == (GenerationState.SETTLED, None)
    assert claim(store, NOON + DAY) == []


def test_what_is_not_known_stays_unknown_and_is_not_nothing(store):
    settle(store, settled("a", model=None, pools=TokenPools()), settled("b", model="z/served"))

    (unknown,) = (call for call in listed(store) if call.id == "a")
    assert (unknown.facts.model, unknown.facts.session, unknown.facts.pools) == (None, None, TokenPools())
    assert totals(store, ["model"]) == {(None,): (1, 1_000, 0), ("z/served",): (1, 1_000, 0)}
    assert totals(store, ["model", "session"]) == {(None, None): (1, 1_000, 0), ("z/served", None): (1, 1_000, 0)}


def test_settling_again_at_the_same_cost_changes_nothing(store):
    settle(store, settled("a"), settled("b"))
    before = [rows_of(store, table) for table in ("generation", "generation_total", "generation_month")]

    settle(store, later(settled("a"), DAY), settled("b"))

    assert [rows_of(store, table) for table in ("generation", "generation_total", "generation_month")] == before
    assert rows_of(store, "generation_correction") == []


def test_a_cost_that_later_differs_is_corrected_where_the_call_was_made(store):
    settle(store, settled("a", 1_000, byok_nanos=10), settled("b", 500))
    settle(store, later(settled("a", 700, byok_nanos=15), 40 * DAY))
    settle(store, later(settled("a", 900), 80 * DAY))

    day = Window(at("2026-11-20 00:00"), at("2026-11-21 00:00"))
    assert len(rows_of(store, "generation")) == 2
    assert [row[2:] for row in rows_of(store, "generation_correction")] == [(-300, 5), (200, -15)]
    assert totals(store, ["owner"], span=day) == totals(store, ["owner"]) == {("ana",): (2, 1_400, 0)}
    assert totals(store, ["owner", "session"], span=day) == {("ana", None): (2, 1_400, 0)}
    assert {call.id: call.facts.credits_nanos for call in listed(store)} == {"a": 900, "b": 500}
    assert differences(store) == []


def test_a_corrected_cost_that_is_found_once_more_is_not_corrected_again(store):
    settle(store, settled("a", 1_000))
    again = later(settled("a", 700), HOUR)
    settle(store, again)
    settle(store, again)
    settle(store, later(again, HOUR))

    assert len(rows_of(store, "generation_correction")) == 1
    assert totals(store) == {(): (1, 700, 0)}


def test_a_crash_while_settling_leaves_everything_pending_and_the_next_try_settles_it_once(store):
    store.hand_in([handed("a"), handed("b")], POLICY, NOON)
    settle(store, settled("old", 1_000))
    before = listed(store)
    for number in range(60):
        with failing("before_cursor_execute", number, lost_connection(), times=100) as raised:
            try:
                settle(store, settled("a"), settled("b"), later(settled("old", 900), HOUR))
            except StoreError as refusal:
                assert "the connection was lost" in str(refusal)  # noqa: PT017 - it may also succeed
        if not raised:
            break
        assert listed(store) == before
        assert totals(store) == {(): (1, 1_000, 0)}

    assert number > 8
    assert totals(store) == {(): (3, 2_900, 0)}
    assert claim(store, NOON + HOUR) == []
    assert differences(store) == []


def test_a_commit_whose_answer_was_lost_counts_nothing_twice(store):
    store.hand_in([handed("a")], POLICY, NOON)
    with failing("commit", 0, lost_connection()) as raised:
        settle(store, settled("a"))

    assert raised
    assert totals(store) == {(): (1, 1_000, 0)}
    assert differences(store) == []


def test_settling_is_a_few_statements_whatever_the_number_of_generations(store):
    def statements(count):
        names = [f"{count}-{n}" for n in range(count)]
        store.hand_in([handed(name) for name in names], POLICY, NOON)
        executed = []
        with whenever("before_cursor_execute", lambda *_: executed.append(None)):
            settle(store, *(settled(name, model=f"model/{name}") for name in names))
        return len(executed)

    statements(1)
    assert statements(10) == statements(300) < 40


# --- Reports -------------------------------------------------------------------------------------------------------


def test_calls_are_listed_dearest_first_whatever_their_state_and_no_more_than_wanted(store):
    store.hand_in([handed("told", credits_nanos=50), handed("unknown")], POLICY, NOON)
    settle(store, settled("cheap", 10), settled("byok", 10, byok_nanos=90), settled("dear", 70))
    settle(store, later(settled("cheap", 60), HOUR))
    settle(store, settled("elsewhere", 99, when=NOON + DAY))

    span = Window(NOON, NOON + DAY)
    assert [call.id for call in listed(store, span)] == ["byok", "dear", "cheap", "told", "unknown"]
    assert [call.id for call in listed(store, span, 2)] == ["byok", "dear"]
    assert listed(store, Window(NOON - DAY, NOON)) == []


def test_calls_are_told_apart_by_exactly_what_is_asked_for(store):
    store.hand_in([handed("x", key="one"), handed("y", key="two")], POLICY, NOON, [watched("one"), watched("two")])
    settle(
        store,
        settled("a", 1, key="one", requested_model="auto", provider="P", app="A", session="s"),
        settled("b", 2, key="two", requested_model="auto", provider="Q", app="A", session="t"),
        settled("c", 4, owner="ben", provider="P", session="s"),
    )

    assert totals(store, ["key_hash"]) == {
        (key_hash("one"),): (1, 1, 0),
        (key_hash("two"),): (1, 2, 0),
        (None,): (1, 4, 0),
    }
    assert totals(store, ["provider"]) == {("P",): (2, 5, 0), ("Q",): (1, 2, 0)}
    assert totals(store, ["app", "requested_model"]) == {("A", "auto"): (2, 3, 0), (None, None): (1, 4, 0)}
    assert totals(store, ["owner", "session"]) == {
        ("ana", "s"): (1, 1, 0),
        ("ana", "t"): (1, 2, 0),
        ("ben", "s"): (1, 4, 0),
    }
    assert totals(store) == {(): (3, 7, 0)}
    assert totals(store, span=Window(NOON + SECOND, NOON + DAY)) == {}


@pytest.mark.parametrize("fields", [("owner",), ("owner", "session")], ids=["from rollups", "from rows"])
def test_a_pool_is_unknown_as_soon_as_one_of_its_parts_is(store, fields):
    known, partly = TokenPools(1, 2, 3, 4, 5, 6), TokenPools(10, 20, 30, None, 50, 60)
    settle(store, settled("a", pools=known))
    settle(store, settled("b", pools=partly), settled("c", pools=known, owner="ben"))
    settle(store, settled("d", pools=known))

    with store.reading() as ledger:
        (found,) = ledger.call_totals([(None, EVER)], frozenset(fields), ZoneInfo("UTC"))

    assert {total.place.owner: total.pools for total in found} == {
        "ana": TokenPools(12, 24, 36, None, 60, 72),
        "ben": known,
    }


@pytest.mark.parametrize("fields", [("owner",), ("owner", "session")], ids=["from rollups", "from rows"])
@pytest.mark.parametrize("spans", [[EVER], [Window(NOON - DAY, NOON + DAY), EVER]], ids=["one span", "several"])
def test_the_generations_of_some_owners_are_theirs_alone(store, fields, spans):
    settle(store, settled("a", 1_000), settled("b", 5, owner="ben"), settled("c", 7, owner="cleo"))
    settle(store, later(settled("b", 4, owner="ben"), HOUR))

    with store.reading() as ledger:
        pieces = [(None, span) for span in spans]
        found = ledger.call_totals(pieces, frozenset(fields), ZoneInfo("UTC"), ["ben", "cleo", "nobody"])
        nobodys = ledger.call_totals(pieces, frozenset(fields), ZoneInfo("UTC"), [])

    for totals_of_span in found:
        assert {total.place.owner: total.credits_nanos for total in totals_of_span} == {"ben": 4, "cleo": 7}
    assert nobodys == [[] for _ in spans]


def test_whole_days_are_read_from_rollups_and_nothing_else_is(store):
    settle(store, settled("a", when=at("2026-11-20 10:00")), settled("b", when=at("2026-11-21 10:00")))
    # Only the sums know of this money, so whoever finds it has read them.
    with store._writer.begin() as connection:
        for table in ("generation_total", "generation_month"):
            connection.exec_driver_sql(f"UPDATE {table} SET credits_nanos = credits_nanos + 1000000")  # noqa: S608 - our own words

    def read(start, end, *fields, **zone):
        (amounts,) = totals(store, fields, span=Window(at(start), at(end)), **zone).values()
        return amounts[1]

    assert read("2026-11-20 00:00", "2026-11-21 00:00", "owner") == 1_001_000
    assert read("2026-11-20 06:00", "2026-11-22 00:00", "model") == 1_002_000
    assert read("2026-11-01 00:00", "2026-12-01 00:00") == 1_002_000
    assert read("2026-11-20 06:00", "2026-11-21 00:00", "owner") == 1_000
    assert read("2026-11-20 00:00", "2026-11-21 00:00", "owner", "provider") == 1_000
    assert read("2026-11-20 00:00", "2026-11-21 00:00", "owner", zone=BERLIN) == 1_000


# --- Rollups -------------------------------------------------------------------------------------------------------


def test_rollups_follow_the_zone_and_stay_as_they_are_while_it_does(store):
    settle(store, settled("a", when=at("2026-11-30 23:30")))
    in_utc = rows_of(store, "generation_month")

    store.keep_rollups_in(ZoneInfo("UTC"))
    assert rows_of(store, "generation_month") == in_utc
    store.keep_rollups_in(BERLIN)

    assert rows_of(store, "generation_month") != in_utc
    assert differences(store) == []
    december = Window(at("2026-11-30 23:00"), at("2026-12-31 23:00"))
    assert totals(store, ["owner"], span=december, zone=BERLIN) == {("ana",): (1, 1_000, 0)}


def test_a_change_of_zone_that_is_killed_leaves_the_rollups_of_the_old_one(store):
    settle(store, settled("a", when=at("2026-11-30 23:30")), settled("b", when=at("2026-11-02 23:30")))
    before = rows_of(store, "generation_total")
    for number in range(200):
        with failing("before_cursor_execute", number, lost_connection(), times=100) as raised:
            try:
                store.keep_rollups_in(KATHMANDU)
            except StoreError as refusal:
                assert "the connection was lost" in str(refusal)  # noqa: PT017 - it may also succeed
        if not raised:
            break
        assert rows_of(store, "generation_total") == before

    assert number > 8
    assert rows_of(store, "generation_total") != before
    assert differences(store) == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE generation_total SET credits_nanos = credits_nanos + 1",
        "UPDATE generation_month SET generations = generations + 1",
        "UPDATE generation_total SET start = start + 86400 * 400",
        "UPDATE generation_month SET cache_write_tokens = 7",
        "DELETE FROM generation_total",
        "DELETE FROM generation",
        "DELETE FROM generation_correction",
    ],
)
def test_every_way_in_which_rollups_can_be_wrong_is_found(store, damage):
    settle(store, settled("a", 1_000), settled("b", 5, owner="ben", when=NOON + DAY))
    settle(store, later(settled("a", 900), HOUR))
    assert differences(store) == []

    with store._writer.begin() as connection:
        connection.exec_driver_sql(damage)

    found = differences(store)
    assert found
    assert {difference.subject for difference in found} <= {"ana", "ben"}
    assert all("z/served" in difference.what for difference in found)


instants = st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 10)).map(  # noqa: DTZ001 - the zone follows
    lambda when: when.replace(microsecond=0, tzinfo=UTC)
)
pools = st.builds(TokenPools, *(st.none() | st.integers(0, 99) for _ in range(6)))
lives = st.lists(
    st.tuples(
        st.integers(0, 7),  # which of a few, so that some settle again
        instants,
        st.integers(0, 10**9),
        st.none() | st.integers(0, 10**6),
        st.sampled_from(["ana", "ben"]),
        st.sampled_from([None, "a/b", "c/d"]),
        st.sampled_from([None, "openrouter/auto"]),
        st.sampled_from([None, "s"]),
        pools,
    ),
    max_size=12,
)
zones = st.sampled_from([ZoneInfo("UTC"), BERLIN, KATHMANDU, LORD_HOWE])


def test_every_sum_is_that_of_the_generations_however_they_came_and_whatever_the_zone(store):
    @settings(max_examples=settings.default.max_examples // 4)
    @given(batches=st.lists(st.tuples(lives, zones), max_size=4), zone=zones, edges=st.tuples(instants, instants))
    def every_sum(batches, zone, edges):
        _forget_everything(store)
        kept = {}
        for hours, (lived, of_zone) in enumerate(batches, 1):
            found = [
                later(
                    settled(
                        str(number),
                        nanos,
                        owner=owner,
                        when=when - hours * HOUR,
                        byok_nanos=byok,
                        model=model,
                        requested_model=requested,
                        session=session,
                        pools=told,
                    ),
                    hours * HOUR,
                )
                for number, when, nanos, byok, owner, model, requested, session, told in lived
            ]
            settle(store, *found, zone=of_zone)
            for generation in {each.id: each for each in found}.values():
                first = kept.setdefault(generation.id, generation)
                cost = {name: getattr(generation.facts, name) for name in ("credits_nanos", "byok_nanos")}
                kept[generation.id] = replace(first, facts=replace(first.facts, **cost))
        store.keep_rollups_in(zone)
        assert differences(store) == []

        span = Window(min(edges), max(edges))
        pieces = [(None, span), (None, EVER), *calendar(span, CalendarUnit.DAY, zone)]
        with store.reading() as ledger:
            for fields in ((), ("owner",), ROLLED_UP, (*ROLLED_UP, "session")):
                answers = ledger.call_totals(pieces, frozenset(fields), zone)
                for (_, window), answer in zip(pieces, answers, strict=True):
                    told = {tuple(getattr(total.place, name) for name in fields): total for total in answer}
                    assert Counter({place: total.generations for place, total in told.items()}) == Counter(
                        _place(generation, fields) for generation in kept.values() if _made(generation) in window
                    )
                    for place, total in told.items():
                        those = [
                            generation
                            for generation in kept.values()
                            if _made(generation) in window and _place(generation, fields) == place
                        ]
                        assert total.credits_nanos == sum(each.facts.credits_nanos for each in those)
                        assert total.byok_nanos == sum(each.facts.byok_nanos or 0 for each in those)
                        assert total.pools == _pools(each.facts.pools for each in those)

    every_sum()


def _forget_everything(store):
    with store._writer.begin() as connection:
        for table in ("generation", "generation_correction", "generation_total", "generation_month", "meta"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - our own words


def _made(generation):
    return generation.facts.created_at


def _place(generation, fields):
    named = {"owner": generation.owner}
    return tuple(named.get(name) or getattr(generation.facts, name) for name in fields)


def _pools(told):
    by_pool = zip(*([getattr(each, name) for name in TokenPools.__slots__] for each in told), strict=True)
    return TokenPools(*(None if None in counts else sum(counts) for counts in by_pool))
