"""Twenty keys, polled by real processes over real sockets: what Reckon counts is what was spent since it first looked.

Owners sum to keys, `verify` finds nothing, and every process is a restart. The owner map changes as owner maps do: keys
move, are rotated, revoked and taken out.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reckon.fakes import openrouter
from tests.serving import serve
from tests.system.accounts import Account, counted, nanos
from tests.system.forks import Ended, Forks, Running

OWNERS = {
    "ana": [f"a{n}" for n in range(8)],
    "ben": [f"b{n}" for n in range(6)],
    "cleo": [f"c{n}" for n in range(5)],
    "dan": ["d0"],
}


class Team:
    """An account served on loopback, the owner map of its keys, and the commands a person would type."""

    def __init__(self, account: Account, url: str, store: str, write, commands: Forks) -> None:
        self.account = account
        self._url = url
        self._store = store
        self._write = write
        self._commands = commands
        self.map()

    def map(self, **options: str) -> Path:
        """Write the owner map as it now is."""
        self.config = self._write("reckon.toml", self.account.toml(self._url, self._store, **options))
        return self.config

    def start(self, *arguments: str) -> Running:
        return self._commands.start("--config", self.config, *arguments)

    def run(self, *arguments: str) -> Ended:
        return self.start(*arguments).wait()

    def asked(self, *arguments: str) -> Any:
        ended = self.run(*arguments, "--json")
        assert (ended.code, "Traceback" in ended.stderr) == (0, False)
        return ended.document

    def poll(self) -> Any:
        return self.asked("poll")

    def assert_exact(self) -> None:
        """Assert that everything since each key's opening is counted, nothing before it, and that it all adds up."""
        by_key = self.asked("spend", "--by", "key")
        assert counted(by_key) == self.account.spent()
        assert nanos(by_key["total_usd"]) == sum(self.account.spent().values())
        assert self.asked("verify")["differences"] == []

    def by_owner(self) -> dict[str, int]:
        """Return what each owner spent, which is what they spent with each key."""
        of_owner = {row["owner"]: nanos(row["spend_usd"]) for row in self.asked("spend", "--by", "owner")["rows"]}
        of_keys: defaultdict[str, int] = defaultdict(int)
        for row in self.asked("spend", "--by", "owner", "--by", "key")["rows"]:
            of_keys[row["owner"]] += nanos(row["spend_usd"])
        assert of_keys == of_owner
        assert sum(of_owner.values()) == sum(self.account.spent().values())
        return of_owner


@pytest.fixture
def team(sqlite_url, secret_file, commands) -> Iterator[Team]:
    account = Account(OWNERS)
    with serve(openrouter.app(account.world)) as url:
        yield Team(account, url, sqlite_url, secret_file, commands)


@pytest.mark.parametrize("polls", [4, pytest.param(200, marks=pytest.mark.long)])
def test_what_is_counted_is_what_was_spent_since_the_first_poll(database_url, secret_file, commands, polls):
    account = Account(OWNERS)
    with serve(openrouter.app(account.world)) as url:
        counts_what_is_spent(Team(account, url, database_url, secret_file, commands), polls)


def counts_what_is_spent(team: Team, polls: int) -> None:
    team.account.open()
    assert team.poll() == {"schema_version": 1, "keys_polled": 20, "failures": [], "spend_usd": "0.000000000"}
    team.assert_exact()
    assert set(team.account.spent().values()) == {0}

    for _ in range(polls):
        before = sum(team.account.spent().values())
        team.account.spend()
        grown = sum(team.account.spent().values()) - before
        assert nanos(team.poll()["spend_usd"]) == grown
        team.assert_exact()
    assert nanos(team.poll()["spend_usd"]) == 0
    team.assert_exact()
    team.by_owner()


def test_a_key_that_moves_takes_its_future_along_and_leaves_its_past(team):
    team.account.open()
    team.poll()
    team.account.spend("a0", "b0")
    team.poll()
    before = team.by_owner()

    team.account.owners["ana"].remove("a0")
    team.account.owners["ben"].append("a0")
    team.map()
    team.account.spend("a0")
    spent_after = nanos(team.poll()["spend_usd"])

    team.assert_exact()
    assert spent_after > 0
    assert team.by_owner() == before | {"ben": before["ben"] + spent_after}


def test_a_rotated_key_is_a_new_counter_of_the_same_owner(team):
    team.account.open()
    team.poll()
    team.account.spend("c1")
    team.poll()

    old = team.account.keys["c1"]
    new = team.account.make("c1")
    team.account.world.delete(old)
    team.map()
    team.account.open("c1")
    assert team.poll()["failures"] == []
    team.account.spend("c1")
    team.poll()

    team.assert_exact()
    spent = team.account.spent()
    assert min(spent[old.hash], spent[new.hash]) > 0
    watched = {row["hash"]: row["watched"] for row in team.asked("keys")["rows"]}
    assert (watched[old.hash], watched[new.hash]) == (False, True)


