"""Generations handed in to a real daemon: each is settled once, exactly, however late its cost and whatever dies."""

import json
from datetime import timedelta
from random import Random

import pytest

from reckon.core.money import usd_text
from reckon.fakes.world import Unsettled
from tests.canary import CANARIES
from tests.system.accounts import USD
from tests.system.daemons import eventually, now

TOKEN = CANARIES["http_token"]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SERVED = ("anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash", "openai/gpt-5.1")
OFTEN = ["1s", "1s", "1s", "1s", "2s", "2s", "3s", "5s", "10s", "30s"]


@pytest.fixture
def team(make_team, database_url):
    team = make_team(database_url)
    with team.served():
        team.configure(http__token=TOKEN, settle__schedule=OFTEN)
        yield team


def run_forty(team):
    """Return forty generations that have just run, asked of a router; the cost of each is known only later."""
    random = Random(4)  # noqa: S311 - the same forty every time
    team.spend()
    found = []
    for number in range(40):
        owner = random.choice(sorted(team.keys))
        found.append(
            team.world.call(
                team.keys[owner],
                cost_nanos=round(0.01 * USD) + random.randrange(10**6),
                model=SERVED[number % len(SERVED)],
                asked="openrouter/auto",
                settles_after=timedelta(seconds=random.choice([0, 0.5, 1, 2, 4])),
                until_settled=random.choice([*Unsettled]),
            )
        )
    return found


def handed_in(team, generations):
    """Hand *generations* in as an app would, with the name of its key; return what was answered."""
    body = [{"id": each.id, "key": key_name(team, each)} for each in generations]
    answer = team.http("/v1/generations", method="POST", json=body, headers=BEARER)
    assert answer.status_code == 202, answer.text
    return answer.json()


def key_name(team, generation):
    return next(name for name, key in team.keys.items() if key.hash == generation.key_hash)


def calls(team):
    return {row["id"]: row for row in team.asked("calls")["rows"]}


def test_forty_generations_settle_exactly_through_a_death_in_the_middle(team):
    with team.money_flowing():
        generations = run_forty(team)
        with team.running() as daemon:
            first = handed_in(team, generations[:25])
            again = handed_in(team, generations[:8])
            eventually(lambda: any(row["state"] == "settled" for row in calls(team).values()), "the first to settle")
            second = handed_in(team, generations[25:])
            daemon.die()
            daemon.bury()
        assert (first["accepted"], again["duplicates"], second["accepted"]) == (25, 8, 15)
        with team.running():
            eventually(lambda: {row["state"] for row in calls(team).values()} == {"settled"}, "all to settle")
            found = calls(team)

    assert set(found) == {each.id for each in generations}
    for each in generations:
        row = found[each.id]
        assert row["cost_usd"] == usd_text(each.cost_nanos)
        assert (row["model"], row["requested_model"]) == (each.model, "openrouter/auto")
        assert row["owner"] == row["key"] == key_name(team, each)
    assert team.asked("verify")["differences"] == []


def test_nothing_is_taken_without_the_token(team):
    with team.running():
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = team.http("/v1/generations", method="POST", json=["gen-1"], headers=headers)
            assert answer.status_code == 401

    assert calls(team) == {}


def test_a_file_in_the_spool_is_taken_while_its_writer_goes_on(team, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    team.configure(ingest__spool=str(spool))
    generations = run_forty(team)
    arriving = spool / "app.jsonl"
    with team.money_flowing(), team.running():
        for each in generations:
            with arriving.open("a") as file:
                file.write(json.dumps({"id": each.id, "key": key_name(team, each)}) + "\n")
        with arriving.open("a") as file:
            file.write("no id at all\n")
        eventually(lambda: len(calls(team)) == 40, "all to be taken")
        eventually(lambda: list(spool.glob("*.done")), "the file to be done with")

    assert list(spool.glob("*.jsonl*")) == []
    (rejected,) = spool.glob("*.rejected")
    assert json.loads(rejected.read_text())["line"] == 41


def test_the_commands_hand_their_work_to_the_daemon_that_holds_the_ledger(team):
    generations = run_forty(team)[:3]
    ids = [each.id for each in generations]
    with team.money_flowing(), team.running():
        tracked = team.asked("track", *ids, "--key", key_name(team, generations[0]))
        assert (tracked["accepted"], tracked["duplicates"], tracked["rejected"]) == (3, 0, [])

        def settled():
            team.asked("settle")
            return {row["state"] for row in calls(team).values()} == {"settled"}

        eventually(settled, "all to settle")


def test_a_daemon_that_holds_the_ledger_and_takes_nothing_is_said_to(make_team, sqlite_url):
    team = make_team(sqlite_url)
    with team.served():
        team.configure()
        with team.running():
            refused = {what: team.run(what, *rest) for what, rest in {"track": ["gen-1"], "settle": []}.items()}

    for ended in refused.values():
        assert ended.code == 69
        assert "http.token" in ended.stderr


def test_the_commands_do_their_work_themselves_where_no_daemon_is(team):
    team.world.move_to(now())
    call = team.world.call(team.keys["ana"], cost_nanos=7, model=SERVED[0])
    tracked = team.asked("track", call.id, "--key", "ana")
    eventually(lambda: team.asked("settle")["pending"] == 0, "it to settle")

    assert tracked["accepted"] == 1
    assert calls(team)[call.id]["cost_usd"] == usd_text(7)
    books = team.asked("books")
    assert books["balanced"]
