"""Owners' histories: read in a moment however long they are, since their older days are kept folded.

For each owner there is a `Past` in `owner_past`, once with money through the team's own upstream keys and once without,
so a change of that setting costs nothing. It is derived: a day in it that gets money makes it void, in the transaction
that writes the day, and what is missing is made from the days again. It goes on as days are closed, but a few days
behind, because those are asked for one by one.

A poll for which a past reaches too far, since a key has been silent for a week or a clock was set back, folds the days
itself.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select, text

from reckon.core.baseline import NO_PAST, Baseline, History, Past
from reckon.core.noticing import Concern
from reckon.core.records import Amounts, OwnerDay, TotalState
from reckon.store import rows
from reckon.store.matching import among, listed
from reckon.store.tables import OWNER, OWNER_DAY, OWNER_PAST
from reckon.store.writing import upsert_rows

_BEHIND: Final = timedelta(days=3)

# In the words of the partial index, or SQLite would not use it.
UNSETTLED: Final = text("owner_day.state <> 'settled'")


def read(connection: Connection, concerned: Mapping[str, Concern], *, byok: bool) -> dict[str, History]:
    """Return the histories of the owners *concerned*, folded up to where each is needed day by day."""
    pasts = {
        owner: past
        for (owner, _), past in _pasts(connection, concerned, only=byok).items()
        if past.before <= concerned[owner].since
    }
    days: defaultdict[str, list[OwnerDay]] = defaultdict(list)
    for row in _singled_out(connection, {owner: concerned[owner] for owner in pasts}):
        if row.day < pasts[row.owner].before.isoformat():
            days[row.owner].append(rows.owner_day(row))
    for owner, theirs in _days_since(connection, {owner: pasts.get(owner, NO_PAST).before for owner in concerned}):
        concern, folded = concerned[owner], list[tuple[date, int]]()
        for row in theirs:
            day = date.fromisoformat(row.day)
            if day < concern.since:
                folded.append((day, _spent(row, byok=byok)))
            if day >= concern.since or row.state != _SETTLED or day in concern.half_seen:
                days[owner].append(rows.owner_day(row))
        pasts[owner] = pasts.get(owner, NO_PAST).with_days(folded, concern.since)
    return {owner: History(days[owner], past) for owner, past in pasts.items()}


def keep_up(connection: Connection, written: Sequence[OwnerDay], *, rebuilt: bool) -> None:
    """Let the pasts go on to the days that were just *written*, and make anew those that one of them lies in.

    Args:
        connection: the transaction that has written them.
        written: the amounts that were added to the days.
        rebuilt: whether every day there was before is gone.
    """
    if rebuilt:
        connection.execute(OWNER_PAST.delete())
    if not written:
        return
    before = max(day.day for day in written) - _BEHIND
    owners = sorted({day.owner for day in written})
    first_change: dict[str, date] = {}
    for day in written:
        if day.amounts != _NOTHING:
            first_change[day.owner] = min(day.day, first_change.get(day.owner, day.day))
    pasts = _pasts(connection, owners)
    void = {owner for (owner, _), past in pasts.items() if first_change.get(owner, past.before) < past.before}
    forget(connection, void)
    sound = {place: past for place, past in pasts.items() if place[0] not in void}
    ends = {owner: sound.get((owner, True), NO_PAST).before for owner in owners}
    behind = {owner: end for owner, end in ends.items() if end < before}
    extended: list[dict[str, Any]] = []
    for _, theirs in _days_since(connection, behind, before):
        found = [(row, date.fromisoformat(row.day)) for row in theirs]
        first = found[0][0]
        for byok in (False, True):
            past = sound.get((first.owner, byok), NO_PAST)
            totals = ((day, _spent(row, byok=byok)) for row, day in found)
            extended.append(_past_row(first.owner_id, past.with_days(totals, before), byok=byok))
    upsert_rows(connection, OWNER_PAST, extended, key=("owner_id", "byok"))


def forget(connection: Connection, owners: Collection[str]) -> None:
    """Make the pasts of *owners* void: their older days are not what they were."""
    if owners:
        ids = select(OWNER.c.id).where(among(connection, OWNER.c.name, owners))
        connection.execute(delete(OWNER_PAST).where(OWNER_PAST.c.owner_id.in_(ids)))


_SETTLED: Final = TotalState.SETTLED.value
_NOTHING: Final = Amounts()


def _pasts(
    connection: Connection, owners: Collection[str], *, only: bool | None = None
) -> dict[tuple[str, bool], Past]:
    """Return what is folded of some owners' histories, by owner and whether byok is in it, which *only* may settle."""
    if not owners:
        return {}
    statement = select(OWNER_PAST, OWNER.c.name.label("owner")).join(OWNER)
    statement = statement.where(among(connection, OWNER.c.name, owners))
    if only is not None:
        statement = statement.where(OWNER_PAST.c.byok == int(only))
    return {
        (row.owner, bool(row.byok)): Past(
            date.fromisoformat(row.before),
            date.fromisoformat(row.first_day) if row.first_day else None,
            Baseline(row.days, row.total_nanos, int(row.squares)),
        )
        for row in connection.execute(statement)
    }