def test_a_revoked_key_costs_no_other_its_answer_and_keeps_its_past(team):
    team.account.open()
    team.poll()
    team.account.spend("d0", "a1")
    team.poll()

    team.account.world.disable(team.account.keys["d0"])
    for name in ("a1", "c0"):
        team.account.spend(name)
    ended = team.run("poll", "--json")

    assert ended.code == 0
    (failure,) = ended.document["failures"]
    assert (failure["owner"], failure["key"], failure["reason"]) == ("dan", "d0", "access_denied")
    assert ended.document["keys_polled"] == 19
    team.assert_exact()

    team.account.world.enable(team.account.keys["d0"])
    team.account.spend("d0")
    assert team.poll()["failures"] == []
    team.assert_exact()


def test_a_poll_says_whether_anybody_answered(team):
    team.account.open()
    team.poll()
    for name, key in team.account.keys.items():
        if name != "b3":
            team.account.world.disable(key)
    assert team.run("poll").code == 0

    team.account.world.disable(team.account.keys["b3"])
    ended = team.run("poll", "--json")

    assert (ended.code, ended.document["keys_polled"], len(ended.document["failures"])) == (69, 0, 20)
    team.assert_exact()


def test_an_owner_who_leaves_keeps_their_past(team):
    team.account.open()
    team.poll()
    team.account.spend("d0", "b1")
    team.poll()
    before = team.by_owner()

    del team.account.owners["dan"]
    team.map()
    asked_before = len(team.account.world.requests)
    team.account.spend("b1")
    team.poll()

    assert before["dan"] > 0
    assert team.by_owner()["dan"] == before["dan"]
    assert len(team.account.world.requests) == asked_before + 19
    team.assert_exact()


# --- Two at once ---------------------------------------------------------------------------------------------------


class Gate:
    """Stands before an app: counts who has come, and lets nobody through until it is opened."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._opened = threading.Event()
        self._arrivals = threading.Semaphore(0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._arrivals.release()
        while not self._opened.is_set():  # noqa: ASYNC110 - it is opened by another thread
            await asyncio.sleep(0.005)
        await self._app(scope, receive, send)

    def until(self, requests: int) -> None:
        """Return once so many more have come."""
        for _ in range(requests):
            assert self._arrivals.acquire(timeout=20)

    def open(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()
        while self._arrivals.acquire(blocking=False):
            pass


def test_a_second_poll_on_one_sqlite_file_names_the_first_and_loses_nothing(sqlite_url, secret_file, commands):
    account = Account(OWNERS)
    gate = Gate(openrouter.app(account.world))
    with serve(gate) as url:
        team = Team(account, url, sqlite_url, secret_file, commands)
        gate.open()
        account.open()
        team.poll()
        account.spend()
        gate.close()

        first = team.start("poll", "--json")
        gate.until(1)
        second = team.run("poll", "--json")
        asked = len(account.world.requests)
        gate.open()
        ended = first.wait()

        assert (second.code, second.stdout) == (69, "")
        assert f"process {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert (ended.code, ended.document["keys_polled"]) == (0, 20)
        assert len(account.world.requests) == asked + 20  # the second asked nobody
        team.assert_exact()
        account.spend()
        team.poll()
        team.assert_exact()


def test_polls_at_once_on_one_postgres_ask_one_after_another_and_count_everything_once(
    postgres_url, secret_file, commands
):
    account = Account(OWNERS)
    gate = Gate(openrouter.app(account.world))
    with serve(gate) as url:
        team = Team(account, url, postgres_url, secret_file, commands)
        account.open()
        for _ in range(2):  # the first of them on an empty database
            gate.close()
            polls = [team.start("poll", "--json") for _ in range(3)]
            gate.until(20)
            asked = len(account.world.requests)
            gate.open()
            ended = [poll.wait() for poll in polls]
            assert [(poll.code, poll.document["keys_polled"]) for poll in ended] == [(0, 20)] * 3
            counters = [seen for seen in account.world.requests[asked:] if seen.path.endswith("/auth/key")]
            assert len(counters) == 3 * 20
            team.assert_exact()
            account.spend()
        team.poll()
        team.assert_exact()


def test_polls_at_once_while_money_flows_lose_nothing(postgres_url, secret_file, commands):
    account = Account(OWNERS)
    with serve(openrouter.app(account.world)) as url:
        team = Team(account, url, postgres_url, secret_file, commands)
        account.open()
        team.poll()
        for _ in range(4):
            polls = []
            for _ in range(3):
                account.spend()
                polls.append(team.start("poll"))
            assert [poll.wait().code for poll in polls] == [0, 0, 0]
        team.poll()
        team.assert_exact()
