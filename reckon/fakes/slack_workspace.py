"""The truth inside the fake Slack: a workspace, its channels, what stands in them, and who may do what.

A `Workspace` is asked two things. What is true: `messages`, `requests`, `too_fast`. And what the API shall say next
instead of the truth (`answer_with`): an `Order` gives an answer, may have the request carried out first, and may hold
the answer back until an event is set. Time is the clock that is passed in.

What the documents leave open is decided here: a message keeps its metadata when an edit brings none; an answer to a
message that is gone is refused with `thread_not_found`; a channel's history begins with its newest message, and with
the oldest ones of the span where `oldest_page_first` is set, since Slack was seen to do both.
"""

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from reckon.fakes.answers import HTML, Answer
from reckon.fakes.answers import JSON as AS_JSON
from reckon.fakes.world import Request

EVERYTHING: Final = "everything"
"""Where `Workspace.answer_with` reaches every request."""
WEBHOOK: Final = "webhook"
"""Where it reaches every post through a webhook."""

ALL_SCOPES: Final = frozenset({"chat:write", "channels:history", "groups:history"})
TEXT: Final = MappingProxyType({"content-type": "text/plain"})


@dataclass(frozen=True, slots=True)
class Channel:
    """One conversation."""

    id: str
    name: str
    is_private: bool = False


@dataclass(slots=True)
class Message:
    """What stands in a channel now, and what stood there before it was edited."""

    channel: str
    ts: str
    text: str
    blocks: list[Any]
    metadata: dict[str, Any] | None
    thread_ts: str | None
    posted_at: datetime
    through: str
    """`bot`, `webhook`, or whoever `say` named."""
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All that the post came with."""
    before: list[tuple[str, list[Any]]] = field(default_factory=list)
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What to do in place of the right thing."""

    answer: Answer | None = None
    """None for the right one."""
    carries_out: bool = False
    """Whether the request is carried out before *answer* is given. Without an answer it always is."""
    until: threading.Event | None = None
    """Nothing is said before it is set; a request that is to be carried out has been by then."""


def refused(code: str, status: int = 200) -> Order:
    """Refuse with a reason."""
    body = f'{{"ok":false,"error":"{code}"}}'
    return Order(Answer(body.encode(), status, AS_JSON))


def throttled(retry_after: str | None) -> Order:
    """Answer that the limit is reached. *retry_after* is sent as it stands, readable or not; None sends none."""
    headers = dict(AS_JSON) if retry_after is None else {**AS_JSON, "retry-after": retry_after}
    return Order(Answer(b'{"ok":false,"error":"ratelimited"}', 429, headers))


def lost(answer: Answer) -> Order:
    """Carry the request out, and give *answer* instead of the right one."""
    return Order(answer, carries_out=True)


def late(until: threading.Event) -> Order:
    """Do the right thing, and say so once *until* is set."""
    return Order(until=until)


PAGE: Final = Answer(b"<!DOCTYPE html><html><body><h1>Slack is down</h1></body></html>", 200, HTML)
BAD_GATEWAY: Final = Answer(b"<html><body>502 Bad Gateway</body></html>", 502, HTML)
A_LIST: Final = Answer(b"[]")
CUT_SHORT: Final = Answer(b'{"ok":true,"channel":"C0')
WITHOUT_OK: Final = Answer(b'{"channel":"C0ALERTS","ts":"1.000000"}')
NOTHING: Final = Answer(b"")


@dataclass(slots=True)
class _Ordered:
    order: Order
    times_left: int | None


