"""`reckon sweep` and `reckon backfill` as a person types them: alone, and beside a daemon that has the ledger."""

from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp

from reckon.app import open_app
from reckon.config import load
from reckon.fakes import openrouter
from reckon.fakes.world import World
from tests.builders import DAY, SECOND, usd
from tests.canary import CANARIES, inference_key
from tests.serving import serve
from tests.system.daemons import Daemon, Manager, eventually, free_port, now
from tests.system.forks import Ended, Forks

OWNERS = {"ana": 3, "ben": 2}


class Account:
    """Five keys that have spent for sixty days, watched through one management key."""

    def __init__(self, write, store_url: str, commands: Forks) -> None:
        self.world = World(now() - 61 * DAY, purchased_nanos=usd(10**6))
        self.store_url = store_url
        self._write = write
        self._commands = commands
        self._listen = f"127.0.0.1:{free_port()}"
        midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
        self.keys = {}
        for owner, count in OWNERS.items():
            for n in range(count):
                key = self.world.make_key(f"{owner}-{n}", secret=inference_key(800 + len(self.keys)))
                self.keys[key.name] = key
                for days_ago in range(1, 61):
                    self.world.spend(key, usd(1) + n, at=midnight - days_ago * DAY)
        self.manager = self.world.make_key("manager", secret=CANARIES["management_key"], is_management_key=True)
        self.world.move_to(now())

    @property
    def app(self) -> ASGIApp:
        return openrouter.app(self.world)

    def configure(self, base_url: str, *, management_key: bool = True) -> None:
        lines = [
            f'store.url = "{self.store_url}"',
            f'http = {{ listen = "{self._listen}", token = "{CANARIES["http_token"]}" }}',
            'log = { level = "info", format = "json" }',
            "[openrouter]",
            f'base_url = "{base_url}/api/v1"',
            *([f'management_key = "{self.manager.secret}"'] if management_key else []),
        ]
        for owner in OWNERS:
            names = [name for name in self.keys if name.startswith(owner)]
            entries = ", ".join(f'{{ name = "{name}", key = "{self.keys[name].secret}" }}' for name in names)
            lines.append(f"[owners.{owner}]\nkeys = [{entries}]")
        self.config = self._write("account.toml", "\n".join(lines) + "\n")

    def run(self, *arguments: str) -> Ended:
        return self._commands.run("--config", self.config, *arguments)

    def start(self) -> Daemon:
        manager = Manager()
        return Daemon(
            self._commands.start("--config", self.config, "run", environ={"NOTIFY_SOCKET": manager.address}), manager
        )

    def days_with_money(self) -> dict[str, int]:
        """Return how many days of each owner are known, all of which have money on them."""
        with open_app(load(self.config, {})) as app, app.store.reading() as ledger:
            found = [day for day in ledger.owner_days() if day.amounts.spend_nanos]
        return {owner: sum(day.owner == owner for day in found) for owner in OWNERS}

    def questions(self, path: str) -> int:
        return sum(request.path.endswith(path) for request in self.world.requests)


@pytest.fixture
def account(sqlite_url, secret_file, commands) -> Iterator[Account]:
    account = Account(secret_file, sqlite_url, commands)
    with serve(account.app) as url:
        account.configure(url)
        yield account


def test_a_sweep_by_hand_polls_everything_and_reads_the_days_gone_by(account):
    assert account.run("poll").code == 0
    assert account.days_with_money() == {"ana": 0, "ben": 0}

    swept = account.run("sweep", "--json")

    assert swept.code == 0, swept.stderr
    told = swept.document
    assert (told["keys_polled"], told["failures"], told["spend_usd"]) == (5, [], "0.000000000")
    assert (told["days"]["keys_read"], told["days"]["keys_left"], told["days"]["refused"]) == (5, 0, None)
    assert account.days_with_money() == {"ana": 30, "ben": 30}
    assert account.questions("/activity") == 6

    asked_at = now()  # what is asked for within the same second is not read again
    eventually(lambda: now().replace(microsecond=0) > asked_at)
    again = account.run("sweep")
    assert again.stdout.splitlines() == ["5 of 5 keys answered; $0.00 counted.", "Days gone by read of 5 keys."]
    assert account.questions("/activity") == 12


def test_a_backfill_by_hand_reads_what_activity_no_longer_tells_once(account):
    account.run("poll")

    filled = account.run("backfill", "--days", "50", "--json")

    assert filled.code == 0, filled.stderr
    assert (filled.document["keys_read"], filled.document["keys_left"]) == (10, 0)
    assert account.days_with_money() == {"ana": 50, "ben": 50}
    assert account.questions("/analytics/query") == 5

    account.run("backfill", "--days", "50")
    assert account.questions("/analytics/query") == 5


def test_beside_a_daemon_both_are_done_by_the_daemon(account):
    daemon = account.start()
    try:
        daemon.until_ready()
        daemon.until("activity.read")
        eventually(lambda: account.days_with_money() == {"ana": 30, "ben": 30}, "the days of day one")
        asked, read_by = account.questions("/activity"), now()
        eventually(lambda: now() - read_by >= SECOND, "the next second: what was read in this one is fresh")

        swept = account.run("sweep", "--json")
        filled = account.run("backfill", "--days", "40", "--json")

        assert (swept.code, filled.code) == (0, 0), swept.stderr + filled.stderr
        assert (swept.document["keys_polled"], swept.document["days"]["keys_read"]) == (5, 5)
        assert account.questions("/activity") >= asked + 6
        assert filled.document["keys_left"] == 0
        assert account.days_with_money() == {"ana": 40, "ben": 40}
        assert account.run("verify").code == 0
        daemon.stop()
    finally:
        daemon.kill()


def test_without_a_management_key_a_backfill_says_what_it_would_take_and_asks_nobody(account):
    account.run("poll")
    account.configure("http://127.0.0.1:9", management_key=False)
    account.world.requests.clear()

    refused = account.run("backfill", "--days", "90")

    assert (refused.code, refused.stdout) == (69, "")
    assert "openrouter.management_key" in refused.stderr
    assert account.world.requests == []


def test_without_a_management_key_a_sweep_is_a_poll_and_says_so(sqlite_url, secret_file, commands):
    account = Account(secret_file, sqlite_url, commands)
    with serve(account.app) as url:
        account.configure(url, management_key=False)
        account.run("poll")
        swept = account.run("sweep")

    assert (swept.code, swept.stdout.splitlines()[0]) == (0, "5 of 5 keys answered; $0.00 counted.")
    assert "management key" in swept.stdout
    assert account.questions("/activity") == 0


@pytest.mark.parametrize("days", ["0", "366", "many"])
def test_no_more_than_a_year_can_be_asked_for(account, days):
    assert account.run("backfill", "--days", days).code == 64
