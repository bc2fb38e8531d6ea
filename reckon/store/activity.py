"""Finished days as the account tells them, kept for ever, and the days of owners' histories that are made of them.

What was told is kept per key. What it comes to per owner stands among the closed days, marked as `from_activity`, and
is made again whenever it may have changed: when days were read, and when a change of zone has moved the first day that
the ledger has of its own. The ledger's own days always win.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Select, bindparam, case, delete, func, select, tuple_

from reckon.core.activity_days import (
    AccountRead,
    ActivityPlan,
    DaySpan,
    DaysTold,
    PastOfKey,
    days_before,
    summed_by_day,
)
from reckon.core.records import Amounts, OwnerDay, TotalState
from reckon.core.windows import Window, local_date
from reckon.store import histories, rows
from reckon.store.matching import among, listed
from reckon.store.reading import SWEPT_PREFIX
from reckon.store.tables import ACCOUNT_DAY, ACTIVITY, ACTIVITY_SPAN, KEY, KEY_ABOUT, META, OWNER, OWNER_DAY
from reckon.store.writing import insert_rows, upsert_rows

_ACCOUNT_SOURCE: Final = "activity"
_NO_NAME: Final = ""
_EPOCH: Final = rows.instant(0)


# --- Reading ---------------------------------------------------------------------------------------------------------


def pasts_of_keys(connection: Connection) -> list[PastOfKey]:
    """Return what is known of the days of each watched key that sweeps show, by owner."""
    watched = _keys().where(KEY.c.workspace.is_not(None)).order_by(OWNER.c.name, KEY.c.id)
    return [past for _, past in _pasts(connection, watched)]


def account_read_at(connection: Connection) -> datetime | None:
    """Return when the account's own days were read last; None if they never were."""
    read_at = select(func.max(ACCOUNT_DAY.c.read_at)).where(ACCOUNT_DAY.c.source == _ACCOUNT_SOURCE)
    return rows.maybe_instant(connection.scalar(read_at))


# --- Writing ---------------------------------------------------------------------------------------------------------


def write_account(connection: Connection, read: AccountRead) -> None:
    """Write what the whole account spent on some days in place of what was known of them."""
    days = [
        {
            "source": _ACCOUNT_SOURCE,
            "day": day.isoformat(),
            "credits_nanos": amounts.spend_nanos,
            "byok_nanos": amounts.byok_nanos,
            "read_at": rows.seconds(read.at),
        }
        for day, amounts in summed_by_day(read.told).items()
    ]
    upsert_rows(connection, ACCOUNT_DAY, days, key=("source", "day"))


def write_keys(connection: Connection, plan: ActivityPlan) -> None:
    """Write days of keys in place of what was known of them, and make the days of the owners concerned anew."""
    hashes = {each.key_hash for each in plan.read}
    found = connection.execute(select(KEY.c.hash, KEY.c.id).where(among(connection, KEY.c.hash, hashes)))
    ids = {row.hash: row.id for row in found}
    _replace_days(connection, [(ids[each.key_hash], each.told) for each in plan.read])
    _replace_spans(connection, {ids[each.key_hash]: each.read for each in plan.read}, plan.at)
    derive(connection, plan.zone, plan.complete)


def derive(connection: Connection, zone: ZoneInfo, owners: Collection[str] | None = None) -> None:
    """Make the days before the ledger's own anew, of some *owners* or of all; where nothing changes, write nothing."""
    keys: defaultdict[int, list[PastOfKey]] = defaultdict(list)
    first_days: dict[int, date] = {}
    names: dict[int, str] = {}
    chosen = _keys().where(OWNER.c.began_at.is_not(None))
    if owners is not None:
        chosen = chosen.where(among(connection, OWNER.c.name, owners))
    for row, past in _pasts(connection, chosen):
        keys[row.owner_id].append(past)
        first_days[row.owner_id] = local_date(rows.instant(row.began_at), zone)
        names[row.owner_id] = row.owner
    if not keys:
        return
    money = _money(connection, first_days)
    first_money = _first_money(connection, first_days)
    stand = _days_standing(connection, first_days)
    changed: list[int] = []
    new: list[dict[str, Any]] = []
    for owner_id, theirs in keys.items():
        of_the_ledger = {day for day, (_, is_derived) in stand[owner_id].items() if not is_derived}
        before = {day: amounts for day, (amounts, is_derived) in stand[owner_id].items() if is_derived}
        known = [replace(past, first_money_on=first_money.get(past.key_hash)) for past in theirs]
        found = days_before(first_days[owner_id], known, money[owner_id])
        after = {day: amounts for day, amounts in found.items() if day not in of_the_ledger}
        if after != before:
            changed.append(owner_id)
            new += (_owner_day_row(owner_id, names[owner_id], day, amounts) for day, amounts in after.items())
    if changed:
        derived = delete(OWNER_DAY).where(OWNER_DAY.c.from_activity == 1, OWNER_DAY.c.owner_id == bindparam("of_owner"))
        connection.execute(derived, [{"of_owner": owner_id} for owner_id in changed])
        insert_rows(connection, OWNER_DAY, new)
        histories.forget(connection, {names[owner_id] for owner_id in changed})


