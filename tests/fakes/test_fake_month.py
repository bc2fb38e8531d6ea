"""The invented month: always the same, whole, and quiet until it is not."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from statistics import fmean, pstdev

import pytest

from reckon.fakes.month import RUNAWAY_OWNER, build
from reckon.fakes.world import METERS
from tests.fakes.asking import ask, data_of, nanos

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def month():
    """Only looked at: a test that lets time pass builds its own."""
    return build()


def days_of(month, owner, meter="credits"):
    return [spent for (who, _), spent in month.spent_by_owner_and_day(meter).items() if who == owner]


def test_it_is_the_same_at_every_call(month):
    again = build()
    assert again.spent_by_owner_and_day() == month.spent_by_owner_and_day()
    assert again.owners == month.owners
    assert again.world is not month.world


def test_thirty_days_end_on_a_fixed_date(month):
    assert month.starts_at == month.world.now == datetime(2026, 10, 22, tzinfo=UTC)
    assert month.last_day_starts_at == datetime(2026, 11, 20, tzinfo=UTC)
    assert month.ends_at == datetime(2026, 11, 21, tzinfo=UTC)
    days = {day for _, day in month.spent_by_owner_and_day()}
    assert days == {date(2026, 10, 22) + n * DAY for n in range(30)}


def test_five_owners_hold_ten_keys_and_no_two_the_same(month):
    keys = [key for owner in month.owners.values() for key in owner.keys]
    assert (len(month.owners), len(keys)) == (5, 10)
    assert len({name for name, _ in keys}) == len({secret for _, secret in keys}) == 10
    assert {secret for _, secret in keys} == {key.secret for key in month.world.keys}
    assert not any(secret in repr(month) for _, secret in keys)


def test_every_key_had_spent_before_and_counts_nothing_today(month):
    for key in month.world.keys:
        assert key.created_at < month.starts_at
        totals = month.world.totals(key)
        assert totals.lifetime_nanos > totals.month_nanos > 0
        assert totals.day_nanos == 0
        assert totals.lifetime_nanos == month.world.spent(key, until=month.starts_at)


def test_the_days_of_all_owners_are_what_the_counters_grow_by():
    month = build()
    keys = month.world.keys
    before = {key: month.world.totals(key).lifetime_nanos for key in keys}
    seen = 0
    for day in range(30):
        month.world.move_to(month.starts_at + (day + 1) * DAY - timedelta(seconds=1))
        for key in keys:
            seen += nanos(data_of(ask(month.world, key=key))["usage_daily"])
    month.world.move_to(month.ends_at)
    grown = sum(month.world.totals(key).lifetime_nanos - before[key] for key in keys)
    assert grown == seen == sum(month.spent_by_owner_and_day().values())


def test_people_rest_at_night_at_noon_and_mostly_at_weekends(month):
    for owner, lunch in (("mira", 12), ("lena", 12), ("jonas", 13)):
        by_day = {day: spent for (who, day), spent in month.spent_by_owner_and_day().items() if who == owner}
        weekend = [spent for day, spent in by_day.items() if day.weekday() >= 5]
        weekday = [spent for day, spent in by_day.items() if day.weekday() < 5]
        assert fmean(weekend) < fmean(weekday) / 4
        for midnight in (month.starts_at + n * DAY for n in range(30)):
            assert month.spent(owner, midnight, midnight + timedelta(hours=8)) == 0
            noon = midnight + timedelta(hours=lunch)
            assert month.spent(owner, noon, noon + timedelta(hours=1)) == 0


def test_the_service_is_steady(month):
    days = days_of(month, "support-bot")
    assert pstdev(days) < fmean(days) / 5
    hours = [month.starts_at + timedelta(hours=n) for n in range(30 * 24 + 1)]
    assert all(month.spent("support-bot", since, until) > 0 for since, until in pairwise(hours))


def test_the_agent_runs_away_from_two_until_six_on_the_last_day(month):
    def spent_at_night(day):
        midnight = month.starts_at + day * DAY
        return month.spent(RUNAWAY_OWNER, midnight + timedelta(hours=2), midnight + timedelta(hours=6))

    assert (month.runaway_starts_at.hour, month.runaway_ends_at.hour) == (2, 6)
    usual = fmean(map(spent_at_night, range(29)))
    assert 20 * usual < spent_at_night(29) < 40 * usual
    assert month.spent(RUNAWAY_OWNER, month.last_day_starts_at, month.runaway_starts_at) < usual
    assert month.spent(RUNAWAY_OWNER, month.runaway_ends_at, month.ends_at) == 0


def test_nothing_else_stands_out(month):
    """No other day lies three deviations above the days before it, as a plain look at means would have it."""
    outstanding = []
    for owner in month.owners:
        days = [sum(both) for both in zip(*(days_of(month, owner, meter) for meter in METERS), strict=True)]
        for n in range(7, 30):
            usual = days[:n]
            if days[n] > fmean(usual) + 3 * pstdev(usual):
                outstanding.append((owner, n))
    assert outstanding == [(RUNAWAY_OWNER, 29)]


def test_one_key_goes_partly_through_the_teams_own_upstream_keys(month):
    assert [owner for owner in month.owners if sum(days_of(month, owner, "byok"))] == ["lena"]


def test_no_charge_falls_on_a_whole_minute(month):
    for key in month.world.keys:
        for meter in METERS:
            for minute in range(24 * 60):
                at = month.last_day_starts_at + timedelta(minutes=minute)
                assert month.world.spent(key, at, at + timedelta(microseconds=1), meter) == 0


def test_every_charge_of_the_month_is_a_completion_and_none_before_it_is():
    month = build()
    month.world.move_to(month.ends_at)
    entries = list(month.world.entries(month.starts_at, month.ends_at))
    assert [entry.generation for entry in entries] == sorted(month.world.generations, key=lambda made: made.at)
    assert all(entry.generation.tokens.prompt and entry.generation.session for entry in entries)
    before = month.world.entries(month.starts_at - 400 * DAY, month.starts_at)
    assert {entry.generation for entry in before} == {None}


def test_a_router_serves_several_models_and_the_runaway_asks_it_most(month):
    routed = [generation for generation in month.world.generations if generation.router == "openrouter/auto"]
    assert len({generation.model for generation in routed}) == 3
    assert len(routed) > len(month.world.generations) / 4
    night = [
        generation
        for generation in month.world.generations
        if month.runaway_starts_at <= generation.at < month.runaway_ends_at and generation.router
    ]
    runaways = {key.hash for key in month.keys_of(RUNAWAY_OWNER)}
    assert sum(generation.key_hash in runaways for generation in night) > 0.9 * len(night) > 100


def test_a_few_completions_go_through_the_teams_own_upstream_key_and_cost_no_credits(month):
    byok = [generation for generation in month.world.generations if generation.is_byok]
    assert 0 < len(byok) < len(month.world.generations) / 10
    assert {generation.cost_nanos for generation in byok} == {0}


def test_a_charge_after_the_month_is_made_as_a_completion():
    month = build()
    charge = next(month.onward())
    month.world.move_to(charge.at)
    generation = month.make(charge)
    assert (generation.key_hash, generation.cost_nanos, generation.at) == (charge.key.hash, charge.nanos, charge.at)
    assert month.world.spent(charge.key, month.ends_at) == charge.nanos
    again = build()
    again.world.move_to(charge.at)
    assert again.make(charge) == generation


def test_after_the_month_every_key_spends_a_little_all_the_time_as_much_a_day_as_before(month):
    charges = list(takewhile(lambda charge: charge.at < month.ends_at + DAY, month.onward()))
    assert charges == list(islice(month.onward(), len(charges)))
    instants = [month.ends_at, *(charge.at for charge in charges)]
    assert all(timedelta(0) < later - earlier < timedelta(seconds=6) for earlier, later in pairwise(instants))
    for key in month.world.keys:
        usual = month.world.spent(key, month.starts_at, month.last_day_starts_at) / 29
        assert sum(charge.nanos for charge in charges if charge.key == key) == pytest.approx(usual, rel=0.1)
