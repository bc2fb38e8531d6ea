"""The fake's counters against a recomputation that walks the whole list of charges with a calendar of its own."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reckon.fakes.counters import Charges
from reckon.fakes.openrouter import CREDITS, KEY
from reckon.fakes.world import METERS, World
from tests.fakes.asking import ask, data_of, nanos

START = datetime(2026, 11, 26, tzinfo=UTC)
# A week's, a month's and a year's end lie ahead: 30 November 2026 and 4 January 2027 are Mondays.
BOUNDARIES = [datetime(*day, tzinfo=UTC) for day in [(2026, 11, 30), (2026, 12, 1), (2027, 1, 1), (2027, 1, 4)]]

instants = st.one_of(
    st.builds(
        lambda boundary, microseconds: boundary + timedelta(microseconds=microseconds),
        st.sampled_from(BOUNDARIES),
        st.sampled_from([-1, 0, 1]),
    ),
    st.integers(0, 45 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds)),
)
amounts = st.integers(0, 5_000_000_000)
SPANS = {
    "lifetime_nanos": lambda _: None,
    "day_nanos": lambda at: at.date(),
    "week_nanos": lambda at: at.isocalendar()[:2],
    "month_nanos": lambda at: (at.year, at.month),
}


def recomputed(charges, now):
    return {
        name: sum(amount for at, amount in charges if at <= now and span_of(at) == span_of(now))
        for name, span_of in SPANS.items()
    }


def shown(totals):
    return {name: getattr(totals, name) for name in SPANS}


@given(st.lists(st.tuples(instants, amounts), max_size=30), st.lists(instants, min_size=1, max_size=10))
def test_counters_equal_a_recomputation_at_any_instant_in_whatever_order_money_was_written_down(charges, looks):
    line = Charges()
    for at, amount in charges:
        line.add(at, amount)
    for now in looks:
        assert shown(line.totals(now)) == recomputed(charges, now)
        assert line.made_by(now) == sum(amount for at, amount in charges if at <= now)
        assert line.made_before(now) == sum(amount for at, amount in charges if at < now)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("spend"), amounts),
            st.tuples(st.just("ahead"), amounts),
            st.tuples(st.just("refund"), st.floats(0, 1)),
            st.tuples(st.just("reset"), st.none()),
            st.tuples(st.just("pass"), st.sampled_from([0, 1, 3_600, 50_000, 86_400, 400_000])),
        ),
        max_size=40,
    )
)
def test_counters_equal_a_recomputation_through_refunds_and_resets(steps):
    world = World(START)
    key = world.make_key("model")
    charges, reset_at, before_reset = [], None, 0
    for step, amount in steps:
        if step == "spend":
            world.spend(key, amount)
            charges.append((world.now, amount))
        elif step == "ahead":
            at = world.now + timedelta(hours=7)
            world.spend(key, amount, at=at)
            charges.append((at, amount))
        elif step == "refund":
            part = int(amount * sum(amount for at, amount in charges if at <= world.now))
            world.refund(key, part)
            charges.append((world.now, -part))
        elif step == "reset":
            world.reset(key)
            reset_at, before_reset = world.now, len(charges)
        else:
            world.advance(timedelta(seconds=amount))
        live = [
            charge for n, charge in enumerate(charges) if reset_at is None or n >= before_reset or charge[0] > reset_at
        ]
        expected = {name: max(0, total) for name, total in recomputed(live, world.now).items()}
        assert shown(world.totals(key)) == expected
        assert world.spent(key) == sum(amount for at, amount in charges if at <= world.now)


@given(st.lists(st.tuples(st.integers(0, 4), instants, amounts, st.sampled_from(METERS)), max_size=30), instants)
def test_credits_are_the_sum_over_all_keys_and_byok_is_none_of_them(charges, now):
    world = World(START)
    manager = world.make_key("manager", is_management_key=True)
    keys = [world.make_key(f"key {n}") for n in range(5)]
    for n, at, amount, meter in charges:
        world.spend(keys[n], amount, at=at, meter=meter)
    world.move_to(max(now, START))
    used = nanos(data_of(ask(world, CREDITS, manager))["total_usage"])
    assert used == sum(nanos(data_of(ask(world, KEY, key))["usage"]) for key in keys)
    assert used == sum(amount for _, at, amount, meter in charges if at <= now and meter == "credits")


@given(st.lists(st.tuples(instants, amounts), max_size=20), instants, instants)
def test_what_was_spent_between_two_instants_is_half_open(charges, since, until):
    since, until = min(since, until), max(since, until)
    world = World(START)
    key = world.make_key("model")
    for at, amount in charges:
        world.spend(key, amount, at=at)
    assert world.spent(key, since, until) == sum(amount for at, amount in charges if since <= at < until)
    world.move_to(max(until, START))
    assert world.spent(key) == sum(amount for at, amount in charges if at <= world.now)


def test_money_written_down_later_but_dated_before_a_restart_stays_before_it():
    line = Charges()
    line.add(START, 5)
    line.restart(START + timedelta(hours=2))
    line.add(START + timedelta(hours=3), 7)
    line.add(START + timedelta(hours=1), 11)
    assert line.totals(START + timedelta(hours=1)).lifetime_nanos == 16
    assert line.totals(START + timedelta(hours=2)).lifetime_nanos == 0
    assert line.totals(START + timedelta(hours=3)).lifetime_nanos == 7
