"""What lies ahead of a key: when its limit is reached, what stops it first, and whose it might be."""

import pytest

from reckon.core.key_outlook import Blocked, Blocker, last_day, next_reset, outlooks
from reckon.core.records import UNOWNED, Counter, Counters, KeyState, Meter, Reading
from reckon.core.sweeps import KeyAbout
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, at, key_hash, usd

NOW = at("2026-11-18 12:00")  # a Wednesday
NOTHING = Counter(Reading(0, 0, 0, 0), 0, 0, 0)


def key(name="key", owner="dana", *, opened=NOW - 30 * DAY, seen=NOW, **more):
    return KeyState(
        key_hash(name), owner, name, counters=Counters(opened, seen, 1, NOTHING, NOTHING), **{"watched": True} | more
    )


def ahead(*, spent="0", byok="0", of=None, **terms):
    """Return what lies ahead of one key that spent so many dollars in the last day."""
    of = of or key()
    money = {name: usd(terms.pop(name)) for name in ("limit", "limit_remaining") if name in terms}
    about = KeyAbout(of.hash, **{f"{name}_nanos": nanos for name, nanos in money.items()}, **terms)
    totals = [
        KeyTotal(of.owner, of.hash, meter, usd(amount), 0)
        for meter, amount in ((Meter.CREDITS, spent), (Meter.BYOK, byok))
    ]
    (found,) = outlooks([of], {of.hash: about}, {}, totals, owners=[], now=NOW)
    return found


# --- Limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "now", "resets_at"),
    [
        ("daily", "2026-11-18 12:00", "2026-11-19 00:00"),
        ("daily", "2026-11-19 00:00", "2026-11-20 00:00"),
        ("weekly", "2026-11-18 12:00", "2026-11-23 00:00"),
        ("weekly", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("monthly", "2026-11-18 12:00", "2026-12-01 00:00"),
        ("monthly", "2026-12-31 23:59", "2027-01-01 00:00"),
        ("monthly", "2027-01-31 12:00", "2027-02-01 00:00"),
    ],
)
def test_a_limit_resets_at_midnight_on_mondays_or_on_the_first(interval, now, resets_at):
    assert next_reset(interval, at(now)) == at(resets_at)


@pytest.mark.parametrize("interval", [None, "yearly"])
def test_any_other_limit_never_resets_as_far_as_we_know(interval):
    assert next_reset(interval, NOW) is None


def test_a_limit_is_reached_at_the_rate_of_the_last_day():
    found = ahead(spent="24", limit="100", limit_remaining="12")
    assert (found.left_nanos, found.last_day_nanos) == (usd(12), usd(24))
    assert found.blocked == Blocked(Blocker.LIMIT, NOW + 12 * HOUR)


def test_the_last_day_is_whole_quarter_hours_and_holds_the_present_one():
    assert last_day(at("2026-11-18 12:07")) == Window(at("2026-11-17 12:00"), at("2026-11-18 12:15"))


def test_a_limit_that_resets_before_it_is_reached_blocks_nobody():
    terms = {"limit": "10", "limit_remaining": "6", "limit_reset": "daily"}
    assert ahead(spent="8", **terms).blocked is None
    assert ahead(spent="24", **terms).blocked == Blocked(
        Blocker.LIMIT, NOW + 24 * HOUR * 6 / 24, at("2026-11-19 00:00")
    )


def test_a_limit_that_is_used_up_blocks_already_and_until_it_resets():
    assert ahead(limit="10", limit_remaining="-1", limit_reset="weekly").blocked == Blocked(
        Blocker.LIMIT, None, at("2026-11-23 00:00")
    )
    assert ahead(limit="10", limit_remaining="0").blocked == Blocked(Blocker.LIMIT, None, None)


def test_a_limit_that_has_reset_since_anybody_looked_is_whole_again():
    found = ahead(of=key(seen=at("2026-11-17 23:50")), limit="10", limit_remaining="0", limit_reset="daily")
    assert (found.left_nanos, found.blocked) == (usd(10), None)


def test_byok_counts_where_the_limit_says_so():
    terms = {"limit": "10", "limit_remaining": "1", "byok": "50"}
    assert ahead(**terms).blocked is None
    assert ahead(**terms, include_byok_in_limit=True).blocked is not None


def test_a_key_watched_for_less_than_a_day_is_taken_at_the_rate_since():
    found = ahead(of=key(opened=NOW - 2 * HOUR), spent="4", limit="10", limit_remaining="6")
    assert found.blocked.at == NOW + 3 * HOUR


def test_a_moment_s_spend_is_taken_for_no_less_than_an_hour_s():
    found = ahead(of=key(opened=NOW), spent="4", limit="10", limit_remaining="6")
    assert found.blocked.at == NOW + 1.5 * HOUR


@pytest.mark.parametrize("terms", [{}, {"limit": "10"}, {"limit": "999999999", "limit_remaining": "999999999"}])
def test_without_a_limit_in_sight_nothing_blocks(terms):
    assert ahead(spent="0.000000001", **terms).blocked is None


# --- What else stops a key -------------------------------------------------------------------------------------------


def test_what_comes_first_is_told():
    limit = {"spent": "24", "limit": "10", "limit_remaining": "6"}
    soon, later = NOW + HOUR, NOW + 9 * DAY
    assert ahead(**limit, expires_at=soon).blocked == Blocked(Blocker.EXPIRY, soon)
    assert ahead(**limit, expires_at=later).blocked.by is Blocker.LIMIT
    assert ahead(**limit, expires_at=soon, disabled=True).blocked == Blocked(Blocker.DISABLED, None)
    assert ahead(expires_at=NOW).blocked == Blocked(Blocker.EXPIRY, None)


def test_of_a_former_key_nothing_lies_ahead():
    assert ahead(of=key(watched=False), disabled=True).blocked is None


def test_of_a_key_that_no_sweep_has_shown_nothing_is_known():
    (found,) = outlooks([key()], {}, {}, [], owners=[], now=NOW)
    assert (found.blocked, found.left_nanos, found.workspace, found.creator) == (None, None, None, None)


# --- Whose it might be -----------------------------------------------------------------------------------------------


def suggested(*keys, owners=(), **creators):
    abouts = {key_hash(name): KeyAbout(key_hash(name), creator=creator) for name, creator in creators.items()}
    found = outlooks(keys, abouts, {}, [], owners=owners, now=NOW)
    return {outlook.name: outlook.suggested for outlook in found}


def test_a_key_nobody_owns_is_perhaps_theirs_after_whom_it_is_named():
    keys = [key("dana-toy", UNOWNED), key("stray", UNOWNED), key("dana-ci", "ravi")]
    assert suggested(*keys, owners=["dana"]) == {"dana-toy": "dana", "stray": None, "dana-ci": None}


def test_or_theirs_who_own_the_other_keys_of_its_maker():
    keys = [
        key("toy", UNOWNED),
        key("a", "dana"),
        key("b", "dana"),
        key("c", "ravi"),
        key("gone", UNOWNED, watched=False),
    ]
    assert suggested(*keys, toy="user_1", a="user_1", b="user_1", c="user_1", gone="user_1")["toy"] == "dana"
    assert suggested(*keys, toy="user_1", a="user_1", b="user_1", c="user_1", gone="user_1")["gone"] is None
    assert suggested(*keys, toy="user_2", a="user_1", b="user_1", c="user_1")["toy"] is None
