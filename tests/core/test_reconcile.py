"""The books of a day: what counters tell and generations do not explain has names, and the names add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import reconcile
from reckon.core.generations import CallPlace, CallTotal, GenerationState, UnsettledTotal
from reckon.core.reasons import TOLERANCE_NANOS, Reason
from reckon.core.reconcile import Books, DayFound
from reckon.core.records import Counter, Counters, KeyState, Meter, Reading
from reckon.core.tokens import UNKNOWN
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from tests.builders import HOUR, MINUTE, at, day, key_hash, usd

TODAY = date(2026, 11, 20)
SPAN = day("2026-11-20")
NOON = at("2026-11-20 12:00")
CENT = usd("0.01")


@dataclass(frozen=True)
class Generation:
    """One generation of the day, as the ledger holds it; of one that has not settled the cost is what was told."""

    cost_nanos: int | None
    when: datetime = NOON
    key: str | None = "key"
    state: GenerationState = GenerationState.SETTLED
    byok_nanos: int = 0


def pending(cost_nanos, **how):
    return Generation(cost_nanos, state=GenerationState.PENDING, **how)


def expired(cost_nanos, **how):
    return Generation(cost_nanos, state=GenerationState.EXPIRED, **how)


def seen(opened="2026-11-01 00:00", last="2026-11-22 00:00", *, name="key"):
    """Return a key first seen at *opened* and last at *last*."""
    nothing = Counter(Reading(0, 0, 0, 0), 0, 0, 0)
    return KeyState(
        key_hash(name), "ana", name, watched=True, counters=Counters(at(opened), at(last), 1, nothing, nothing)
    )


def unseen(name="key"):
    return KeyState(key_hash(name), "ana", name, watched=True)


def books(
    *generations: Generation,
    spend: int = 0,
    correction: int = 0,
    keys: Sequence[KeyState] = (seen(),),
    span: Window = SPAN,
) -> Books:
    """Return the books of a day whose counters grew by *spend*, as the ledger would be asked for them."""
    counters = [
        KeyTotal("ana", key_hash("key"), Meter.CREDITS, spend, correction),
        # Through the team's own upstream keys: billed elsewhere.
        KeyTotal("ana", key_hash("key"), Meter.BYOK, usd(77), -usd(7)),
    ]
    stretches = reconcile.unwatched(keys, span)
    found = DayFound(
        counters=counters,
        settled=settled_in(generations, span),
        unsettled=[
            UnsettledTotal(
                "ana", each.key and key_hash(each.key), each.state, 1, each.cost_nanos or 0, each.cost_nanos is None
            )
            for each in generations
            if each.state is not GenerationState.SETTLED
        ],
        unseen={
            reason: [(name, total) for name, stretch in of_keys for total in settled_in(generations, stretch)]
            for reason, of_keys in stretches.items()
        },
    )
    return reconcile.books(TODAY, span, found)


def settled_in(generations, span):
    return [
        CallTotal(CallPlace("ana", each.key and key_hash(each.key)), 1, each.cost_nanos, each.byok_nanos, UNKNOWN)
        for each in generations
        if each.state is GenerationState.SETTLED and each.when in span
    ]


# --- Reasons, by name ------------------------------------------------------------------------------------------------


def test_a_day_that_generations_explain_wholly_has_no_reasons_and_balances():
    found = books(Generation(usd(1)), Generation(usd(2), byok_nanos=usd(50)), spend=usd(3))
    assert (found.day, found.window) == (TODAY, SPAN)
    assert (found.counters_nanos, found.settled_nanos, found.settled) == (usd(3), usd(3), 2)
    assert (found.residual_nanos, found.explained, found.unexplained_nanos) == (0, [], 0)
    assert found.is_balanced


def test_an_idle_day_balances():
    assert books().explained == []
    assert books().is_balanced
    assert books(keys=()).is_balanced


@pytest.mark.parametrize(
    ("generations", "reasons"),
    [
        ([], {Reason.NEVER_HANDED_IN: usd(3)}),
        ([Generation(usd(1))], {Reason.NEVER_HANDED_IN: usd(2)}),
        ([pending(usd(1))], {Reason.PENDING: usd(1), Reason.NEVER_HANDED_IN: usd(2)}),
        ([expired(usd(1))], {Reason.EXPIRED: usd(1), Reason.NEVER_HANDED_IN: usd(2)}),
        ([pending(usd(1)), expired(usd(2))], {Reason.PENDING: usd(1), Reason.EXPIRED: usd(2)}),
        # Nobody can tell how much of it is theirs.
        ([pending(None)], {Reason.PENDING_OR_NEVER_HANDED_IN: usd(3)}),
        ([expired(None)], {Reason.PENDING_OR_NEVER_HANDED_IN: usd(3)}),
        ([pending(usd(1)), pending(None)], {Reason.PENDING: usd(1), Reason.PENDING_OR_NEVER_HANDED_IN: usd(2)}),
        # What is pending may not have come to the counters yet, so it explains no more than they show.
        ([Generation(usd(3)), pending(usd(1))], {}),
        ([Generation(usd("2.5")), pending(usd(1))], {Reason.PENDING: usd("0.5")}),
        ([pending(usd("2.5")), expired(usd(1))], {Reason.PENDING: usd("2.5"), Reason.EXPIRED: usd("0.5")}),
        # More was settled than the counters show: no reason is known for that, and what is pending is none.
        ([Generation(usd(5))], {Reason.UNEXPLAINED: -usd(2)}),
        ([Generation(usd(5)), pending(usd(1)), pending(None)], {Reason.UNEXPLAINED: -usd(2)}),
    ],
)
def test_three_dollars_on_the_counters_are_told_apart_by_reason(generations, reasons):
    found = books(*generations, spend=usd(3))
    assert dict(found.explained) == reasons
    assert found.is_balanced == (Reason.UNEXPLAINED not in reasons)
    assert found.pending == sum(each.state is GenerationState.PENDING for each in generations)
    assert found.expired == sum(each.state is GenerationState.EXPIRED for each in generations)


def test_what_the_counters_took_back_is_a_reason_by_itself():
    found = books(Generation(usd(3)), spend=usd(3), correction=-usd(1))
    assert (found.counters_nanos, found.residual_nanos) == (usd(2), -usd(1))
    assert found.explained == [(Reason.CORRECTED, -usd(1))]
    assert found.is_balanced


# --- Stretches in which a key was not watched ------------------------------------------------------------------------


def test_generations_from_before_an_opening_in_the_middle_of_the_day_are_no_mystery():
    early = Generation(usd(4), at("2026-11-20 11:59:59"))
    late = Generation(usd(1), at("2026-11-20 12:00"))
    found = books(early, late, spend=usd(1), keys=[seen("2026-11-20 12:00")])
    assert found.explained == [(Reason.BEFORE_FIRST_POLL, -usd(4))]
    assert found.residual_nanos == -usd(4)
    assert found.is_balanced


def test_on_a_running_day_generations_since_the_last_poll_are_told_by_the_next_one():
    before = Generation(usd(1), at("2026-11-20 11:59:59"))
    since = Generation(usd(4), at("2026-11-20 12:00"))
    found = books(before, since, spend=usd(1), keys=[seen(last="2026-11-20 12:00")])
    assert found.explained == [(Reason.SINCE_LAST_POLL, -usd(4))]
    assert found.is_balanced
    again = books(before, since, spend=usd(5), keys=[seen(last="2026-11-20 12:01")])
    assert (again.explained, again.is_balanced) == ([], True)


def test_pending_generations_since_the_last_poll_unbalance_nothing():
    found = books(Generation(usd(1)), pending(usd(2)), spend=usd(1), keys=[seen(last="2026-11-20 12:01")])
    assert (found.pending, found.explained, found.is_balanced) == (1, [], True)


def test_a_key_that_was_never_seen_was_not_watched_all_day_long():
    found = books(Generation(usd(4)), keys=[unseen()])
    assert found.explained == [(Reason.BEFORE_FIRST_POLL, -usd(4))]
    assert found.is_balanced


def test_only_the_generations_of_that_very_key_were_not_watched():
    keys = [seen("2026-11-20 18:00"), seen(name="other")]
    of_the_other = Generation(usd(2), key="other")
    of_nobody_knows = Generation(usd(1), key=None)
    found = books(of_the_other, of_nobody_knows, Generation(usd(4)), spend=usd(3), keys=keys)
    assert found.explained == [(Reason.BEFORE_FIRST_POLL, -usd(4))]


@pytest.mark.parametrize(
    ("opened", "last", "early", "late"),
    [
        ("2026-11-10 00:00", "2026-11-22 00:00", None, None),
        ("2026-11-20 00:00", "2026-11-21 00:00", None, None),
        ("2026-11-20 06:00", "2026-11-20 18:00", ("00:00", "06:00"), ("18:00", "24:00")),
        ("2026-11-20 12:00", "2026-11-20 12:00", ("00:00", "12:00"), ("12:00", "24:00")),
        ("2026-11-21 00:00", "2026-11-22 00:00", ("00:00", "24:00"), None),
        ("2026-11-25 00:00", "2026-11-25 00:00", ("00:00", "24:00"), None),
        ("2026-11-10 00:00", "2026-11-20 00:00", None, ("00:00", "24:00")),
        ("2026-11-10 00:00", "2026-11-12 00:00", None, ("00:00", "24:00")),
    ],
)
def test_a_key_is_not_watched_before_it_was_first_seen_and_after_it_was_last_seen(opened, last, early, late):
    def stretch(edges):
        start, end = edges
        return Window(*(SPAN.end if clock == "24:00" else at(f"2026-11-20 {clock}") for clock in (start, end)))

    assert reconcile.unwatched([seen(opened, last)], SPAN) == {
        Reason.BEFORE_FIRST_POLL: [(key_hash("key"), stretch(early))] if early else [],
        Reason.SINCE_LAST_POLL: [(key_hash("key"), stretch(late))] if late else [],
    }


# --- Whatever was found ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unexplained", "balances"), [(0, True), (CENT, True), (CENT + 1, False), (usd(1), False)])
def test_books_balance_when_what_has_no_name_is_a_cent_at_most(unexplained, balances):
    found = books(Generation(usd(3) + unexplained), spend=usd(3))
    assert found.unexplained_nanos == -unexplained
    assert found.is_balanced is balances


NANOS = st.integers(0, 10**10)
GENERATIONS = st.lists(
    st.builds(
        lambda cost, state, **rest: Generation(
            cost or 0 if state is GenerationState.SETTLED else cost, state=state, **rest
        ),
        cost=st.none() | NANOS,
        state=st.sampled_from(GenerationState),
        when=st.integers(0, 24 * 60 - 1).map(lambda minutes: SPAN.start + minutes * MINUTE),
        key=st.sampled_from(["key", "other", None]),
    ),
    max_size=8,
)
SIGHTS = st.integers(-48, 48).map(lambda hours: SPAN.start + hours * HOUR)
WATCHED = st.tuples(SIGHTS, SIGHTS).map(sorted) | st.none()


@given(GENERATIONS, NANOS, st.integers(-(10**9), 0), WATCHED, WATCHED)
def test_reasons_always_add_up_to_the_residual_and_what_has_none_decides(generations, spend, correction, first, second):
    keys = [
        seen(*(sight.isoformat()[:-6] for sight in sights), name=name) if sights else unseen(name)
        for name, sights in (("key", first), ("other", second))
    ]
    found = books(*generations, spend=spend, correction=correction, keys=keys)
    settled = [each for each in generations if each.state is GenerationState.SETTLED]
    told = dict(found.explained)

    assert found.residual_nanos == spend + correction - sum(each.cost_nanos for each in settled)
    assert sum(told.values()) == found.residual_nanos
    assert len(told) == len(found.explained)
    assert 0 not in told.values()
    assert found.is_balanced == (abs(told.get(Reason.UNEXPLAINED, 0)) <= TOLERANCE_NANOS)
    for reason, sign in SIGNS.items():
        assert told.get(reason, 0) * sign >= 0
    # Only one of them says what became of the remainder.
    assert len({*told} & {Reason.NEVER_HANDED_IN, Reason.PENDING_OR_NEVER_HANDED_IN, Reason.UNEXPLAINED}) <= 1
    # Nothing is said to be pending while more has settled than the counters show.
    assert not (Reason.UNEXPLAINED in told and {Reason.PENDING, Reason.EXPIRED} & {*told})


SIGNS = {
    Reason.PENDING: 1,
    Reason.EXPIRED: 1,
    Reason.BEFORE_FIRST_POLL: -1,
    Reason.SINCE_LAST_POLL: -1,
    Reason.CORRECTED: -1,
    Reason.NEVER_HANDED_IN: 1,
    Reason.PENDING_OR_NEVER_HANDED_IN: 1,
    Reason.UNEXPLAINED: -1,
}
