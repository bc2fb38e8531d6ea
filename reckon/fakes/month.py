"""Thirty days of an invented team, always the same: twenty-nine quiet ones, and a last one that goes wrong.

Three people work office hours with a lunch gap and mostly rest at weekends, a service is steady round the clock, an
agent works through every night. All of it is random in the way such spend is (days and single charges log-normal) and
drawn from a fixed seed. On the last day, from 02:00 UTC until 06:00, the agent makes thirty times its usual calls.
Every key had spent something before the month began, so whoever starts to watch meets counters that are not zero.
No charge falls on a whole minute, so a look on the minute never leaves open on which side of it a charge lies.

Every charge of the month is a completion: a model served it, asked for by name or chosen by a router, within a session.
What was spent before the month is sums of days, of which nobody knows more.

After the month life goes on for whoever stays to watch (`Month.onward`): a little is spent every few seconds, and a day
of that costs each key what its quiet days did.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from types import MappingProxyType
from typing import Final

from reckon.fakes.generations import Generation, Tokens
from reckon.fakes.world import Key, Meter, World

DAYS: Final = 30
ENDS_AT: Final = datetime(2026, 11, 21, tzinfo=UTC)
STARTS_AT: Final = ENDS_AT - timedelta(days=DAYS)
LAST_DAY_STARTS_AT: Final = ENDS_AT - timedelta(days=1)
RUNAWAY_STARTS_AT: Final = LAST_DAY_STARTS_AT + timedelta(hours=2)
RUNAWAY_ENDS_AT: Final = LAST_DAY_STARTS_AT + timedelta(hours=6)
RUNAWAY_OWNER: Final = "nightly-refactor"
RUNAWAY_FACTOR: Final = 30

_SEED: Final = 20261121
_NANOS_PER_USD: Final = 1_000_000_000
_BETWEEN_CHARGES: Final = timedelta(seconds=3)
_NANOS_PER_PROMPT_TOKEN: Final = 3_000
_NANOS_PER_COMPLETION_TOKEN: Final = 15_000


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of the owner map: who answers for which keys."""

    name: str
    team: str
    slack: str
    """The Slack id of the person to turn to."""
    keys: tuple[tuple[str, str], ...] = field(repr=False)
    """The name and the secret of each."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge that is still to be made."""

    key: Key
    nanos: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Month:
    """A world in which the month is written down, standing at its first instant, and the owner map of its keys."""

    world: World
    owners: Mapping[str, Owner]
    starts_at: datetime = STARTS_AT
    last_day_starts_at: datetime = LAST_DAY_STARTS_AT
    runaway_starts_at: datetime = RUNAWAY_STARTS_AT
    runaway_ends_at: datetime = RUNAWAY_ENDS_AT
    ends_at: datetime = ENDS_AT

    def keys_of(self, owner: str) -> tuple[Key, ...]:
        """Return the keys *owner* answers for."""
        keys = (self.world.key_with(secret) for _, secret in self.owners[owner].keys)
        return tuple(key for key in keys if key is not None)

    def spent(self, owner: str, since: datetime, until: datetime, meter: Meter = "credits") -> int:
        """Return what all keys of *owner* spend in `[since, until)`, in nano-dollars, whatever the clock says."""
        return sum(self.world.spent(key, since, until, meter) for key in self.keys_of(owner))

    def spent_by_owner_and_day(self, meter: Meter = "credits") -> Mapping[tuple[str, date], int]:
        """Return the truth of the whole month by owner and UTC day, in nano-dollars, idle days included as zero."""
        midnights = [self.starts_at + timedelta(days=day) for day in range(DAYS + 1)]
        return {
            (owner, since.date()): self.spent(owner, since, until, meter)
            for owner in self.owners
            for since, until in pairwise(midnights)
        }

    def make(self, charge: Charge) -> Generation:
        """Let *charge* be made, as the completion that its key's owner would ask for, and return that."""
        random = Random(f"{_SEED}/{charge.at}/{charge.key.name}")  # noqa: S311  the same life every time is wanted
        return _complete(self.world, charge, _HABITS[charge.key.name], random)

    def onward(self) -> Iterator[Charge]:
        """Yield what is to be spent after the month, without end and always the same."""
        random = Random(f"{_SEED}/onward")  # noqa: S311  the same life every time is what is wanted
        quiet_days = (self.last_day_starts_at - self.starts_at) / timedelta(days=1)
        usual = {key: self.world.spent(key, self.starts_at, self.last_day_starts_at) for key in self.world.keys}
        charges_a_day = timedelta(days=1) / (len(usual) * _BETWEEN_CHARGES)
        at = self.ends_at
        while True:
            at += random.uniform(0.3, 1.7) * _BETWEEN_CHARGES
            key = random.choice([*usual])
            yield Charge(key, round(random.uniform(0.5, 1.5) * usual[key] / quiet_days / charges_a_day), at)


