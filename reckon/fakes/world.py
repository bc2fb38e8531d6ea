"""The truth inside the fake: an account, its API keys, the money they spent, and a clock that moves only when told.

A `World` answers two kinds of question. What is true: `spent`, `totals`, `account_spent_nanos`. And what the API would
say just now, which a test may have bent: a replica that lags, a day that ends late, a whole answer replaced
(`answer_with`). Money is whole nano-dollars. Charges may be dated ahead of the clock; they show once it has reached
them, which is how a whole month is written down before it is watched.

Money is spent in three ways: by a completion (`call`), of which the API can tell everything; by a key and nobody knows
for what (`spend`); by the account without any key (`chatroom`). All of it stands in the journal, so that counters and
reports add up to the same.

What the documents leave open is decided here: a deleted, disabled or expired key is refused alike; a calendar total
is never shown below zero; money of a deleted key stays in the account's total and in its reports; a price that is
changed later is money of the instant of the change; a charge belongs to the workspace its key was in at that instant.
"""

import hashlib
from bisect import bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, Literal

from reckon.fakes.analytics import AnalyticsDialect, Pace
from reckon.fakes.answers import Answer
from reckon.fakes.counters import Charges, Totals
from reckon.fakes.generations import NO_TOKENS, ORIGIN, SOME_TOKENS, Generation, Tokens, Unsettled, invented_id
from reckon.fakes.journal import Entry, Journal
from reckon.fakes.workspaces import DEFAULT_WORKSPACE, Workspace, invented_uuid

Meter = Literal["credits", "byok"]
METERS: Final[tuple[Meter, ...]] = ("credits", "byok")
Interval = Literal["daily", "weekly", "monthly"]

