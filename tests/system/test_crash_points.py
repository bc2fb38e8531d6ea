"""A poll in trouble at each of its side effects in turn, on both databases: no nano-dollar is lost or counted twice.

The poll under test does all that a poll can do: it opens a key, counts growth over a gap and a midnight, sees one key
unchanged and one refused, decides a correction, closes a day and asks for the balance. Before it stands a ledger with
a history; after it money goes on flowing, and Reckon polls until nothing new is said.

A short run takes some of the side effects, others each time; `--long` takes them all.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine

from reckon.app import open_app
from reckon.config import load
from reckon.core.plans import Plan
from reckon.core.records import UNOWNED, Meter
from reckon.core.reports import Dimension
from reckon.errors import StoreError
from reckon.fakes import openrouter
from reckon.fakes.world import CreditsPolicy, World
from reckon.store.engines import parse
from reckon.watch import open_watcher
from tests.canary import inference_key
from tests.injection import FATAL, Injector, Trouble
from tests.system.ledger_rows import Rows, lay_down, stored
from tests.system.time_passes import let_leases_run_out

PLACES = 10
"""So many side effects a short run tries, of each poll and trouble."""

MINUTE = timedelta(minutes=1)
USD = 10**9

OWNERS = {"ana": ("laptop", "agent"), "ben": ("batch", "idle"), "cleo": ("revoked", "late")}
MAP = """\
[openrouter]
base_url = "https://openrouter.test/api/v1"
[poll]
concurrency = 1
[log]
level = "error"
"""


class Team:
    """An account with a history of its own, and the owner map that watches it."""

    def __init__(self) -> None:
        self.world = World(datetime(2026, 11, 20, 0, 30, tzinfo=UTC), purchased_nanos=10**6 * USD)
        self.world.recording = False
        self.world.credits_policy = CreditsPolicy.NUMBERS
        names = [name for owned in OWNERS.values() for name in owned]
        self.keys = {name: self.world.make_key(name, secret=inference_key(n)) for n, name in enumerate(names, 500)}
        for key in self.keys.values():
            self.world.spend(key, 4_000 * USD + 123_456_789, at=self.world.now - timedelta(days=40))
        self.opened_at: dict[str, int] = {}
        self.refunded = dict.fromkeys(names, 0)

    def map(self, *left_out: str) -> str:
        """Return the configuration, without the keys that are *left_out*."""
        lines = [MAP]
        for owner, names in OWNERS.items():
            entries = [f'{{name = "{n}", key = "{self.keys[n].secret}"}}' for n in names if n not in left_out]
            lines.append(f"[owners.{owner}]\nkeys = [{', '.join(entries)}]\n")
        return "".join(lines)

    def spend(self, **usd_by_key: str) -> None:
        for name, usd in usd_by_key.items():
            whole, _, fraction = usd.partition(".")
            self.world.spend(self.keys[name], int(whole) * USD + int(fraction.ljust(9, "0")))

    def refund(self, name: str, nanos: int) -> None:
        self.world.refund(self.keys[name], nanos)
        self.refunded[name] += nanos

    def open(self, *names: str) -> None:
        """Remember where the counters stand: nothing before now is to be counted."""
        self.opened_at |= {name: self.world.spent(self.keys[name]) for name in names}

    def spent_since_opening(self) -> dict[str, int]:
        return {name: self.world.spent(self.keys[name]) - opened for name, opened in self.opened_at.items()}

    def polls(self, settings, injector: Injector) -> Plan:
        """Poll once, as of the world's instant, in a process of its own as far as the ledger can tell."""
        fake = httpx.ASGITransport(app=openrouter.app(self.world))

        async def once() -> Plan:
            transport = injector.over(fake)
            async with open_watcher(settings, {}, clock=lambda: self.world.now, transport=transport) as watcher:
                return (await watcher.poll_everything(self.world.now))[0]

        with injector.on_databases():
            return asyncio.run(once())


