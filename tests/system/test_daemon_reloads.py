"""SIGHUP: the configuration as it is now takes effect, or is refused and told, and nothing is lost between the two."""

import signal

import pytest

from tests.system.daemons import eventually, free_port


@pytest.fixture
def team(sqlite_url, make_team):
    team = make_team(sqlite_url)
    with team.served():
        yield team


@pytest.fixture
def running(team):
    team.owners.remove("dana")
    team.configure(poll__every="1h")
    with team.running() as daemon:
        daemon.until("poll.committed")
        yield daemon


def asked(team, owner):
    return [arrival for arrival in team.openrouter.to("/auth/key") if arrival.bearer == team.keys[owner].secret]


def reload(daemon, told):
    daemon.signal(signal.SIGHUP)
    return daemon.until(told, len(daemon.events(told)) + 1)


def test_a_new_key_is_polled_at_a_new_pace_and_tells_in_a_new_place(team, running):
    elsewhere = team.workspace.make_channel("elsewhere", id="C0ELSEWHERE")
    assert asked(team, "dana") == []

    team.owners.append("dana")
    team.configure(poll__every="1s", slack__channel=elsewhere.id)
    reload(running, "config.reloaded")
    eventually(lambda: len(asked(team, "dana")) >= 2, "the new key to be asked")
    running.until_polled()
    team.spend_thirty_times_as_much("dana")
    (message,) = eventually(lambda: team.workspace.messages(elsewhere), "the alert")

    assert message.text.startswith("dana ")
    assert team.posts() == []
    running.stop()
    team.assert_exact()


def test_a_bad_file_leaves_the_old_one_in_force_and_is_told_until_it_is_mended(team, running):
    team.configure(poll__every="1s")
    reload(running, "config.reloaded")

    team.configure(poll__evry="5s")
    refused = reload(running, "config.refused")
    eventually(lambda: "refused" in running.manager.told("STATUS")[-1], "the status")
    running.until_polled(2)
    health = team.http("/healthz")

    assert "poll.evry" in refused["error"]
    assert "refused" in running.manager.told("STATUS")[-1]
    assert health.status_code == 200
    assert "poll.evry" in health.json()["reload_refused"]

    team.configure(poll__evry=None)
    reload(running, "config.reloaded")
    running.until_polled()
    assert "refused" not in running.manager.told("STATUS")[-1]
    assert team.http("/healthz").json()["reload_refused"] is None


def test_what_cannot_work_is_refused_and_the_old_keys_are_asked_on(team, running):
    team.configure(poll__every="1s")
    reload(running, "config.reloaded")
    owners = list(team.owners)

    team.owners.clear()
    team.configure()
    assert "no key" in reload(running, "config.refused")["error"]
    team.owners.extend(owners)
    team.configure().write_text("poll.every = ")
    reload(running, "config.refused")
    team.configure(http__token="env:NOBODY_HAS_SET_THIS")
    assert "NOBODY_HAS_SET_THIS" in reload(running, "config.refused")["error"]
    before = {owner: len(asked(team, owner)) for owner in owners}
    running.until_polled(2)

    assert all(len(asked(team, owner)) > before[owner] for owner in owners)
    assert "NOBODY_HAS_SET_THIS" in team.asked_of_status()["configuration"]["detail"]


def test_what_is_only_read_at_the_start_is_told_as_needing_a_restart(team, running, tmp_path):
    in_force = team.settings["http.listen"]
    team.configure(
        store__url=f"sqlite:///{tmp_path}/other.db", http__listen=f"127.0.0.1:{free_port()}", poll__every="1s"
    )
    reload(running, "config.reloaded")
    reload(running, "config.reloaded")  # it is told again, for it is still so
    running.until_polled(2)

    told = {event["setting"] for event in running.events("config.needs_restart")}
    team.settings["http.listen"] = in_force
    health = team.http("/healthz").json()
    assert told == {"store.url", "http.listen"}
    assert health["needs_restart"] == ["store.url", "http.listen"]
    assert "store.url" in running.manager.told("STATUS")[-1]
    assert not (tmp_path / "other.db").exists()

    team.configure(store__url=team.store_url)
    reload(running, "config.reloaded")
    assert team.http("/healthz").json()["needs_restart"] == []


def test_a_reload_waits_for_the_answers_under_way_and_loses_none(team, running):
    team.configure(poll__every="1s")
    reload(running, "config.reloaded")
    team.hold_the_next_poll_of(running)
    team.spend("ana", usd=1)
    team.owners.append("dana")
    team.configure()
    running.signal(signal.SIGHUP)
    team.openrouter.gate.set()
    running.until("config.reloaded", 2)
    running.until_polled(2)
    running.stop()

    assert not running.events("job.failed")
    team.assert_exact()
