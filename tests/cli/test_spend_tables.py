"""What `spend` shows a person."""

import re

import pytest

from reckon.core.records import WatchedKey
from tests.builders import key_hash, snapshot

SPAN = ("--since", "2025-11-18T12:00Z", "--until", "2025-11-21")


@pytest.fixture
def team(town):
    town.settle({"ravi": ["laptop"], "dana": ["notebook"]}, teams={"ravi": "platform"})
    town.spend("laptop", "1234.50", "2025-11-18 14:20")
    town.spend("notebook", "0.00042", "2025-11-19 10:07")
    town.poll("2025-11-18 12:00", "2025-11-18 15:00", "2025-11-19 00:00", "2025-11-20 00:00", "2025-11-21 00:00")
    return town


def test_a_report_reads_as_a_table_with_its_span_its_total_and_how_far_to_trust_it(team):
    assert team.reckon("spend", *SPAN).out == (
        "Spend by owner, 18 Nov 2025 12:00 to 21 Nov 2025 00:00 (UTC)\n"
        "\n"
        "Owner         Spend\n"
        "───────────────────\n"
        "ravi   $1,234.50\n"
        "dana       $0.00042\n"
        "───────────────────\n"
        "Total  $1,234.50\n"
        "\n"
        "As of 21 Nov 2025 00:00. Every figure is settled.\n"
    )


def test_a_report_of_time_draws_a_bar_for_each_line(team):
    lines = team.reckon("spend", "--by", "day", *SPAN).lines
    assert lines[4] == "2025-11-18  $1,234.50     ████████████████████████"
    assert lines[5] == "2025-11-19      $0.00042  ▏"


def test_time_comes_first_however_it_was_asked(team):
    lines = team.reckon("daily", *SPAN).lines
    assert lines[2].split() == ["Day", "Owner", "Spend"]
    assert lines[4].split() == ["2025-11-18", "ravi", "$1,234.50"]


def test_a_report_by_key_also_names_the_owner(team):
    lines = team.reckon("spend", "--by", "key", *SPAN).lines
    assert lines[2].split() == ["Owner", "Key", "Spend"]
    assert lines[4].split() == ["ravi", "laptop", "$1,234.50"]


