"""The truth inside the fake: an account, its API keys, the money they spent, and a clock that moves only when told.

A `World` answers two kinds of question. What is true: `spent`, `totals`, `account_spent_nanos`. And what the API would
say just now, which a test may have bent: a replica that lags, a day that ends late, a whole answer replaced
(`answer_with`). Money is whole nano-dollars. Charges may be dated ahead of the clock; they show once it has reached
them, which is how a whole month is written down before it is watched.

What the documents leave open is decided here: a deleted, disabled or expired key is refused alike; a calendar total
is never shown below zero; money of a deleted key stays in the account's total.
"""

import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, Literal

from reckon.fakes.answers import Answer
from reckon.fakes.counters import Charges, Totals

Meter = Literal["credits", "byok"]
METERS: Final[tuple[Meter, ...]] = ("credits", "byok")
Interval = Literal["daily", "weekly", "monthly"]

EVERYTHING: Final = "everything"
"""Where `World.answer_with` reaches every request."""

DEFAULT_WORKSPACE: Final = "0d0f5e1c-7a52-4c1e-9f43-5b8c3d2a1e90"


@dataclass(frozen=True, slots=True)
class Key:
    """One API key, as it was made. Whether it still works is the world's to say."""

    secret: str = field(repr=False)
    name: str
    created_at: datetime
    limit_nanos: int | None = None
    limit_reset: Interval | None = None
    include_byok_in_limit: bool = False
    expires_at: datetime | None = None
    creator: str | None = None
    workspace: str = DEFAULT_WORKSPACE
    is_management_key: bool = False

    @property
    def hash(self) -> str:
        """OpenRouter's own name for the key: lower-case hex SHA-256 of the whole secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The masked form OpenRouter shows: `sk-or-v1-abc...123`."""
        return f"{self.secret[:12]}...{self.secret[-3:]}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the fake received it. Its text shows neither headers nor body: they hold secrets."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


class CreditsPolicy(Enum):
    """What `/credits` says to a key that is not a management key. The documents say the first; all three were seen."""

    FORBIDDEN = auto()
    ZEROS = auto()
    NUMBERS = auto()


class Body(Enum):
    """Which fields `/key` has: all that the official SDK knows, or only those of the older specification."""

    SDK = auto()
    SPECIFICATION = auto()


class Figures(Enum):
    """How an amount is written as a JSON number."""

    SHORTEST = auto()
    """The shortest text of the nearest double."""
    NOISY = auto()
    """A neighbouring double in all its digits, as sums of doubles come out; above the truth and below it by turns."""
    EXACT = auto()
    """Nine decimal places."""


@dataclass(slots=True)
class _Lag:
    """A replica behind the truth, for a number of answers or until told."""

    by: timedelta
    answers_left: int | None
    every_other: bool
    is_behind: bool = True


@dataclass(slots=True)
class _Scripted:
    """An answer ordered beforehand, for a number of requests or until told."""

    what: "Answer | Key"
    answers_left: int | None


