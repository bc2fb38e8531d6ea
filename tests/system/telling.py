"""A life in which there is much to tell, and processes of Reckon that live through it in the world's own time.

Nine ordinary days lie behind it. Then an owner runs away and goes on to grow, a key of another falls silent and comes
back, the day ends, and with the next morning three digests are due: of the day, the week and the month. Nothing in it
waits for a clock of this machine, so a process that lives through any part of it does so in a fraction of a second.

A `Scene` is one database on which such lives are lived, again and again from any moment that was kept.
"""

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine

from reckon.app import open_app
from reckon.config import load
from reckon.core.outbox import DeliveryState, Manner
from reckon.core.reports import Dimension
from reckon.errors import ReckonError
from reckon.fakes import openrouter, slack
from reckon.fakes.slack_workspace import Workspace
from reckon.fakes.world import Key, World
from reckon.jobs.deliver import Deliverer
from reckon.ports import Sink
from reckon.sinks.console import ConsoleSink
from reckon.sinks.slack.sink import SlackSink, WebhookSink
from reckon.store.engines import parse
from reckon.store.tables import OUTBOX
from reckon.watch import Watcher, open_watcher
from tests.builders import DAY, HOUR, MINUTE, at
from tests.canary import CANARIES, inference_key
from tests.injection import Injector
from tests.system.ledger_rows import Rows, lay_down, stored
from tests.system.time_passes import let_leases_run_out

USD = 10**9
TOKEN = CANARIES["slack_bot_token"]
ALERTS, INFRA = "C0ALERTS", "C0INFRA"
WEBHOOK_PATH = "/services/T0INVENTED/B0INVENTED/webhook"
MAY_REPEAT = "(may repeat)"

OWNERS = ("ana", "ben", "cleo")
FIRST_DAY = at("2027-01-21 12:00")
ORDINARY_DAYS = (3.1, 2.8, 3.3, 2.9, 3.0, 3.2, 2.7, 3.1, 2.9)
MAP = """\
timezone = "UTC"
[openrouter]
base_url = "https://openrouter.test/api/v1"
[poll]
every = "20m"
credits_every = "0"
concurrency = 1
[staleness]
after = "90m"
[log]
level = "error"
[teams.infra]
channel = "C0INFRA"
"""
TEAMS = {"ben": "infra"}

_LONGEST_PAUSE = 5 * MINUTE
_FAILED_TURNS_BEFORE_LATER = 2


class Team:
    """An account with owners of one key each, a Slack and a console to be told in, and the clock of Reckon's machine.

    The clock shows the world's own time, and *ahead_by* more. A copy of all this is a world of its own.
    """

    def __init__(self, owners: Sequence[str] = OWNERS) -> None:
        self._charges = [(owner, 4_000 * USD + 123_456_789, FIRST_DAY - 40 * DAY) for owner in owners]
        self._silent: set[str] = set()
        self.owners = tuple(owners)
        self.world = self._world_at(FIRST_DAY)
        self.workspace = Workspace(self.true_time)
        self.workspace.issue_token(TOKEN)
        for channel in (ALERTS, INFRA):
            self.workspace.make_channel(channel.lower(), id=channel)
        self.workspace.make_webhook(self.workspace.channel(ALERTS), WEBHOOK_PATH)
        self.printed: list[str] = []
        self.ahead_by = timedelta(0)

    def copy(self) -> Self:
        """Return the same, as it stands now; what becomes of one does not touch the other."""
        return copy.deepcopy(self, {id(self.world): self._world_at(self.world.now)})

    def _world_at(self, now: datetime) -> World:
        world = World(FIRST_DAY, purchased_nanos=10**6 * USD)
        world.recording = False
        for number, owner in enumerate(self.owners, start=800):
            world.make_key(owner, secret=inference_key(number))
        world.move_to(now)
        keys = {key.name: key for key in world.keys}
        for owner, nanos, when in self._charges:
            world.spend(keys[owner], nanos, at=when)
        for owner in self._silent:
            world.disable(keys[owner])
        return world

    @property
    def keys(self) -> dict[str, Key]:
        return {key.name: key for key in self.world.keys}

    def true_time(self) -> datetime:
        return self.world.now

    def clock(self) -> datetime:
        return self.world.now + self.ahead_by

    def wait(self, pause: timedelta) -> None:
        self.world.advance(max(pause, timedelta(0)))

    def spend(self, owner: str, usd: str, when: datetime | None = None) -> None:
        whole, _, fraction = usd.partition(".")
        charge = (owner, int(whole) * USD + int(fraction.ljust(9, "0")), when or self.world.now)
        self._charges.append(charge)
        self.world.spend(self.keys[owner], charge[1], at=charge[2])

    def silence(self, owner: str) -> None:
        self._silent.add(owner)
        self.world.disable(self.keys[owner])

    def end_silence(self, owner: str) -> None:
        self._silent.remove(owner)
        self.world.enable(self.keys[owner])

    def spent_since_opening(self) -> dict[str, int]:
        return {owner: self.world.spent(key, since=FIRST_DAY) for owner, key in self.keys.items()}

    def said(self) -> dict[str, list["Said"]]:
        """Return what stands in each place, in the order in which it came."""
        found: defaultdict[str, list[Said]] = defaultdict(list)
        headlines = {message.ts: message.text for message in self.workspace.messages()}
        for message in self.workspace.messages():
            # The small print tells how fresh the figures are, which trouble may change.
            body = repr([block for block in message.blocks if block["type"] != "context"])
            is_repeated = MAY_REPEAT in repr(message.blocks)
            found[message.channel].append(Said(message.text, body, headlines.get(message.thread_ts), is_repeated))
        for text in self.printed:
            head, *_ = text.split("\n\n")
            found["console"].append(Said(head.splitlines()[0], head, None, MAY_REPEAT in text))
        return dict(found)


