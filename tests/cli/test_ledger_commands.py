"""`keys`, as far as keys tell it of themselves, `owners` and `verify`."""

import re
import sqlite3
from contextlib import closing

import pytest

from reckon.core.records import WatchedKey
from tests.builders import key_hash, snapshot


@pytest.fixture
def team(town):
    town.settle({"ravi": ["laptop"], "dana": ["notebook", "revoked"]}, teams={"ravi": "platform"})
    town.world.disable(town.key("revoked"))
    town.spend("laptop", "8")
    town.poll("2025-11-18 12:00", "2025-11-18 13:00")
    return town


def test_keys_tells_of_each_key_whose_it_is_and_when_it_last_answered(team):
    rows = team.rows("keys")
    laptop = next(row for row in rows if row["key"] == "laptop")
    told_by_sweeps = {
        *("workspace", "suggested_owner", "disabled", "created_at", "last_used_at", "expires_at", "blocked"),
        *("limit_usd", "limit_remaining_usd", "limit_reset", "limit_resets_at", "limit_includes_byok"),
    }
    assert laptop == dict.fromkeys(told_by_sweeps) | {
        "owner": "ravi",
        "key": "laptop",
        "hash": team.key("laptop").hash,
        "label": team.key("laptop").label,
        "watched": True,
        "opened_at": "2025-11-18T12:00:00Z",
        "last_seen_at": "2025-11-18T13:00:00Z",
        "counter_usd": "8.000000000",
        "failure": None,
        "failing_since": None,
        "last_24h_usd": "0.000000000",
    }
    revoked = next(row for row in rows if row["key"] == "revoked")
    assert (revoked["failure"], revoked["failing_since"]) == ("access_denied", "2025-11-18T12:00:00Z")
    assert (revoked["last_seen_at"], revoked["counter_usd"]) == (None, None)


def test_keys_shows_the_condition_of_each(team, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    team.settle({"ravi": ["laptop", "phone"], "dana": ["revoked"]})
    team.world.refund(team.key("laptop"), 10**9)
    team.poll("2025-11-18 13:10")
    team.settle({"ravi": ["laptop", "phone", "new"], "dana": ["revoked"]})
    shown = team.reckon("keys").out
    for row in (
        r"dana +notebook .* 18 Nov 2025 13:00 +former$",
        r"dana +revoked +never +access denied since 18 Nov",
        r"ravi +laptop .* 18 Nov 2025 13:10 +below its mark",
        r"ravi +new +never +not asked yet$",
        r"ravi +phone .* 18 Nov 2025 13:10 +fine$",
    ):
        assert re.search(rf"^{row}", shown, re.MULTILINE), row


def test_keys_names_those_of_the_map_that_nobody_has_asked_yet(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook", "revoked"], "newcomer": ["phone"]})
    (phone,) = (row for row in team.rows("keys") if row["key"] == "phone")
    assert (phone["owner"], phone["hash"], phone["watched"], phone["last_seen_at"]) == ("newcomer", None, True, None)


def test_owners_tells_of_each_their_team_keys_and_since_when(team):
    team.settle({"ravi": ["laptop"], "newcomer": ["phone"], "keyless": []}, teams={"ravi": "platform"})
    team.poll("2025-11-18 14:00")
    team.settle({"ravi": ["laptop"], "newcomer": ["phone"], "keyless": [], "unmet": []}, teams={"ravi": "platform"})
    rows = {row.pop("owner"): row for row in team.rows("owners")}
    assert rows["ravi"] == {
        "name": None,
        "team": "platform",
        "keys": 1,
        "watched": True,
        "watched_since": "2025-11-18T12:00:00Z",
    }
    assert rows["newcomer"]["watched_since"] == "2025-11-18T14:00:00Z"
    assert (
        rows["keyless"]
        == rows["unmet"]
        == {
            "name": None,
            "team": None,
            "keys": 0,
            "watched": True,
            "watched_since": None,
        }
    )
    assert (rows["dana"]["watched"], rows["dana"]["keys"]) == (False, 0)


def test_owners_marks_the_former_and_not_the_unowned(team):
    team.settle({"ravi": ["laptop"]})
    team.poll("2025-11-18 14:00")
    team.commit(snapshot("2025-11-18 15:00", "7", key="stray"))
    shown = team.reckon("owners").out
    assert re.search(r"^dana \(former\) ", shown, re.MULTILINE)
    assert re.search(r"^\(unowned\) ", shown, re.MULTILINE)
    assert "(unowned) (former)" not in shown


def test_verify_finds_a_sound_ledger_sound(team):
    answer = team.reckon("verify", "--json")
    assert answer.code == 0
    assert answer.document == {"schema_version": 1, "checked": 2, "differences": []}
    assert team.reckon("verify").out == "2 snapshots read again, no difference\n"


def test_verify_names_what_was_changed_behind_its_back_and_answers_no(team):
    team.spend("laptop", "3")
    team.poll("2025-11-18 14:00")
    with closing(sqlite3.connect(team.database)) as database:
        database.execute("UPDATE window_total SET spend_nanos = spend_nanos + 1 WHERE spend_nanos > 0")
        database.commit()
    answer = team.reckon("verify", "--json")
    assert answer.code == 1
    assert answer.document["differences"]
    assert all(set(found) == {"subject", "what", "expected", "found"} for found in answer.document["differences"])
    shown = team.reckon("verify")
    assert shown.code == 1
    assert len(shown.lines) == 1 + len(answer.document["differences"])


def test_a_hostile_name_in_a_difference_stays_on_its_line(town):
    town.settle({})
    town.poll()
    name = "odd\x1b[2J\nverify: no difference"
    watched = [WatchedKey(key_hash("odd"), name, name)]
    for hour in (10, 11):
        town.commit(snapshot(f"2025-11-18 {hour}:00", str(hour), key="odd"), watched=watched)
    with closing(sqlite3.connect(town.database)) as database:
        database.execute("DELETE FROM window_total")
        database.commit()
    shown = town.reckon("verify")
    assert shown.code == 1
    assert "\x1b" not in shown.out
    assert not any(line.startswith("verify:") for line in shown.lines)
