"""The model of all money, the same day, from a daemon that was given a management key and nothing else."""

import signal

from reckon.core.money import usd_text
from reckon.fakes.openrouter import ANALYTICS_META, ANALYTICS_QUERY
from tests.canary import CANARIES
from tests.system.accounts import USD
from tests.system.daemons import eventually, now

SERVED = "anthropic/claude-sonnet-4.5"


def with_a_management_key(team):
    secret = CANARIES["management_key"]
    team.world.make_key("manager", secret=secret, is_management_key=True)
    team.configure(openrouter__management_key=secret, poll__sweep_every="1s")


def by_model(team):
    rows = team.asked("spend", "--by", "owner", "--by", "model")["rows"]
    return {(row["owner"], row["model"]): row["spend_usd"] for row in rows if row["model"] == SERVED}


def settled(team):
    return {row["id"] for row in team.asked("calls")["rows"] if row["state"] == "settled"}


def test_owners_are_told_by_model_and_generations_nobody_handed_in_are_settled(make_team, sqlite_url):
    team = make_team(sqlite_url)
    with team.served():
        with_a_management_key(team)
        team.world.move_to(now())
        ran = [
            team.world.call(team.keys[owner], cost_nanos=usd * USD, model=SERVED)
            for owner, usd in (("ana", 2), ("ben", 3))
        ]
        told = {("ana", SERVED): usd_text(2 * USD), ("ben", SERVED): usd_text(3 * USD)}
        with team.money_flowing(), team.running() as daemon:
            daemon.until("analytics.read")  # before it is, to ask would be in vain
            eventually(lambda: by_model(team) == told, "both to be told by model")
            eventually(lambda: {each.id for each in ran} <= settled(team), "what was listed to settle")
            assert by_model(team) == told  # by analytics and by generations, and yet once
            looks = len(daemon.events("analytics.read"))
            daemon.signal(signal.SIGHUP)
            daemon.until("config.reloaded")
            daemon.until_polled(2)
            daemon.stop()
            assert len(daemon.events("analytics.read")) == looks == 1  # a reload is no reason to ask again


def test_an_account_without_analytics_costs_a_daemon_nothing_else(make_team, sqlite_url):
    team = make_team(sqlite_url)
    team.world.analytics_available = False
    with team.served():
        with_a_management_key(team)
        team.spend("ana", usd=4)
        with team.running():
            eventually(lambda: any(request.path == ANALYTICS_META for request in team.world.requests), "it to be asked")
            eventually(lambda: team.spent_nanos() == total(team), "all to be counted")
    assert not any(request.path == ANALYTICS_QUERY for request in team.world.requests)


def total(team):
    return round(float(team.asked("spend", "--by", "owner")["total_usd"]) * USD)