@dataclass(frozen=True)
class Said:
    """One message as it stands in its place now."""

    headline: str
    body: str
    answers: str | None
    """The headline of the message in whose thread it stands."""
    may_repeat: bool = field(compare=False, repr=False)
    """Whether it says of itself that it may be a repetition: it does after any attempt of which nobody knows."""


# --- The life --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """An instant at which Reckon looks, and what has happened just before."""

    at: datetime
    happens: Callable[[Team], None] = lambda _: None


def past(team: Team) -> Iterator[None]:
    """Let the account live for nine ordinary days; yield whenever Reckon polls."""
    yield
    for number, usd in enumerate(ORDINARY_DAYS, start=1):
        for place, owner in enumerate(team.owners, start=1):
            team.spend(owner, f"{usd:.6f}{place:03d}", FIRST_DAY + number * DAY - (2 + place % 5) * HOUR)
    for half in range(1, 2 * len(ORDINARY_DAYS) + 2):
        team.world.move_to(FIRST_DAY + half * DAY / 2)
        yield


def _runs_away(team: Team) -> None:
    team.spend("ana", "90.000000007")


def _grows(team: Team) -> None:
    team.spend("ana", "50.25")
    team.spend("cleo", "3.1")


def _falls_silent(team: Team) -> None:
    team.spend("ben", "0.7")
    team.silence("ben")


def _comes_back(team: Team) -> None:
    team.spend("ben", "1.000000001")
    team.end_silence("ben")


def _ends(team: Team) -> None:
    for place, owner in enumerate(team.owners):
        team.spend(owner, "0.5", team.world.now - (1 + place % 3) * HOUR)


LIFE = (
    Step(at("2027-01-31 09:30"), lambda team: team.spend("ana", "1.1")),  # two digests are late
    Step(at("2027-01-31 10:00"), _runs_away),
    Step(at("2027-01-31 12:00"), _grows),
    Step(at("2027-01-31 14:00"), _falls_silent),
    Step(at("2027-01-31 16:00")),  # the silence is worth a word
    Step(at("2027-01-31 17:45")),
    Step(at("2027-01-31 18:00"), _comes_back),
    Step(at("2027-02-01 00:00"), _ends),
    Step(at("2027-02-01 09:00"), lambda team: team.spend("cleo", "0.25")),  # three digests are due
    Step(at("2027-02-01 09:30")),
)


def arrive(team: Team, step: Step) -> None:
    """Let time pass until *step*, and happen what happens then."""
    team.world.move_to(max(team.world.now, step.at))
    step.happens(team)


# --- Processes -------------------------------------------------------------------------------------------------------


class Way(StrEnum):
    """How a team is told."""

    BOT = "bot"
    WEBHOOK = "webhook"
    CONSOLE = "console"


async def look(watcher: Watcher, team: Team) -> None:
    """Do once what the daemon does again and again: poll what is due, queue digests, and deliver until nothing waits.

    As in the daemon, one job that fails keeps nobody from the others.
    """
    with suppress(ReckonError):
        while await watcher.poll(team.clock()):
            pass
        await watcher.next_due()
    with suppress(ReckonError):
        await watcher.digest(team.clock())
    await deliver(watcher, team)


