"""`reckon poll` killed with SIGKILL at random moments while money flows: nothing is lost, nothing is counted twice.

Some of the killed are started as a user starts them, Python and all. Most are forked from a process that has imported
everything already, which makes a life short enough to be killed by the thousand.
"""

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reckon.fakes import openrouter
from tests.serving import serve
from tests.system.accounts import Account, counted
from tests.system.forks import PROJECT, Forks
from tests.system.time_passes import let_leases_run_out

OWNERS = {"ana": ["a1", "a2"], "ben": ["b1", "b2", "b3"], "cleo": ["c1"]}


class Killing:
    """An account, a ledger, and everything it takes to kill polls between the two."""

    def __init__(self, account: Account, config: Path, database_url: str, commands: Forks) -> None:
        self.account = account
        self.config = config
        self.database_url = database_url
        self.commands = commands
        self.killed = 0
        self.came_through = 0
        self._random = random.Random(20_261_120)  # noqa: S311 - moments, not secrets

    def kill_forked(self, kills: int) -> None:
        """Start polls and kill them, until so many died of it."""
        longest_seconds = max(self.commands.run("--config", self.config, "poll").seconds for _ in range(3))
        while self.killed < kills:
            poll = self.commands.start("--config", self.config, "poll")
            time.sleep(self._random.uniform(0, longest_seconds))
            poll.kill()
            ended = poll.wait()
            assert "Traceback" not in ended.stderr
            self._note(ended.code)

    def kill_fresh(self, kills: int) -> None:
        """As `kill_forked`, with polls that a user's shell could have started."""
        while self.killed < kills:
            asked = len(self.account.world.requests)
            # What happens before the first request is importing; from then on every moment counts.
            after_requests = asked + self._random.randrange(len(self.account.keys) * 2)
            with subprocess.Popen(
                [sys.executable, "-m", "reckon", "--config", self.config, "poll"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=PROJECT,
            ) as poll:
                while poll.poll() is None and len(self.account.world.requests) < after_requests:
                    time.sleep(0.002)
                time.sleep(self._random.uniform(0, 0.06))
                poll.kill()
                _, said = poll.communicate()
            assert b"Traceback" not in said
            self._note(poll.returncode)

    def poll(self) -> None:
        ended = self.commands.run("--config", self.config, "poll", "--json")
        assert (ended.code, ended.document["failures"]) == (0, [])

    def assert_exact(self) -> None:
        by_key = self.commands.run("--config", self.config, "spend", "--by", "key", "--json").document
        by_owner = self.commands.run("--config", self.config, "spend", "--by", "owner", "--json").document
        verdict = self.commands.run("--config", self.config, "verify", "--json")
        assert counted(by_key) == self.account.spent()
        assert by_key["total_usd"] == by_owner["total_usd"]
        assert (verdict.code, verdict.document["differences"]) == (0, [])
        if self.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"))) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def _note(self, code: int) -> None:
        assert code in (0, -signal.SIGKILL)
        let_leases_run_out(self.database_url)
        self.killed += code != 0
        self.came_through += code == 0


@pytest.fixture
def killing(database_url, secret_file, commands) -> Iterator[Killing]:
    account = Account(OWNERS)
    with serve(openrouter.app(account.world)) as url:
        config = secret_file("reckon.toml", account.toml(url, database_url))
        yield Killing(account, config, database_url, commands)


@contextmanager
def money_flowing(account: Account) -> Iterator[None]:
    stop = threading.Event()

    def flow() -> None:
        while not stop.wait(0.01):
            account.spend()

    flowing = threading.Thread(target=flow)
    flowing.start()
    try:
        yield
    finally:
        stop.set()
        flowing.join()


@pytest.mark.parametrize("kills", [20, pytest.param(2_000, marks=pytest.mark.long)])
def test_polls_killed_at_random_moments_lose_nothing_and_count_nothing_twice(killing, kills):
    killing.account.open()
    killing.poll()

    with money_flowing(killing.account):
        killing.kill_forked(kills)
    killing.poll()

    killing.assert_exact()
    assert sum(killing.account.spent().values()) > 0


@pytest.mark.parametrize("kills", [2, pytest.param(250, marks=pytest.mark.long)])
def test_polls_that_a_user_started_lose_nothing_when_they_are_killed(killing, kills):
    killing.account.open()
    killing.poll()

    with money_flowing(killing.account):
        killing.kill_fresh(kills)
    killing.poll()

    killing.assert_exact()


@pytest.mark.parametrize("kills", [3, pytest.param(150, marks=pytest.mark.long)])
def test_a_first_poll_that_is_killed_leaves_no_half_a_ledger(fresh_database, secret_file, commands, kills):
    moments = random.Random(kills)  # noqa: S311 - moments, not secrets
    killed = 0
    while killed < kills:
        account = Account(OWNERS)
        account.open()
        with fresh_database() as database_url, serve(openrouter.app(account.world)) as url:
            config = secret_file("reckon.toml", account.toml(url, database_url))
            killing = Killing(account, config, database_url, commands)
            first = commands.start("--config", config, "poll")
            time.sleep(moments.uniform(0, 0.25))
            first.kill()
            killed += first.wait().code != 0
            let_leases_run_out(database_url)
            killing.poll()
            account.spend()
            killing.poll()
            killing.assert_exact()