def test_what_nobody_saw_is_unknown_and_not_nothing(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook"], "newcomer": ["phone"]})
    shown = team.reckon("spend", *SPAN)
    row = next(line for line in shown.lines if line.startswith("newcomer"))
    assert row.split() == ["newcomer", "unknown", "unknown"]
    assert "does not mean that nothing was spent" in shown.out
    before = team.reckon("spend", "--since", "2025-11-01", "--until", "2025-11-02")
    assert "$" not in before.out
    assert re.search(r"^Total +unknown$", before.out, re.MULTILINE)


def test_a_span_in_which_nothing_was_spent_says_so_and_one_nobody_saw_does_not(team):
    idle = team.reckon("spend", "--by", "day", "--since", "2025-11-20", "--until", "2025-11-21")
    assert "Nothing was spent." in idle.out
    unseen = team.reckon("spend", "--by", "day", "--since", "2026-01-01", "--until", "2026-01-02")
    assert "Nothing was spent." not in unseen.out
    assert "Unknown: no key was read then" in unseen.out


def test_a_ledger_in_which_no_key_has_answered_says_so(town):
    town.settle({"ravi": ["laptop"]})
    town.world.disable(town.key("laptop"))
    town.poll()
    shown = town.reckon("spend")
    assert re.search(r"^ravi +unknown$", shown.out, re.MULTILINE)
    assert "No key has answered yet." in shown.out
    assert "never" not in shown.out


def test_states_stand_in_a_column_only_where_they_differ(team):
    assert "State" not in team.reckon("spend", *SPAN).out
    until_now = team.reckon("spend", "--by", "day")
    assert [line.split()[2] for line in until_now.lines[4:6]] == ["settled", "settled"]
    assert re.search(r"^Total .*provisional$", until_now.out, re.MULTILINE)
    team.spend("laptop", "3", "2025-11-21 00:30")
    team.poll("2025-11-21 01:00")
    mixed = team.reckon("spend", "--by", "day")
    assert mixed.lines[2].split() == ["Day", "Spend", "State"]
    assert [line.split()[2] for line in mixed.lines[4:7]] == ["settled", "settled", "provisional"]
    assert "What is provisional may still change." in mixed.out


def test_keys_watched_only_later_say_from_when(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook"], "newcomer": ["phone"]})
    team.poll("2025-11-21 06:30")
    shown = team.reckon("spend", "--since", "2025-11-18T12:00Z", "--until", "2025-11-21T12:00Z")
    row = next(line for line in shown.lines if line.startswith("newcomer"))
    assert row.endswith("21 Nov 06:30")
    assert "18 Nov 12:00" not in shown.out


def test_keys_that_answered_moments_after_the_first_are_not_told_as_watched_later(town):
    town.settle({"ravi": ["laptop"]})
    town.poll("2025-11-18 12:00")
    town.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    town.poll("2025-11-18 12:00:05", "2025-11-18 13:00")
    # A program is told to the second; within the quarter hour the ledger keeps no figures apart for a person.
    assert {row["owner"]: row["watched_from"] for row in town.rows("spend")} == {
        "ravi": None,
        "dana": "2025-11-18T12:00:05Z",
    }
    assert "Watched from" not in town.reckon("spend").out


def test_money_from_before_the_watch_is_a_note_and_not_in_the_total(town):
    town.settle({"ravi": ["laptop"]})
    town.spend("laptop", "8", "2025-11-18 09:00")
    town.poll("2025-11-18 12:00", "2025-11-19 00:00")
    shown = town.reckon("spend", "--since", "2025-11-18", "--until", "2025-11-19")
    assert re.search(r"^Total +\$0\.00", shown.out, re.MULTILINE)
    assert "before Reckon watched: $8.00 more" in shown.out


def test_byok_and_corrections_have_columns_only_where_there_are_any(team):
    assert team.reckon("spend", *SPAN).lines[2].split() == ["Owner", "Spend"]
    team.spend("notebook", "0.75", "2025-11-21 00:20", meter="byok")
    team.poll("2025-11-21 00:30")
    team.world.refund(team.key("laptop"), 10**9)
    team.poll("2025-11-21 00:40", "2025-11-21 00:50", "2025-11-21 01:00")
    shown = team.reckon("spend", "--since", "2025-11-18T12:00Z", "--until", "2025-11-21T01:00Z")
    assert shown.lines[2].split() == ["Owner", "Spend", "Corrections", "BYOK"]
    assert re.search(r"^ravi +\$1,234\.50 +-\$1\.00 +\$0\.00$", shown.out, re.MULTILINE)


def test_former_owners_and_keys_are_marked(team):
    team.settle({"ravi": ["phone"]})
    team.poll("2025-11-21 01:00")
    shown = team.reckon("spend", "--by", "key", *SPAN)
    assert re.search(r"^ravi +laptop \(former\) +\$1,234\.50", shown.out, re.MULTILINE)
    assert re.search(r"^dana \(former\) +notebook \(former\) +\$0\.00042", shown.out, re.MULTILINE)
    assert re.search(r"^ravi +phone +unknown", shown.out, re.MULTILINE)


def test_keys_of_one_name_are_told_apart_by_their_hash(team):
    old = team.key("laptop")
    team.keys["laptop"] = team.world.make_key("laptop")
    team.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    team.poll("2025-11-21 01:00")
    shown = team.reckon("spend", "--by", "key")
    assert f"laptop {old.hash[:8]} (former)" in shown.out
    assert f"laptop {team.key('laptop').hash[:8]} " in shown.out


def test_the_hour_that_comes_twice_is_two_lines(town):
    town.settle({"ravi": ["laptop"]}, zone="Europe/Vienna")
    town.spend("laptop", "1", "2026-10-25 00:10")
    town.spend("laptop", "2", "2026-10-25 01:10")
    town.poll("2026-10-25 00:00", "2026-10-25 00:15", "2026-10-25 01:00", "2026-10-25 01:15")
    shown = town.reckon("spend", "--by", "hour", "--since", "2026-10-25", "--until", "2026-10-26")
    assert re.search(r"^2026-10-25 02:00\+02:00 +\$1\.00", shown.out, re.MULTILINE)
    assert re.search(r"^2026-10-25 02:00\+01:00 +\$2\.00", shown.out, re.MULTILINE)


HOSTILE = {
    "an escape sequence": "\x1b]0;owned\x07\x1b[2Jgone",
    "a turn of direction": "abc\u202egnp.exe",
    "a new line": "innocent\nTotal  $0.00",
    "rich markup": "[bold red]loud[/] [link=http://x]",
    "five thousand letters": "x" * 5000,
    "eight-bit controls": "\x9b31mred",
    "wide and combining": "日本語の名前e\u0301" + "\u200b" * 3,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("command", [["spend", "--by", "key"], ["keys"], ["owners"], ["daily"]], ids=" ".join)
def test_a_name_from_elsewhere_steers_neither_terminal_nor_table(town, command, name, monkeypatch):
    town.settle({})
    town.poll()
    key = WatchedKey(key_hash("odd"), name, name)
    watched = [key, WatchedKey(key_hash("plain"), "dana", "plain")]
    for hour in (10, 11):
        town.commit(
            snapshot(f"2025-11-18 {hour}:00", f"{hour}", key="odd", label=name),
            snapshot(f"2025-11-18 {hour}:00", f"{hour}", key="plain"),
            watched=watched,
        )
    monkeypatch.delenv("COLUMNS")
    shown = town.reckon(*command)
    assert shown.code == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", shown.out)
    rows = [line for line in shown.lines if line.count("  ")]
    assert sum("dana" in line for line in rows) == 1
    assert max(map(len, shown.lines)) < 400
    assert sum(line.startswith("Total") for line in shown.lines) <= 1
    if "[bold" in name:
        assert "[bold red]loud[/] [link=http://x]" in shown.out
    # A program gets every letter of it, and a terminal that shows the document is not steered either.
    document = town.reckon(*command, "--json")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", document.out)
    assert name in {row["owner"] for row in document.document["rows"]}