async def look_together(watchers: Sequence[Watcher], team: Team) -> None:
    """As `look`, by several replicas at the same time."""
    while any(await asyncio.gather(*(watcher.poll(team.clock()) for watcher in watchers))):
        pass
    await asyncio.gather(*(watcher.digest(team.clock()) for watcher in watchers))
    while True:
        turns = await asyncio.gather(*(watcher.deliverer.take_turn() for watcher in watchers))
        looks = [turn.next_look for turn in turns if turn.next_look]
        if not looks:
            break
        team.wait(min(looks) - team.clock())
    for watcher in watchers:
        await watcher.deliverer.give_back()


async def deliver(watcher: Watcher, team: Team) -> None:
    """Take turns until nothing waits, or until so many went wrong that they are better taken another time."""
    failed = 0
    while failed < _FAILED_TURNS_BEFORE_LATER:
        try:
            turn = await watcher.deliverer.take_turn()
        except ReckonError:
            failed += 1
            continue
        failed += turn.delivery is not None and turn.delivery.state is DeliveryState.WAITING
        if turn.next_look is None:
            return
        pause = watcher.deliverer.until(turn.next_look)
        if pause > _LONGEST_PAUSE:
            return
        team.wait(pause)


@asynccontextmanager
async def sink_of(way: Way, team: Team, injector: Injector) -> AsyncIterator[Sink]:
    """Yield the way to a team's Slack or console, with an injector's trouble at every request or print."""
    if way is Way.CONSOLE:
        yield ConsoleSink(Paper(team.printed, injector))
        return
    async with injector.at_the_door_of(slack.app(team.workspace)) as url:
        if way is Way.BOT:
            sink = SlackSink(SecretStr(TOKEN), ALERTS, clock=team.clock, api_url=f"{url}/api/")
        else:
            sink = WebhookSink(SecretStr(url + WEBHOOK_PATH), clock=team.clock)
        try:
            yield sink
        finally:
            await sink.close()


class Paper:
    """A stream on which whole messages are printed."""

    encoding = "utf-8"

    def __init__(self, printed: list[str], injector: Injector) -> None:
        self._printed = printed
        self._injector = injector

    def write(self, text: str) -> None:
        self._injector.do("print", lambda: self._printed.append(text), lambda: OSError(5, "Input/output error"))

    def flush(self) -> None:
        pass


# --- One database, many lives ----------------------------------------------------------------------------------------


_ACCIDENTAL = frozenset({"id", "alert_id", "holder", "lease_until"})
_OF_AN_ATTEMPT = frozenset(
    {"due_at", "attempts", "attempted_at", "delivered_at", "may_have_been_said", "trouble", "receipt_name"}
)
_FINISHED = frozenset({DeliveryState.DELIVERED.value, DeliveryState.UNNEEDED.value})


@dataclass(frozen=True)
class Moment:
    """The ledger, and all the world beside it, at one instant."""

    rows: Rows
    team: Team

    def in_words(self, *, of_old: bool = False) -> list[str]:
        """Return all that the future depends on, one line for each row and message.

        The numbers of rows, and who held a lease that has run out, tell only how often something was tried. Much later
        (*of_old*) it also means nothing any more how a message was delivered, as long as it is known where it stands.
        """
        places = {message.ts: place for place, message in enumerate(self.team.workspace.messages())}
        found = [repr(self.team.said())]
        for table, rows in self.rows.items():
            for row in rows:
                shown = {name: value for name, value in row.items() if name not in _ACCIDENTAL}
                if of_old and row.get("state") in _FINISHED:
                    shown = {name: value for name, value in shown.items() if name not in _OF_AN_ATTEMPT}
                    shown["stands"] = places.get(row["receipt_name"], row["receipt_place"])
                found.append(f"{table} {shown}")
        return found


