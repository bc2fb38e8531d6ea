"""Nine ordinary days, and then thirty times as much: one alert, that day, to the right place, in seconds."""

import pytest

from tests.system.daemons import eventually

EVERY_SECONDS = 1.0
ROUNDED_SECONDS = 0.5
"""An owner is due at a whole second, the nearest one."""


@pytest.fixture
def team(database_url, make_team):
    return make_team(database_url)


def test_a_day_out_of_the_ordinary_is_told_once_by_the_daemon_and_about_its_owner_alone(team):
    with team.served():
        team.configure()
        with team.running() as daemon:
            daemon.until_polled()
            team.spend("ana", "ben", "cleo", usd=1)
            spent_at = team.spend_thirty_times_as_much("dana")
            (message,) = eventually(team.posts, "the alert")
            seconds = team.slack.to("chat.postMessage")[0].answered_at - spent_at
            for _ in range(2):
                team.spend(*team.keys, usd=1)
                daemon.until_polled()
            daemon.stop()

        assert message.text.startswith("dana ")
        assert team.posts() == [message]
        assert seconds < EVERY_SECONDS + 5
        assert team.shortest_interval_seconds() > EVERY_SECONDS - ROUNDED_SECONDS - 0.1
        team.assert_kept_the_pace()
        team.assert_exact()


def test_a_day_out_of_the_ordinary_is_told_once_by_polls_alone(team):
    with team.served():
        team.configure()
        assert team.asked("poll")["keys_polled"] == 4
        team.spend("ana", "ben", "cleo", usd=1)
        assert team.asked("poll")["failures"] == []
        assert team.posts() == []

        spent_at = team.spend_thirty_times_as_much("dana")
        team.asked("poll")
        (message,) = team.posts()
        seconds = team.slack.to("chat.postMessage")[0].answered_at - spent_at
        for _ in range(2):
            team.spend(*team.keys, usd=1)
            team.asked("poll")

        assert message.text.startswith("dana ")
        assert team.posts() == [message]
        assert seconds < 5
        team.assert_kept_the_pace()
        team.assert_exact()


def test_several_such_days_at_once_are_told_a_second_apart_and_each_once(sqlite_url, make_team):
    team = make_team(sqlite_url)
    with team.served():
        team.workspace.enforces_pace = True
        team.configure()
        with team.running() as daemon:
            daemon.until_polled()
            team.spend_thirty_times_as_much(*team.keys)
            eventually(lambda: len(team.posts()) == len(team.keys), "an alert for everybody")
            daemon.until_polled()

        assert sorted(message.text.split()[0] for message in team.posts()) == sorted(team.keys)
        team.assert_kept_the_pace()
        team.assert_exact()
