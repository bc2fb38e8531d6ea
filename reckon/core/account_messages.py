"""What the alerts about the account say, and the line of the books that every digest has."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from reckon.core.alert_messages import Moment, day_name, span
from reckon.core.alerts import Alert
from reckon.core.comparing import Comparison, Teller
from reckon.core.funds import Funds
from reckon.core.messages import Fact, Message, Tone
from reckon.core.money import dollars
from reckon.core.reasons import Explained, Reason
from reckon.core.reconcile import Books

WORDS: Final = {
    Reason.PENDING: "pending",
    Reason.EXPIRED: "given up",
    Reason.BEFORE_FIRST_POLL: "before the first poll",
    Reason.SINCE_LAST_POLL: "since the last poll",
    Reason.CORRECTED: "corrected",
    Reason.GAP: "in a gap over the day's edge",
    Reason.EDGE: "at the edge of the day",
    Reason.NEVER_HANDED_IN: "never handed in",
    Reason.PENDING_OR_NEVER_HANDED_IN: "pending or never handed in",
    Reason.DELETED_KEY: "by deleted keys",
    Reason.UNSWEPT_WORKSPACE: "in a workspace that was not swept",
    Reason.CHATROOM: "in the chatroom",
    Reason.BYOK: "BYOK",
    Reason.FEES: "fees",
    Reason.NOT_TOLD_YET: "not told yet",
    Reason.UNEXPLAINED: "without a reason",
}
"""Each reason, as it follows an amount."""


# --- Books -----------------------------------------------------------------------------------------------------------


def open_books(books: Books, since: datetime, moment: Moment) -> Message:
    """Return the message that opens an alert about books that do not balance."""
    facts = [Fact("Open", f"for {span(moment.now - since)}"), Fact("Counters", dollars(books.counters_nanos))]
    if books.settled or books.pending:
        facts.append(Fact("Settled", dollars(books.settled_nanos) + _parts(books.explained)))
    facts += [Fact(other.teller.value.capitalize(), _beside(other, books)) for other in books.compared]
    facts.append(Fact("See", f"`reckon books --day {books.day.isoformat()}`"))
    return Message(
        f"Books of {day_name(books.day)}: {dollars(abs(books.open_nanos))} without a reason", Tone.ALARM, tuple(facts)
    )


def closed_books(books: Books) -> Message:
    """Return the message that ends it."""
    return Message(f"Books of {day_name(books.day)} balance", Tone.CALM)


def why_open(books: Books) -> str:
    """Return the reason of the transition that opens an alert about books."""
    return f"{dollars(abs(books.open_nanos))} of {day_name(books.day)} has had no reason for two hours"


def books_line(days: Sequence[Books], zone_key: str) -> str | None:
    """Return the books of some days in one line, with only the numbers that exist; None where there is no money."""
    counters, settled = sum(day.counters_nanos for day in days), sum(day.settled_nanos for day in days)
    others = [(teller, found) for teller in Teller if (found := _of_every_day(teller, days))]
    if not (counters or settled or any(each.told_nanos for _, found in others for each in found)):
        return None
    said = f"key counters {dollars(counters)}"
    elsewhere = []
    for teller, found in others:
        told = sum(each.told_nanos for each in found)
        parts = _parts(_together([each.explained for each in found], sign=-1))
        if all(each.span == day.window for each, day in zip(found, days, strict=True)):
            said += f" = {teller.value} {dollars(told)}{parts}"
        else:
            beside = dollars(sum(each.counters_nanos for each in found))
            elsewhere.append(f"by UTC days: key counters {beside} = {teller.value} {dollars(told)}{parts}")
    if any(day.settled or day.pending for day in days):
        said += f" = settled {dollars(settled)}{_parts(_together([day.explained for day in days]))}"
    return "; ".join([said, *elsewhere, f"day = {zone_key}"])


def _of_every_day(teller: Teller, days: Sequence[Books]) -> list[Comparison]:
    """Return what *teller* tells of each of the days; nothing where it does not tell of all."""
    found = [each for day in days for each in day.compared if each.teller is teller]
    return found if len(found) == len(days) else []


def _together(explained: Sequence[Explained], sign: int = 1) -> list[tuple[Reason, int]]:
    named = dict.fromkeys(Reason, 0)
    for reason, nanos in (part for each in explained for part in each):
        named[reason] += sign * nanos
    return [(reason, nanos) for reason, nanos in named.items() if nanos]


def _parts(explained: Explained) -> str:
    """Return ` + $0.02 pending - $1.00 corrected`."""
    return "".join(f" {'+' if nanos > 0 else '-'} {dollars(abs(nanos))} {WORDS[reason]}" for reason, nanos in explained)


def _beside(other: Comparison, books: Books) -> str:
    where = "" if other.span == books.window else f", by the UTC day (counters {dollars(other.counters_nanos)})"
    return f"{dollars(other.told_nanos)}{where}" + (
        f": the counters{_parts(other.explained)}" if other.explained else ""
    )


# --- Funds -----------------------------------------------------------------------------------------------------------


def low_funds(funds: Funds, moment: Moment) -> Message:
    """Return the message that tells of a balance that runs out."""
    return Message(f"OpenRouter: {'; '.join(_left(funds, moment))}", Tone.ALARM, tuple(_pace(funds)))


def ample_funds(funds: Funds) -> Message:
    """Return the message that ends it."""
    lasts = "" if funds.runway is None else f", which lasts {span(funds.runway)}"
    return Message(f"OpenRouter: {dollars(funds.left_nanos)} left{lasts}", Tone.CALM)


def why_low(funds: Funds) -> str:
    """Return the reason of the transition that opens an alert about funds."""
    pace = f"; the last 24 hours took {dollars(funds.daily_nanos)}" if funds.daily_nanos > 0 else ""
    return f"{dollars(funds.left_nanos)} left{pace}"


def why_low_still(funds: Funds, alert: Alert) -> str:
    """Return the reason of the transition that tells of them again."""
    return f"{dollars(funds.left_nanos)} left, half of the {dollars(alert.told_nanos or 0)} told last or less"


def _left(funds: Funds, moment: Moment) -> Iterator[str]:
    if funds.left_nanos <= 0:
        yield f"the account balance is {dollars(funds.left_nanos)}"
    else:
        yield f"{dollars(funds.left_nanos)} left"
        if funds.runway is not None and funds.empty_at is not None:
            yield f"empty in {span(funds.runway)}, about {moment.clock(funds.empty_at)}"


def _pace(funds: Funds) -> Iterator[Fact]:
    if funds.daily_nanos > 0:
        yield Fact("Pace", f"{dollars(funds.daily_nanos)} in the last 24 hours")
    yield Fact("To do", "purchase credits, or OpenRouter will refuse to run anything")