class Scene:
    """One database, and the configuration by which Reckon watches a `Team` into it."""

    def __init__(self, url: str, config: Path, engine: Engine) -> None:
        self.url = url
        self.settings = load(config, {"RECKON_DATABASE_URL": url})
        self.engine = engine
        """A way to the rows beside Reckon's own."""

    def lives_its_past(self, team: Team) -> None:
        async def watch(watcher: Watcher) -> None:
            for _ in past(team):
                await watcher.poll_everything(team.clock())

        self.process(team, Way.CONSOLE, watch)

    def process(
        self,
        team: Team,
        way: Way,
        does: Callable[[Watcher], Awaitable[None]],
        injector: Injector | None = None,
    ) -> None:
        """Let a process of Reckon do something, and end in good order. Opening and closing are not counted."""
        injector = injector or Injector()

        async def whole() -> None:
            with injector.looking_away():
                opening = self.watching(team, way, injector)
                watcher = await opening.__aenter__()
            try:
                await does(watcher)
                with suppress(ReckonError):
                    await watcher.deliverer.give_back()
            finally:
                await opening.__aexit__(None, None, None)

        with injector.on_databases():
            asyncio.run(whole())

    @asynccontextmanager
    async def watching(
        self, team: Team, way: Way, injector: Injector, holder: str = "a replica"
    ) -> AsyncIterator[Watcher]:
        """Yield a watcher of *team* that tells what it sees in that *way*."""
        to_openrouter = httpx.ASGITransport(openrouter.app(team.world))
        opening = open_watcher(self.settings, {}, clock=team.clock, transport=to_openrouter, holder=holder)
        async with opening as watcher, sink_of(way, team, injector) as sink:
            deliverer = Deliverer(
                sink, watcher.app.store, clock=team.clock, holder=holder, lease=self.settings.store.lease
            )
            yield replace(watcher, deliverer=deliverer)

    def goes_on(self, team: Team, way: Way, steps: Sequence[Step]) -> None:
        """Let a new process begin where the last one ended, however that was, and live through *steps*."""

        async def live(watcher: Watcher) -> None:
            let_leases_run_out(self.url)
            await look(watcher, team)
            for step in steps:
                arrive(team, step)
                let_leases_run_out(self.url)
                await look(watcher, team)

        self.process(team, way, live)

    # --- Going back

    def this_moment(self, team: Team) -> Moment:
        return Moment(stored(self.engine), team.copy())

    def back_to(self, moment: Moment) -> Team:
        """Put the ledger back to *moment*, and return a world that is there, too."""
        lay_down(self.engine, moment.rows)
        return moment.team.copy()

    # --- What has come of it

    def what_is_wrong_with_the_ledger(self, team: Team) -> list[str]:
        """Return every difference within the ledger, and between it and what was spent."""
        with open_app(self.settings, clock=team.clock) as app:
            report, verdict = app.spend([Dimension.OWNER]), app.verify()
        counted = {row.place["owner"]: row.amounts for row in report.rows}
        found = [str(difference) for difference in verdict.differences]
        for owner, nanos in team.spent_since_opening().items():
            amounts = counted[owner]
            if (amounts.spend_nanos, amounts.correction_nanos) != (nanos, 0):
                found.append(f"{owner}: spent {nanos}, counted {amounts}")
        return found

    def outcome(self, team: Team) -> "Outcome":
        with open_app(self.settings, clock=team.clock) as app, app.store.reading() as ledger:
            alerts = {alert.fingerprint: alert for alert in ledger.alerts()}
            lives = {name: ledger.transitions(alert.id) for name, alert in alerts.items()}
        with self.engine.connect() as connection:
            queued = [
                (row.intent, Manner(row.manner), DeliveryState(row.state))
                for row in connection.execute(OUTBOX.select().order_by(OUTBOX.c.id))
            ]
        return Outcome(
            alerts={
                name: (alert.state, alert.openings, alert.finding.spend_nanos, alert.finding.threshold_nanos)
                for name, alert in alerts.items()
            },
            transitions={
                name: [(change.change, change.spend_nanos, change.reason) for change in changes]
                for name, changes in lives.items()
            },
            queued=queued,
            said=team.said(),
        )


@dataclass(frozen=True)
class Outcome:
    """What a life has come to, apart from the money."""

    alerts: dict[str, Any]
    transitions: dict[str, Any]
    queued: list[tuple[str, Manner, DeliveryState]]
    said: dict[str, list[Said]]


@contextmanager
def scene_at(url: str, config: Path) -> Iterator[Scene]:
    engine = create_engine(parse(url))
    try:
        yield Scene(url, config, engine)
    finally:
        engine.dispose()


def owner_map(team: Team) -> str:
    """Return the configuration that watches *team*."""
    lines = [MAP]
    for owner, key in team.keys.items():
        lines.append(f'[owners.{owner}]\nkeys = [{{name = "{owner}", key = "{key.secret}"}}]')
        if owner in TEAMS:
            lines.append(f'team = "{TEAMS[owner]}"')
    return "\n".join(lines) + "\n"
