"""The daemon killed with SIGKILL again and again while money flows: nothing is lost, and the alert is said once.

Where Slack lets a message be looked for it stands there once; through a webhook, which nobody can look behind, it may
stand there a second time, and then says so of itself.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from reckon.core.outbox import DeliveryState
from reckon.fakes.slack_workspace import WEBHOOK, late
from tests.system.daemons import Daemon, Team, eventually

MAY_REPEAT = "may repeat"


@pytest.fixture
def teams(fresh_sqlite, fresh_postgres, make_team):
    """One told by a bot on each database, and one by a webhook."""
    with ExitStack() as stack:
        made = {}
        for fresh, name, through in (
            (fresh_sqlite, "bot on sqlite", "bot"),
            (fresh_postgres, "bot on postgres", "bot"),
            (fresh_sqlite, "webhook", "webhook"),
        ):
            team = make_team(stack.enter_context(fresh()))
            stack.enter_context(team.served(through=through))
            team.configure(openrouter__timeout="500ms", store__lease="1s")
            made[name] = team
        yield made


def test_a_daemon_killed_six_times_loses_nothing_and_says_its_alert_once(teams):
    kill_and_say_once(
        teams,
        while_it_starts,
        while_it_asks,
        about_when_it_commits,
        once_slack_has_taken_the_alert,
        while_it_waits_before_it_looks,
        about_when_it_commits,
    )


@pytest.mark.long
def test_a_daemon_killed_whenever_it_looks_for_its_alert_says_it_once(teams):
    kill_and_say_once(teams, once_slack_has_taken_the_alert, *[when_it_looks_for_the_alert] * 3)


def kill_and_say_once(teams, *kills):
    in_the_middle = dict.fromkeys(teams, 0)
    with ExitStack() as flowing:
        for team in teams.values():
            flowing.enter_context(team.money_flowing())
        for kill in kills:
            daemons = {name: team.start() for name, team in teams.items()}
            with ThreadPoolExecutor() as side_by_side:
                deaths = [side_by_side.submit(kill, team, daemons[name]) for name, team in teams.items()]
            for name, team in teams.items():
                daemons[name].bury()
                team.openrouter.gate.set()
                team.slack.gate.set()
                in_the_middle[name] += team.messages(DeliveryState.SENDING)
            for death in deaths:
                death.result()
    daemons = {name: team.start() for name, team in teams.items()}
    for name, team in teams.items():
        eventually(lambda team=team: team.messages(DeliveryState.DELIVERED), "the alert to be known as delivered")
        daemons[name].until_polled(2)
        daemons[name].stop()

    for team in teams.values():
        team.assert_exact()
        team.assert_kept_the_pace()
        assert team.unfinished() == 0
        assert [row["owner"] for row in team.asked("alerts")["rows"]] == ["dana"]
    for name in ("bot on sqlite", "bot on postgres"):
        (message,) = teams[name].posts()
        assert message.text.startswith("dana ")
        assert MAY_REPEAT not in str(message.arguments)
    first, *repetitions = teams["webhook"].posts()
    assert len(repetitions) <= in_the_middle["webhook"]
    assert MAY_REPEAT not in str(first.arguments)
    assert all(MAY_REPEAT in str(message.arguments) for message in repetitions)


@pytest.mark.long
def test_a_daemon_killed_a_hundred_times_loses_nothing_and_says_its_alert_once(database_url, make_team):
    team = make_team(database_url)
    with team.served():
        team.configure(openrouter__timeout="500ms", store__lease="1s")
        with team.money_flowing():
            for kills in range(100):
                if kills == 20:
                    team.spend_thirty_times_as_much("dana")
                daemon = team.start()
                time.sleep(MOMENTS.uniform(0, 1.5))
                daemon.die()
                daemon.bury()
            with team.running() as daemon:
                eventually(lambda: team.messages(DeliveryState.DELIVERED))
                daemon.until_polled(2)
        team.assert_exact()
        (message,) = team.posts()
        assert message.text.startswith("dana ")


# --- Moments ---------------------------------------------------------------------------------------------------------

MOMENTS = random.Random(20_261_120)  # noqa: S311 - moments, not secrets


def while_it_starts(_: Team, daemon: Daemon) -> None:
    time.sleep(MOMENTS.uniform(0, 0.2))
    daemon.die()


def while_it_asks(team: Team, daemon: Daemon) -> None:
    asked = len(team.openrouter.arrivals)
    team.openrouter.gate.clear()
    eventually(lambda: len(team.openrouter.arrivals) > asked, "a key to be asked")
    daemon.die()


def about_when_it_commits(team: Team, daemon: Daemon) -> None:
    asked = len(team.openrouter.arrivals)
    eventually(lambda: len(team.openrouter.arrivals) > asked, "a key to be asked")
    time.sleep(MOMENTS.uniform(0, 0.06))
    daemon.die()


def once_slack_has_taken_the_alert(team: Team, daemon: Daemon) -> None:
    told = threading.Event()
    for where in ("chat.postMessage", WEBHOOK):
        team.workspace.answer_with(where, late(told), times=1)
    daemon.until("poll.committed")
    team.spend_thirty_times_as_much("dana")
    eventually(team.posts, "the alert")
    daemon.die()
    told.set()
    team.workspace.answer_rightly()


def while_it_waits_before_it_looks(team: Team, daemon: Daemon) -> None:
    daemon.until("message.waiting")
    assert len(team.posts()) == 1
    daemon.die()


def when_it_looks_for_the_alert(team: Team, daemon: Daemon) -> None:
    looked = len(team.slack.to("conversations.history"))
    if team.looks:
        team.slack.gate.clear()
        eventually(lambda: len(team.slack.to("conversations.history")) > looked, "it to look")
        daemon.die()
    else:
        about_when_it_commits(team, daemon)