def lived(team: Team) -> Iterator[str]:
    """Let the account live through a day; yield whenever Reckon polls, and which keys it does not know yet."""
    world, keys = team.world, team.keys
    team.open("laptop", "agent", "batch", "idle", "revoked")
    yield "late"
    world.advance(timedelta(hours=21, minutes=30))  # 22:00
    team.spend(laptop="1.000000001", agent="12.5", batch="0.25", revoked="3.75")
    world.spend(keys["batch"], 2 * USD, meter="byok")
    yield "late"
    world.advance(60 * MINUTE)
    team.refund("agent", 200_000_000)
    yield "late"
    world.advance(50 * MINUTE)
    yield "late"
    world.advance(70 * MINUTE)  # 01:00 of the next day
    team.spend(laptop="0.7", batch="0.000000003", agent="0.05")
    world.spend(keys["batch"], USD // 3, meter="byok")
    world.disable(keys["revoked"])
    team.open("late")


def lives_on(team: Team) -> Iterator[None]:
    """Let money flow on; yield whenever Reckon polls."""
    # Not on the newest key: the ledger may not have seen it yet, and would take this for its past.
    team.spend(laptop="0.000000007", revoked="0.5", agent="0.01")
    team.world.advance(20 * MINUTE)
    yield
    team.spend(late="1.25", batch="0.1")
    team.world.enable(team.keys["revoked"])
    team.world.advance(MINUTE)
    yield
    team.world.advance(MINUTE)
    yield


def told(rows: Rows) -> Iterator[str]:
    """Yield what each row says, ids aside: those that a failed attempt took are never given out again."""
    names = {row["id"]: row["name"] for row in rows.get("owner", ())}
    hashes = {row["id"]: row["hash"] for row in rows.get("key", ())}
    for table, found in rows.items():
        yield table
        for row in found:
            about = {"owner_id": names.get(row.get("owner_id")), "key_id": hashes.get(row.get("key_id")), "id": None}
            yield f"{table} {row | about}"


@dataclass
class Scene:
    """One database, the ledger with a history that it held at first, and two owner maps."""

    url: str
    before: Path
    """The owner map without its newest key."""
    whole: Path
    engine: Engine
    """A way to the rows beside Reckon's own."""
    history: Rows = field(default_factory=dict)

    def settings(self, map_: Path):
        return load(map_, {"RECKON_DATABASE_URL": self.url})

    def again(self) -> Team:
        """Put the ledger back to its history, and return an account that has lived just that."""
        if stored(self.engine) != self.history:
            lay_down(self.engine, self.history)
        team = Team()
        for _ in lived(team):
            pass
        return team

    def goes_on_until_quiet(self, team: Team) -> None:
        for _ in lives_on(team):
            plan = team.polls(self.settings(self.whole), Injector())
        assert (plan.spend_nanos, plan.snapshots, plan.failures) == (0, (), ())

    def problems(self, team: Team) -> list[str]:
        """Return what is not as it must be, now that the ledger has caught up with the account."""
        with open_app(self.settings(self.whole), clock=lambda: team.world.now) as app:
            report, by_owner, verdict = app.spend([Dimension.KEY]), app.spend([Dimension.OWNER]), app.verify()
        counted = {row.place["key"]: row.amounts for row in report.rows}
        wanted = team.spent_since_opening()
        found = [str(difference) for difference in verdict.differences]
        for name, nanos in wanted.items():
            amounts = counted[name]
            if amounts.spend_nanos + amounts.correction_nanos != nanos:
                found.append(f"{name}: spent {nanos}, counted {amounts}")
            if amounts.correction_nanos != -team.refunded[name]:
                found.append(f"{name}: corrected {amounts.correction_nanos}")
            if amounts.byok_nanos != team.world.spent(team.keys[name], meter="byok"):
                found.append(f"{name}: byok {amounts.byok_nanos}")
        owners = {row.place["owner"]: row.amounts for row in by_owner.rows}
        for owner, names in OWNERS.items():
            if owners[owner].spend_nanos != sum(counted[name].spend_nanos for name in names if name in counted):
                found.append(f"{owner} is not the sum of its keys")
        if report.total.spend_nanos != sum(amounts.spend_nanos for amounts in owners.values()) or UNOWNED in owners:
            found.append("the total is not the sum of the owners")
        return found


@contextmanager
def scene_at(url: str, before: Path, whole: Path) -> Iterator[Scene]:
    engine = create_engine(parse(url))
    try:
        yield Scene(url, before, whole, engine)
    finally:
        engine.dispose()


@pytest.fixture
def scene(database_url, secret_file) -> Iterator[Scene]:
    team = Team()
    before = secret_file("before.toml", team.map("late"))
    whole = secret_file("whole.toml", team.map())
    with scene_at(database_url, before, whole) as scene:
        for _ in lived(team):
            team.polls(scene.settings(before), Injector())
        scene.history = stored(scene.engine)
        yield scene


def reached(scene: Scene) -> list[str]:
    """Return the side effects of the poll under test when nothing is wrong."""
    team, injector = scene.again(), Injector()
    plan = team.polls(scene.settings(scene.whole), injector)
    assert plan.snapshots
    assert plan.corrections
    assert plan.gaps
    assert plan.windows
    assert plan.owner_days
    assert plan.seen
    assert plan.failures
    assert plan.balances
    assert {window.meter for window in plan.windows} == set(Meter)
    scene.goes_on_until_quiet(team)
    assert scene.problems(team) == []
    return injector.reached


DEATHS_AND_LIES = [Trouble.DIES_BEFORE, Trouble.DIES_AFTER, Trouble.EXECUTED_BUT_FAILED]
REFUSALS = [pytest.param(trouble, marks=pytest.mark.long) for trouble in (Trouble.RAISES, Trouble.STAYS_BROKEN)]


@pytest.mark.parametrize("trouble", [*DEATHS_AND_LIES, *REFUSALS])
def test_trouble_at_any_side_effect_of_a_poll_loses_nothing_and_counts_nothing_twice(scene, trouble, some_of, capsys):
    clean = reached(scene)
    assert clean == reached(scene)
    say(capsys, trouble, clean)
    judged: dict[str, list[str]] = {}
    wrong = {}
    polls_that_came_through = 0

    for place, what in some_of([*enumerate(clean, start=1)], PLACES):
        team, injector = scene.again(), Injector(place, trouble)
        try:
            team.polls(scene.settings(scene.whole), injector)
            polls_that_came_through += 1
        except StoreError:
            assert trouble not in FATAL
        except BaseException:
            if not injector.is_dead:
                raise
        let_leases_run_out(scene.url)
        assert injector.reached[:place] == clean[:place]
        assert injector.is_dead == (trouble in FATAL)
        # What happens next depends on nothing but the ledger, so equal ledgers need be followed only once.
        ledger = repr(sorted(told(stored(scene.engine))))
        if ledger not in judged:
            scene.goes_on_until_quiet(team)
            judged[ledger] = scene.problems(team)
        if judged[ledger]:
            wrong[place, what] = judged[ledger]

    assert wrong == {}
    assert (polls_that_came_through > 0) == (trouble in {Trouble.EXECUTED_BUT_FAILED, Trouble.RAISES})
    if trouble in FATAL:  # the poll happened whole, or not at all
        assert len(judged) == (1 if trouble is Trouble.DIES_BEFORE else 2)


def test_a_poll_that_is_committed_and_told_that_it_was_not_has_looked_once(scene):
    """A dip is believed after three looks, and a poll that is run again for the ledger has not looked again."""

    def after_two_looks(place: int | None) -> tuple[list[str], int]:
        team, settings = scene.again(), scene.settings(scene.whole)
        team.polls(settings, Injector())
        team.refund("laptop", USD)
        for pause, injector in ((MINUTE, Injector()), (20 * MINUTE, Injector(place, Trouble.EXECUTED_BUT_FAILED))):
            team.world.advance(pause)
            team.polls(settings, injector)
        with open_app(settings, clock=lambda: team.world.now) as app:
            (laptop,) = [row for row in app.spend([Dimension.KEY]).rows if row.place["key"] == "laptop"]
        return injector.reached, laptop.amounts.correction_nanos

    clean, corrected = after_two_looks(None)
    assert clean[-1] == "COMMIT"
    troubled, corrected_after_trouble = after_two_looks(len(clean))
    assert len(troubled) > len(clean)
    assert (corrected, corrected_after_trouble) == (0, 0)


@pytest.mark.parametrize(
    "troubles", [[Trouble.DIES_AFTER], pytest.param([*Trouble], marks=pytest.mark.long)], ids=["dies after", "all"]
)
def test_trouble_at_any_side_effect_of_the_first_poll_leaves_no_half_a_ledger(
    fresh_database, secret_file, troubles, some_of, capsys
):
    map_ = secret_file("reckon.toml", Team().map("late"))
    counting = Injector()
    with fresh_database() as url, scene_at(url, map_, map_) as scene:
        Team().polls(scene.settings(map_), counting)
    say(capsys, "the first poll", counting.reached)
    judged: dict[str, list[str]] = {}
    wrong = {}

    for (place, what), trouble in product(some_of([*enumerate(counting.reached, start=1)], PLACES), troubles):
        team, injector = Team(), Injector(place, trouble)
        with fresh_database() as url, scene_at(url, map_, map_) as scene:
            try:
                team.polls(scene.settings(map_), injector)
            except StoreError:
                assert trouble not in FATAL
            except BaseException:
                if not injector.is_dead:
                    raise
            let_leases_run_out(url)
            ledger = repr(sorted(told(stored(scene.engine))))
            if ledger not in judged:
                judged[ledger] = begins_counting(scene, team)
            if judged[ledger]:
                wrong[place, what, trouble] = judged[ledger]

    assert wrong == {}
    assert (
        3 <= len(judged) <= 3 + len(counting.reached)
    )  # no ledger, an empty one, a whole one; and one for each answer lost


def begins_counting(scene: Scene, team: Team) -> list[str]:
    """Poll until something was spent and counted; return what is then wrong."""
    team.open("laptop", "agent", "batch", "idle", "revoked")
    for usd in ("0.000000001", "2.5"):
        team.world.advance(MINUTE)
        team.polls(scene.settings(scene.whole), Injector())
        team.spend(laptop=usd, batch=usd)
    team.world.advance(MINUTE)
    assert team.polls(scene.settings(scene.whole), Injector()).polled == 5
    return scene.problems(team)


def say(capsys, what: str, reached: list[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: K = {len(reached)} side effects, {reached.count('COMMIT')} of them commits\n")
