"""What the ledger holds of some days, for their books: its counters, its generations, and what the account tells."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import comparing_credits, comparing_days, reconcile
from reckon.core.comparing import Comparison, Counted, Teller, utc_day
from reckon.core.comparing_credits import REACH
from reckon.core.generations import CallTotal
from reckon.core.reconcile import Books, DayFound
from reckon.core.records import KeyState
from reckon.core.windows import Window, day_window
from reckon.store import account_told
from reckon.store.reading import SWEPT_PREFIX, Reading
from reckon.store.rows import instant

_BY_KEY: Final = frozenset({"owner", "key_hash"})
_SECOND: Final = timedelta(seconds=1)


def books_of(ledger: Reading, days: Iterable[date], zone: ZoneInfo, now: datetime) -> list[Books]:
    """Return local *days* reconciled, one after the other; those that have not begun are nothing on all sides."""
    keys = ledger.every_key()
    swept_at = _swept_at(ledger)
    found = []
    for day in days:
        window = day_window(day, zone)
        compared = tuple(_compared(ledger, day, window, keys, swept_at, now))
        found.append(reconcile.books(day, window, _found(ledger, window, keys, zone, compared)))
    return found


def _found(
    ledger: Reading, window: Window, keys: Sequence[KeyState], zone: ZoneInfo, compared: Sequence[Comparison]
) -> DayFound:
    stretches = reconcile.unwatched(keys, window)
    # Keys that were first or last seen in the same second share a stretch, and it is read once.
    edges = [*{edge: None for found in stretches.values() for _, edge in found}]
    settled, *of_stretches = ledger.call_totals([(None, edge) for edge in (window, *edges)], _BY_KEY, zone)
    of_key = {edge: _by_key(totals) for edge, totals in zip(edges, of_stretches, strict=True)}
    counters, *around = ledger.totals([window, *reconcile.around_edges(window)])
    return DayFound(
        counters=counters,
        settled=settled,
        unsettled=ledger.unsettled(window),
        unseen={
            reason: [(key_hash, total) for key_hash, edge in of_keys for total in of_key[edge].get(key_hash, ())]
            for reason, of_keys in stretches.items()
        },
        gaps=ledger.gaps(window),
        around_edges_nanos=sum(total.amounts.spend_nanos for edge in around for total in edge),
        compared=compared,
    )


def _by_key(totals: Iterable[CallTotal]) -> dict[str | None, list[CallTotal]]:
    """Return *totals* by the hash of the key: ten thousand keys are not each held against ten thousand totals."""
    found: dict[str | None, list[CallTotal]] = {}
    for total in totals:
        found.setdefault(total.place.key_hash, []).append(total)
    return found


def _compared(  # noqa: PLR0917 - what a comparison is made of
    ledger: Reading,
    day: date,
    window: Window,
    keys: Sequence[KeyState],
    swept_at: dict[str, datetime | None],
    now: datetime,
) -> Iterator[Comparison]:
    """Yield what can be held against the counters: activity, analytics and credits."""
    of_the_account = []
    found, span = account_told.told_of(ledger.connection, day), utc_day(day)
    # Activity is not asked about keys that are gone; what analytics has told of them still holds.
    of_keys = {key_hash: nanos for told in reversed(found) for key_hash, nanos in told.by_key.items()}
    for told in (replace(each, by_key=of_keys) if each.teller is Teller.ACTIVITY else each for each in found):
        late_from = comparing_days.late_from(told, span)
        if late_from is not None:
            lately = ledger.totals([Window(late_from, span.end)])[0]
            of_the_account.append(comparing_days.compare(told, _counted(ledger, span, keys, swept_at), lately))
    if any(comparing_days.is_final(each) for each in of_the_account):
        # What analytics told in the night is short of what activity, by now, says for good.
        of_the_account = [each for each in of_the_account if each.teller is not Teller.ANALYTICS]
    yield from of_the_account
    sights = account_told.balances_seen(ledger.connection, Window(window.start - REACH, window.end + REACH + _SECOND))
    if used := comparing_credits.used(sights, window, now):
        lately = ledger.totals([Window(comparing_credits.late_from(used, window), window.end)])[0]
        yield comparing_credits.compare(used, _counted(ledger, window, keys, swept_at), of_the_account, lately)


def _counted(ledger: Reading, span: Window, keys: Sequence[KeyState], swept_at: dict[str, datetime | None]) -> Counted:
    unswept = [workspace for workspace, at in swept_at.items() if at is None or at < span.start]
    totals, *edges = ledger.totals([span, *reconcile.around_edges(span)])
    return Counted(span, keys, totals, ledger.gaps(span), [total for edge in edges for total in edge], unswept)


_NO_WORKSPACE: Final = ""


def _swept_at(ledger: Reading) -> dict[str, datetime | None]:
    """Return when the last complete sweep of each workspace began; of the account as a whole, where nobody sweeps."""
    swept = {
        name.removeprefix(SWEPT_PREFIX): instant(int(value))
        for name, value in ledger.meta().items()
        if name.startswith(SWEPT_PREFIX)
    }
    listed = ledger.workspaces()
    return {workspace: swept.get(workspace) for workspace in listed or [*swept] or [_NO_WORKSPACE]}
