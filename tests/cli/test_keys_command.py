"""`reckon keys` of an account that is swept: limits, expiry, last use, and who will be refused."""

import json
import re
from datetime import timedelta

import pytest

from reckon.app import system_clock
from tests.builders import DAY, HOUR, usd


@pytest.fixture
def account(town_lately):
    """An account that a management key has watched since yesterday, with nobody's keys in it yet."""
    town_lately.manage()
    town_lately.settle({"dana": ["laptop"]})
    return town_lately


def polled(account):
    """Let the account be polled a day ago and now, with three dollars for each key between."""
    now = system_clock().replace(microsecond=0)
    poll = f"{now - 20 * HOUR:%Y-%m-%d %H:%M}"
    account.poll(poll)
    for key in account.world.keys:
        if not key.is_management_key and account.world.accepts(key):
            account.world.spend(key, usd(3), at=now - HOUR)
    account.poll(f"{now:%Y-%m-%d %H:%M:%S}")
    return {row["key"]: row for row in account.rows("keys")}


def instant(at):
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def test_what_a_sweep_tells_stands_beside_the_counters(account):
    labs = account.world.make_workspace("Labs")
    expires = account.world.now + 90 * DAY
    terms = {"limit_nanos": usd(1000), "limit_reset": "monthly", "include_byok_in_limit": True, "expires_at": expires}
    account.world.make_key("ci", workspace=labs.id, **terms)
    row = polled(account)["ci"]
    assert row["owner"] == "(unowned)"
    assert (row["workspace"], row["disabled"], row["expires_at"]) == ("Labs", False, instant(expires))
    assert (row["limit_usd"], row["limit_remaining_usd"]) == ("1000.000000000", "997.000000000")
    assert (row["limit_reset"], row["limit_includes_byok"]) == ("monthly", True)
    assert re.fullmatch(r"\d{4}-\d\d-01T00:00:00Z", row["limit_resets_at"])
    assert row["last_24h_usd"] == "3.000000000"
    assert row["blocked"] == {"by": "expiry", "at": instant(expires), "until": None}
    assert row["created_at"] < row["last_used_at"] < row["last_seen_at"]


def test_whoever_will_be_blocked_is_told_by_what_and_when(account):
    account.world.make_key("ci", limit_nanos=usd(6))
    row = polled(account)["ci"]
    assert row["blocked"]["by"] == "limit"
    assert row["blocked"]["until"] is None
    # Three dollars went in twenty hours, and three are left.
    expected = system_clock() + 20 * HOUR
    assert instant(expected - HOUR) < row["blocked"]["at"] < instant(expected + HOUR)
    assert re.search(r"limit reached \d+ \w{3} \d\d:\d\d at this rate", " ".join(account.reckon("keys").out.split()))


def test_a_limit_that_is_used_up_is_told_until_it_resets(account):
    account.world.make_key("ci", limit_nanos=usd(1), limit_reset="monthly")
    account.world.make_key("forever", limit_nanos=usd(1))
    rows = polled(account)
    assert rows["ci"]["blocked"] == {"by": "limit", "at": None, "until": rows["ci"]["limit_resets_at"]}
    assert rows["forever"]["blocked"] == {"by": "limit", "at": None, "until": None}


def test_expired_and_disabled_keys_are_told(account, monkeypatch):
    account.world.make_key("old", creator=None, expires_at=account.world.now + HOUR)
    account.world.disable(account.world.make_key("off", creator=None))
    soon = system_clock().replace(microsecond=0) + timedelta(days=2)
    account.world.make_key("soon", creator=None, expires_at=soon)
    rows = polled(account)
    assert rows["old"]["blocked"] == {"by": "expiry", "at": None, "until": None}
    assert rows["off"]["blocked"] == {"by": "disabled", "at": None, "until": None}
    assert rows["soon"]["blocked"] == {"by": "expiry", "at": instant(soon), "until": None}
    monkeypatch.delenv("COLUMNS")
    shown = account.reckon("keys").out
    for key, state in {"old": "expired", "off": "disabled", "soon": r"expires \d+ \w{3} \d\d:\d\d"}.items():
        assert re.search(rf"^\(unowned\) +{key} .* {state}$", shown, re.MULTILINE), key


def test_a_key_of_nobody_comes_with_who_might_own_it(account):
    account.world.make_key("dana-toy")
    account.world.make_key("stray", creator=None)
    rows = polled(account)
    assert {name: row["suggested_owner"] for name, row in rows.items()} == {
        "laptop": None,
        "dana-toy": "dana",
        "stray": None,
    }
    assert "fine; perhaps dana's" in " ".join(account.reckon("keys").out.split())


def headings(account):
    return re.split(r" {2,}", account.reckon("keys").lines[2].strip())


def test_only_columns_that_say_something_are_shown(account, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    polled(account)
    assert headings(account) == ["Owner", "Key", "Last used", "State"]
    labs = account.world.make_workspace("Labs")
    account.world.make_key("ci", workspace=labs.id, limit_nanos=usd(5))
    account.poll()
    assert headings(account) == ["Owner", "Key", "Workspace", "Left", "Last used", "State"]


def test_when_keys_were_last_seen_is_shown_where_it_differs(account, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    gone = account.world.make_key("gone")
    polled(account)
    account.world.delete(gone)
    account.world.advance(HOUR)
    account.poll()
    assert "Last seen" in headings(account)


def test_the_fullest_table_fits(account):
    labs = account.world.make_workspace("A workspace of some length")
    terms = {"limit_nanos": usd("123456.78"), "limit_reset": "monthly", "expires_at": system_clock() + 9 * DAY}
    account.world.make_key("dana-with-a-rather-long-name-for-a-key", workspace=labs.id, **terms)
    account.world.delete(account.world.make_key("another"))
    gone = account.world.make_key("gone")
    polled(account)
    account.world.delete(gone)
    account.world.advance(HOUR)
    account.poll()
    answer = account.reckon("keys")
    assert max(map(len, answer.lines)) <= 80
    assert "Last seen" in answer.out


def test_the_document_is_json_of_one_schema(account):
    polled(account)
    document = json.loads(account.reckon("keys", "--json").out)
    assert {*document} == {"schema_version", "rows"}
    (columns,) = {tuple(row) for row in document["rows"]}
    assert columns[:3] == ("owner", "key", "hash")
