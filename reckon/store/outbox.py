"""The outbox: messages to rows and back, and what can be asked of them.

A message enters with the decision to say it, in the same transaction, under its intent. Whoever decides the same thing
again, after a lost commit or in another replica, finds the intent taken and changes nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, Row, Select, func, null, select, text, union_all, update

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.core.outbox import Delivery, DeliveryState, Manner, Outgoing, Receipt
from reckon.store.rows import instant, maybe_instant, maybe_seconds, seconds
from reckon.store.tables import OUTBOX
from reckon.store.writing import insert_missing

# In the words of the partial index, or SQLite would not use it.
_UNFINISHED: Final = text("outbox.state IN ('waiting', 'sending')")


def add(connection: Connection, outgoing: Iterable[Outgoing], now: datetime) -> None:
    """Write down what is to be said from *now* on; what has an intent that is known is not said again."""
    new = [_new_row(message, seconds(now)) for message in outgoing]
    insert_missing(connection, OUTBOX, new, key=("intent",))


def record(connection: Connection, delivery: Delivery) -> None:
    """Write down how far *delivery* has come."""
    receipt = delivery.receipt
    so_far = {
        "due_at": seconds(delivery.due_at),
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "attempted_at": maybe_seconds(delivery.attempted_at),
        "may_have_been_said": int(delivery.may_have_been_said),
        "trouble": delivery.trouble,
        "receipt_place": receipt.place if receipt else None,
        "receipt_name": receipt.name if receipt else None,
        "delivered_at": maybe_seconds(delivery.delivered_at),
    }
    connection.execute(update(OUTBOX).where(OUTBOX.c.id == delivery.id).values(so_far))


def unfinished(connection: Connection) -> list[Delivery]:
    """Return what is waiting or being sent, oldest first."""
    return _found(connection, _DELIVERIES.where(_UNFINISHED).order_by(OUTBOX.c.id))


def dead(connection: Connection) -> list[Delivery]:
    """Return what no repetition would bring there, newest first."""
    dead = OUTBOX.c.state == DeliveryState.DEAD.value
    return _found(connection, _DELIVERIES.where(dead).order_by(OUTBOX.c.id.desc()))


def counts(connection: Connection) -> dict[DeliveryState, int]:
    """Return how many messages are in each state, those that none is in included."""
    statement = select(OUTBOX.c.state, func.count().label("found")).group_by(OUTBOX.c.state)
    found = {row.state: row.found for row in connection.execute(statement)}
    return {state: found.get(state.value, 0) for state in DeliveryState}


def last_attempts(connection: Connection) -> dict[str | None, datetime]:
    """Return when a message to each place was last begun."""
    return {row.place: instant(row.at) for row in connection.execute(_LAST_ATTEMPTS) if row.at is not None}


def _last_attempts() -> CompoundSelect[Any]:
    """Return the statement that goes from one place to the next by their index, without a look at what lies between."""
    place = select(func.min(OUTBOX.c.place_to).label("name")).cte("place", recursive=True)
    following = select(func.min(OUTBOX.c.place_to)).where(OUTBOX.c.place_to > place.c.name).scalar_subquery()
    place = place.union_all(select(following).where(place.c.name.is_not(None)))
    last = select(func.max(OUTBOX.c.attempted_at))
    to_named = last.where(OUTBOX.c.place_to == place.c.name).scalar_subquery()
    to_the_usual = last.where(OUTBOX.c.place_to.is_(None)).scalar_subquery()
    return union_all(
        select(place.c.name.label("place"), to_named.label("at")).where(place.c.name.is_not(None)),
        select(null().label("place"), to_the_usual.label("at")),
    )


_LAST_ATTEMPTS: Final = _last_attempts()


def _new_row(outgoing: Outgoing, now_seconds: int) -> dict[str, Any]:
    return {
        "intent": outgoing.intent,
        "manner": outgoing.manner.value,
        "about": outgoing.about,
        "place_to": outgoing.to,
        "message": _text(outgoing.message),
        "created_at": now_seconds,
        "due_at": now_seconds,
        "state": DeliveryState.WAITING.value,
        "attempts": 0,
        "may_have_been_said": 0,
    }


_PARENT: Final = OUTBOX.alias("parent")
_DELIVERIES: Final = select(
    OUTBOX,
    _PARENT.c.receipt_place.label("parent_place"),
    _PARENT.c.receipt_name.label("parent_name"),
    _PARENT.c.state.label("parent_state"),
).join(_PARENT, _PARENT.c.intent == OUTBOX.c.about, isouter=True)


def _found(connection: Connection, statement: Select[Any]) -> list[Delivery]:
    return [_delivery(row) for row in connection.execute(statement)]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        intent=row.intent,
        message=_message(row.message),
        manner=Manner(row.manner),
        to=row.place_to,
        created_at=instant(row.created_at),
        due_at=instant(row.due_at),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        attempted_at=maybe_instant(row.attempted_at),
        may_have_been_said=bool(row.may_have_been_said),
        trouble=row.trouble,
        receipt=_receipt(row.receipt_place, row.receipt_name),
        delivered_at=maybe_instant(row.delivered_at),
        about=row.about,
        parent=_receipt(row.parent_place, row.parent_name),
        parent_state=DeliveryState(row.parent_state) if row.parent_state else None,
    )


def _receipt(place: str | None, name: str | None) -> Receipt | None:
    return None if place is None or name is None else Receipt(place, name)


def _text(message: Message) -> str:
    return json.dumps(asdict(message), ensure_ascii=False, separators=(",", ":"))


def _message(text: str) -> Message:
    stored: dict[str, Any] = json.loads(text)
    table = stored["table"]
    return Message(
        headline=stored["headline"],
        tone=Tone(stored["tone"]),
        facts=tuple(Fact(**fact) for fact in stored["facts"]),
        table=table
        and Table(tuple(table["columns"]), tuple(tuple(row) for row in table["rows"]), tuple(table["figures"])),
        notes=tuple(stored["notes"]),
        mention=stored["mention"],
    )
