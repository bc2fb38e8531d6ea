"""`reckon alerts`: what fires, what has fired, and nothing left out without a word."""

import re

import pytest

QUIET_DAYS = [f"2025-11-{day} 12:00" for day in range(18, 28)]
FOREVER = ("--last", "9999d")


@pytest.fixture
def team(town):
    """Two owners who spend a dollar a day for nine days."""
    town.settle({"dana": ["notebook"], "ravi": ["laptop"]})
    for day in QUIET_DAYS[1:]:
        town.spend("notebook", "1", day.replace("12:00", "10:00"))
        town.spend("laptop", "1", day.replace("12:00", "10:00"))
    town.poll(*QUIET_DAYS)
    return town


def runaway(team, name="notebook"):
    team.spend(name, "84.10", "2025-11-28 11:00")
    team.poll("2025-11-28 12:00")


def test_an_alert_that_fires_is_told_with_its_figures_and_its_reason(team):
    runaway(team)
    (row,) = team.rows("alerts")
    assert {**row, "reason": None, "threshold_usd": None} == {
        "id": 1,
        "owner": "dana",
        "rule": "sigma",
        "day": "2025-11-28",
        "state": "firing",
        "opened_at": "2025-11-28T12:00:00Z",
        "resolved_at": None,
        "spend_usd": "84.100000000",
        "threshold_usd": None,
        "reason": None,
    }
    assert row["threshold_usd"] == "1.000000000"
    assert row["reason"].startswith("$84.10 is above the threshold of $1.00")
    assert re.search(r"^ ?1  dana +sigma +28 Nov 2025 12:00  firing +\$84.10 +\$1.00$", shown(team), re.MULTILINE)
    assert "1: $84.10 is above the threshold of $1.00" in shown(team)


def test_one_that_has_ended_is_told_with_when_and_without_firing(team):
    runaway(team)
    team.poll("2025-11-29 12:00")
    (row,) = team.rows("alerts", *FOREVER)
    assert (row["state"], row["resolved_at"]) == ("resolved", "2025-11-29T12:00:00Z")
    assert "firing" not in shown(team, *FOREVER)
    assert "29 Nov 2025 12:00" in shown(team, *FOREVER)


def test_what_fires_comes_first_and_then_the_newest(team):
    runaway(team)
    team.spend("laptop", "50", "2025-11-29 11:00")
    team.poll("2025-11-29 12:00")
    team.spend("laptop", "1", "2025-11-30 11:00")
    team.spend("notebook", "900", "2025-11-30 11:00")
    team.poll("2025-11-30 12:00")
    rows = team.rows("alerts", *FOREVER)
    assert [(row["owner"], row["state"]) for row in rows] == [
        ("dana", "firing"),
        ("ravi", "resolved"),
        ("dana", "resolved"),
    ]


def test_what_ended_long_ago_is_left_out_and_counted(team):
    runaway(team)
    team.poll("2025-11-29 12:00")
    document = team.reckon("alerts", "--json", "--last", "30d").document
    assert (document["rows"], document["ended_earlier"]) == ([], 1)
    assert "1 alert ended before" in shown(team)
    assert "Nothing fires, and nothing has since" in shown(team)
    everything = team.reckon("alerts", "--json").document
    assert (len(everything["rows"]), everything["ended_earlier"], everything["since"]) == (1, 0, None)


def test_what_fires_is_told_however_old_it_is(team):
    runaway(team)
    assert [row["state"] for row in team.rows("alerts", "--last", "1h")] == ["firing"]


def test_without_an_alert_it_says_so(team):
    assert team.rows("alerts") == []
    assert shown(team) == "Alerts (UTC)\n\nNothing fires, and nothing ever has.\n"


@pytest.mark.parametrize("width", [60, 80])
def test_it_fits(team, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    runaway(team)
    longest = max(map(len, shown(team).splitlines()))
    assert longest <= max(width, 70)


def shown(team, *arguments):
    answer = team.reckon("alerts", *arguments)
    assert answer.code == 0, answer.err
    return answer.out
