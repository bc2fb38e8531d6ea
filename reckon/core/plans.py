"""The decisions. Each is one pure function from what the store remembers and what the world said to a `Plan`.

`after_poll` is the ledger's heart: snapshots become deltas, deltas become money in quarter-hour windows under the owner
who held the key, and owners' local days are closed as they end. The store calls it inside the transaction that writes
its plan, so that what was read is still true when the plan is written. A crash before the commit means nothing
happened, and the next poll's delta spans the gap.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import deltas, key_news, noticing, ownership
from reckon.core.alerts import Alert, Transition
from reckon.core.closing import OpenDays, close_days
from reckon.core.deltas import Sight
from reckon.core.key_news import KeysBefore
from reckon.core.noticing import Counted, Noticed, NoticePolicy, Remembered
from reckon.core.outbox import Outgoing
from reckon.core.ownership import Missing, OwnerRule
from reckon.core.polls import Poll
from reckon.core.records import (
    UNOWNED,
    Balance,
    Correction,
    Delta,
    Failure,
    FailureReason,
    Gap,
    KeyState,
    Meter,
    OwnerDay,
    OwnerState,
    Snapshot,
    StoredSnapshot,
    WatchedKey,
    WindowSpend,
)
from reckon.core.sweeps import KeyAbout, Sweep, Workspace
from reckon.core.windows import day_start, day_window, grain_start, local_date

_LONGEST_WAIT: Final = timedelta(hours=1)
_HALF_SECOND: Final = timedelta(milliseconds=500)
_CLOCK_FLOOR: Final = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """The settings the ledger needs."""

    zone: ZoneInfo
    """Whose days are closed."""
    poll_every: timedelta
    notice: NoticePolicy | None = None
    """None where only the ledger is kept, and nothing is judged."""
    rules: Sequence[OwnerRule] = ()
    """Whose the keys are that a sweep finds and the owner map does not name; the first that claims one has it."""
    sweeps: bool = False
    """Whether sweeps go on, so that a key which only they show is watched while none has succeeded for a while."""

    @property
    def expected_stretch(self) -> timedelta:
        """How long a stretch between two sights of a key may be before it is a gap."""
        return 2 * self.poll_every


@dataclass(frozen=True, slots=True)
class State:
    """What the store remembers, as far as one poll needs it."""

    keys: Mapping[str, KeyState] = field(default_factory=dict)
    """By hash; every key ever known."""
    dips: Mapping[str, Sequence[StoredSnapshot]] = field(default_factory=dict)
    """For keys with a dip pending: their stored snapshots from the one before the dip on."""
    days: OpenDays = field(default_factory=OpenDays)
    last_sweeps: Mapping[str, datetime] = field(default_factory=dict)
    """When the last complete sweep of each workspace began."""
    noticing: Remembered = field(default_factory=Remembered)
    abouts: Mapping[str, KeyAbout] = field(default_factory=dict)
    """What the last sweeps told of each key beside its counters, by hash; where this poll has swept."""
    sweep_failing_since: datetime | None = None
    """Since when no sweep has succeeded; None where the last one did."""
    watched: Sequence[WatchedKey] | None = None
    """Every key that is watched after this poll, where somebody has found that out already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one poll decided. Writing it is one transaction."""

    at: datetime
    """The instant of the poll."""
    keys: tuple[KeyState, ...]
    """Every key of which more changed than when it was last seen."""
    seen: tuple[tuple[str, datetime], ...]
    """Keys that were seen again and had not changed: (hash, when)."""
    snapshots: tuple[tuple[str, StoredSnapshot], ...]
    corrections: tuple[tuple[str, Correction], ...]
    gaps: tuple[Gap, ...]
    windows: tuple[WindowSpend, ...]
    owners: tuple[OwnerState, ...]
    owner_days: tuple[OwnerDay, ...]
    rebuild_days: bool
    """The zone changed: every closed day is to be forgotten before `owner_days` are written."""
    balances: tuple[Balance, ...]
    balances_asked_at: datetime | None
    swept: Mapping[str, datetime]
    zone_key: str
    polled: int
    """How many keys yielded a snapshot that was accepted."""
    failures: tuple[Failure, ...]
    spend_nanos: int
    """Credits counted by this poll."""
    alerts: tuple[Alert, ...] = ()
    """Those that changed, as they stand now."""
    transitions: tuple[Transition, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()
    abouts: tuple[KeyAbout, ...] = ()
    """Of the keys of which a sweep told something new beside their counters."""
    workspaces: tuple[Workspace, ...] = ()
    """Those that a sweep listed."""
    has_swept: bool = False
    """Whether the account was to be swept."""
    sweep_trouble: str | None = None
    """Why that did not succeed, for a person; None where it did."""
    sweep_failing_since: datetime | None = None
    moved: frozenset[str] = frozenset()
    """The owners who lost a key to another, or were given one."""


def is_set(now: datetime) -> bool:
    """Return whether a clock that shows *now* was ever set; nothing that any other stamps may enter the ledger."""
    return now >= _CLOCK_FLOOR


def is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Return whether what was last done at *last* is to be done again; a clock that was set back makes it so."""
    return last is None or not last <= now < last + every