def build() -> Month:
    """Return the month, the same at every call, in a new world."""
    world = World(STARTS_AT, purchased_nanos=5_000 * _NANOS_PER_USD)
    owners = {}
    for owner, (name, team, slack, habits) in _TEAM.items():
        keys = []
        for habit in habits:
            made_at = STARTS_AT - timedelta(days=habit.days_before)
            key = world.make_key(habit.key, created_at=made_at, creator=f"user_{owner}")
            keys.append((key.name, key.secret))
            _write_down(world, key, habit)
        owners[owner] = Owner(name, team, slack, tuple(keys))
    return Month(world, MappingProxyType(owners))


# --- Who spends how -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Route:
    """One way to a model."""

    model: str
    """Which served."""
    provider: str
    asked: str | None = None
    """What was asked for, where that was not the model."""


_SONNET: Final = _Route("anthropic/claude-sonnet-4.5", "Anthropic")
_HAIKU: Final = _Route("anthropic/claude-haiku-4.5", "Amazon Bedrock")
_CODEX: Final = _Route("openai/gpt-5.1-codex-mini", "OpenAI")
_GPT: Final = _Route("openai/gpt-5.1", "Azure")
_GEMINI: Final = _Route("google/gemini-2.5-pro", "Google")
_AUTO_SONNET: Final = _Route("anthropic/claude-sonnet-4.5", "Amazon Bedrock", asked="openrouter/auto")
_AUTO_GPT: Final = _Route("openai/gpt-5.1", "OpenAI", asked="openrouter/auto")
_AUTO_GEMINI: Final = _Route("google/gemini-2.5-pro", "Google AI Studio", asked="openrouter/auto")

_CODING: Final = (_SONNET, _SONNET, _SONNET, _CODEX, _AUTO_SONNET)
_RESEARCH: Final = (_GEMINI, _GEMINI, _GPT, _AUTO_GPT, _AUTO_GEMINI)
_AGENT: Final = (_AUTO_SONNET, _AUTO_SONNET, _AUTO_GPT, _SONNET)
_SUPPORT: Final = (_HAIKU,)


@dataclass(frozen=True, slots=True)
class _Habit:
    """How one key is used: when, how often, how dear."""

    key: str
    hours: tuple[int, ...]
    calls_per_hour: int
    usd_per_call: float
    """The median of single charges."""
    routes: tuple[_Route, ...]
    """The ways to a model, each as often as any other."""
    weekend: float = 1.0
    """The share of calls that a Saturday or Sunday keeps."""
    day_spread: float = 0.1
    """How much days differ, as the sigma of a log-normal."""
    call_spread: float = 0.8
    byok_share: float = 0.0
    """The share of calls that go through the team's own upstream key."""
    days_before: int = 90
    """How long before the month the key was made."""
    runs_away: bool = False


_OFFICE: Final = (8, 9, 10, 11, 13, 14, 15, 16, 17)
_LATE_OFFICE: Final = (10, 11, 12, 14, 15, 16, 17, 18, 19)
_NIGHT: Final = (1, 2, 3, 4, 5)
_ALWAYS: Final = tuple(range(24))


