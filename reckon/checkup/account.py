"""The account as a management key is shown it: which sources there are, and whether the owner map fits the keys.

A source that is not there is no fault, and everything else works without it; so each is told with what is lost.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from reckon.app import Clock
from reckon.checkup.records import Check, CheckState
from reckon.config import OpenedKey, Secrets, Settings
from reckon.config.policies import owner_rules
from reckon.core.account import ActivityRow, Capabilities
from reckon.core.money import dollars
from reckon.core.ownership import OwnerRule, suggested_owner
from reckon.core.records import UNOWNED
from reckon.core.sweeps import Sweep, SweptKey
from reckon.sources.openrouter import Analytics, OpenRouterClient, sweep
from reckon.sources.openrouter.activity import activity
from reckon.sources.openrouter.asking import outcome_of
from reckon.sources.openrouter.trouble import NoAnswer

_MOST_ROWS: Final = 5
_FINISHED_FOR_SURE: Final = timedelta(days=2)
_MANAGEMENT_KEY: Final = "management key"

_LOST: Final[Mapping[str, str]] = {
    "sweep": "keys that nobody listed, and every key's limit, expiry and last use",
    "analytics": "spend by model the same day with nothing installed",
    "activity": "the 30 days before Reckon came, and the books' second opinion",
}


@dataclass(frozen=True)
class Account:
    """What a management key was shown."""

    sweep: Sweep
    analytics: Capabilities | NoAnswer
    activity: tuple[ActivityRow, ...] | NoAnswer

    @cached_property
    def keys(self) -> Mapping[str, SweptKey]:
        """The keys it shows, by hash."""
        return {key.hash: key for key in self.sweep.keys}

    @property
    def is_whole(self) -> bool:
        """Whether a key that it does not show is not there."""
        return self.sweep.trouble is None and bool(self.sweep.keys)

    def workspace_name(self, key: SweptKey) -> str | None:
        """Return what the workspace of *key* is called."""
        return self._workspace_names.get(key.workspace_id or "")

    @cached_property
    def _workspace_names(self) -> Mapping[str, str | None]:
        return {swept.workspace.id: swept.workspace.name for swept in self.sweep.workspaces}


async def sweep_account(settings: Settings, secrets: Secrets, clock: Clock) -> Sweep:
    """Return every key of the account; none without a management key. Raises nothing of the network."""
    if secrets.management_key is None:
        return Sweep()
    async with open_client(settings, clock) as client:
        return await sweep(client, secrets.management_key, clock, settings.poll.concurrency)


async def look(settings: Settings, secrets: Secrets, client: OpenRouterClient, clock: Clock) -> Account | None:
    """Return what the management key is shown; None without one. Raises nothing of the network."""
    key = secrets.management_key
    if key is None:
        return None
    day = (clock() - _FINISHED_FOR_SURE).date()
    return Account(
        sweep=await sweep(client, key, clock, settings.poll.concurrency),
        analytics=await outcome_of(Analytics(client, key).meta()),
        activity=await outcome_of(activity(client, key, day=day)),
    )


def open_client(settings: Settings, clock: Clock) -> OpenRouterClient:
    """Return the way to OpenRouter. Close it."""
    return OpenRouterClient(
        settings.openrouter.base_url,
        timeout_seconds=settings.openrouter.timeout.total_seconds(),
        clock=clock,
        concurrency=settings.poll.concurrency,
    )


# --- Sources ---------------------------------------------------------------------------------------------------------


def sources(settings: Settings, account: Account | None, *, answering: int) -> Iterator[Check]:
    """Yield which sources there are beside the counters, and what is lost without the others.

    Args:
        settings: the configuration in force.
        account: what a management key was shown, if there is one that works.
        answering: how many keys answered, of which any can ask about generations.
    """
    if account is not None:
        yield _sweep(settings, account.sweep)
        yield _on_offer("analytics", account.analytics)
        yield _on_offer("activity", account.activity)
    elif settings.openrouter.management_key is None:
        added = "; ".join(f"{source} ({lost})" for source, lost in _LOST.items())
        yield Check(
            _MANAGEMENT_KEY,
            CheckState.OK,
            f"None, so each key is asked about itself. One would add: {added}; and the account's balance.",
            "Optional: make one at OpenRouter, under Settings, and name it in openrouter.management_key.",
        )
    yield _generations(answering)
    yield _broadcast(settings)


def _sweep(settings: Settings, seen: Sweep) -> Check:
    told = f"{_counted(len(seen.keys), 'key')} in {_counted(len(seen.workspaces), 'workspace')}"
    unread = f"; {len(seen.failures):,} more cannot be read" if seen.failures else ""
    if seen.trouble is not None:
        what = "Not complete" if seen.keys else "Not to be had"
        state = CheckState.WARNING if seen.keys else CheckState.WRONG
        return Check("sweep", state, f"{what}: {seen.trouble.detail}; {told}.", f"Without it: {_LOST['sweep']}.")
    if not settings.sweeps:
        advice = f"poll.sweep_every turns it off. Without it: {_LOST['sweep']}."
        return Check("sweep", CheckState.WARNING, f"{told}{unread}, and nobody looks.", advice)
    return Check("sweep", CheckState.WARNING if unread else CheckState.OK, f"{told}{unread}.")


def _on_offer(source: str, found: object) -> Check:
    if isinstance(found, NoAnswer):
        text = f"Not to be had: {found.detail}. The rest works without it."
        return Check(source, CheckState.WARNING, text, f"Without it: {_LOST[source]}.")
    return Check(source, CheckState.OK, "Available.")


def _generations(answering: int) -> Check:
    if answering:
        keys = "1 key" if answering == 1 else f"any of {answering:,} keys"
        return Check("generations", CheckState.OK, f"Their cost can be asked for with {keys}.")
    text = "No key answers with which their cost could be asked for."
    return Check("generations", CheckState.WARNING, text, "Mend the keys above.")


def _broadcast(settings: Settings) -> Check:
    listen = settings.http.listen
    if listen is None:
        return Check("broadcast", CheckState.OK, "Not taken in: http.listen is turned off.")
    if settings.http.token is None:
        advice = "Optional: set http.token, and let OpenRouter's Broadcast post to /v1/traces."
        return Check("broadcast", CheckState.OK, "Not taken in: it needs http.token.", advice)
    advice = "OpenRouter reaches it through a proxy only." if listen.is_loopback else ""
    return Check("broadcast", CheckState.OK, f"Taken in at {listen}, path /v1/traces.", advice)


# --- The owner map ---------------------------------------------------------------------------------------------------


def owner_map(settings: Settings, entries: Sequence[OpenedKey], account: Account | None) -> Iterator[Check]:
    """Yield how the rules of the owner map fit the keys of the account, and which keys they leave over."""
    rules = owner_rules(settings)
    if account is None or not account.sweep.keys:
        if rules and account is None:
            whose = ", ".join(rule.owner for rule in rules[:_MOST_ROWS])
            text = f"`match` claims what a sweep finds, and there is none: {whose}."
            yield Check("owner map", CheckState.WARNING, text, "Set openrouter.management_key, or name the keys.")
        return
    named = {entry.hash: entry.owner for entry in entries}
    claims = {
        key.hash: [rule for rule in rules if rule.claims(key, account.workspace_name(key))]
        for key in account.sweep.keys
    }
    owners = {
        key.hash: named.get(key.hash) or next((rule.owner for rule in claims[key.hash]), UNOWNED)
        for key in account.sweep.keys
    }
    unowned = [key for key in account.sweep.keys if owners[key.hash] == UNOWNED]
    yield _summary(account, unowned, {*owners.values()} - {UNOWNED})
    yield from _idle(rules, claims)
    yield from _contested(account, {key_hash: found for key_hash, found in claims.items() if key_hash not in named})
    yield from _unowned(account, unowned, owners, [*settings.owners])


def _summary(account: Account, unowned: Sequence[SweptKey], owners: Iterable[str]) -> Check:
    owned = len(account.sweep.keys) - len(unowned)
    of_owners = _counted(len([*owners]), "owner")
    text = f"{_counted(len(account.sweep.keys), 'key')}: {owned:,} of {of_owners}, {len(unowned):,} of nobody."
    return Check("owner map", CheckState.OK, text)


def _idle(rules: Sequence[OwnerRule], claims: Mapping[str, Sequence[OwnerRule]]) -> Iterator[Check]:
    at_work = {rule for found in claims.values() for rule in found}
    for rule in rules:
        if rule not in at_work:
            text = f"{_glob(rule)} claims no key."
            yield Check(f"rule of {rule.owner}", CheckState.WARNING, text, "Mend it, unless its keys are yet to come.")


def _contested(account: Account, claims: Mapping[str, Sequence[OwnerRule]]) -> Iterator[Check]:
    contested = [key_hash for key_hash, found in claims.items() if len({rule.owner for rule in found}) > 1]
    for key_hash in contested[:_MOST_ROWS]:
        first, *others = (rule.owner for rule in claims[key_hash])
        text = f"Claimed by {first} and by {', '.join(others)}; the first rule wins, so it is {first}'s."
        subject = f"key {_name(account.keys[key_hash])} of {first}"
        yield Check(subject, CheckState.WARNING, text, "Narrow one of the globs, or name the key.")
    if len(contested) > _MOST_ROWS:
        text = f"{len(contested) - _MOST_ROWS:,} more keys are claimed by several rules; the first wins."
        yield Check("owner map", CheckState.WARNING, text)


def _unowned(
    account: Account, unowned: Sequence[SweptKey], owners: Mapping[str, str], ids: Sequence[str]
) -> Iterator[Check]:
    dearest = sorted(unowned, key=lambda key: (-_month(key), -_lifetime(key), key.hash))
    others = [(key, owners[key.hash]) for key in account.sweep.keys]
    for key in dearest[:_MOST_ROWS]:
        suggested = suggested_owner(key, ids, others)
        perhaps = f"Perhaps {suggested}'s? " if suggested else ""
        yield Check(
            f"key {_name(key)} of {UNOWNED}",
            CheckState.WARNING,
            f"{dollars(_month(key))} this month, {dollars(_lifetime(key))} in all.",
            f"{perhaps}Name it in the owner map, or let a rule claim it.",
        )
    if rest := dearest[_MOST_ROWS:]:
        text = f"{len(rest):,} more keys, {dollars(sum(map(_month, rest)))} this month; see `reckon keys`."
        yield Check(f"keys of {UNOWNED}", CheckState.WARNING, text)


def _glob(rule: OwnerRule) -> str:
    globs = {"name": rule.name, "workspace": rule.workspace, "creator": rule.creator}
    return " and ".join(f"{what} {glob}" for what, glob in globs.items() if glob is not None) or "A rule without a glob"


def _name(key: SweptKey) -> str:
    return key.name or key.label or key.hash[:12]


def _month(key: SweptKey) -> int:
    return key.snapshot.credits.monthly_nanos + key.snapshot.byok.monthly_nanos


def _lifetime(key: SweptKey) -> int:
    return key.snapshot.credits.total_nanos + key.snapshot.byok.total_nanos


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
