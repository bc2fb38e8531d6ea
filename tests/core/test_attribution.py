"""Attribution: counters say how much, generations say on what, and what nobody can tell is one row and never spread."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations
from operator import add
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import attribution, reports
from reckon.core.generations import CallPlace, CallTotal, GenerationState, UnsettledTotal
from reckon.core.records import UNOWNED, Amounts, KeyState, Meter, TotalState
from reckon.core.reports import Dimension, Ledger, OwnerMap
from reckon.core.tokens import TokenPools
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from tests.builders import HOUR, Book, at, key_hash, snapshot, total_of, usd, watched

REST = "(not resolved)"
TEAMS = {"ana": "red", "bo": "red", "cy": None}
KEYS = {"a1": "ana", "a2": "ana", "b1": "bo", "c1": "cy", "stray": UNOWNED}
OWNER_MAP = OwnerMap(TEAMS, [(owner, name) for name, owner in KEYS.items() if owner != UNOWNED])
NAMES = {key_hash(name): name for name in KEYS}

NOON = at("2026-11-20 12:00")
DAY = Window(at("2026-11-20 00:00"), at("2026-11-21 00:00"))
LATER = at("2026-11-22 00:00")
HOURS = [
    (start.isoformat(), Window(start, start + HOUR)) for start in (at(f"2026-11-20 {hour}:00") for hour in (10, 11, 12))
]

OWNERS_AND_KEYS = (Dimension.OWNER, Dimension.TEAM, Dimension.KEY)
OF_CALLS = (Dimension.MODEL, Dimension.REQUESTED_MODEL, Dimension.PROVIDER, Dimension.APP, Dimension.SESSION)
CUTS = [
    [*places, *time, *of_calls]
    for size in range(len(OWNERS_AND_KEYS) + 1)
    for places in combinations(OWNERS_AND_KEYS, size)
    for time in ([], [Dimension.HOUR])
    for of_calls in ([], [Dimension.MODEL], [Dimension.SESSION], [Dimension.MODEL, Dimension.REQUESTED_MODEL])
    if places or time or of_calls
]

ONE_OF_EACH = TokenPools(1, 1, 1, 1, 1, 1)


@dataclass(frozen=True)
class Generation:
    """One generation as the ledger holds it; `hour` counts the pieces of a report by the hour."""

    owner: str = "ana"
    key: str | None = "a1"
    model: str | None = "maker/small"
    requested_model: str | None = None
    session: str | None = None
    hour: int = 0
    credits_nanos: int = 0
    byok_nanos: int = 0
    pools: TokenPools = ONE_OF_EACH
    state: GenerationState = GenerationState.SETTLED


@dataclass(frozen=True)
class Spent:
    """What one key spent in one hour, under the owner who held it then."""

    owner: str
    key: str
    hour: int
    amounts: Amounts


def asked(by: Sequence[Dimension], spent: Sequence[Spent], generations: Sequence[Generation], keys=KEYS):
    """Return the report as the ledger would be asked for it."""
    timed = Dimension.HOUR in by
    pieces = HOURS if timed else [(None, DAY)]
    of_counters = [dimension for dimension in by if dimension not in OF_CALLS]
    ledger = Ledger(
        [KeyState(key_hash(name), owner, name, watched=True) for name, owner in keys.items()],
        pieces,
        [
            [total for one in spent if not timed or one.hour == number for total in key_totals(one)]
            for number in range(len(pieces))
        ],
        gaps=[],
    )
    report = reports.spend(ledger, OWNER_MAP, of_counters, DAY, zone=ZoneInfo("UTC"), now=LATER)
    inside = [[each for each in generations if not timed or each.hour == number] for number in range(len(pieces))]
    names = [name for name, _ in pieces]
    fields = attribution.fields_to_read(by)
    calls = [*zip(names, [call_totals(each, fields) for each in inside], strict=True)]
    unsettled = [*zip(names, [unsettled_totals(each) for each in inside], strict=True)]
    return report, attribution.explain(report, by, calls, unsettled, OWNER_MAP)


def key_totals(spent):
    amounts = spent.amounts
    yield KeyTotal(spent.owner, key_hash(spent.key), Meter.CREDITS, amounts.spend_nanos, amounts.correction_nanos)
    yield KeyTotal(spent.owner, key_hash(spent.key), Meter.BYOK, amounts.byok_nanos, amounts.byok_correction_nanos)


def call_totals(generations, fields):
    """Return the settled ones grouped by exactly *fields*, as the store does."""
    groups = defaultdict(list)
    for each in generations:
        if each.state is GenerationState.SETTLED:
            told = replace(place_of(each), **dict.fromkeys({*CallPlace.__slots__} - fields))
            groups[told].append(each)
    return [
        CallTotal(
            place,
            len(group),
            sum(each.credits_nanos for each in group),
            sum(each.byok_nanos for each in group),
            reduce(add, [each.pools for each in group]),
        )
        for place, group in groups.items()
    ]


def unsettled_totals(generations):
    return [
        UnsettledTotal(each.owner, each.key and key_hash(each.key), each.state, 1, 0, 1)
        for each in generations
        if each.state is not GenerationState.SETTLED
    ]


def place_of(generation):
    return CallPlace(
        owner=generation.owner,
        key_hash=generation.key and key_hash(generation.key),
        model=generation.model,
        requested_model=generation.requested_model,
        session=generation.session,
    )


def figures(report):
    return [(*row.place.values(), row.amounts.spend_nanos) for row in report.rows]


# --- The model: what each row is to hold, from the events alone ------------------------------------------------------


def row_name(by, owner, key, hour, of_calls):
    """Return what names the row: (owner, team, key, hour, names of calls), each None unless asked for."""
    by_key = Dimension.KEY in by
    return (
        owner if Dimension.OWNER in by else None,
        TEAMS.get(owner) if Dimension.TEAM in by and not by_key else None,
        key if by_key else None,
        HOURS[hour][0] if Dimension.HOUR in by else None,
        of_calls,
    )


def tells(by, generation):
    """Return whether *generation* says whose it is as exactly as the report wants to know."""
    if Dimension.KEY in by and generation.key is None:
        return False
    # Summed by owner alone, a key that nobody owns is not told from no key at all.
    nobodys = generation.owner == UNOWNED and (Dimension.KEY not in by or generation.key is None)
    return not (nobodys and {Dimension.OWNER, Dimension.TEAM} & {*by})


def expected(by, spent, generations):
    """Return (credits, byok, generations) of each row that is not empty."""
    of_calls = [dimension for dimension in by if dimension in OF_CALLS]
    rows = defaultdict(lambda: (0, 0, 0))

    def put(name, credits_nanos, byok_nanos, number):
        rows[name] = tuple(map(add, rows[name], (credits_nanos, byok_nanos, number)))

    rest = tuple(REST for _ in of_calls)
    for one in spent:
        put(row_name(by, one.owner, one.key, one.hour, rest), one.amounts.spend_nanos, one.amounts.byok_nanos, 0)
    for each in generations:
        if not tells(by, each):
            continue
        names = tuple(getattr(each, dimension.value) for dimension in of_calls)
        put(row_name(by, each.owner, each.key, each.hour, names), each.credits_nanos, each.byok_nanos, 1)
        # What it explains leaves the rest; where nothing is divided both are the same row, and no money moves.
        put(row_name(by, each.owner, each.key, each.hour, rest), -each.credits_nanos, -each.byok_nanos, 0)
    return {name: figures for name, figures in rows.items() if any(figures)}


def found(by, report):
    rows = Counter()
    told = {}
    for row in report.rows:
        names = tuple(row.place[dimension] for dimension in by if dimension in OF_CALLS)
        name = (
            row.place.get(Dimension.OWNER),
            None if Dimension.KEY in by else row.place.get(Dimension.TEAM),
            NAMES.get(row.key_hash),
            row.place.get(Dimension.HOUR),
            names,
        )
        is_unmet = Dimension.KEY in by and row.key_hash is None
        rows[name] += not is_unmet
        told[name] = (row.amounts.spend_nanos, row.amounts.byok_nanos, row.generations or 0)
        assert row.generations != 0
    assert max(rows.values(), default=1) == 1, "two rows are about the same thing"
    return {name: figures for name, figures in told.items() if any(figures)}


NANOS = st.integers(0, 10**10)
SPENT = st.builds(
    lambda key, owner, hour, amounts: Spent(owner or KEYS[key], key, hour, Amounts(*amounts)),
    st.sampled_from([*KEYS]),
    st.sampled_from([None, None, "ana", "bo", UNOWNED]),  # a key may have moved
    st.integers(0, 2),
    st.tuples(NANOS, st.integers(-(10**9), 0), NANOS, st.integers(-(10**9), 0)),
)
SETTLED = st.builds(
    lambda key, owner, **rest: Generation(owner=owner or KEYS.get(key, UNOWNED), key=key, **rest),
    key=st.sampled_from([*KEYS, None]),
    owner=st.sampled_from([None, None, "ana", "cy", UNOWNED]),
    model=st.sampled_from(["maker/small", "maker/large", None]),
    requested_model=st.sampled_from(["router/auto", None]),
    session=st.sampled_from(["nightly", None]),
    hour=st.integers(0, 2),
    credits_nanos=NANOS,
    byok_nanos=NANOS,
)


@given(st.sampled_from(CUTS), st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_rows_always_add_up_to_what_the_counters_tell(by, spent, generations):
    report, divided = asked(by, spent, generations)
    everything = total_of(one.amounts for one in spent)
    assert divided.total == report.total == everything
    assert total_of(row.amounts for row in divided.rows) == everything
    assert divided.by == by
    assert all([*row.place] == by for row in divided.rows)


@given(st.sampled_from(CUTS), st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_every_row_holds_what_the_events_alone_would_put_there(by, spent, generations):
    assert found(by, asked(by, spent, generations)[1]) == expected(by, spent, generations)


@given(st.sampled_from(CUTS), st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_no_generation_is_counted_twice_and_none_that_says_whose_it_is_is_left_out(by, spent, generations):
    _, divided = asked(by, spent, generations)
    counted = sum(row.generations or 0 for row in divided.rows)
    assert counted == sum(tells(by, each) for each in generations)


@given(st.sampled_from(CUTS), st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_the_rest_is_one_row_at_most_of_each_owner_key_and_time(by, spent, generations):
    _, divided = asked(by, spent, generations)
    of_calls = [dimension for dimension in by if dimension in OF_CALLS]
    rests = Counter()
    for row in divided.rows:
        is_rest = bool(of_calls) and all(row.place[dimension] == REST for dimension in of_calls)
        assert row.is_residual == is_rest
        assert REST not in [row.place[dimension] for dimension in of_calls] or is_rest
        others = tuple(name for dimension, name in row.place.items() if dimension not in of_calls)
        rests[*others, row.key_hash] += is_rest
    assert max(rests.values(), default=0) <= 1


@given(st.sampled_from(CUTS), st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_rows_are_in_the_order_of_time_and_those_of_one_place_dearest_first_with_the_rest_last(by, spent, generations):
    _, divided = asked(by, spent, generations)
    pieces = [name for name, _ in HOURS]
    times = [pieces.index(row.place[Dimension.HOUR]) for row in divided.rows if Dimension.HOUR in by]
    assert times == sorted(times)
    groups = []
    for row in divided.rows:
        place = [name for dimension, name in row.place.items() if dimension not in OF_CALLS] + [row.key_hash]
        if not groups or groups[-1][0] != place:
            groups.append((place, []))
        groups[-1][1].append((row.is_residual, -row.amounts.spend_nanos, -row.amounts.byok_nanos))
    if {*by} & {*OF_CALLS}:
        assert all(rows == sorted(rows) for _, rows in groups)
        met = [place for place, _ in groups if place[-1] or Dimension.KEY not in by]
        assert len(met) == len({*map(tuple, met)})  # the rows of one place stand together


@given(st.lists(SPENT, max_size=8), st.lists(SETTLED, max_size=12))
def test_pools_of_a_row_are_those_of_its_generations_and_the_rest_has_none(spent, generations):
    _, divided = asked([Dimension.MODEL], spent, generations)
    told = {row.place[Dimension.MODEL]: row.pools for row in divided.rows}
    assert told.pop(REST, None) is None
    count = Counter(each.model for each in generations)
    assert told == {model: reduce(add, [ONE_OF_EACH] * number) for model, number in count.items()}


# --- Whose a generation is -------------------------------------------------------------------------------------------

ANA = Spent("ana", "a1", 0, Amounts(spend_nanos=usd(5), byok_nanos=usd(1)))
BO = Spent("bo", "b1", 0, Amounts(spend_nanos=usd(3)))


def test_what_settled_generations_do_not_explain_is_one_row_with_its_name():
    generations = [
        Generation(credits_nanos=usd(1)),
        Generation(model="maker/large", credits_nanos=usd(3), byok_nanos=usd(1)),
        Generation(credits_nanos=usd("0.5")),
    ]
    _, report = asked([Dimension.OWNER, Dimension.MODEL], [ANA, BO], generations)
    assert figures(report) == [
        ("ana", "maker/large", usd(3)),
        ("ana", "maker/small", usd("1.5")),
        ("ana", REST, usd("0.5")),
        ("bo", REST, usd(3)),
        ("cy", REST, 0),
    ]
    assert [row.amounts.byok_nanos for row in report.rows] == [usd(1), 0, 0, 0, 0]
    assert [row.generations for row in report.rows] == [1, 2, None, None, None]


def test_where_all_is_explained_there_is_no_rest():
    _, report = asked([Dimension.MODEL], [BO], [Generation(owner="bo", key="b1", credits_nanos=usd(3))])
    assert figures(report) == [("maker/small", usd(3))]


def test_a_counter_that_lags_behind_makes_a_rest_below_zero():
    _, report = asked([Dimension.MODEL], [BO], [Generation(owner="bo", key="b1", credits_nanos=usd(4))])
    assert figures(report) == [("maker/small", usd(4)), (REST, -usd(1))]


def test_a_correction_belongs_to_no_generation():
    corrected = replace(BO, amounts=Amounts(spend_nanos=usd(3), correction_nanos=-usd(1)))
    _, report = asked([Dimension.MODEL], [corrected], [Generation(owner="bo", key="b1", credits_nanos=usd(3))])
    assert [(row.place[Dimension.MODEL], row.amounts) for row in report.rows] == [
        ("maker/small", Amounts(spend_nanos=usd(3))),
        (REST, Amounts(correction_nanos=-usd(1))),
    ]


@pytest.mark.parametrize("by", [[Dimension.OWNER], [Dimension.TEAM], [Dimension.KEY], [Dimension.OWNER, Dimension.KEY]])
def test_a_generation_of_nobody_explains_nothing_where_owners_or_keys_are_told_apart(by):
    nobodys = Generation(owner=UNOWNED, key=None, credits_nanos=usd(2))
    stray = Spent(UNOWNED, "stray", 0, Amounts(spend_nanos=usd(1)))
    _, report = asked([*by, Dimension.MODEL], [ANA, BO, stray], [nobodys])
    assert {row.place[Dimension.MODEL] for row in report.rows} == {REST}
    assert {row.generations for row in report.rows} == {None}
    _, of_everybody = asked([Dimension.MODEL], [ANA, BO, stray], [nobodys])
    assert figures(of_everybody) == [("maker/small", usd(2)), (REST, usd(7))]


def test_a_generation_whose_key_nobody_told_explains_its_owner_and_no_key():
    generation = Generation(key=None, credits_nanos=usd(2))
    _, by_owner = asked([Dimension.OWNER, Dimension.MODEL], [ANA], [generation])
    assert figures(by_owner)[:2] == [("ana", "maker/small", usd(2)), ("ana", REST, usd(3))]
    _, by_key = asked([Dimension.KEY, Dimension.MODEL], [ANA], [generation])
    assert {row.place[Dimension.MODEL] for row in by_key.rows} == {REST}


def test_a_generation_of_a_swept_key_explains_that_key():
    stray = Spent(UNOWNED, "stray", 0, Amounts(spend_nanos=usd(1)))
    generation = Generation(owner=UNOWNED, key="stray", credits_nanos=usd(1))
    _, report = asked([Dimension.KEY, Dimension.MODEL], [stray], [generation])
    assert figures(report)[0] == ("stray", "maker/small", usd(1))


def test_a_place_with_generations_and_no_spend_has_rows_that_sum_to_none():
    elsewhere = Generation(owner="gone", key=None, credits_nanos=usd(2))
    _, report = asked([Dimension.OWNER, Dimension.MODEL], [ANA], [elsewhere])
    assert [row for row in figures(report) if row[0] == "gone"] == [
        ("gone", "maker/small", usd(2)),
        ("gone", REST, -usd(2)),
    ]


@pytest.mark.parametrize("by", [[Dimension.KEY], [Dimension.TEAM, Dimension.KEY], [Dimension.OWNER, Dimension.KEY]])
def test_an_idle_hour_of_a_key_is_told_by_name_owner_and_team_as_any_other(by):
    timed = [*by, Dimension.HOUR, Dimension.MODEL]
    _, report = asked(timed, [ANA], [Generation(hour=1, credits_nanos=usd(1))])
    rows = [row for row in report.rows if row.place[Dimension.HOUR] == HOURS[1][0]]
    assert [(row.owner, row.key_hash, row.amounts.spend_nanos) for row in rows] == [
        ("ana", key_hash("a1"), usd(1)),
        ("ana", key_hash("a1"), -usd(1)),
    ]
    told = {Dimension.KEY: "a1", Dimension.TEAM: "red", Dimension.OWNER: "ana"}
    assert all(row.place[dimension] == told[dimension] for row in rows for dimension in by)
    # Of a key that no counter tells of in the whole span, its hash is all there is to call it.
    _, idle = asked(timed, [], [Generation(hour=1, credits_nanos=usd(1))])
    assert {(row.owner, row.place[Dimension.KEY]) for row in idle.rows} == {("ana", key_hash("a1"))}


# --- Counting them ---------------------------------------------------------------------------------------------------


def test_without_a_dimension_of_calls_rows_are_as_they_were_and_say_how_many_were_handed_in():
    generations = [
        Generation(credits_nanos=usd(1)),
        Generation(credits_nanos=usd(1), model="maker/large"),
        Generation(state=GenerationState.EXPIRED),
    ]
    before, report = asked([Dimension.OWNER], [ANA, BO], generations)
    assert [replace(row, generations=None) for row in report.rows] == before.rows
    assert [row.generations for row in report.rows] == [3, None, None]


def test_those_that_have_not_settled_are_counted_with_the_rest():
    generations = [
        Generation(owner="bo", key="b1", credits_nanos=usd(3)),
        Generation(owner="bo", key="b1", state=GenerationState.PENDING),
        Generation(owner="bo", key="b1", state=GenerationState.EXPIRED),
    ]
    _, report = asked([Dimension.OWNER, Dimension.MODEL], [BO], generations)
    assert [
        (row.place[Dimension.MODEL], row.generations) for row in report.rows if row.place[Dimension.OWNER] == "bo"
    ] == [
        ("maker/small", 1),
        (REST, 2),
    ]


# --- How far it can be trusted ---------------------------------------------------------------------------------------


def read_on(by, *generations):
    """Return the report of an hour that the counters of ana and bo have settled."""
    ledger = Book(watched=[watched("a1", "ana"), watched("b1", "bo")])
    for hour, total in ((11, "1"), (12, "2"), (13, "3")):
        ledger.poll(*(snapshot(f"2026-11-20 {hour}:00", total, key=key) for key in ("a1", "b1")))
    span = Window(at("2026-11-20 11:00"), at("2026-11-20 12:00"))
    found = Ledger([*ledger.keys.values()], [(None, span)], ledger.totals(span), [])
    owner_map = OwnerMap({"ana": None, "bo": None}, [("ana", "a1"), ("bo", "b1")])
    of_counters = [dimension for dimension in by if dimension not in OF_CALLS]
    report = reports.spend(found, owner_map, of_counters, span, zone=ZoneInfo("UTC"), now=LATER)
    assert report.state is TotalState.SETTLED
    calls = [(None, call_totals(generations, attribution.fields_to_read(by)))]
    return attribution.explain(report, by, calls, [(None, unsettled_totals(generations))], owner_map)


@pytest.mark.parametrize("state", GenerationState)
def test_what_a_pending_generation_may_still_move_is_provisional(state):
    report = read_on([Dimension.OWNER], Generation(state=state))
    provisional = state is GenerationState.PENDING
    assert {row.place[Dimension.OWNER]: row.state for row in report.rows} == {
        "ana": TotalState.PROVISIONAL if provisional else TotalState.SETTLED,
        "bo": TotalState.SETTLED,
    }
    assert report.state is (TotalState.PROVISIONAL if provisional else TotalState.SETTLED)


def test_a_pending_generation_of_nobody_leaves_every_row_as_it_was_and_the_total_open():
    pending = Generation(owner=UNOWNED, key=None, state=GenerationState.PENDING)
    report = read_on([Dimension.OWNER], pending)
    assert {row.state for row in report.rows} == {TotalState.SETTLED}
    assert report.state is TotalState.PROVISIONAL


def test_what_nobody_watched_stays_unknown_whatever_is_pending():
    _, report = asked([Dimension.OWNER], [], [Generation(state=GenerationState.PENDING)])
    assert {row.state for row in report.rows} == {report.state} == {TotalState.UNKNOWN}


# --- Before Reckon watched -------------------------------------------------------------------------------------------


def test_money_from_before_the_watch_stands_once_and_with_the_rest():
    ledger = Book(watched=[watched("a1", "ana")])
    ledger.poll(snapshot("2026-11-20 11:00", "9", "8", key="a1"))
    ledger.poll(snapshot("2026-11-20 12:00", "10", "9", key="a1"))
    found = Ledger([*ledger.keys.values()], [(None, DAY)], ledger.totals(DAY), [])
    report = reports.spend(found, OwnerMap({"ana": None}, []), [], DAY, zone=ZoneInfo("UTC"), now=NOON)
    for cost in ("1", "0.25"):
        calls = [(None, call_totals([Generation(credits_nanos=usd(cost))], {"owner", "model"}))]
        divided = attribution.explain(report, [Dimension.MODEL], calls, [(None, [])], OwnerMap({"ana": None}, []))
        told = {row.place[Dimension.MODEL]: row.before_watching_nanos for row in divided.rows}
        assert told == {"maker/small": 0, REST: usd(8)}
