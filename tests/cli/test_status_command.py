"""`reckon status`: one line for what is well, and one for each thing that is not."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo

import pytest

from reckon.app import open_app, system_clock
from reckon.cli.status import next_digests
from reckon.config import digest_policy, load
from reckon.core.digest_calendar import DigestKind, DigestTime
from reckon.core.messages import Message
from reckon.core.outbox import Outcome, Outgoing, begun, ended
from reckon.fakes.world import CreditsPolicy
from reckon.pulse import Beat, Pulse
from reckon.store import open_store
from reckon.web.server import surface
from tests.builders import HOUR, MINUTE, at
from tests.serving import serve


@pytest.fixture
def team(town_lately):
    town_lately.settle({"dana": ["notebook"], "ravi": ["laptop"]})
    town_lately.poll(f"{system_clock():%Y-%m-%d %H:%M}")
    return town_lately


def standing(team):
    """Return how each thing stands: {what: (state, detail)}."""
    return {row["what"]: (row["state"], row["detail"]) for row in team.rows("status")}


def test_a_team_that_is_well_has_a_line_for_each_thing(team):
    found = standing(team)
    assert [*found] == ["daemon", "last poll", "keys", "alerts", "messages", "digests", "ledger", "configuration"]
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["keys"] == ("ok", "2 of 2 keys answer.")
    assert found["ledger"] == ("ok", str(team.database))
    assert found["configuration"] == ("ok", str(team.config))


def test_a_key_that_does_not_answer_has_a_line_of_its_own(team):
    team.world.disable(team.key("laptop"))
    team.poll()
    found = standing(team)
    assert found["keys"] == ("warning", "1 of 2 keys answer.")
    state, detail = found["key laptop of ravi"]
    assert state == "warning"  # for a few minutes it may be nothing
    assert detail.startswith("Access denied since ")
    assert "key notebook of dana" not in found


def test_a_key_that_has_long_not_answered_is_wrong(town_lately):
    town_lately.settle({"ravi": ["laptop"]})
    town_lately.world.disable(town_lately.key("laptop"))
    town_lately.poll()
    found = standing(town_lately)
    assert found["keys"] == ("wrong", "0 of 1 key answer.")
    assert found["key laptop of ravi"][0] == "wrong"
    assert found["key laptop of ravi"][1].endswith("last seen never.")
    assert found["last poll"][0] == "wrong"
    assert "2 d" in found["last poll"][1]


def test_a_key_nobody_has_asked_yet_is_told(team):
    team.settle({"dana": ["notebook"], "ravi": ["laptop"], "newcomer": ["phone"]})
    assert standing(team)["key phone of newcomer"] == ("warning", "Not asked yet.")


def test_a_balance_that_an_inference_key_may_see_is_told_with_its_name(town_lately):
    town_lately.world.purchase(100 * 10**9)
    town_lately.world.credits_policy = CreditsPolicy.NUMBERS
    town_lately.settle({"dana": ["notebook"]})
    town_lately.poll(f"{system_clock():%Y-%m-%d %H:%M}")
    state, detail = standing(town_lately)["balance"]
    assert (state, detail.partition(";")[0]) == ("ok", "$100.00 left, as seen by key notebook")


def test_the_balance_is_told_with_how_long_it_lasts(town_lately):
    now = system_clock()
    town_lately.world.purchase(100 * 10**9)
    town_lately.manage()
    town_lately.settle({"dana": ["notebook"]})
    town_lately.poll(f"{now - HOUR:%Y-%m-%d %H:%M}")
    town_lately.spend("notebook", "60", f"{now - 30 * MINUTE:%Y-%m-%d %H:%M}")
    town_lately.poll(f"{now:%Y-%m-%d %H:%M}")
    state, detail = standing(town_lately)["balance"]
    assert state == "warning"
    assert detail.startswith("$40.00 left, which lasts 16 h at $60.00 in the last 24 hours; as of ")


def test_an_alert_that_fires_is_told(town):
    town.extra = '[http]\nlisten = ""'
    town.settle({"dana": ["notebook"]})
    for day in range(18, 28):
        town.spend("notebook", "1", f"2025-11-{day} 13:00")
    town.poll(*(f"2025-11-{day} 12:00" for day in range(18, 29)))
    town.spend("notebook", "84.10", "2025-11-28 13:00")
    town.poll("2025-11-28 14:00")
    assert standing(town)["alert 1"] == ("warning", "dana: sigma since 28 Nov 2025 14:00, $84.10.")
    assert "alerts" not in standing(town)


# --- The outbox ------------------------------------------------------------------------------------------------------


def say(team, intent, outcome, trouble, *, after=timedelta(0)):
    """Let a message be attempted, with that outcome."""
    now = system_clock() + after
    with open_store(f"sqlite:///{team.database}", writes=True) as store:
        store.enqueue([Outgoing(intent, Message(f"about {intent}"))], now)
        (delivery,) = [delivery for delivery in store.outbox() if delivery.intent == intent]
        store.record_delivery(ended(begun(delivery, now), outcome, now, trouble=trouble))


def test_what_waits_is_told_with_its_trouble(team):
    say(team, "one", Outcome.NOT_DELIVERED, "the connection to Slack was refused")
    state, detail = standing(team)["messages"]
    assert state == "warning"
    assert detail.startswith("1 message waiting, the first since ")
    assert detail.endswith(": the connection to Slack was refused.")


def test_what_will_never_be_delivered_is_wrong_with_what_to_mend(team):
    for intent in ("one", "two"):
        say(team, intent, Outcome.REFUSED, "Slack answered is_archived: the channel is archived")
    (row,) = [row for row in team.rows("status") if row["state"] == "wrong"]
    assert row["what"] == "messages"
    assert row["detail"].startswith("2 messages never delivered, the last of ")
    assert row["detail"].endswith(": Slack answered is_archived: the channel is archived.")


def test_once_something_else_got_there_it_is_no_longer_wrong(team):
    say(team, "one", Outcome.REFUSED, "Slack answered is_archived: the channel is archived")
    say(team, "two", Outcome.DELIVERED, None, after=timedelta(minutes=1))
    states = {row["state"] for row in team.rows("status")}
    assert states == {"ok", "warning"}


# --- The daemon ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pulse():
    return Pulse(at("2026-11-20 12:00"))


@pytest.fixture
def run(team, pulse):
    """The team, and a daemon that answers for it over HTTP."""
    pulse.committed(team.poll())
    with open_app(load(team.config, {})) as app, serve(surface(lambda: app, pulse, None, None)) as url:
        team.extra = f'[http]\nlisten = "{url.removeprefix("http://")}"'
        team.settle({"dana": ["notebook"], "ravi": ["laptop"]})
        yield team


def test_a_daemon_that_runs_is_told_with_since_when(run):
    state, detail = standing(run)["daemon"]
    assert state == "ok"
    assert detail.startswith("Runs at 127.0.0.1:")
    assert "since 20 Nov" in detail


def test_a_daemon_that_is_stuck_is_wrong(run, pulse):
    pulse.beats["poll"] = Beat("poll", longest_step_seconds=-1.0)
    state, detail = standing(run)["daemon"]
    assert state == "wrong"
    assert detail.startswith("It does not get on: poll does not move")


def test_a_reload_that_was_refused_is_told_with_its_reason(run, pulse):
    pulse.reload_refused = "poll.every (/etc/reckon.toml): accepts a duration\npoll.evry: is no setting"
    state, detail = standing(run)["configuration"]
    assert state == "wrong"
    assert detail.endswith("in force: poll.every (/etc/reckon.toml): accepts a duration; poll.evry: is no setting")


def test_without_a_daemon_it_says_what_is_missing(team):
    team.extra = '[http]\nlisten = "127.0.0.1:9"'
    team.settle({"dana": ["notebook"], "ravi": ["laptop"]})
    state, detail = standing(team)["daemon"]
    assert state == "warning"
    assert "no digest is sent" in detail


# --- When the digests go out next ------------------------------------------------------------------------------------


def next_at(now, zone="Europe/Vienna"):
    times = (
        DigestTime(DigestKind.DAILY, clock_time(9)),
        DigestTime(DigestKind.WEEKLY, clock_time(9), 0),
        DigestTime(DigestKind.MONTHLY, clock_time(9), 1),
    )
    policy = replace(digest_policy(load(None, {}, cwd=None)), zone=ZoneInfo(zone), times=times)
    found = {kind: when.astimezone(policy.zone).replace(tzinfo=None) for kind, when in next_digests(policy, at(now))}
    return [found[kind] for kind in DigestKind]


def test_the_next_digests_are_those_of_the_calendar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nine = clock_time(9)
    on = datetime.combine
    # A Thursday, before nine in Vienna and after it.
    thursday = [on(date(2026, 11, 19), nine), on(date(2026, 11, 23), nine), on(date(2026, 12, 1), nine)]
    assert next_at("2026-11-19 07:59") == thursday
    assert next_at("2026-11-19 08:00") == [on(date(2026, 11, 20), nine), *thursday[1:]]
    assert next_at("2026-12-01 08:00")[2] == on(date(2027, 1, 1), nine)


def test_the_table_fits_and_names_each_thing(team, monkeypatch):
    for width in (60, 80):
        monkeypatch.setenv("COLUMNS", str(width))
        answer = team.reckon("status")
        assert answer.code == 0
        assert max(map(len, answer.lines)) <= width
        assert "2 of 2 keys answer." in answer.out
