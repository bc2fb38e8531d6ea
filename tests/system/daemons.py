"""Daemons as real processes, between a fake OpenRouter and a fake Slack on loopback, in the machine's own time.

A `Team` has a past of nine ordinary days, which Reckon has watched by a clock that stood in them, so that a daemon that
is started now finds a history. Its zone is one in which it is about noon: no local day ends under a test, whenever it
runs. Whatever arrives at a fake is noted with the moment, and what it was answered.

A test waits for what it can see, within a deadline that only a broken daemon misses.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from queue import Queue
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import trustme
from httpx import ASGITransport, Client, Response
from starlette.requests import ClientDisconnect

from reckon.app import open_app
from reckon.config import load
from reckon.core.outbox import DeliveryState
from reckon.fakes import openrouter, slack
from reckon.fakes.slack_workspace import Message, Workspace
from reckon.fakes.world import Key, World
from reckon.watch import open_watcher
from tests import wire_faults
from tests.canary import CANARIES, inference_key
from tests.serving import serve
from tests.system.accounts import USD
from tests.system.forks import Ended, Forks, Running
from tests.wire_faults import Script

OWNERS = ("ana", "ben", "cleo", "dana")
TOKEN = CANARIES["slack_bot_token"]
WEBHOOK_PATH = urlsplit(CANARIES["slack_webhook_url"]).path
CHANNEL = "C0ALERTS"

PATIENCE_SECONDS = 45.0
"""What only a broken daemon exceeds, on a machine that is busy with other tests."""
STOPPED_WITHIN_SECONDS = 10.0

_ORDINARY_DAYS = (3.1, 2.8, 3.3, 2.9, 3.0, 3.2, 2.7, 3.1, 2.9)
_DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the processes under test have the machine's clock


def eventually(condition: Callable[[], Any], what: str = "", *, within_seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what *condition* gives as soon as that is true."""
    ends = time.monotonic() + within_seconds
    asked_at = time.monotonic()
    while not (found := condition()):
        answered_at = time.monotonic()
        assert answered_at < ends, f"waited too long for {what or condition}"
        # What is dear to ask is asked less often: the machine is for whoever is waited for.
        time.sleep(max(0.01, 3 * (answered_at - asked_at)))
        asked_at = time.monotonic()
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


# --- What arrives at a fake ------------------------------------------------------------------------------------------


@dataclass
class Arrival:
    """One request, and how it was answered."""

    path: str
    bearer: str = field(repr=False)
    at: float
    """By a clock that no one sets, in seconds."""
    status: int | None = None
    retry_after: str | None = None
    answered_at: float | None = None


class Noted:
    """An ASGI app whose requests are noted as they come; *until* holds every answer back while it is closed."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.arrivals: list[Arrival] = []
        self.gate = threading.Event()
        self.gate.set()
        self.held: Callable[[Arrival], bool] = lambda _: True
        """Whom a closed gate holds."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        bearer = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        arrival = Arrival(scope["path"], bearer, time.monotonic())
        self.arrivals.append(arrival)
        while not self.gate.is_set() and self.held(arrival):  # noqa: ASYNC110 - it is opened by another thread
            await asyncio.sleep(0.01)

        async def noting(message: Any) -> None:
            if message["type"] == "http.response.start":
                arrival.status = message["status"]
                arrival.retry_after = dict(message.get("headers", ())).get(b"retry-after", b"").decode() or None
                arrival.answered_at = time.monotonic()
            await send(message)

        with suppress(ClientDisconnect):  # it was killed meanwhile
            await self._app(scope, receive, noting)

    def to(self, path: str) -> list[Arrival]:
        return [arrival for arrival in list(self.arrivals) if arrival.path.endswith(path)]


@contextmanager
def on_the_wire(script: Script) -> Iterator[str]:
    """Let raw sockets answer every request by *script*, in a thread of their own; yield the base URL."""
    begun: Queue[str] = Queue()
    ended = threading.Event()

    async def answer() -> None:
        async with wire_faults.serve(otherwise=script) as server:
            begun.put(server.url)
            while not ended.is_set():  # noqa: ASYNC110 - it is set by another thread
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(answer()))
    thread.start()
    try:
        yield begun.get(timeout=PATIENCE_SECONDS)
    finally:
        ended.set()
        thread.join()


