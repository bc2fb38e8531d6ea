"""What `spend`, `daily`, `weekly` and `monthly` tell a program."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from reckon.app import system_clock
from reckon.core.windows import day_start, local_date
from reckon.store import open_store
from tests.builders import snapshot

ROW_FIGURES = {"spend_usd", "correction_usd", "byok_usd", "byok_correction_usd", "generations", "state", "watched_from"}
THREE_DAYS = ("--since", "2025-11-18", "--until", "2025-11-21")


@pytest.fixture
def team(town):
    """Three days: ravi spends on two of them, dana on one, and dana's second key on none."""
    town.settle({"ravi": ["laptop"], "dana": ["notebook", "batch"]}, teams={"ravi": "platform", "dana": "research"})
    town.spend("laptop", "8.00", "2025-11-18 09:00")
    town.spend("laptop", "1.50", "2025-11-18 14:20:00")
    town.spend("notebook", "0.000000001", "2025-11-19 10:07:00")
    town.spend("notebook", "0.25", "2025-11-19 10:07:00", meter="byok")
    town.spend("laptop", "2.25", "2025-11-20 23:50:00")
    town.poll("2025-11-18 12:00", "2025-11-18 14:00", "2025-11-18 15:00", "2025-11-19 00:00", "2025-11-19 10:00")
    town.poll("2025-11-19 11:00", "2025-11-20 00:00", "2025-11-20 23:00", "2025-11-21 00:00")
    return town


def usd_of(rows, *place):
    return {tuple(row[name] for name in place): row["spend_usd"] for row in rows}


def test_the_document_names_the_zone_the_span_and_the_totals(team):
    document = team.reckon("spend", *THREE_DAYS, "--json").document
    rows = document.pop("rows")
    assert document == {
        "schema_version": 1,
        "timezone": "UTC",
        "since": "2025-11-18T00:00:00Z",
        "until": "2025-11-21T00:00:00Z",
        "as_of": "2025-11-21T00:00:00Z",
        "total_usd": "3.750000001",
        "total_correction_usd": "0.000000000",
        "total_byok_usd": "0.250000000",
        "total_byok_correction_usd": "0.000000000",
        "total_state": "settled",
        "before_watching_usd": "8.000000000",
    }
    assert rows == [
        {
            "owner": "ravi",
            "spend_usd": "3.750000000",
            "correction_usd": "0.000000000",
            "byok_usd": "0.000000000",
            "byok_correction_usd": "0.000000000",
            "generations": None,
            "state": "settled",
            "watched_from": "2025-11-18T12:00:00Z",
        },
        {
            "owner": "dana",
            "spend_usd": "0.000000001",
            "correction_usd": "0.000000000",
            "byok_usd": "0.250000000",
            "byok_correction_usd": "0.000000000",
            "generations": None,
            "state": "settled",
            "watched_from": "2025-11-18T12:00:00Z",
        },
    ]


def test_json_is_all_that_standard_output_holds(team):
    answer = team.reckon("spend", "--json")
    assert answer.document
    assert answer.err == ""


def test_without_dimensions_spend_is_by_owner(team):
    assert team.rows("spend") == team.rows("spend", "--by", "owner")


def test_without_a_span_it_is_everything_counted_until_now(team):
    before = system_clock().replace(microsecond=0)
    document = team.reckon("spend", "--json").document
    assert document["since"] == "2025-11-18T12:00:00Z"
    assert before <= datetime.fromisoformat(document["until"]) <= system_clock()
    assert document["total_usd"] == "3.750000001"
    # Nobody has read since, so what was spent since is not known.
    assert document["total_state"] == "provisional"


@pytest.mark.parametrize(
    ("by", "places"),
    [
        ("owner", [("ravi",), ("dana",)]),
        ("team", [("platform",), ("research",)]),
        ("day", [("2025-11-18",), ("2025-11-19",), ("2025-11-20",)]),
        ("week", [("2025-W47",)]),
        ("month", [("2025-11",)]),
        ("hour", [("2025-11-18T14:00:00+00:00",), ("2025-11-19T10:00:00+00:00",), ("2025-11-20T23:00:00+00:00",)]),
    ],
)
def test_each_dimension_names_its_rows(team, by, places):
    rows = team.rows("spend", "--by", by, *THREE_DAYS)
    assert [(row[by],) for row in rows] == places
    assert all(set(row) == {by, *ROW_FIGURES} for row in rows)
    assert sum(Decimal(row["spend_usd"]) for row in rows) == Decimal("3.750000001")