EVERYTHING: Final = "everything"
"""Where `World.answer_with` reaches every request."""


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
        self.analytics_available = True
        self.analytics_missing_status: Literal[403, 404] = 404
        """What is answered where analytics is not available."""
        self.analytics = AnalyticsDialect()
        self.analytics_pace = Pace(64)
        self.analytics_lag = timedelta(0)
        """How far behind the truth analytics is."""
        self.recording = True
        """Whether requests are kept in `requests`; a long run may turn it off."""
        self.requests: list[Request] = []
        self._keys: dict[str, Key] = {}
        self._by_age: list[tuple[datetime, int, str]] = []
        self._stays: dict[str, list[tuple[datetime, str]]] = {}
        self._updated_at: dict[str, datetime] = {}
        self._workspaces = {DEFAULT_WORKSPACE: Workspace(DEFAULT_WORKSPACE, "Default", self._now)}
        self._deleted: set[str] = set()
        self._disabled: set[str] = set()
        self._charges: dict[tuple[str, str], Charges] = {}
        self._chatroom = Charges()
        self._journal = Journal()
        self._generations: dict[str, Generation] = {}
        self._foreign: set[str] = set()
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
        current = self._keys[key.hash]
        secret = invented_secret(f"{current.name}/{len(self._keys)}")
        return self._admit(replace(current, secret=secret, created_at=self._now))

    def rename(self, key: Key, name: str) -> Key:
        """Return *key* as it is called from now on. Its hash, its label and its counters stay."""
        return self._update(replace(self._keys[key.hash], name=name))

    def move_key(self, key: Key, workspace: str) -> Key:
        """Return *key* as it is in *workspace* from now on. What it spent before stays with the one it was in."""
        self._stays[key.hash].append((self._now, workspace))
        return self._update(replace(self._keys[key.hash], workspace=workspace))

    def delete(self, key: Key) -> None:
        """Refuse *key* for ever. What it spent stays in the account's total."""
        self._deleted.add(key.hash)

    def disable(self, key: Key) -> None:
        """Refuse *key* until it is enabled again."""
        self._disabled.add(key.hash)
        self._updated_at[key.hash] = self._now

    def enable(self, key: Key) -> None:
        """Accept *key* again, counters as they were."""
        self._disabled.discard(key.hash)
        self._updated_at[key.hash] = self._now

    def key_with(self, secret: str) -> Key | None:
        """Return the key ever made with *secret*, whether or not it still works."""
        return self._keys.get(hashlib.sha256(secret.encode()).hexdigest())

    def accepts(self, key: Key) -> bool:
        """Return whether the API still knows *key*."""
        return not self.is_expired(key) and key.hash not in self._deleted and key.hash not in self._disabled

    def is_expired(self, key: Key) -> bool:
        """Return whether the time of *key* is over."""
        return key.expires_at is not None and key.expires_at <= self._now

    def is_disabled(self, key: Key) -> bool:
        """Return whether *key* is refused until it is enabled again."""
        return key.hash in self._disabled

    def updated_at(self, key: Key) -> datetime | None:
        """Return when *key* was last renamed, moved, disabled or enabled; None if never."""
        return self._updated_at.get(key.hash)

    def key_by_hash(self, key_hash: str) -> Key | None:
        """Return the key with *key_hash*, whether or not it still works, unless none was ever made."""
        return self._keys.get(key_hash)

    def is_listed(self, key: Key) -> bool:
        """Return whether *key* is one of those that can be managed: no management key, and not deleted."""
        return not key.is_management_key and key.hash not in self._deleted

    def listed(self, workspace: str, *, disabled: bool, expired: bool) -> Iterator[Key]:
        """Yield the inference keys of *workspace* that are not deleted, newest first."""
        hidden = self._deleted if disabled else self._deleted | self._disabled
        # By hash and not by key, because a key works its hash out anew each time.
        for _, _, key_hash in reversed(self._by_age):
            key = self._keys[key_hash]
            if (
                key.workspace == workspace
                and key_hash not in hidden
                and not key.is_management_key
                and (expired or key.expires_at is None or not self.is_expired(key))
            ):
                yield key

    # --- Workspaces ------------------------------------------------------------------------------------------------

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        """Every workspace, the default one first, in the order they were made."""
        return tuple(self._workspaces.values())

    def make_workspace(self, name: str) -> Workspace:
        """Return a new workspace; its keys are made with, or moved to, its id."""
        made = Workspace(invented_uuid(f"workspace {name}/{len(self._workspaces)}"), name, self._now)
        self._workspaces[made.id] = made
        return made

    def workspace(self, workspace_id: str) -> Workspace | None:
        """Return the workspace of that id, if there is one."""
        return self._workspaces.get(workspace_id)

    def workspace_of(self, entry: Entry) -> str:
        """Return the id of the workspace that *entry* belongs to: the one its key was in."""
        if entry.key_hash is None:
            return DEFAULT_WORKSPACE
        return self.workspace_at(entry.key_hash, entry.at)

    def workspace_at(self, key_hash: str, at: datetime) -> str:
        """Return the id of the workspace that a key was in at an instant; before its first, that."""
        stays = self._stays[key_hash]
        if len(stays) == 1:
            return stays[0][1]
        return stays[max(0, bisect_right(stays, at, key=lambda stay: stay[0]) - 1)][1]

    def user_of(self, entry: Entry) -> str | None:
        """Return the user that *entry* belongs to: whoever made its key. Without a key it is nobody's."""
        return None if entry.key_hash is None else self._keys[entry.key_hash].creator

    # --- Money -----------------------------------------------------------------------------------------------------

    def purchase(self, nanos: int) -> None:
        """Top the account up by *nanos*."""
        self.purchased_nanos += nanos

    def call(
        self,
        key: Key,
        *,
        cost_nanos: int,
        model: str,
        asked: str | None = None,
        provider: str = "OpenAI",
        at: datetime | None = None,
        settles_after: timedelta = timedelta(0),
        until_settled: Unsettled = Unsettled.NOT_FOUND,
        byok_nanos: int = 0,
        upstream_nanos: int | None = None,
        tokens: Tokens = SOME_TOKENS,
        session: str | None = None,
        app_id: int | None = None,
        origin: str = ORIGIN,
        cancelled: bool = False,
        from_cache_of: str | None = None,
        failed_providers: tuple[str, ...] = (),
        id: str | None = None,  # noqa: A002  the API's own word for it
    ) -> Generation:
        """Let *key* run one completion, and return it.

        The key is charged at *at*, as by `spend`. `/generation` tells of it once *settles_after* has passed since, and
        until then says what *until_settled* says. An answer out of the response cache (*from_cache_of*, the id of the
        one it repeats) costs nothing.
        """
        self._refuse_charging(key, cost_nanos, byok_nanos)
        if from_cache_of is not None and (cost_nanos or byok_nanos):
            raise ValueError("an answer out of the cache costs nothing")
        at = _in_utc(at or self._now)
        generation_id = id or invented_id(at, f"{key.hash}/{len(self._generations)}")
        if generation_id in self._generations or generation_id in self._foreign:
            raise ValueError(f"there is a generation {generation_id!r} already")
        made = Generation(
            id=generation_id,
            key_hash=key.hash,
            at=at,
            model=model,
            asked=asked,
            provider=provider,
            cost_nanos=cost_nanos,
            byok_nanos=byok_nanos,
            upstream_nanos=upstream_nanos,
            tokens=tokens,
            session=session,
            app_id=app_id,
            origin=origin,
            cancelled=cancelled,
            from_cache_of=from_cache_of,
            failed_providers=failed_providers,
            settles_at=at + settles_after,
            until_settled=until_settled,
        )
        self._generations[made.id] = made
        self._charge(_of(made, at, cost_nanos, byok_nanos, tokens=tokens))
        return made

    def reprice(self, generation: Generation, nanos: int, *, byok_nanos: int | None = None) -> Generation:
        """Let *generation* have cost *nanos* of credits, and return it so; its key is charged the difference now."""
        before = self._generations[generation.id]
        after = replace(before, cost_nanos=nanos, byok_nanos=before.byok_nanos if byok_nanos is None else byok_nanos)
        if nanos < 0 or after.byok_nanos < 0:
            raise ValueError("a cost is not negative")
        self._generations[after.id] = after
        credits_change, byok_change = nanos - before.cost_nanos, after.byok_nanos - before.byok_nanos
        self._charge(_of(after, max(before.at, self._now), credits_change, byok_change, requests=0))
        return after

    def chatroom(self, nanos: int, *, at: datetime | None = None, model: str = "openai/gpt-5.1") -> None:
        """Charge *nanos* to the account and to no key, as talking on the web site does."""
        if nanos < 0:
            raise ValueError("a charge is not negative")
        self._charge(Entry(_in_utc(at or self._now), None, nanos, model=model, provider="OpenAI"))

    def generation(self, generation_id: str) -> Generation | None:
        """Return the completion with that id, as it stands, if a key of this account ran one."""
        return self._generations.get(generation_id)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Every completion, in the order they were made, those ahead of the clock included."""
        return tuple(self._generations.values())

    def foreign_generation(self, id: str | None = None) -> str:  # noqa: A002  the API's own word for it
        """Return the id of a completion that another account ran: no key of this one may see it."""
        generation_id = id or invented_id(self._now, f"foreign/{len(self._foreign)}")
        self._foreign.add(generation_id)
        return generation_id

    def is_foreign(self, generation_id: str) -> bool:
        """Return whether another account ran the completion with that id."""
        return generation_id in self._foreign

    def spend(self, key: Key, nanos: int, *, at: datetime | None = None, meter: Meter = "credits") -> None:
        """Charge *nanos* to *key*, now or at another instant, which may lie ahead."""
        self._refuse_charging(key, nanos)
        self._charge(_unexplained(_in_utc(at or self._now), key, nanos, meter))

    def refund(self, key: Key, nanos: int, *, meter: Meter = "credits") -> None:
        """Take *nanos* back for good: the totals of *key* fall by as much, and grow from there."""
        if not 0 <= nanos <= self._charges[key.hash, meter].made_by(self._now):
            raise ValueError("no more can be refunded than was spent")
        self._charge(_unexplained(self._now, key, -nanos, meter, requests=0))

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
        """Return the credits that all keys, deleted ones included, and the account without one have spent by now."""
        of_keys = sum(line.made_by(self._now) for (_, meter), line in self._charges.items() if meter == "credits")
        return of_keys + self._chatroom.made_by(self._now)

    def entries(
        self, since: datetime, until: datetime, key_hashes: Iterable[str | None] | None = None
    ) -> Iterable[Entry]:
        """Return every charge made in `[since, until)` that the clock has reached, in order of time.

        Of the whole account, or of some keys only; None among them is the account without any key.
        """
        return self._journal.entries(since, min(until, self._now + _INSTANT), key_hashes)

    def last_used_at(self, key: Key, at: datetime) -> datetime | None:
        """Return when *key* was last charged anything by *at*; None if never."""
        used = [self._charges[key.hash, meter].last_by(at) for meter in METERS]
        return max((instant for instant in used if instant is not None), default=None)

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
        self._stays[key.hash] = [(key.created_at, key.workspace)]
        insort(self._by_age, (key.created_at, len(self._keys), key.hash))
        self._charges.update({(key.hash, meter): Charges() for meter in METERS})
        self._keys[key.hash] = key
        return key

    def _update(self, key: Key) -> Key:
        self._keys[key.hash] = key
        self._updated_at[key.hash] = self._now
        return key

    @staticmethod
    def _refuse_charging(key: Key, *nanos: int) -> None:
        if min(nanos) < 0:
            raise ValueError("a charge is not negative; see refund")
        if key.is_management_key:
            raise ValueError("a management key runs no inference")

    def _charge(self, entry: Entry) -> None:
        if entry.key_hash is None:
            self._chatroom.add(entry.at, entry.credits_nanos)
        else:
            for meter, nanos in zip(METERS, (entry.credits_nanos, entry.byok_nanos), strict=True):
                if nanos:
                    self._charges[entry.key_hash, meter].add(entry.at, nanos)
        self._journal.add(entry)


def invented_secret(of: str) -> str:
    """Return a secret with the looks of a real one, and no more than the looks, always the same for *of*."""
    return "sk-or-v1-" + hashlib.sha256(f"invented: {of}".encode()).hexdigest()


_INSTANT: Final = timedelta(microseconds=1)


def _of(
    generation: Generation,
    at: datetime,
    credits_nanos: int,
    byok_nanos: int,
    *,
    requests: int = 1,
    tokens: Tokens = NO_TOKENS,
) -> Entry:
    return Entry(
        at,
        generation.key_hash,
        credits_nanos,
        byok_nanos,
        requests,
        generation.model,
        generation.provider,
        tokens,
        generation,
    )


def _unexplained(at: datetime, key: Key, nanos: int, meter: Meter, *, requests: int = 1) -> Entry:
    if meter == "byok":
        return Entry(at, key.hash, byok_nanos=nanos, requests=requests)
    return Entry(at, key.hash, credits_nanos=nanos, requests=requests)


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