def next_poll(now: datetime, policy: LedgerPolicy) -> datetime:
    """Return when what is polled at *now* is due again: after the usual time, or as soon as the local day is over.

    A day's last money is then dated by a look at its very end. Stored instants are whole seconds, so this is the
    nearest one.
    """
    usual = (now + policy.poll_every + _HALF_SECOND).replace(microsecond=0)
    day_ends_at = day_window(local_date(now, policy.zone), policy.zone).end
    return day_ends_at if now < day_ends_at < usual else usual


def may_be_asked(retry_at: datetime | None, now: datetime) -> bool:
    """Return whether a key may be asked, which OpenRouter asked us to leave alone until *retry_at*, if it did.

    No wait is longer than an hour: what is further away was stamped by a clock that has been set back since.
    """
    return retry_at is None or not now < retry_at <= now + _LONGEST_WAIT


def after_poll(state: State, poll: Poll, watched: Sequence[WatchedKey], policy: LedgerPolicy, now: datetime) -> Plan:
    """Return what *poll* means for the ledger.

    Args:
        state: what the store remembers.
        poll: what the sources said.
        watched: the whole owner map: what is not in it is no longer watched, and keeps its past.
        policy: the settings that matter here.
        now: the instant of the poll.
    """
    if state.watched is not None:
        watched = state.watched
    else:
        watched = ownership.watched_now(state.keys, watched, policy.rules, poll.sweep, goes_on=policy.sweeps)
    keys = _registered(state.keys, watched, poll)
    failures = [*poll.failures, *_unswept(keys, poll)]
    sights: list[tuple[KeyState, Sight]] = []
    for snapshot in poll.snapshots:
        before = _claimed(keys.get(snapshot.key_hash), snapshot)
        sight = _sight(before, snapshot, state)
        if deltas.is_plausible(sight):
            keys[before.hash] = _seen(before, snapshot, sight)
            sights.append((keys[before.hash], sight))
        else:
            failures.append(Failure(before.hash, FailureReason.IMPLAUSIBLE, "grew by more than $1,000,000 in one poll"))
    for failure in failures:
        if failing := keys.get(failure.key_hash):
            keys[failing.hash] = _failed(failing, failure, now)

    counted = [(key, delta) for key, sight in sights for delta in sight.deltas]
    corrected = [(key, correction) for key, sight in sights for correction in sight.corrections]
    windows = _windows(counted, corrected)
    gaps = tuple(_gaps(counted, policy))
    opened = {key.hash: sight.counters.opened_at for key, sight in sights if not _was_seen(state, key)}
    closed = close_days(state.days, keys, windows, opened=opened, gaps=gaps, zone=policy.zone, now=now)

    owners = _with_guesses(state.days.owners, closed.owners, counted, policy, now)
    noticed = Noticed()
    if policy.notice:
        done = Counted(
            keys_before=state.keys,
            keys=keys,
            owners={**state.days.owners, **owners},
            windows=windows,
            closed=closed.days,
            rebuild_days=state.days.zone_changed(policy.zone),
            nanos_by_key=_by_key(counted),
        )
        noticed = noticing.notice(state.noticing, done, policy.notice, now)

    news: tuple[Outgoing, ...] = ()
    if poll.sweep and policy.notice:
        known = KeysBefore(state.keys, state.abouts, state.last_sweeps)
        news = key_news.tell(known, keys, poll.sweep, policy.notice.people, now)
    trouble = poll.sweep.trouble if poll.sweep else None
    changed, seen_again = _changes(state, keys)
    return Plan(
        at=now,
        keys=changed,
        seen=seen_again,
        snapshots=tuple((key.hash, row) for key, sight in sights for row in (sight.opening_row, sight.row) if row),
        corrections=tuple((key.hash, correction) for key, correction in corrected),
        gaps=gaps,
        windows=windows,
        owners=tuple(owners.values()),
        owner_days=closed.days,
        rebuild_days=state.days.zone_changed(policy.zone),
        balances=poll.balances,
        balances_asked_at=now if poll.balances_asked else None,
        swept=poll.sweep.believed(state.keys.values()) if poll.sweep else poll.swept,
        zone_key=policy.zone.key,
        polled=len(sights),
        failures=tuple(failures),
        spend_nanos=sum(window.spend_nanos for window in windows if window.meter is Meter.CREDITS),
        alerts=noticed.alerts,
        transitions=noticed.transitions,
        outgoing=(*noticed.outgoing, *news),
        abouts=tuple(_new_abouts(state, poll.sweep)) if poll.sweep else (),
        workspaces=tuple(swept.workspace for swept in poll.sweep.workspaces) if poll.sweep else (),
        has_swept=poll.sweep is not None,
        sweep_trouble=trouble.detail if trouble else None,
        sweep_failing_since=min(state.sweep_failing_since or now, now) if trouble else None,
        moved=frozenset(_moved(state.keys, keys)),
    )


