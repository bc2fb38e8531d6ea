"""What the account has used of its purchased credits over a span, beside the counters.

The account tells how much was ever used, so a day is the growth between its two edges. It is asked every few minutes:
what stood at an edge is read off the line between the sights on both sides, and what grew between these may lie on
either side. With no sight within an hour of an edge there is no number.

Credits hold everything: what the keys spent, what went through no key, and the fees for using upstream keys of the
team's own. Where activity or analytics tells of the same span, that is where the account's own spend is taken from, and
credits are held against it; else they are the only ones to tell of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reckon.core.comparing import Comparison, Counted, Teller, summed
from reckon.core.comparing_days import is_final, name_byok, name_what_no_key_spent
from reckon.core.reasons import Difference, Reason
from reckon.core.records import Amounts
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window, grain_start

REACH: Final = timedelta(hours=1)
"""No sight further than this from an edge tells what stood there."""
_FEES_AT_MOST: Final = 20
"""One in so many dollars through upstream keys is taken as a fee, at most."""
_BEHIND: Final = timedelta(minutes=5)
"""How far behind the counters a balance may be; it was said to be as of a minute ago at times."""
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class BalanceSeen:
    """What the account had purchased and used at an instant, as its management key told it."""

    at: datetime
    credits_nanos: int
    usage_nanos: int

    @property
    def left_nanos(self) -> int:
        """What is left of the credits; negative when the account is overdrawn."""
        return self.credits_nanos - self.usage_nanos


@dataclass(frozen=True, slots=True)
class Used:
    """How much was used of the credits over a span."""

    nanos: int
    until: datetime
    """The end of the span, or the last sight before it where the span is not over."""
    uncertain_nanos: int
    """What grew between the two sights around each edge."""


def used(sights: Sequence[BalanceSeen], span: Window, now: datetime) -> Used | None:
    """Return what *sights*, in the order of time, tell of *span* as far as it has come; None where they do not."""
    started = _stood_at(span.start, sights)
    ended = _stands_now(sights, span, now) if now < span.end else _stood_at(span.end, sights)
    if started is None or ended is None:
        return None
    return Used(ended.nanos - started.nanos, ended.at, started.uncertain_nanos + ended.uncertain_nanos)


def late_from(found: Used, span: Window) -> datetime:
    """Return the instant from which on the counters may hold what *found* does not yet."""
    return max(span.start, grain_start(found.until - _BEHIND)) if found.until < span.end else span.end


def compare(
    found: Used, counted: Counted, of_the_account: Sequence[Comparison], lately: Sequence[KeyTotal]
) -> Comparison:
    """Return what was *found* used of the credits beside what was *counted* in the same span.

    Args:
        found: the growth of what was used.
        counted: what the ledger has of the span.
        of_the_account: the other comparisons of the day, the surest first.
        lately: what the counters tell of the span since `late_from`.
    """
    known = next((each for each in of_the_account if each.span == counted.span), None)
    all_of_it = Difference(found.nanos - counted.nanos)
    for reason, nanos in known.explained if known else ():
        if reason is not Reason.NOT_TOLD_YET:  # credits are not that late
            all_of_it.give(reason, nanos)
    all_of_it.take(Reason.NOT_TOLD_YET, below=sum(summed(lately).values(), Amounts()).spend_nanos)
    name_byok(all_of_it, counted)
    all_of_it.take(Reason.FEES, above=max(0, counted.all_keys.byok_nanos) // _FEES_AT_MOST)
    around = found.uncertain_nanos + sum(counted.over_an_edge.values()) + sum(counted.near_an_edge.values())
    all_of_it.take(Reason.GAP, below=around)
    if known is None:
        all_of_it.take(Reason.CORRECTED, above=-counted.all_keys.correction_nanos)
    if known and is_final(known):
        all_of_it.take(Reason.GAP, above=around)
    else:
        name_what_no_key_spent(all_of_it, counted)
    explained = tuple(all_of_it.explained())
    return Comparison(Teller.CREDITS, counted.span, found.nanos, counted.nanos, found.until, explained)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What was used by an instant, and how much of that is an estimate."""

    nanos: int
    at: datetime
    uncertain_nanos: int = 0


def _stands_now(sights: Sequence[BalanceSeen], span: Window, now: datetime) -> _Standing | None:
    last = next((sight for sight in reversed(sights) if sight.at in span and sight.at <= now), None)
    return _Standing(last.usage_nanos, last.at) if last and now - last.at <= REACH else None


def _stood_at(edge: datetime, sights: Sequence[BalanceSeen]) -> _Standing | None:
    before = next((sight for sight in reversed(sights) if sight.at <= edge), None)
    after = next((sight for sight in sights if sight.at >= edge), None)
    if before is None or after is None or edge - before.at > REACH or after.at - edge > REACH:
        return None
    if before.at == after.at:
        return _Standing(before.usage_nanos, edge)
    grown = after.usage_nanos - before.usage_nanos
    share = grown * ((edge - before.at) // _SECOND) // ((after.at - before.at) // _SECOND)
    return _Standing(before.usage_nanos + share, edge, abs(grown))