class World:
    """An OpenRouter account at one instant."""

    def __init__(self, now: datetime, *, purchased_nanos: int = 0) -> None:
        self._now = _in_utc(now)
        self.purchased_nanos = purchased_nanos
        self.credits_policy = CreditsPolicy.FORBIDDEN
        self.body = Body.SDK
        self.figures = Figures.SHORTEST
        self.auth_key_retired = False
        """Whether the undocumented path `/auth/key` is gone."""
        self.recording = True
        """Whether requests are kept in `requests`; a long run may turn it off."""
        self.requests: list[Request] = []
        self._keys: dict[str, Key] = {}
        self._deleted: set[str] = set()
        self._disabled: set[str] = set()
        self._charges: dict[tuple[str, str], Charges] = {}
        self._day_late_by: dict[str, timedelta] = {}
        self._lags: dict[str, _Lag] = {}
        self._scripts: defaultdict[str, deque[_Scripted]] = defaultdict(deque)

    # --- The clock -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The world's own instant."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Let *by* pass."""
        self.move_to(self._now + by)

    def move_to(self, instant: datetime) -> None:
        """Let time pass until *instant*. Time does not run backwards here; a reader's clock may."""
        if instant < self._now:
            raise ValueError(f"the world is already at {self._now.isoformat()}, after {instant.isoformat()}")
        self._now = _in_utc(instant)

    # --- Keys ------------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every key ever made here, those deleted since included, in the order they were made."""
        return tuple(self._keys.values())

    def make_key(
        self,
        name: str,
        *,
        secret: str | None = None,
        created_at: datetime | None = None,
        limit_nanos: int | None = None,
        limit_reset: Interval | None = None,
        include_byok_in_limit: bool = False,
        expires_at: datetime | None = None,
        creator: str | None = "user_2invented0000000000000000000",
        workspace: str = DEFAULT_WORKSPACE,
        is_management_key: bool = False,
    ) -> Key:
        """Return a new key. Its secret is invented from its name and order unless given."""
        return self._admit(
            Key(
                secret=secret or invented_secret(f"{name}/{len(self._keys)}"),
                name=name,
                created_at=created_at or self._now,
                limit_nanos=limit_nanos,
                limit_reset=limit_reset,
                include_byok_in_limit=include_byok_in_limit,
                expires_at=expires_at,
                creator=creator,
                workspace=workspace,
                is_management_key=is_management_key,
            )
        )

    def rotate(self, key: Key) -> Key:
        """Return a new key in the place of *key*, which is deleted: same name and limits, counters at nothing."""
        self.delete(key)
        secret = invented_secret(f"{key.name}/{len(self._keys)}")
        return self._admit(replace(key, secret=secret, created_at=self._now))

    def delete(self, key: Key) -> None:
        """Refuse *key* for ever. What it spent stays in the account's total."""
        self._deleted.add(key.hash)

    def disable(self, key: Key) -> None:
        """Refuse *key* until it is enabled again."""
        self._disabled.add(key.hash)

    def enable(self, key: Key) -> None:
        """Accept *key* again, counters as they were."""
        self._disabled.discard(key.hash)

    def key_with(self, secret: str) -> Key | None:
        """Return the key ever made with *secret*, whether or not it still works."""
        return self._keys.get(hashlib.sha256(secret.encode()).hexdigest())

    def accepts(self, key: Key) -> bool:
        """Return whether the API still knows *key*."""
        is_expired = key.expires_at is not None and key.expires_at <= self._now
        return not is_expired and key.hash not in self._deleted and key.hash not in self._disabled

    # --- Money -----------------------------------------------------------------------------------------------------

    def purchase(self, nanos: int) -> None:
        """Top the account up by *nanos*."""
        self.purchased_nanos += nanos

    def spend(self, key: Key, nanos: int, *, at: datetime | None = None, meter: Meter = "credits") -> None:
        """Charge *nanos* to *key*, now or at another instant, which may lie ahead."""
        if nanos < 0:
            raise ValueError("a charge is not negative; see refund")
        if key.is_management_key:
            raise ValueError("a management key runs no inference")
        self._charges[key.hash, meter].add(_in_utc(at or self._now), nanos)

    def refund(self, key: Key, nanos: int, *, meter: Meter = "credits") -> None:
        """Take *nanos* back for good: the totals of *key* fall by as much, and grow from there."""
        charges = self._charges[key.hash, meter]
        if not 0 <= nanos <= charges.made_by(self._now):
            raise ValueError("no more can be refunded than was spent")
        charges.add(self._now, -nanos)

    def reset(self, key: Key) -> None:
        """Let all counters of *key* begin again at zero. The account's total, and what was `spent`, stay."""
        for meter in METERS:
            self._charges[key.hash, meter].restart(self._now)

    def spent(
        self, key: Key, since: datetime | None = None, until: datetime | None = None, meter: Meter = "credits"
    ) -> int:
        """Return what *key* was charged, less refunds, in `[since, until)`.

        Without *since* from the beginning; without *until* up to the clock, its very instant included.
        """
        charges = self._charges[key.hash, meter]
        before = 0 if since is None else charges.made_before(since)
        return (charges.made_by(self._now) if until is None else charges.made_before(until)) - before

    def account_spent_nanos(self) -> int:
        """Return the credits that all keys, deleted ones included, have spent by now."""
        return sum(self.spent(key) for key in self._keys.values())

    def totals(self, key: Key, meter: Meter = "credits", *, at: datetime | None = None) -> Totals:
        """Return the counters of *key* as an up-to-date replica shows them, now or at *at*."""
        late_by = self._day_late_by.get(key.hash, timedelta(0))
        return self._charges[key.hash, meter].totals(at or self._now, day_late_by=late_by)

    def shown_since(self, key: Key, since: datetime | None, meter: Meter, *, at: datetime) -> int:
        """Return a counter of *key* that began at *since* as it stands at *at*: what a limit is held against."""
        return self._charges[key.hash, meter].shown_since(since, at)

    # --- Counters that misbehave -----------------------------------------------------------------------------------

    def lag(self, key: Key, by: timedelta, *, times: int | None = None) -> None:
        """Answer for *key* from a replica *by* behind, for the next *times* answers or until it catches up."""
        self._lags[key.hash] = _Lag(by, times, every_other=False)

    def flap(self, key: Key, by: timedelta, *, times: int | None = None) -> None:
        """As `lag`, but only every other answer, the next one first."""
        self._lags[key.hash] = _Lag(by, times, every_other=True)

    def catch_up(self, key: Key) -> None:
        """Answer for *key* with the truth again."""
        self._lags.pop(key.hash, None)

    def roll_over_late(self, key: Key, by: timedelta) -> None:
        """Let the day counter of *key* go on counting yesterday for *by* after 00:00 UTC, every night."""
        self._day_late_by[key.hash] = by

    def instant_told(self, key: Key) -> datetime:
        """Return the instant whose counters the next answer for *key* tells. Counts as that answer."""
        lag = self._lags.get(key.hash)
        if lag is None:
            return self._now
        told = self._now - lag.by if lag.is_behind else self._now
        lag.is_behind = not lag.every_other or not lag.is_behind
        if lag.answers_left is not None:
            lag.answers_left -= 1
            if lag.answers_left <= 0:
                self.catch_up(key)
        return told

    # --- Answers that are not the right ones -----------------------------------------------------------------------

    def answer_with(self, where: Key | str, what: Answer | Key, *, times: int | None = None) -> None:
        """Answer with *what* in place of the right answer, for the next *times* requests or until told.

        *where* is a key, a path such as `/api/v1/key`, or `EVERYTHING`; a key goes before a path, a path before
        everything. *what* may be another key: then the answer is the one meant for it. Orders for one place are
        carried out one after the other.
        """
        self._scripts[_place(where)].append(_Scripted(what, times))

    def answer_rightly(self, where: Key | str | None = None) -> None:
        """Forget every order of `answer_with`, or only those for *where*."""
        if where is None:
            self._scripts.clear()
        else:
            self._scripts.pop(_place(where), None)

    def next_ordered(self, key: Key | None, path: str) -> Answer | Key | None:
        """Return what was ordered in place of the right answer, if anything. Counts as that answer."""
        places = [EVERYTHING] if key is None else [key.hash, EVERYTHING]
        places.insert(len(places) - 1, path)
        for place in places:
            if orders := self._scripts.get(place):
                order = orders[0]
                if order.answers_left is not None:
                    order.answers_left -= 1
                    if order.answers_left <= 0:
                        orders.popleft()
                return order.what
        return None

    def record(self, request: Request) -> None:
        """Keep *request* in `requests`, if recording."""
        if self.recording:
            self.requests.append(request)

    def _admit(self, key: Key) -> Key:
        if key.hash in self._keys:
            raise ValueError(f"there is a key with the secret of {key.name!r} already")
        self._keys[key.hash] = key
        self._charges.update({(key.hash, meter): Charges() for meter in METERS})
        return key


def invented_secret(of: str) -> str:
    """Return a secret with the looks of a real one, and no more than the looks, always the same for *of*."""
    return "sk-or-v1-" + hashlib.sha256(f"invented: {of}".encode()).hexdigest()


def _place(where: Key | str) -> str:
    if isinstance(where, Key):
        return where.hash
    if where != EVERYTHING and not where.startswith("/"):
        raise ValueError(f"{where!r} is no key, no path and not {EVERYTHING!r}")
    return where


def _in_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an instant is aware")
    return instant.astimezone(UTC)