# --- Keys ----------------------------------------------------------------------------------------------------------


def _registered(known: Mapping[str, KeyState], watched: Sequence[WatchedKey], poll: Poll) -> dict[str, KeyState]:
    """Return all keys as they are watched now: moved, renamed, new, no longer there, or no longer watched.

    A key that the owner map names goes on being asked where its secret is known. One that sweeps alone could show, and
    that is gone, nobody can watch any more.
    """
    keys = {key_hash: replace(key, watched=False) if key.watched else key for key_hash, key in known.items()}
    for entry in watched:
        key = known.get(entry.hash) or KeyState(entry.hash, entry.owner, entry.name, watched=True)
        keys[entry.hash] = replace(key, owner=entry.owner, name=entry.name, watched=True)
    if sweep := poll.sweep:
        missing = Missing(known.values(), sweep)
        told = {seen.key_hash for seen in poll.snapshots} | {failure.key_hash for failure in poll.failures}
        places = {key.hash: key.workspace_id for key in sweep.keys}
        for key_hash, key in keys.items():
            place, gone_for = places.get(key_hash) or key.workspace, missing.after(key)
            if (place, gone_for) != (key.workspace, key.missing):
                keys[key_hash] = replace(key, workspace=place, missing=gone_for)
            if key.watched and key_hash not in told and missing.is_gone(key):
                keys[key_hash] = replace(keys[key_hash], watched=False, failure=None, failing_since=None, retry_at=None)
    return keys


def _unswept(keys: Mapping[str, KeyState], poll: Poll) -> Iterator[Failure]:
    """Yield the failure of each key that is read by sweeps alone, and that this one could not show."""
    if poll.sweep is None:
        return
    believed = poll.sweep.believed(keys.values())
    told = poll.sweep.seen | {each.key_hash for each in poll.snapshots} | {each.key_hash for each in poll.failures}
    trouble = poll.sweep.trouble or Failure("", FailureReason.UNEXPECTED_ANSWER, "it shows no key any more")
    for key in keys.values():
        if key.watched and key.workspace is not None and key.hash not in told and key.workspace not in believed:
            # A wait that was asked for is the management key's, and its own secret may show this one meanwhile.
            detail = f"the sweep failed: {trouble.detail}"
            yield Failure(key.hash, trouble.reason, detail)


def _moved(before: Mapping[str, KeyState], after: Mapping[str, KeyState]) -> Iterator[str]:
    """Yield both owners of each key that is now another's."""
    for key in after.values():
        known = before.get(key.hash)
        if known and known.owner != key.owner:
            yield from (known.owner, key.owner)


def _new_abouts(state: State, sweep: Sweep) -> Iterator[KeyAbout]:
    return (key.about for key in sweep.keys if state.abouts.get(key.hash) != key.about)


def _claimed(key: KeyState | None, snapshot: Snapshot) -> KeyState:
    """Return the key as its owner's, or nobody's if the map does not name it: what is seen is watched."""
    if key is None:
        return KeyState(snapshot.key_hash, UNOWNED, snapshot.label or snapshot.key_hash[:12], watched=True)
    return key if key.watched else replace(key, owner=UNOWNED, watched=True)


def _sight(key: KeyState, snapshot: Snapshot, state: State) -> Sight:
    if key.counters is None:
        return deltas.open_key(snapshot, deltas.began_at(snapshot, state.last_sweeps))
    return deltas.observe(key.counters, snapshot, state.dips.get(key.hash, ()))