def _past_row(owner_id: int, past: Past, *, byok: bool) -> dict[str, Any]:
    return {
        "owner_id": owner_id,
        "byok": int(byok),
        "before": past.before.isoformat(),
        "first_day": past.first_day.isoformat() if past.first_day else None,
        "days": past.folded.days,
        "total_nanos": past.folded.total_nanos,
        "squares": str(past.folded.squares),
    }


def _days_since(
    connection: Connection, first_days: Mapping[str, date], before: date | None = None
) -> Iterator[tuple[str, Iterator[Row[Any]]]]:
    """Yield the closed days of each owner from one day on, earliest first, owner by owner, reading as it goes."""
    if not first_days:
        return
    first = [(owner, day.isoformat()) for owner, day in sorted(first_days.items())]
    wanted = listed(connection, first, OWNER.c.name, OWNER_DAY.c.day)
    statement = (
        select(OWNER_DAY, OWNER.c.name.label("owner"))
        .select_from(wanted)
        .join(OWNER, OWNER.c.name == wanted.c.name)
        .join(OWNER_DAY, (OWNER_DAY.c.owner_id == OWNER.c.id) & (OWNER_DAY.c.day >= wanted.c.day))
        .order_by(OWNER_DAY.c.owner_id, OWNER_DAY.c.day)
    )
    if before is not None:
        statement = statement.where(OWNER_DAY.c.day < before.isoformat())
    with closing(connection.execute(statement, execution_options={"yield_per": 10_000})) as result:
        yield from groupby(result, key=attrgetter("owner"))


def _singled_out(connection: Connection, concerned: Mapping[str, Concern]) -> Iterator[Row[Any]]:
    """Yield each day of some owners that may not belong to their history, once."""
    if not concerned:
        return
    statement = select(OWNER_DAY, OWNER.c.name.label("owner")).join(OWNER)
    unsettled = statement.where(UNSETTLED, among(connection, OWNER.c.name, concerned))
    yield from connection.execute(unsettled)
    half_seen = [(owner, day.isoformat()) for owner, concern in concerned.items() for day in sorted(concern.half_seen)]
    if half_seen:
        wanted = listed(connection, half_seen, OWNER.c.name, OWNER_DAY.c.day)
        named = statement.join(wanted, (OWNER.c.name == wanted.c.name) & (OWNER_DAY.c.day == wanted.c.day))
        yield from connection.execute(named.where(OWNER_DAY.c.state == _SETTLED))


def _spent(row: Row[Any], *, byok: bool) -> int:
    spent: int = row.spend_nanos + row.byok_nanos if byok else row.spend_nanos
    return spent