def give_way(connection: Connection, days: Iterable[tuple[int, date]]) -> None:
    """Forget what stands for those *days*, by the id of their owner: the ledger is about to have its own."""
    wanted = [(owner_id, day.isoformat()) for owner_id, day in days]
    if wanted:
        places = listed(connection, wanted, OWNER_DAY.c.owner_id, OWNER_DAY.c.day)
        stands = tuple_(OWNER_DAY.c.owner_id, OWNER_DAY.c.day).in_(select(places.c.owner_id, places.c.day))
        connection.execute(delete(OWNER_DAY).where(stands, OWNER_DAY.c.from_activity == 1))


# --- Parts -----------------------------------------------------------------------------------------------------------

_WATCHED: Final = (KEY.c.watched == 1) & KEY.c.opened_at.is_not(None)


def _keys() -> Select[Any]:
    """Return the statement for every key that is watched and was seen, with whose it is."""
    opened_at_nothing = (KEY.c.credits_opening_nanos == 0) & (KEY.c.byok_opening_nanos == 0)
    return (
        select(
            KEY.c.id,
            KEY.c.hash,
            KEY.c.owner_id,
            KEY.c.last_seen_at,
            KEY.c.missing,
            case((opened_at_nothing, 0), else_=1).label("had_spent"),
            case((opened_at_nothing & (KEY.c.n == 1), 1), else_=0).label("is_unused"),
            OWNER.c.name.label("owner"),
            OWNER.c.began_at,
            KEY_ABOUT.c.created_at,
            KEY_ABOUT.c.last_used_at,
            META.c.value.label("swept_at"),
        )
        .select_from(KEY)
        .join(OWNER, OWNER.c.id == KEY.c.owner_id)
        .outerjoin(KEY_ABOUT, KEY_ABOUT.c.key_id == KEY.c.id)
        .outerjoin(META, META.c.name == SWEPT_PREFIX + KEY.c.workspace)
        .where(_WATCHED)
    )


def _pasts(connection: Connection, chosen: Select[Any]) -> list[tuple[Row[Any], PastOfKey]]:
    """Return the rows of `_keys` that are *chosen*, each with what is known of the key's days."""
    found = connection.execute(chosen).all()
    if not found:
        return []
    of_these = select(chosen.order_by(None).subquery().c.id)
    spans: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    stored = select(ACTIVITY_SPAN).where(ACTIVITY_SPAN.c.key_id.in_(of_these)).order_by(ACTIVITY_SPAN.c.since)
    for span in connection.execute(stored):
        spans[span.key_id].append(span)
    return [(row, _past(row, spans[row.id])) for row in found]


def _past(row: Row[Any], spans: Sequence[Row[Any]]) -> PastOfKey:
    created_at = rows.maybe_instant(row.created_at)
    return PastOfKey(
        key_hash=row.hash,
        owner=row.owner,
        read=tuple(DaySpan(date.fromisoformat(span.since), date.fromisoformat(span.until)) for span in spans),
        read_at=rows.instant(max(span.read_at for span in spans)) if spans else None,
        created_on=created_at.date() if created_at else None,
        has_ever_spent=bool(row.had_spent),
        idle=_idle(row),
    )


def _idle(row: Row[Any]) -> Window | None:
    """Return a stretch in which a key certainly spent nothing.

    When it was last used is as old as the last sweep that showed it, so it holds until that one began.
    """
    if row.is_unused:
        return Window(_EPOCH, rows.instant(row.last_seen_at))
    if row.last_used_at is None or row.swept_at is None or row.missing:
        return None
    return Window(rows.instant(row.last_used_at + 1), rows.instant(max(row.last_used_at + 1, int(row.swept_at))))


def _before(connection: Connection, first_days: Mapping[int, date]) -> Select[Any]:
    """Return the statement for what was told of the keys that some owners hold, before the first day of each."""
    places = [(owner_id, day.isoformat()) for owner_id, day in first_days.items()]
    wanted = listed(connection, places, OWNER_DAY.c.owner_id, OWNER_DAY.c.day)
    return (
        select()
        .select_from(KEY)
        .join(wanted, wanted.c.owner_id == KEY.c.owner_id)
        .join(ACTIVITY, (ACTIVITY.c.key_id == KEY.c.id) & (ACTIVITY.c.day < wanted.c.day))
        .where(_WATCHED)
    )


