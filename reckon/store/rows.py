"""Records to rows and back. An instant is whole epoch seconds; a meter in a window total is a small number."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, RowMapping

from reckon.core.records import (
    Amounts,
    Balance,
    Correction,
    CorrectionKind,
    Counter,
    Counters,
    Dip,
    FailureReason,
    Gap,
    KeyState,
    Meter,
    OwnerDay,
    OwnerState,
    Reading,
    StoredSnapshot,
    TotalState,
    WindowSpend,
)

METER_NUMBERS: Final = {Meter.CREDITS: 0, Meter.BYOK: 1}
METERS: Final = {number: meter for meter, number in METER_NUMBERS.items()}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def seconds(at: datetime) -> int:
    """Return *at* as whole epoch seconds."""
    return (at - _EPOCH) // _SECOND


def instant(epoch_seconds: int) -> datetime:
    """Return the instant *epoch_seconds* after 1970-01-01T00:00Z."""
    return _EPOCH + timedelta(seconds=epoch_seconds)


def maybe_seconds(at: datetime | None) -> int | None:
    """Return *at* as whole epoch seconds, or None where there is none."""
    return None if at is None else seconds(at)


def maybe_instant(epoch_seconds: int | None) -> datetime | None:
    """Return the instant *epoch_seconds* after 1970-01-01T00:00Z, or None where there is none."""
    return None if epoch_seconds is None else instant(epoch_seconds)


# --- Owners and keys -----------------------------------------------------------------------------------------------


def owner_row(owner: OwnerState) -> dict[str, Any]:
    """Return *owner* as its row, without the id and without who polls its keys when."""
    return {
        "name": owner.name,
        "began_at": maybe_seconds(owner.began_at),
        "open_day": owner.open_day.isoformat() if owner.open_day else None,
        "guessed_credits_nanos": owner.guessed_credits_nanos,
        "guessed_byok_nanos": owner.guessed_byok_nanos,
    }


def owner_state(row: Row[Any]) -> OwnerState:
    """Return the owner of a row of `owner`."""
    open_day = date.fromisoformat(row.open_day) if row.open_day else None
    return OwnerState(
        row.name, maybe_instant(row.began_at), open_day, row.guessed_credits_nanos, row.guessed_byok_nanos
    )


def key_row(key: KeyState, owner_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return *key* as its row, without the id."""
    counters = key.counters
    return {
        "hash": key.hash,
        "owner_id": owner_ids[key.owner],
        "name": key.name,
        "watched": int(key.watched),
        "label": key.label,
        "failure": key.failure.value if key.failure else None,
        "failing_since": maybe_seconds(key.failing_since),
        "retry_at": maybe_seconds(key.retry_at),
        "workspace": key.workspace,
        "missing": key.missing,
        "opened_at": seconds(counters.opened_at) if counters else None,
        "last_seen_at": seconds(counters.last_seen_at) if counters else None,
        "n": counters.n if counters else None,
        **_counter_row("credits", counters.credits if counters else None),
        **_counter_row("byok", counters.byok if counters else None),
    }


def key_state(row: Row[Any]) -> KeyState:
    """Return the key of a row of `key` joined with its owner's name as `owner`."""
    columns = row._mapping  # noqa: SLF001 - SQLAlchemy's documented way to a row by name
    return KeyState(
        hash=row.hash,
        owner=row.owner,
        name=row.name,
        watched=bool(row.watched),
        label=row.label,
        counters=None
        if row.opened_at is None
        else Counters(
            opened_at=instant(row.opened_at),
            last_seen_at=instant(row.last_seen_at),
            n=row.n,
            credits=_counter("credits", columns),
            byok=_counter("byok", columns),
        ),
        failure=FailureReason(row.failure) if row.failure else None,
        failing_since=maybe_instant(row.failing_since),
        retry_at=maybe_instant(row.retry_at),
        workspace=row.workspace,
        missing=row.missing,
    )


def _counter_row(meter: str, counter: Counter | None) -> dict[str, Any]:
    opening = counter.opening if counter else None
    dip = counter.dip if counter else None
    return {
        f"{meter}_opening_nanos": opening.total_nanos if opening else None,
        f"{meter}_opening_daily_nanos": opening.daily_nanos if opening else None,
        f"{meter}_opening_weekly_nanos": opening.weekly_nanos if opening else None,
        f"{meter}_opening_monthly_nanos": opening.monthly_nanos if opening else None,
        f"{meter}_mark_nanos": counter.mark_nanos if counter else None,
        f"{meter}_nanos": counter.total_nanos if counter else None,
        f"{meter}_daily_nanos": counter.daily_nanos if counter else None,
        f"{meter}_dip_after": seconds(dip.after) if dip else None,
        f"{meter}_dip_since": seconds(dip.since) if dip else None,
        f"{meter}_dip_lowest_nanos": dip.lowest_nanos if dip else None,
        f"{meter}_dip_polls": dip.polls if dip else None,
        f"{meter}_dip_first_n": dip.first_n if dip else None,
    }


