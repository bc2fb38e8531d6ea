"""Single keys, each asked about itself with its own secret, and single generations.

One request is in flight per key: a second poll waits for the first, so that a slow answer can never be overtaken by the
next. Trouble with one key is that key's failure and nothing more.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr

from reckon.core.generations import Found, Lookup, NotFound, Unfound
from reckon.core.polls import Poll
from reckon.core.records import Balance, Failure, FailureReason, Snapshot, WatchedKey
from reckon.sources.openrouter.asking import each, outcome_of
from reckon.sources.openrouter.client import OpenRouterClient
from reckon.sources.openrouter.generation_wire import generation, not_found
from reckon.sources.openrouter.key_hash import key_hash_of
from reckon.sources.openrouter.key_wire import KeyRights, credits_balance, key_rights, key_snapshot
from reckon.sources.openrouter.trouble import NoAnswer


@dataclass(frozen=True, slots=True)
class Examined:
    """What one key tells of itself, and what it may see."""

    key_hash: str
    rights: KeyRights
    balance: Balance | None
    """The account's, if it may see it; an inference key is also told two zeros in place of a refusal."""


class OpenRouterSource:
    """A `reckon.ports.Source` over the keys whose secrets it was given, by hash; other keys are passed over.

    A `reckon.ports.GenerationSource` too, which may ask with each of them and with the management key.
    """

    def __init__(
        self,
        client: OpenRouterClient,
        secrets: Mapping[str, SecretStr],
        *,
        clock: Callable[[], datetime],
        management_key: SecretStr | None = None,
        concurrency: int = 32,
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._clock = clock
        self._management_key = management_key
        self._askers = dict(secrets) | ({} if management_key is None else dict([_named(management_key)]))
        self._concurrency = concurrency
        self._polling = asyncio.Lock()
        self._key_path = _KeyPath()
        self._silence = _Silence(enough=_ROUNDS_BEFORE_SILENCE * concurrency)
        self.asked = 0
        """How many keys have been asked so far, so that a long poll can be seen to move."""

    @property
    def clock_skew_seconds(self) -> float | None:
        """How far OpenRouter's clock is ahead of ours, when that is more than a minute; else None."""
        return self._client.clock_skew_seconds

    async def poll(self, keys: Sequence[WatchedKey]) -> Poll:
        """Ask each of *keys* about itself: one snapshot or one failure for each whose secret is known, in their order.

        Raises nothing of the network.
        """
        async with self._polling:
            self._silence = _Silence(enough=_ROUNDS_BEFORE_SILENCE * self._concurrency)
            asked = self._with_secrets(keys)
            # From another key on each time, so that none is always among those who are not asked in a silence.
            first = self.asked % len(asked) if asked else 0
            turned = await each([*asked[first:], *asked[:first]], self._counters, self._concurrency)
            outcomes = [*turned[len(asked) - first :], *turned[: len(asked) - first]]
        return Poll(
            snapshots=tuple(outcome for outcome in outcomes if isinstance(outcome, Snapshot)),
            failures=tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
        )

    async def balances(self, keys: Sequence[WatchedKey]) -> Sequence[Balance]:
        """Ask for the account's balance with the management key, and only without one with each of *keys*.

        Yields nothing for a key that may not see it, which an inference key is also told by two zeros, and nothing
        where there was trouble: a balance is worth no failure. Raises nothing of the network.
        """
        management_key = self._management_key
        askers = [_named(management_key)] if management_key else self._with_secrets(keys)
        answers = await each(askers, self._balance, self._concurrency)
        return [balance for balance in answers if balance is not None]

    async def lookup(self, generation_id: str, asker: str) -> Lookup:
        """Ask with the key whose hash is *asker* what one generation cost.

        One ask and no more: when to ask again, and with which key, is the caller's. Raises nothing of the network.
        """
        secret = self._askers.get(asker)
        if secret is None:
            return NotFound(Unfound.KEY_REFUSED, "nobody has told the secret of this key")
        outcome = await outcome_of(self._ask_generation(generation_id, secret))
        return not_found(outcome) if isinstance(outcome, NoAnswer) else outcome

    async def examine(self, keys: Sequence[WatchedKey]) -> Sequence[Examined | Failure]:
        """Ask each of *keys* whose secret is known for its counters, its rights and the balance, in their order.

        What a poll would call a failure is one here. Raises nothing of the network.
        """
        return await each(self._with_secrets(keys), self._examined, self._concurrency)

    async def examine_management_key(self) -> Examined | Failure | None:
        """Ask the same of the management key; None if there is none."""
        if self._management_key is None:
            return None
        return await self._examined(*_named(self._management_key))

    def _with_secrets(self, keys: Iterable[WatchedKey]) -> list[tuple[str, SecretStr]]:
        hashes = dict.fromkeys(key.hash for key in keys)
        return [(key_hash, self._secrets[key_hash]) for key_hash in hashes if key_hash in self._secrets]

    async def _counters(self, key_hash: str, secret: SecretStr) -> Snapshot | Failure:
        if self._silence.is_total:
            return Failure(key_hash, FailureReason.TIMED_OUT, "not asked, since nobody has answered in this poll")
        outcome = await outcome_of(self._ask_counters(key_hash, secret))
        self.asked += 1
        self._silence.take_in(outcome)
        return _failure(key_hash, outcome) if isinstance(outcome, NoAnswer) else outcome

    async def _ask_counters(self, key_hash: str, secret: SecretStr) -> Snapshot:
        value = await self._about_itself(secret)
        return key_snapshot(value, key_hash=key_hash, secret=secret.get_secret_value(), at=self._now())

    async def _examined(self, key_hash: str, secret: SecretStr) -> Examined | Failure:
        rights = await outcome_of(self._ask_rights(key_hash, secret))
        if isinstance(rights, NoAnswer):
            return _failure(key_hash, rights)
        balance = await outcome_of(self._ask_balance(key_hash, secret))
        return Examined(key_hash, rights, _shown(balance, may_see_it=bool(rights.is_management_key)))

    async def _ask_rights(self, key_hash: str, secret: SecretStr) -> KeyRights:
        value = await self._about_itself(secret)
        key_snapshot(value, key_hash=key_hash, secret=secret.get_secret_value(), at=self._now())
        return key_rights(value)

    async def _ask_generation(self, generation_id: str, secret: SecretStr) -> Found:
        return generation(await self._client.get("/generation", secret, {"id": generation_id}), generation_id)

    async def _about_itself(self, secret: SecretStr) -> Any:
        gone = []
        for path in self._key_path.order(self._clock()):
            try:
                value = await self._client.get(path, secret)
            except NoAnswer as trouble:
                if trouble.status not in _NO_SUCH_PATH:
                    raise
                gone.append(f"HTTP {trouble.status} from {path}")
            else:
                self._key_path.answered(path, self._clock())
                return value
        raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, ", ".join(gone))

    async def _balance(self, key_hash: str, secret: SecretStr) -> Balance | None:
        outcome = await outcome_of(self._ask_balance(key_hash, secret))
        return _shown(outcome, may_see_it=self._management_key is not None)

    async def _ask_balance(self, key_hash: str, secret: SecretStr) -> Balance:
        value = await self._client.get("/credits", secret)
        return credits_balance(value, seen_by=key_hash, at=self._now())

    def _now(self) -> datetime:
        now = self._clock()
        return now if now.microsecond == 0 else now.replace(microsecond=0) + timedelta(seconds=1)