_TEAM: Final[Mapping[str, tuple[str, str, str, tuple[_Habit, ...]]]] = MappingProxyType(
    {
        "mira": (
            "Mira Adeyemi",
            "platform",
            "U0MIRA0001",
            (
                _Habit("mira-laptop", _OFFICE, 6, 0.09, _CODING, weekend=0.06, day_spread=0.35),
                _Habit("mira-ci", _OFFICE, 3, 0.04, _CODING, weekend=0.05, day_spread=0.5),
            ),
        ),
        "jonas": (
            "Jonas Lindqvist",
            "research",
            "U0JONAS001",
            (
                _Habit("jonas-laptop", _LATE_OFFICE, 5, 0.12, _RESEARCH, weekend=0.1, day_spread=0.25),
                _Habit("jonas-notebooks", _LATE_OFFICE, 4, 0.2, _RESEARCH, weekend=0.1, day_spread=0.3, days_before=35),
            ),
        ),
        "lena": (
            "Lena Okonkwo",
            "research",
            "U0LENA0001",
            (
                _Habit("lena-laptop", _OFFICE, 6, 0.07, _RESEARCH, weekend=0.05, day_spread=0.3),
                _Habit("lena-playground", _OFFICE, 3, 0.1, _RESEARCH, weekend=0.05, day_spread=0.5, byok_share=0.4),
            ),
        ),
        RUNAWAY_OWNER: (
            RUNAWAY_OWNER,
            "platform",
            "U0MIRA0001",
            (
                _Habit("agent-night", _NIGHT, 10, 0.18, _AGENT, day_spread=0.15, runs_away=True),
                _Habit("agent-review", _NIGHT, 3, 0.05, _AGENT, day_spread=0.15, days_before=45),
            ),
        ),
        "support-bot": (
            "support-bot",
            "support",
            "U0LENA0001",
            (
                _Habit("support-eu", _ALWAYS, 4, 0.03, _SUPPORT, days_before=300),
                _Habit("support-us", _ALWAYS, 4, 0.02, _SUPPORT, days_before=120),
            ),
        ),
    }
)


_HABITS: Final = MappingProxyType({habit.key: habit for *_, habits in _TEAM.values() for habit in habits})


def _write_down(world: World, key: Key, habit: _Habit) -> None:
    random = Random(f"{_SEED}/{habit.key}")  # noqa: S311  the same month every time is what is wanted
    for day in range(-habit.days_before + 1, 0):
        noon = STARTS_AT + timedelta(days=day, hours=12, seconds=7)
        calls = sum(1 for _ in _instants(random, habit, noon))
        world.spend(key, sum(_cost(random, habit) for _ in range(calls)), at=noon)
    # Of its own, so that the money does not depend on what is told of it.
    routing = Random(f"{_SEED}/{habit.key}/routing")  # noqa: S311  likewise
    for day in range(DAYS):
        midnight = STARTS_AT + timedelta(days=day)
        mood = random.lognormvariate(0, habit.day_spread)
        for at in sorted(_instants(random, habit, midnight)):
            meter: Meter = "byok" if random.random() < habit.byok_share else "credits"
            _complete(world, Charge(key, round(mood * _cost(random, habit)), at), habit, routing, meter)


def _complete(world: World, charge: Charge, habit: _Habit, random: Random, meter: Meter = "credits") -> Generation:
    route = random.choice(habit.routes)
    prompt = round(charge.nanos * random.uniform(0.4, 0.8) / _NANOS_PER_PROMPT_TOKEN)
    completion = round(charge.nanos * random.uniform(0.1, 0.4) / _NANOS_PER_COMPLETION_TOKEN)
    return world.call(
        charge.key,
        cost_nanos=charge.nanos if meter == "credits" else 0,
        byok_nanos=charge.nanos if meter == "byok" else 0,
        model=route.model,
        asked=route.asked,
        provider=route.provider,
        at=charge.at,
        settles_after=timedelta(seconds=round(random.uniform(0.3, 20), 1)),
        tokens=Tokens(
            prompt=prompt,
            completion=completion,
            cached=round(prompt * random.uniform(0, 0.6)),
            reasoning=round(completion * random.uniform(0, 0.5)),
        ),
        session=f"{habit.key}-{charge.at:%m%d-%H}",
        origin=f"https://{habit.key}.example/",
    )


def _instants(random: Random, habit: _Habit, day: datetime) -> Iterator[datetime]:
    midnight = day.replace(hour=0, minute=0, second=0)
    for hour in habit.hours:
        begins = midnight + timedelta(hours=hour)
        calls = habit.calls_per_hour * (habit.weekend if begins.weekday() >= 5 else 1)
        if habit.runs_away and RUNAWAY_STARTS_AT <= begins < RUNAWAY_ENDS_AT:
            calls *= RUNAWAY_FACTOR
        # A fraction of a call is a call that happens as often.
        for _ in range(int(calls) + (random.random() < calls % 1)):
            yield begins + timedelta(minutes=random.randrange(60), seconds=random.randrange(1, 60))


def _cost(random: Random, habit: _Habit) -> int:
    return round(random.lognormvariate(math.log(habit.usd_per_call), habit.call_spread) * _NANOS_PER_USD)