def test_rows_by_key_carry_owner_and_hash(team):
    rows = team.rows("spend", "--by", "key", *THREE_DAYS)
    assert [(row["owner"], row["key"], row["hash"]) for row in rows] == [
        ("ravi", "laptop", team.key("laptop").hash),
        ("dana", "notebook", team.key("notebook").hash),
        ("dana", "batch", team.key("batch").hash),
    ]
    assert all(set(row) == {"key", "owner", "hash", *ROW_FIGURES} for row in rows)


def test_dimensions_combine_in_the_order_asked(team):
    rows = team.rows("spend", "--by", "team", "--by", "owner", "--by", "day", *THREE_DAYS)
    assert list(rows[0])[:3] == ["team", "owner", "day"]
    assert usd_of(rows, "team", "owner", "day") == {
        ("platform", "ravi", "2025-11-18"): "1.500000000",
        ("research", "dana", "2025-11-19"): "0.000000001",
        ("platform", "ravi", "2025-11-20"): "2.250000000",
    }


def test_owner_and_key_is_one_row_for_each_key(team):
    rows = team.rows("spend", "--by", "owner", "--by", "key", *THREE_DAYS)
    assert usd_of(rows, "owner", "key") == {
        ("ravi", "laptop"): "3.750000000",
        ("dana", "notebook"): "0.000000001",
        ("dana", "batch"): "0.000000000",
    }


@pytest.mark.parametrize(("command", "unit"), [("daily", "day"), ("weekly", "week"), ("monthly", "month")])
def test_the_calendar_commands_are_spend_by_owner_and_time(team, command, unit):
    assert team.rows(command, *THREE_DAYS) == team.rows("spend", "--by", "owner", "--by", unit, *THREE_DAYS)


def test_every_owner_and_key_of_the_map_has_a_row_without_a_time_dimension(team):
    owners = {"ravi": ["laptop"], "dana": ["notebook", "batch"], "newcomer": ["phone"], "keyless": []}
    team.settle(owners)
    assert {row["owner"] for row in team.rows("spend")} == set(owners)
    by_key = team.rows("spend", "--by", "key")
    assert {(row["owner"], row["key"]) for row in by_key} == {(o, key) for o, keys in owners.items() for key in keys}
    unmet = next(row for row in by_key if row["key"] == "phone")
    assert (unmet["hash"], unmet["state"], unmet["spend_usd"]) == (None, "unknown", "0.000000000")


def test_idle_spans_have_no_row_with_a_time_dimension(team):
    rows = team.rows("spend", "--by", "key", "--by", "day", *THREE_DAYS)
    assert len(rows) == 3
    assert "batch" not in {row["key"] for row in rows}
    assert team.rows("spend", "--by", "day", "--since", "2025-11-18", "--until", "2025-11-18T14:00Z") == []


def test_a_span_nobody_looked_at_is_unknown_and_not_nothing(team):
    document = team.reckon("spend", "--since", "2026-01-01", "--until", "2026-01-02", "--json").document
    assert document["total_state"] == "unknown"
    assert {row["state"] for row in document["rows"]} == {"unknown"}


def test_a_span_is_half_open(team):
    def spent(since, until):
        return team.reckon("spend", "--since", since, "--until", until, "--json").document["total_usd"]

    # The money of 14:20 was seen at 15:00 and lies evenly in the four quarter hours between.
    assert spent("2025-11-18T14:00:00Z", "2025-11-18T15:00:00Z") == "1.500000000"
    assert spent("2025-11-18T15:00:00Z", "2025-11-18T16:00:00Z") == "0.000000000"
    assert spent("2025-11-18T14:15Z", "2025-11-18T14:30Z") == "0.375000000"
    assert spent("2025-11-18T15:15:00+01:00", "2025-11-18T15:30:00+01:00") == "0.375000000"
    assert spent("2025-11-18", "2025-11-19") == "1.500000000"


def test_dates_and_days_are_those_of_the_zone(team):
    owners = {"ravi": ["laptop"], "dana": ["notebook", "batch"]}
    team.settle(owners, zone="Asia/Tokyo")
    document = team.reckon("spend", "--by", "day", "--since", "2025-11-18", "--until", "2025-11-22", "--json").document
    assert (document["timezone"], document["since"], document["until"]) == (
        "Asia/Tokyo",
        "2025-11-17T15:00:00Z",
        "2025-11-21T15:00:00Z",
    )
    # 23:50 UTC on the 20th is the 21st in Tokyo.
    assert [row["day"] for row in document["rows"]] == ["2025-11-18", "2025-11-19", "2025-11-21"]
    hours = team.rows("spend", "--by", "hour", "--since", "2025-11-21")
    assert hours[0]["hour"] == "2025-11-21T08:00:00+09:00"