class _KeyPath:
    """Which of the two paths to a key's counters is asked first.

    `/auth/key` is the older path and the one most programs use, but no document promises it any longer. Once only
    `/key` has answered, it is asked first for a day.
    """

    def __init__(self) -> None:
        self._alias_gone_since: datetime | None = None

    def order(self, now: datetime) -> tuple[str, str]:
        since = self._alias_gone_since
        # A clock that stepped back must not put the next try further away than a day.
        if since is not None and timedelta(0) <= now - since < _ALIAS_ASKED_AGAIN_AFTER:
            return ("/key", "/auth/key")
        return ("/auth/key", "/key")

    def answered(self, path: str, now: datetime) -> None:
        if path == "/auth/key":
            self._alias_gone_since = None
        elif self.order(now)[0] != path:
            self._alias_gone_since = now


_ROUNDS_BEFORE_SILENCE: Final = 2
_NO_SUCH_PATH: Final = frozenset({404, 405, 410})
_ALIAS_ASKED_AGAIN_AFTER: Final = timedelta(days=1)


def _named(secret: SecretStr) -> tuple[str, SecretStr]:
    return key_hash_of(secret), secret


def _failure(key_hash: str, trouble: NoAnswer) -> Failure:
    return Failure(key_hash, trouble.reason, trouble.detail, trouble.retry_after_seconds)


class _Silence:
    """Whether a poll hears nothing at all.

    All keys ask the same host: once so many asks have timed out and none was answered in any way, the others would time
    out too, and ten thousand of them take more than an hour.
    """

    def __init__(self, *, enough: int) -> None:
        self._enough = enough
        self._timed_out = 0
        self._was_answered = False

    def take_in(self, outcome: object) -> None:
        """Take in what one ask came to."""
        if isinstance(outcome, NoAnswer) and outcome.reason is FailureReason.TIMED_OUT:
            self._timed_out += 1
        else:
            self._was_answered = True

    @property
    def is_total(self) -> bool:
        """Whether it is not worth asking on."""
        return not self._was_answered and self._timed_out >= self._enough


def _shown(balance: Balance | NoAnswer, *, may_see_it: bool) -> Balance | None:
    """Return *balance* if it is one: two zeros are, to a key that may not see it, another word for no."""
    if isinstance(balance, NoAnswer):
        return None
    return balance if may_see_it or balance.credits_nanos or balance.usage_nanos else None