# --- A past ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Past:
    """Nine ordinary days in the account of the owners. The tenth is about half over."""

    zone: str
    midnight: datetime
    """When the tenth began."""

    @classmethod
    def until_noon(cls) -> Self:
        """Return a past in a zone where it is about noon now."""
        hour = now().hour
        begun = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=12)
        return cls(f"Etc/GMT{hour - 12:+d}" if hour != 12 else "Etc/GMT", begun)

    @property
    def opened_at(self) -> datetime:
        """When Reckon first saw the keys: all they had spent by then is none of its business."""
        return self.midnight - 10 * _DAY

    def account(self) -> World:
        """Return the account at the moment in which it was opened, with all that will be spent by now."""
        world = World(self.opened_at, purchased_nanos=10**6 * USD)
        for number, owner in enumerate(OWNERS):
            key = world.make_key(owner, secret=inference_key(700 + number))
            world.spend(key, 4_000 * USD + number)
            for day, usd in enumerate(_ORDINARY_DAYS, 1):
                at = self.opened_at + day * _DAY + timedelta(hours=9 + number)
                world.spend(key, round(usd * USD) + number, at=at)
        return world

    def watched(self, store_url: str) -> World:
        """Let Reckon watch all of it into the ledger at *store_url*; return the account as it is then."""
        world = self.account()
        settings = {"timezone": self.zone, "store.url": store_url, "log.level": "error"}
        with tempfile.TemporaryDirectory(prefix="reckon-past-") as directory:
            config = Path(directory) / "reckon.toml"
            config.touch(mode=0o600)
            config.write_text(configuration(settings, world.keys))
            loaded = load(config, {})

        async def watch() -> None:
            transport = ASGITransport(app=openrouter.app(world))
            async with open_watcher(loaded, {}, clock=lambda: world.now, transport=transport) as watcher:
                for half_days in range(21):
                    world.move_to(self.opened_at + half_days * _DAY / 2)
                    await watcher.poll_everything(world.now)

        asyncio.run(watch())
        world.requests.clear()
        return world


def configuration(settings: Mapping[str, Any], keys: Iterable[Key]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items() if value is not None]
    lines += [f'owners.{key.name}.keys = [{{ name = "{key.name}", key = "{key.secret}" }}]' for key in keys]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Template:
    """A past on SQLite, lived once for all tests."""

    past: Past
    ledger: Path

    @classmethod
    def made_in(cls, directory: Path) -> Self:
        template = cls(Past.until_noon(), directory / "reckon.db")
        template.past.watched(f"sqlite:///{template.ledger}")
        return template

    def at(self, store_url: str) -> World:
        """Return the account of a past that the ledger at *store_url* knows."""
        if not store_url.startswith("sqlite"):
            return self.past.watched(store_url)
        shutil.copyfile(self.ledger, store_url.removeprefix("sqlite:///"))
        world = self.past.account()
        world.move_to(self.past.midnight)
        return world


# --- A team ----------------------------------------------------------------------------------------------------------