def _seen(key: KeyState, snapshot: Snapshot, sight: Sight) -> KeyState:
    return replace(
        key,
        label=snapshot.label or key.label,
        counters=sight.counters,
        failure=None,
        failing_since=None,
        retry_at=None,
    )


def _failed(key: KeyState, failure: Failure, now: datetime) -> KeyState:
    wait = failure.retry_after_seconds
    return replace(
        key,
        failure=failure.reason,
        failing_since=min(key.failing_since or now, now),  # the clock may have been set back since
        retry_at=now + timedelta(seconds=wait) if wait is not None else None,
    )


def _was_seen(state: State, key: KeyState) -> bool:
    before = state.keys.get(key.hash)
    return before is not None and before.counters is not None


def _changes(
    state: State, keys: Mapping[str, KeyState]
) -> tuple[tuple[KeyState, ...], tuple[tuple[str, datetime], ...]]:
    """Return the keys that changed, and apart from them those that were only seen again."""
    changed: list[KeyState] = []
    seen_again: list[tuple[str, datetime]] = []
    for key in keys.values():
        before = state.keys.get(key.hash)
        if before == key:
            continue
        if before and before.counters and key.counters:
            last_seen_at = key.counters.last_seen_at
            if replace(before, counters=replace(before.counters, last_seen_at=last_seen_at)) == key:
                seen_again.append((key.hash, last_seen_at))
                continue
        changed.append(key)
    return tuple(changed), tuple(seen_again)


# --- Money ---------------------------------------------------------------------------------------------------------


def _windows(
    counted: Sequence[tuple[KeyState, Delta]], corrected: Sequence[tuple[KeyState, Correction]]
) -> tuple[WindowSpend, ...]:
    """Return what to add to each quarter-hour window, in the ledger's own order."""
    spends: defaultdict[tuple[datetime, str, str, Meter], list[int]] = defaultdict(lambda: [0, 0])
    for key, delta in counted:
        for start, nanos in deltas.apportioned(delta):
            spends[start, key.owner, key.hash, delta.meter][0] += nanos
    for key, correction in corrected:
        spends[grain_start(correction.at), key.owner, key.hash, correction.meter][1] += correction.nanos
    return tuple(WindowSpend(*place, *amounts) for place, amounts in sorted(spends.items()))


def _gaps(counted: Sequence[tuple[KeyState, Delta]], policy: LedgerPolicy) -> Iterator[Gap]:
    """Yield one gap for each stretch that was longer than expected and had money in it, both meters together."""
    stretches: defaultdict[tuple[str, int], list[Delta]] = defaultdict(list)
    for key, delta in counted:
        if delta.at - delta.since > policy.expected_stretch:
            stretches[key.hash, delta.n].append(delta)
    for (key_hash, n), found in stretches.items():
        first = found[0]
        yield Gap(key_hash, n, first.since, first.at, first.midnight, sum(delta.nanos for delta in found))


def _with_guesses(
    before: Mapping[str, OwnerState],
    changed: Sequence[OwnerState],
    counted: Sequence[tuple[KeyState, Delta]],
    policy: LedgerPolicy,
    now: datetime,
) -> dict[str, OwnerState]:
    """Return the owners that changed, each with how much of the running day's spend is only a guess.

    Where a gap spans the beginning of the day and no counter proves the split, its share by time is money of the day
    for the ledger, but no ground for an alert. A new day begins without guesses.
    """
    today = day_start(local_date(now, policy.zone), policy.zone)
    owners = {owner.name: owner for owner in changed}
    for name, owner in owners.items():
        if name in before and owner.open_day != before[name].open_day:
            owners[name] = replace(owner, guessed_credits_nanos=0, guessed_byok_nanos=0)
    for key, delta in counted:
        if delta.at - delta.since <= policy.expected_stretch:
            continue
        if guess := deltas.guessed_after(delta, today):
            owner = owners.get(key.owner) or before[key.owner]
            if delta.meter is Meter.CREDITS:
                owner = replace(owner, guessed_credits_nanos=owner.guessed_credits_nanos + guess)
            else:
                owner = replace(owner, guessed_byok_nanos=owner.guessed_byok_nanos + guess)
            owners[key.owner] = owner
    return owners


def _by_key(counted: Sequence[tuple[KeyState, Delta]]) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for key, delta in counted:
        found[key.hash] += delta.nanos
    return found