def _money(connection: Connection, first_days: Mapping[int, date]) -> Mapping[int, dict[date, Amounts]]:
    """Return what the keys of owners spent before the first day of each, by owner and day."""
    found: defaultdict[int, dict[date, Amounts]] = defaultdict(dict)
    statement = (
        _before(connection, first_days)
        .add_columns(
            KEY.c.owner_id,
            ACTIVITY.c.day,
            func.sum(ACTIVITY.c.credits_nanos).label("credits"),
            func.sum(ACTIVITY.c.byok_nanos).label("byok"),
        )
        .group_by(KEY.c.owner_id, ACTIVITY.c.day)
    )
    for row in connection.execute(statement):
        amounts = Amounts(spend_nanos=int(row.credits), byok_nanos=int(row.byok))
        found[row.owner_id][date.fromisoformat(row.day)] = amounts
    return found


def _first_money(connection: Connection, first_days: Mapping[int, date]) -> dict[str, date]:
    """Return the first day with money on it of each key that has one before the first day of its owner, by hash."""
    statement = (
        _before(connection, first_days)
        .add_columns(KEY.c.hash, func.min(ACTIVITY.c.day).label("day"))
        .where((ACTIVITY.c.credits_nanos > 0) | (ACTIVITY.c.byok_nanos > 0))
        .group_by(KEY.c.hash)
    )
    return {row.hash: date.fromisoformat(row.day) for row in connection.execute(statement)}


def _days_standing(
    connection: Connection, first_days: Mapping[int, date]
) -> Mapping[int, dict[date, tuple[Amounts, bool]]]:
    """Return the closed days of owners before the ledger's own, and of each whether it was made from activity."""
    found: defaultdict[int, dict[date, tuple[Amounts, bool]]] = defaultdict(dict)
    places = [(owner_id, day.isoformat()) for owner_id, day in first_days.items()]
    wanted = listed(connection, places, OWNER_DAY.c.owner_id, OWNER_DAY.c.day)
    before = (OWNER_DAY.c.owner_id == wanted.c.owner_id) & (OWNER_DAY.c.day < wanted.c.day)
    for row in connection.execute(select(OWNER_DAY).join(wanted, before)):
        amounts = Amounts(row.spend_nanos, row.correction_nanos, row.byok_nanos, row.byok_correction_nanos)
        found[row.owner_id][date.fromisoformat(row.day)] = amounts, bool(row.from_activity)
    return found


def _owner_day_row(owner_id: int, owner: str, day: date, amounts: Amounts) -> dict[str, Any]:
    row = rows.owner_day_row(OwnerDay(owner, day, amounts, TotalState.SETTLED), {owner: owner_id})
    return row | {"from_activity": 1}


def _replace_days(connection: Connection, told: Sequence[tuple[int, DaysTold]]) -> None:
    inside = (ACTIVITY.c.day >= bindparam("first")) & (ACTIVITY.c.day < bindparam("end"))
    stale = delete(ACTIVITY).where(ACTIVITY.c.key_id == bindparam("of_key"), inside)
    places = [
        {"of_key": key_id, "first": one.days.since.isoformat(), "end": one.days.until.isoformat()}
        for key_id, one in told
    ]
    if places:
        connection.execute(stale, places)
    insert_rows(connection, ACTIVITY, [row for key_id, one in told for row in _activity_rows(key_id, one)])


def _replace_spans(connection: Connection, read: Mapping[int, Sequence[DaySpan]], at: datetime) -> None:
    if read:
        stale = delete(ACTIVITY_SPAN).where(ACTIVITY_SPAN.c.key_id == bindparam("of_key"))
        connection.execute(stale, [{"of_key": key_id} for key_id in read])
    new = [
        {
            "key_id": key_id,
            "since": span.since.isoformat(),
            "until": span.until.isoformat(),
            "read_at": rows.seconds(at),
        }
        for key_id, spans in read.items()
        for span in spans
    ]
    insert_rows(connection, ACTIVITY_SPAN, new)


def _activity_rows(key_id: int, told: DaysTold) -> list[dict[str, Any]]:
    """Return what was told of a key as its rows; what differs only in what we do not keep is one."""
    sums: defaultdict[tuple[str, str, str], list[int | None]] = defaultdict(lambda: [0, 0, None])
    for row in told.rows:
        total = sums[row.date.isoformat(), row.model or _NO_NAME, row.provider or _NO_NAME]
        total[0] = (total[0] or 0) + row.credits_nanos
        total[1] = (total[1] or 0) + row.byok_nanos
        if row.requests is not None:
            total[2] = (total[2] or 0) + row.requests
    return [
        {
            "key_id": key_id,
            "day": day,
            "model": model,
            "provider": provider,
            "credits_nanos": credits_nanos,
            "byok_nanos": byok_nanos,
            "requests": requests,
        }
        for (day, model, provider), (credits_nanos, byok_nanos, requests) in sorted(sums.items())
    ]