class Team:
    """Owners with one key each, under the name of the owner, an account that they spend, and a Slack to be told in."""

    def __init__(
        self, template: Template, store_url: str, commands: Forks, write: Callable[..., Path], ca: trustme.CA
    ) -> None:
        self._ca = ca
        self.world = template.at(store_url)
        self.keys = {key.name: key for key in self.world.keys}
        self.store_url = store_url
        self.workspace = Workspace(now)
        self.workspace.issue_token(TOKEN)
        self.channel = self.workspace.make_channel("alerts", id=CHANNEL)
        self.workspace.make_webhook(self.channel, WEBHOOK_PATH)
        self.openrouter = Noted(openrouter.app(self.world))
        self.slack = Noted(slack.app(self.workspace))
        self.settings: dict[str, Any] = {
            "timezone": template.past.zone,
            "poll.every": "1s",
            "log.level": "info",
            "log.format": "json",
            "digest.daily": "",
            "digest.weekly": "",
            "digest.monthly": "",
            "store.url": store_url,
            "http.listen": f"127.0.0.1:{free_port()}",
        }
        self.owners = list(self.keys)
        opened_at = template.past.opened_at
        self._opened = {name: self.world.spent(key, until=opened_at + _DAY) for name, key in self.keys.items()}
        self._commands = commands
        self._write = write
        self._spending = threading.Lock()

    @contextmanager
    def served(self, *, through: str = "bot", slack_url: str | None = None) -> Iterator[Self]:
        """Serve both fakes, and be told through a bot's token, a webhook, or on the console."""
        self.looks = through == "bot"
        with ExitStack() as serving:
            self.settings["openrouter.base_url"] = serving.enter_context(serve(self.openrouter)) + "/api/v1"
            if through == "bot":
                url = slack_url or serving.enter_context(serve(self.slack))
                self.settings |= {
                    "slack.bot_token": TOKEN,
                    "slack.channel": CHANNEL,
                    "slack.api_url": f"{url}/api/",
                }
            elif through == "webhook":
                url = slack_url or serving.enter_context(serve(self.slack, ca=self._ca))
                self.settings["slack.webhook_url"] = url + WEBHOOK_PATH
            yield self

    def configure(self, **changes: Any) -> Path:
        """Write the configuration with *changes*, as in `poll__every="2s"`; it stays so."""
        self.settings |= {name.replace("__", "."): value for name, value in changes.items()}
        keys = [self.keys[owner] for owner in self.owners]
        self.config = self._write(f"team-{id(self)}.toml", configuration(self.settings, keys))
        return self.config

    # --- Money

    def spend(self, *owners: str, usd: float = 1.0) -> float:
        """Let money go, now; return the moment."""
        with self._spending:
            self.world.move_to(max(self.world.now, now()))
            for owner in owners:
                self.world.spend(self.keys[owner], round(usd * USD))
        return time.monotonic()

    def spend_thirty_times_as_much(self, *owners: str) -> float:
        return self.spend(*owners, usd=30 * sum(_ORDINARY_DAYS) / len(_ORDINARY_DAYS))

    @contextmanager
    def money_flowing(self) -> Iterator[None]:
        """Let a little money go all the time."""
        stop = threading.Event()

        def flow() -> None:
            while not stop.wait(0.05):
                self.spend(*self.keys, usd=0.000_001_007)

        flowing = threading.Thread(target=flow)
        flowing.start()
        try:
            yield
        finally:
            stop.set()
            flowing.join()

    def spent_nanos(self) -> int:
        """Return what Reckon must have counted in all."""
        return sum(self.world.spent(key) - self._opened[name] for name, key in self.keys.items())

    # --- Commands

    def start(self, **environ: str) -> "Daemon":
        """Start `reckon run`."""
        manager = Manager()
        given = {"NOTIFY_SOCKET": manager.address, **environ}
        running = self._commands.start("--config", self.config, "run", environ=given)
        return Daemon(running, manager)

    @contextmanager
    def running(self, *, is_ready: bool = True, **environ: str) -> Iterator["Daemon"]:
        """Run a daemon, and see that it stops as it should."""
        daemon = self.start(**environ)
        try:
            if is_ready:
                daemon.until_ready()
            yield daemon
            if not daemon.is_over:
                daemon.stop()
        finally:
            daemon.kill()

    def hold_the_next_poll_of(self, daemon: "Daemon") -> None:
        """Return once every key is asked, and waits for an answer until the gate is opened."""
        daemon.until_polled()
        self.openrouter.gate.clear()
        unanswered = lambda: [one for one in list(self.openrouter.arrivals) if one.answered_at is None]  # noqa: E731
        eventually(lambda: len(unanswered()) == len(self.owners), "every key to be asked")

    def shortest_interval_seconds(self) -> float:
        """Return the least time between two asks of one key."""
        asked: defaultdict[str, list[float]] = defaultdict(list)
        for arrival in self.openrouter.to("/auth/key"):
            asked[arrival.bearer].append(arrival.at)
        return min(after - before for moments in asked.values() for before, after in pairwise(moments))

    def run(self, *arguments: str) -> Ended:
        return self._commands.start("--config", self.config, *arguments).wait()

    def asked(self, *arguments: str) -> Any:
        """Return what a command answers in JSON."""
        ended = self.run(*arguments, "--json")
        assert ended.code == 0, ended.stderr
        return ended.document

    def asked_of_status(self) -> dict[str, dict[str, str]]:
        """Return the rows of `reckon status`, by what they are about."""
        return {row["what"]: row for row in self.asked("status")["rows"]}

    def http(self, path: str, **how: Any) -> Response:
        """Ask the daemon's own surface."""
        with Client(
            base_url=f"http://{self.settings['http.listen']}", trust_env=False, timeout=PATIENCE_SECONDS
        ) as own:
            return own.request(how.pop("method", "GET"), path, **how)

    def assert_exact(self) -> None:
        """Assert that all that was spent is counted, once, and that the ledger agrees with itself."""
        total = self.asked("spend", "--by", "key")["total_usd"]
        assert round(float(total) * USD) == self.spent_nanos()
        assert self.asked("verify")["differences"] == []

    def messages(self, state: DeliveryState) -> int:
        """Return how many messages of the outbox are in *state*."""
        with open_app(load(self.config, {})) as app:
            return app.outbox_counts()[state]

    def unfinished(self) -> int:
        return self.messages(DeliveryState.WAITING) + self.messages(DeliveryState.SENDING)

    # --- What was said

    def posts(self) -> list[Message]:
        """Return what stands in the channel and answers nothing."""
        return [message for message in self.workspace.messages(self.channel) if message.thread_ts is None]

    def said_about(self, owner: str) -> list[Message]:
        return [message for message in self.posts() if message.text.startswith(f"{owner} ")]

    def assert_kept_the_pace(self) -> None:
        """Assert that nothing came within a second of another, nor before a `Retry-After` was over."""
        assert self.workspace.too_fast == []
        arrivals = list(self.slack.arrivals)
        for before, after in pairwise(arrivals):
            if before.retry_after and before.path == after.path:
                assert after.at - before.answered_at >= float(before.retry_after)


