"""The outbox: messages decided, not yet delivered.

A message enters in the transaction that decided it, under its intent, which is the one reason it exists: the second
attempt to decide the same thing finds the intent taken. From then on it is *waiting*, *sending*, and at last
*delivered*, *dead* or *unneeded*.

`sending` is committed before anything is sent, and what became of it after. So whoever finds a message in that state
(after a crash, or when a lease has run out) knows that it may have been said, and looks for it first, where the sink
can look; elsewhere it is said again, with a mark that it may be a repetition.

What can go wrong is one of three. *Not delivered*: certainly not said; it waits and is tried again. *Ambiguous*:
perhaps said. *Refused*: no repetition would help, a person must mend something; the message is dead, kept and shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from reckon.core.messages import Message
from reckon.core.windows import whole_second


class Manner(StrEnum):
    """How a message is to appear."""

    POST = "post"
    REPLY = "reply"
    """Under the message it answers; unneeded where a sink has no threads."""
    EDIT = "edit"
    """In place of the message it changes; unneeded where a sink cannot edit."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a plan adds to the outbox."""

    intent: str
    """`alert:sigma:dana:2026-11-20:opened`; no two messages ever have the same."""
    message: Message
    manner: Manner = Manner.POST
    about: str | None = None
    """The intent of the message that a reply answers or an edit changes."""
    to: str | None = None
    """The place, in the sink's own words (a channel id); None for the one that is configured."""


class DeliveryState(StrEnum):
    """What became of a message so far."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    UNNEEDED = "unneeded"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a sink put a message: enough to edit it, or to answer it in its thread."""

    place: str
    """Slack: the channel id."""
    name: str
    """Slack: the message's `ts`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of the outbox, with its history so far."""

    id: int
    intent: str
    message: Message
    manner: Manner
    to: str | None
    created_at: datetime
    due_at: datetime
    """Not before this instant."""
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    """How often it was begun to be sent."""
    attempted_at: datetime | None = None
    """When the last attempt began, or when it ended if that is known."""
    may_have_been_said: bool = False
    """An attempt has ended, or never ended, without our learning what became of it."""
    trouble: str | None = None
    """What the last attempt met, in one line for a person."""
    receipt: Receipt | None = None
    delivered_at: datetime | None = None
    about: str | None = None
    parent: Receipt | None = None
    """Where the message that this is about was put; None for a post."""
    parent_state: DeliveryState | None = None


class Outcome(StrEnum):
    """What came of one attempt."""

    DELIVERED = "delivered"
    NOT_DELIVERED = "not_delivered"
    AMBIGUOUS = "ambiguous"
    REFUSED = "refused"
    UNNEEDED = "unneeded"


# --- Deciding ------------------------------------------------------------------------------------------------------

BETWEEN_MESSAGES: Final = timedelta(seconds=1)
"""Slack allows one message a second in each channel."""
LONGEST_WAIT: Final = timedelta(hours=1)
_CORRECTION: Final = timedelta(minutes=5)
"""By so much a clock is set back without anything being wrong with what it said before."""
_BEFORE_LOOKING: Final = timedelta(seconds=10)
_WAITS: Final = (5, 15, 60, 300)
"""Seconds before each next try of what was certainly not said; the last one for all that follow."""
_TRIES_BEFORE_OTHERS_PASS: Final = 3


def next_in_turn(
    waiting: Sequence[Delivery], last_attempts: Mapping[str | None, datetime], now: datetime
) -> Delivery | None:
    """Return the message to send at *now*, if any is.

    Messages of one place keep their order, so the first that still has to wait holds up those behind it. Only one that
    has ended without an answer three times lets them pass, and goes last, for it may be the one that ends us.

    Args:
        waiting: everything not yet finished, oldest first.
        last_attempts: when a message to each place was last attempted.
        now: the instant.
    """
    heads = sorted(_heads(waiting), key=_lets_others_pass)
    return next((delivery for delivery in heads if _waits_until(delivery, last_attempts, now) is None), None)