def _counter(meter: str, columns: RowMapping) -> Counter:
    dip_since = columns[f"{meter}_dip_since"]
    return Counter(
        opening=Reading(
            columns[f"{meter}_opening_nanos"],
            columns[f"{meter}_opening_daily_nanos"],
            columns[f"{meter}_opening_weekly_nanos"],
            columns[f"{meter}_opening_monthly_nanos"],
        ),
        mark_nanos=columns[f"{meter}_mark_nanos"],
        total_nanos=columns[f"{meter}_nanos"],
        daily_nanos=columns[f"{meter}_daily_nanos"],
        dip=None
        if dip_since is None
        else Dip(
            instant(columns[f"{meter}_dip_after"]),
            instant(dip_since),
            columns[f"{meter}_dip_lowest_nanos"],
            columns[f"{meter}_dip_polls"],
            columns[f"{meter}_dip_first_n"],
        ),
    )


# --- Facts ---------------------------------------------------------------------------------------------------------


def snapshot_row(key_id: int, row: StoredSnapshot) -> dict[str, Any]:
    """Return a stored snapshot as its row, in which null stands for no BYOK money."""
    return {
        "key_id": key_id,
        "n": row.n,
        "at": seconds(row.at),
        "stretch_seconds": (row.at - row.since) // _SECOND,
        "credits_nanos": row.credits_nanos,
        "credits_daily_nanos": row.credits_daily_nanos,
        "byok_nanos": row.byok_nanos or None,
        "byok_daily_nanos": row.byok_daily_nanos or None,
    }


def stored_snapshot(row: Row[Any]) -> StoredSnapshot:
    """Return the stored snapshot of a row of `snapshot`."""
    return StoredSnapshot(
        row.n,
        instant(row.at),
        instant(row.at - row.stretch_seconds),
        row.credits_nanos,
        row.credits_daily_nanos,
        row.byok_nanos or 0,
        row.byok_daily_nanos or 0,
    )


def correction_row(key_id: int, correction: Correction) -> dict[str, Any]:
    """Return a correction as its row."""
    return {
        "key_id": key_id,
        "last_n": correction.last_n,
        "meter": correction.meter.value,
        "kind": correction.kind.value,
        "at": seconds(correction.at),
        "nanos": correction.nanos,
        "first_n": correction.first_n,
        "decided_at": seconds(correction.decided_at),
    }


def correction(row: Row[Any]) -> Correction:
    """Return the correction of a row of `correction`."""
    return Correction(
        Meter(row.meter),
        CorrectionKind(row.kind),
        instant(row.at),
        row.nanos,
        row.first_n,
        row.last_n,
        instant(row.decided_at),
    )


def gap_row(key_id: int, gap: Gap) -> dict[str, Any]:
    """Return a gap as its row."""
    return {
        "key_id": key_id,
        "n": gap.n,
        "since": seconds(gap.since),
        "at": seconds(gap.at),
        "midnight": maybe_seconds(gap.midnight),
        "nanos": gap.nanos,
    }


def gap(row: Row[Any]) -> Gap:
    """Return the gap of a row of `gap` joined with its key's `hash`."""
    return Gap(row.hash, row.n, instant(row.since), instant(row.at), maybe_instant(row.midnight), row.nanos)


def window_row(window: WindowSpend, owner_ids: Mapping[str, int], key_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return a window's money as the row to add."""
    return {
        "start": seconds(window.start),
        "owner_id": owner_ids[window.owner],
        "key_id": key_ids[window.key_hash],
        "meter": METER_NUMBERS[window.meter],
        "spend_nanos": window.spend_nanos,
        "correction_nanos": window.correction_nanos,
    }


def owner_day_row(day: OwnerDay, owner_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return an owner's day as the row to add."""
    return {
        "owner_id": owner_ids[day.owner],
        "day": day.day.isoformat(),
        "spend_nanos": day.amounts.spend_nanos,
        "correction_nanos": day.amounts.correction_nanos,
        "byok_nanos": day.amounts.byok_nanos,
        "byok_correction_nanos": day.amounts.byok_correction_nanos,
        "state": day.state.value,
    }


def owner_day(row: Row[Any]) -> OwnerDay:
    """Return the closed day of a row of `owner_day` joined with its owner's name as `owner`."""
    return OwnerDay(
        row.owner,
        date.fromisoformat(row.day),
        Amounts(row.spend_nanos, row.correction_nanos, row.byok_nanos, row.byok_correction_nanos),
        TotalState(row.state),
    )


def balance_row(balance: Balance) -> dict[str, Any]:
    """Return a balance as its row."""
    return {
        "seen_by": balance.seen_by,
        "at": seconds(balance.at),
        "credits_nanos": balance.credits_nanos,
        "usage_nanos": balance.usage_nanos,
    }


def balance(row: Row[Any]) -> Balance:
    """Return the balance of a row of `balance`."""
    return Balance(row.seen_by, instant(row.at), row.credits_nanos, row.usage_nanos)