class Workspace:
    """A Slack workspace at the instant of *clock*."""

    def __init__(self, clock: Callable[[], datetime], *, name: str = "Invented Works") -> None:
        self.name = name
        self.team_id = "T0INVENTED"
        self.bot_user = "reckon"
        self.bot_user_id = "U0RECKONBOT"
        self.bot_id = "B0RECKONBOT"
        self.enforces_pace = False
        """Whether a second message to a channel within a second is answered with 429."""
        self.looks_a_minute: int | None = None
        """How many histories may be read in a minute; None for as many as one likes."""
        self.most_objects = 999
        """What a `limit` is cut down to; 15 for young apps."""
        self.oldest_page_first = False
        self.requests: list[Request] = []
        self.too_fast: list[tuple[str, timedelta]] = []
        """Every post that came within a second of the one before it in its channel, and how soon it came."""
        self._clock = clock
        self._channels: dict[str, Channel] = {}
        self._archived: set[str] = set()
        self._outside: set[str] = set()
        self._tokens: dict[str, frozenset[str]] = {}
        self._webhooks: dict[str, str] = {}
        self._messages: list[Message] = []
        self._last_ts = 0
        self._last_post: dict[str, datetime] = {}
        self._looks: deque[datetime] = deque()
        self._orders: defaultdict[str, deque[_Ordered]] = defaultdict(deque)

    @property
    def now(self) -> datetime:
        """The workspace's own instant."""
        return self._clock()

    # --- Who and where ---------------------------------------------------------------------------------------------

    def make_channel(self, name: str, *, id: str | None = None, is_private: bool = False) -> Channel:  # noqa: A002 - Slack's word
        """Return a new channel, the bot in it. Its id is invented from its name unless given."""
        channel = Channel(id or "C" + hashlib.sha256(name.encode()).hexdigest()[:9].upper(), name, is_private)
        self._channels[channel.id] = channel
        return channel

    def archive(self, channel: Channel) -> None:
        """Let nobody post in *channel* any more."""
        self._archived.add(channel.id)

    def put_out(self, channel: Channel) -> None:
        """Take the bot out of *channel*: it may neither post nor read there."""
        self._outside.add(channel.id)

    def is_archived(self, channel: Channel) -> bool:
        """Return whether nobody can post there."""
        return channel.id in self._archived

    def is_outside(self, channel: Channel) -> bool:
        """Return whether the bot is not in it."""
        return channel.id in self._outside

    def channel(self, name: object) -> Channel | None:
        """Return the channel of that id or name."""
        if not isinstance(name, str):
            return None
        by_name = {channel.name: channel for channel in self._channels.values()}
        return self._channels.get(name) or by_name.get(name.removeprefix("#"))

    def issue_token(self, secret: str, scopes: frozenset[str] = ALL_SCOPES) -> None:
        """Accept *secret* as the bot's token, for *scopes*; issued again it has those alone."""
        self._tokens[secret] = scopes

    def revoke(self, secret: str) -> None:
        """Accept *secret* no more."""
        self._tokens.pop(secret, None)

    def scopes_of(self, secret: str) -> frozenset[str] | None:
        """Return what *secret* is for, or None if it is no token."""
        return self._tokens.get(secret)

    def make_webhook(self, channel: Channel, path: str = "/services/T0INVENTED/B0INVENTED/invented") -> str:
        """Return the path of a new incoming webhook that posts in *channel*; all of it is its secret."""
        self._webhooks[path] = channel.id
        return path

    def behind_webhook(self, path: str) -> Channel | None:
        """Return where the webhook at *path* posts, or None if there is none."""
        return self._channels.get(self._webhooks.get(path, ""))

    # --- What is said ----------------------------------------------------------------------------------------------

    def messages(self, channel: Channel | None = None) -> tuple[Message, ...]:
        """Return what stands in *channel*, or everywhere, oldest first; threads included, deleted messages not."""
        return tuple(
            message
            for message in self._messages
            if not message.is_deleted and (channel is None or message.channel == channel.id)
        )

    def message(self, channel: Channel, ts: object) -> Message | None:
        """Return one message that still stands."""
        return next((message for message in self.messages(channel) if message.ts == ts), None)

    def say(
        self,
        channel: Channel,
        text: str,
        *,
        blocks: list[Any] | None = None,
        metadata: dict[str, Any] | None = None,
        thread_ts: str | None = None,
        through: str = "a person",
        arguments: Mapping[str, Any] | None = None,
    ) -> Message:
        """Put a message into *channel*, now."""
        now = self.now
        self._last_ts = max(int(now.timestamp() * 1_000_000), self._last_ts + 1)
        message = Message(
            channel=channel.id,
            ts=f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}",
            text=text,
            blocks=blocks or [],
            metadata=metadata,
            thread_ts=thread_ts,
            posted_at=now,
            through=through,
            arguments=arguments or {},
        )
        self._messages.append(message)
        return message

    def edit(self, message: Message, text: str, blocks: list[Any], metadata: dict[str, Any] | None) -> None:
        """Put something else in the place of *message*; without *metadata* it keeps what it had."""
        message.before.append((message.text, message.blocks))
        message.text, message.blocks = text, blocks
        if metadata is not None:
            message.metadata = metadata

    def delete(self, message: Message) -> None:
        """Let somebody delete *message*."""
        message.is_deleted = True

    # --- Limits ----------------------------------------------------------------------------------------------------

    def keeps_pace(self, channel: Channel) -> bool:
        """Return whether a post to *channel* may be taken now, and remember it as one that was tried."""
        now, last = self.now, self._last_post.get(channel.id)
        if last is not None and now - last < timedelta(seconds=1):
            self.too_fast.append((channel.id, now - last))
            if self.enforces_pace:
                return False
        self._last_post[channel.id] = now
        return True

    def may_look(self) -> bool:
        """Return whether a history may be read now, and count it if so."""
        if self.looks_a_minute is None:
            return True
        now = self.now
        while self._looks and now - self._looks[0] >= timedelta(minutes=1):
            self._looks.popleft()
        if len(self._looks) >= self.looks_a_minute:
            return False
        self._looks.append(now)
        return True

    # --- Answers that are not the right ones -----------------------------------------------------------------------

    def answer_with(self, where: str, order: Order, *, times: int | None = None) -> None:
        """Follow *order* for the next *times* requests, or until told.

        *where* is a method such as `chat.postMessage`, `WEBHOOK`, or `EVERYTHING`; a method goes before everything.
        Orders for one place are carried out one after the other.
        """
        self._orders[where].append(_Ordered(order, times))

    def answer_rightly(self) -> None:
        """Forget every order."""
        self._orders.clear()

    def next_order(self, where: str) -> Order:
        """Return what was ordered for *where*, or to do the right thing. Counts as that answer."""
        for place in (where, EVERYTHING):
            if orders := self._orders.get(place):
                ordered = orders[0]
                if ordered.times_left is not None:
                    ordered.times_left -= 1
                    if ordered.times_left <= 0:
                        orders.popleft()
                return ordered.order
        return Order()