def test_last_two_days_are_today_and_yesterday_in_the_zone(team):
    team.settle({"ravi": ["laptop"]}, zone="America/St_Johns")
    document = team.reckon("spend", "--last", "2d", "--json").document
    until = datetime.fromisoformat(document["until"])
    zone = ZoneInfo(document["timezone"])
    yesterday = local_date(until, zone) - timedelta(days=1)
    assert datetime.fromisoformat(document["since"]) == day_start(yesterday, zone)
    assert system_clock() - until < timedelta(minutes=1)


def test_a_key_that_moved_leaves_its_past_with_who_held_it(team):
    team.settle({"ravi": [], "dana": ["notebook", "batch", "laptop"]})
    team.spend("laptop", "5", "2025-11-21 01:30")
    team.poll("2025-11-21 01:00", "2025-11-21 02:00")
    by_owner = team.rows("spend", "--by", "owner", "--since", "2025-11-18", "--until", "2025-11-22")
    assert usd_of(by_owner, "owner") == {("dana",): "5.000000001", ("ravi",): "3.750000000"}
    both = team.rows("spend", "--by", "owner", "--by", "key", "--since", "2025-11-18", "--until", "2025-11-22")
    assert usd_of(both, "owner", "key") == {
        ("dana", "laptop"): "5.000000000",
        ("ravi", "laptop"): "3.750000000",
        ("dana", "notebook"): "0.000000001",
        ("dana", "batch"): "0.000000000",
    }
    # By key alone it is about the key, whoever held it.
    by_key = team.rows("spend", "--by", "key", "--since", "2025-11-18", "--until", "2025-11-22")
    assert usd_of(by_key, "owner", "key")["dana", "laptop"] == "8.750000000"


def test_an_owner_who_left_the_map_keeps_their_past_and_has_a_row_only_where_they_spent(team):
    team.settle({"dana": ["notebook", "batch"]})
    team.poll("2025-11-21 01:00")
    assert [row["owner"] for row in team.rows("spend", *THREE_DAYS)] == ["ravi", "dana"]
    assert [row["owner"] for row in team.rows("spend", "--since", "2025-11-19", "--until", "2025-11-20")] == ["dana"]


def test_owners_without_a_team_share_a_row_without_a_name(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook", "batch"]}, teams={"dana": "research"})
    assert [row["team"] for row in team.rows("spend", "--by", "team", *THREE_DAYS)] == [None, "research"]


def test_a_rotated_key_is_a_second_row_of_the_same_owner(team):
    old = team.key("laptop")
    team.keys["laptop"] = team.world.make_key("laptop")
    team.settle({"ravi": ["laptop"], "dana": ["notebook", "batch"]})
    team.poll("2025-11-21 01:00")
    team.spend("laptop", "4", "2025-11-21 01:20")
    team.poll("2025-11-21 02:00")
    rows = [row for row in team.rows("spend", "--by", "key") if row["key"] == "laptop"]
    assert [(row["hash"], row["spend_usd"]) for row in rows] == [
        (team.key("laptop").hash, "4.000000000"),
        (old.hash, "3.750000000"),
    ]
    assert usd_of(team.rows("spend"), "owner")["ravi",] == "7.750000000"


def test_money_of_a_key_nobody_owned_is_unowned(team):
    team.commit(snapshot("2025-11-20 10:00", "7", key="stray"), snapshot("2025-11-20 11:00", "8.25", key="stray"))
    rows = {row["owner"]: row for row in team.rows("spend", *THREE_DAYS)}
    assert rows["(unowned)"]["spend_usd"] == "1.250000000"


def test_a_fall_that_stayed_is_a_correction_beside_the_spend(team):
    team.world.refund(team.key("laptop"), 2 * 10**9)
    team.poll(*(f"2025-11-21 00:{minute}" for minute in ("10", "20", "30", "40")))
    document = team.reckon("spend", "--since", "2025-11-18", "--until", "2025-11-22", "--json").document
    assert (document["total_usd"], document["total_correction_usd"]) == ("3.750000001", "-2.000000000")
    assert document["rows"][0]["correction_usd"] == "-2.000000000"


def test_reports_are_answered_while_somebody_writes(team):
    writer = open_store(f"sqlite:///{team.database}", writes=True)
    try:
        assert team.reckon("spend", "--json").document["total_usd"] == "3.750000001"
        assert team.reckon("keys", "--json").code == 0
        assert team.reckon("verify", "--json").document["differences"] == []
    finally:
        writer.close()