def next_look(
    waiting: Sequence[Delivery], last_attempts: Mapping[str | None, datetime], now: datetime
) -> datetime | None:
    """Return when it is the turn of the first of *waiting*, of which none has it at *now*; None if nothing waits."""
    waits = [_waits_until(delivery, last_attempts, now) for delivery in _heads(waiting)]
    return min((until for until in waits if until), default=now + BETWEEN_MESSAGES if waiting else None)


def begun(delivery: Delivery, now: datetime) -> Delivery:
    """Return *delivery* as it has to stand in the store before anything is sent."""
    return replace(
        delivery, state=DeliveryState.SENDING, attempts=delivery.attempts + 1, attempted_at=whole_second(now)
    )


def interrupted(delivery: Delivery, now: datetime) -> Delivery:
    """Return a delivery whose sender died in the middle: it may have been said."""
    return ended(delivery, Outcome.AMBIGUOUS, now, trouble="the attempt was interrupted")


def ended(
    delivery: Delivery,
    outcome: Outcome,
    now: datetime,
    *,
    receipt: Receipt | None = None,
    trouble: str | None = None,
    wait: timedelta | None = None,
) -> Delivery:
    """Return *delivery* after an attempt that had *outcome*.

    Args:
        delivery: as it was begun.
        outcome: what came of it.
        now: when that was known.
        receipt: where the message is, if it was delivered.
        trouble: what went wrong, for a person.
        wait: how long the sink asked us to wait.
    """
    if outcome is Outcome.DELIVERED:
        return replace(
            delivery,
            state=DeliveryState.DELIVERED,
            attempted_at=whole_second(now),
            receipt=receipt,
            delivered_at=now,
            trouble=None,
            may_have_been_said=False,
        )
    if outcome is Outcome.UNNEEDED:
        return replace(delivery, state=DeliveryState.UNNEEDED, trouble=trouble)
    if outcome is Outcome.REFUSED:
        return replace(delivery, state=DeliveryState.DEAD, attempted_at=whole_second(now), trouble=trouble)
    if outcome is Outcome.AMBIGUOUS:
        pause, doubt = max(wait or _BEFORE_LOOKING, _BEFORE_LOOKING), True
    else:
        usual = timedelta(seconds=_WAITS[min(delivery.attempts, len(_WAITS)) - 1])
        pause, doubt = wait or usual, delivery.may_have_been_said
    return replace(
        delivery,
        state=DeliveryState.WAITING,
        attempted_at=whole_second(now),
        due_at=whole_second(now + min(pause, LONGEST_WAIT)),
        trouble=trouble,
        may_have_been_said=doubt,
    )


_UNFINISHED: Final = frozenset({DeliveryState.WAITING, DeliveryState.SENDING})


def _heads(waiting: Sequence[Delivery]) -> Iterator[Delivery]:
    """Yield those of *waiting* that nothing but time holds up: the first to each place, and whom it lets pass."""
    blocked: set[str | None] = set()
    for delivery in waiting:
        if delivery.to in blocked or delivery.parent_state in _UNFINISHED:
            continue
        yield delivery
        if not _lets_others_pass(delivery):
            blocked.add(delivery.to)


def _lets_others_pass(delivery: Delivery) -> bool:
    return delivery.may_have_been_said and delivery.attempts >= _TRIES_BEFORE_OTHERS_PASS


def _waits_until(delivery: Delivery, last_attempts: Mapping[str | None, datetime], now: datetime) -> datetime | None:
    """Return until when *delivery* has to wait; None if it need not."""
    # What was never attempted waits for nothing: its time to come is that of a clock that has been set back since.
    waits = [delivery.due_at] if delivery.attempts and has_yet_to_come(delivery.due_at, now) else []
    last = last_attempts.get(delivery.to)
    if last and now < last + BETWEEN_MESSAGES <= now + 3 * BETWEEN_MESSAGES:
        waits.append(last + BETWEEN_MESSAGES)
    return max(waits, default=None)


def has_yet_to_come(instant: datetime, now: datetime) -> bool:
    """Return whether *instant* is still ahead. One further off than any wait comes from a clock that was wrong."""
    return now < instant <= now + LONGEST_WAIT + _CORRECTION