# --- A daemon --------------------------------------------------------------------------------------------------------


class Manager:
    """What systemd is to a daemon: a socket that it tells how it is."""

    def __init__(self) -> None:
        self.address = f"@reckon-test-{uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + self.address[1:])
        self._told: list[tuple[float, dict[str, str]]] = []

    def told(self, name: str) -> list[str]:
        """Return every value of *name* so far."""
        with suppress(BlockingIOError):
            while self._socket.fileno() >= 0:
                datagram = self._socket.recv(65_536).decode()
                pairs = dict(line.partition("=")[::2] for line in datagram.splitlines())
                self._told.append((time.monotonic(), pairs))
        return [pairs[name] for _, pairs in self._told if name in pairs]

    def close(self) -> None:
        self._socket.close()


class Daemon:
    """One `reckon run`."""

    def __init__(self, running: Running, manager: Manager) -> None:
        self._running = running
        self._log = running._output[1]
        self._ended: Ended | None = None
        self.manager = manager
        self.pid = running.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what it logged, or all of one name."""
        found = []
        for line in self._log.read_text().splitlines():
            if name and f'"{name}"' not in line:
                continue
            with suppress(ValueError):  # the last line may be half written
                found.append(json.loads(line))
        return [event for event in found if name is None or event["event"] == name]

    def until(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Return the event number *count* of that name, once it has been logged."""

        def found() -> dict[str, Any] | None:
            events = [event for event in self.events(name) if fields.items() <= event.items()]
            if len(events) < count:
                assert not self.is_over, self._log.read_text()
                return None
            return events[count - 1]

        return eventually(found, f"{name} {fields or ''} in\n{self._log}")

    def until_ready(self) -> None:
        def ready() -> bool:
            assert not self.is_over, self._log.read_text()
            return "1" in self.manager.told("READY")

        eventually(ready, "READY")

    def until_polled(self, count: int = 1) -> None:
        """Return once it has committed so many more polls."""
        self.until("poll.committed", len(self.events("poll.committed")) + count)

    @property
    def is_over(self) -> bool:
        """Whether the process has ended, by whatever cause. It stays a zombie until it is waited for."""
        if self._ended:
            return True
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, *, code: int = 0, within_seconds: float = STOPPED_WITHIN_SECONDS) -> float:
        """Ask it to stop; return after how many seconds it had."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        ended = self.ends(within_seconds=within_seconds)
        assert ended.code == code, ended.stderr
        return time.monotonic() - began

    def ends(self, *, within_seconds: float = PATIENCE_SECONDS) -> Ended:
        """Return how it ended."""
        eventually(
            lambda: self.is_over, f"the end of the daemon that wrote\n{self._log}", within_seconds=within_seconds
        )
        if self._ended is None:
            self._ended = self._running.wait()
            self.manager.told("STOPPING")
            self.manager.close()
        assert "Traceback" not in self._ended.stderr, self._ended.stderr
        return self._ended

    def die(self) -> None:
        """End it as power loss would."""
        self._running.kill()

    def bury(self) -> None:
        """Wait for the end of one that has died."""
        if self._ended is None:
            self._ended = self._running.wait()
            self.manager.close()

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._ended is None:
            self.die()
            self.bury()
