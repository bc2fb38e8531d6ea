"""Slack as a place for messages: by the token of a bot, or with less, by an incoming webhook.

The SDK knows the methods and their arguments; how a request travels and what an answer means is ours (`carrier`,
`verdicts`), because the SDK repeats a post whose answer was lost, follows redirects, reads a proxy from the
environment and trips over an answer that is a list.

A post carries a stable id in its metadata, made from its intent. After a lost answer that id is looked for in the
channel, or in the thread: fifteen messages at a time and perhaps one look a minute, as Slack has it for young apps. A
look that has to wait is taken up where it stopped. Slack keeps its own time, so a look begins some minutes before the
message was decided.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from pydantic import SecretStr
from slack_sdk.web.async_client import AsyncWebClient

from reckon import __version__
from reckon.core.outbox import Delivery, Manner, Outcome, Receipt
from reckon.errors import SinkError
from reckon.sinks.slack.blocks import compose
from reckon.sinks.slack.carrier import Answer, Carrier
from reckon.sinks.slack.verdicts import STALE_CURSOR, Refused, final, is_for_good, said, taken

API_URL: Final = "https://slack.com/api/"
TIMEOUT_SECONDS: Final = 10.0
EVENT_TYPE: Final = "reckon_message"
OBJECTS_AT_ONCE: Final = 15

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class SlackCheck:
    """Who a token is, and what it may do."""

    team: str
    bot_user: str
    bot_user_id: str
    scopes: frozenset[str] | None
    """None if Slack did not tell."""

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """The scopes that would be of use and are not there, the most needed first.

        One of the two histories is enough: `channels:history` for a public channel, `groups:history` for a private one.
        """
        held = self.scopes
        if held is None:
            return ()
        histories = () if held & set(_HISTORIES) else _HISTORIES
        return tuple(scope for scope in (_POSTING, *histories) if scope not in held)


class SlackSink:
    """Posts, edits and answers as a bot. Close it.

    Args:
        token: the bot's.
        channel: where messages go that name no place: a channel's id, or its name, by which nobody can look.
        clock: tells what a `Retry-After` that is a date means.
        api_url: where Slack's methods are.
        timeout_seconds: for each call as a whole.
    """

    name: Final = "slack"
    has_threads: Final = True
    has_pace: Final = True

    def __init__(
        self,
        token: SecretStr,
        channel: str,
        *,
        clock: Clock,
        api_url: str = API_URL,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        self._carrier = Carrier(timeout_seconds)
        self._client = _Client(token, api_url, self._carrier, clock)
        self._places_without_sight: set[str] = set()
        self._bookmarks: dict[str, str] = {}
        """By intent: the page at which a look that had to wait goes on."""

    @property
    def can_look(self) -> bool:
        """Whether a message in the configured channel can be found again, as far as Slack has told."""
        return self._can_look_in(self._channel)

    def knows(self, receipt: Receipt) -> bool:
        """Return whether *receipt* names a channel and a message as Slack does."""
        return bool(CHANNEL_ID.fullmatch(receipt.place) and _TS.fullmatch(receipt.name))

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Post, answer or edit, with one request.

        What may have been said already and cannot be looked for in its place says "(may repeat)" of itself.

        Raises:
            SinkError: it was not delivered, or perhaps it was; the error tells which.
        """
        self._bookmarks.pop(delivery.intent, None)
        try:
            answer = await self._send(delivery)
        except SinkError as error:
            repeats = delivery.manner is not Manner.EDIT and not self._can_look_in(self._place_of(delivery))
            trouble = final(error, delivery.attempts, repeats=repeats)
        else:
            return _receipt(answer)
        raise trouble

    async def find(self, delivery: Delivery) -> Receipt | None:
        """Return where *delivery* already stands, or None if it is to be sent.

        None also for an edit, which does no harm twice, and for a place in which nobody can look: there the message is
        sent with its mark.

        Raises:
            SinkError: nobody can tell now, which leaves it ambiguous. Where Slack does not let us look, for want of a
                scope or of a seat in the channel, it is the last of its kind: `can_look`, or `deliver`, knows it from
                then on.
        """
        place = self._place_of(delivery)
        if delivery.manner is Manner.EDIT or not self._can_look_in(place):
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._look(delivery, place)
        except TimeoutError:
            trouble = SinkError("there was no time to look any further", outcome=Outcome.AMBIGUOUS)
        except SinkError as error:
            if is_for_good(error, delivery.attempts):
                self._places_without_sight.add(place)
            text, wait = f"could not look whether it was said: {error}", error.retry_after_seconds
            trouble = SinkError(text, outcome=Outcome.AMBIGUOUS, retry_after_seconds=wait)
        raise trouble

    async def check(self) -> SlackCheck:
        """Return who the token is and what it may do.

        Raises:
            SinkError: Slack gave no such answer; *refused* if it does not accept the token.
        """
        answer = await self._client.auth_test()
        scopes = answer.headers.get("X-OAuth-Scopes")
        return SlackCheck(
            team=str(answer.get("team", "")),
            bot_user=str(answer.get("user", "")),
            bot_user_id=str(answer.get("user_id", "")),
            scopes=None if scopes is None else frozenset(scope.strip() for scope in scopes.split(",") if scope.strip()),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._carrier.close()

    async def _send(self, delivery: Delivery) -> Any:
        place = self._place_of(delivery)
        said_unseen = delivery.may_have_been_said and not self._can_look_in(place)
        content = compose(delivery.message, may_repeat=said_unseen and delivery.manner is not Manner.EDIT)
        if delivery.manner is Manner.EDIT:
            # Without metadata, so that the message keeps the id it was posted with.
            return await self._client.chat_update(channel=place, ts=_parent_of(delivery).name, parse="none", **content)
        return await self._client.chat_postMessage(
            channel=place,
            thread_ts=_parent_of(delivery).name if delivery.manner is Manner.REPLY else None,
            metadata={"event_type": EVENT_TYPE, "event_payload": {"id": stable_id(delivery.intent)}},
            parse="none",
            unfurl_links=False,
            unfurl_media=False,
            **content,
        )

    async def _look(self, delivery: Delivery, place: str) -> Receipt | None:
        """Return where the message with the id of *delivery* stands, page after page."""
        sought = stable_id(delivery.intent)
        oldest = f"{(delivery.created_at - _CLOCKS_DIFFER_BY).timestamp():.6f}"
        while True:
            page = await self._page(delivery, place, oldest, self._bookmarks.get(delivery.intent))
            messages, cursor = _messages(page), _next_cursor(page)
            for message in messages:
                if _id_in(message) == sought:
                    self._bookmarks.pop(delivery.intent, None)
                    return _receipt({"channel": place, "ts": message.get("ts")})
            if cursor is None:
                self._bookmarks.pop(delivery.intent, None)
                return None
            self._bookmarks[delivery.intent] = cursor

    async def _page(self, delivery: Delivery, place: str, oldest: str, cursor: str | None) -> Any:
        where: dict[str, Any] = {
            "channel": place,
            "oldest": oldest,
            "limit": OBJECTS_AT_ONCE,
            "include_all_metadata": True,
        }
        try:
            if delivery.manner is Manner.REPLY:
                return await self._client.conversations_replies(ts=_parent_of(delivery).name, cursor=cursor, **where)
            return await self._client.conversations_history(cursor=cursor, **where)
        except Refused as refusal:
            if refusal.code == STALE_CURSOR:
                self._bookmarks.pop(delivery.intent, None)
            raise

    def _place_of(self, delivery: Delivery) -> str:
        # A named channel is answered under the id that Slack gave it.
        return delivery.parent.place if delivery.parent else delivery.to or self._channel

    def _can_look_in(self, place: str) -> bool:
        return CHANNEL_ID.fullmatch(place) is not None and place not in self._places_without_sight


class WebhookSink:
    """Posts through an incoming webhook. No threads, and nothing can be found again. Close it.

    Args:
        url: the webhook's. It is the secret by itself.
        clock: tells what a `Retry-After` that is a date means.
        timeout_seconds: for each call as a whole.
    """

    name: Final = "slack webhook"
    has_threads: Final = False
    has_pace: Final = True
    can_look: Final = False

    def __init__(self, url: SecretStr, *, clock: Clock, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._clock = clock
        self._carrier = Carrier(timeout_seconds)

    def knows(self, receipt: Receipt) -> bool:
        """Return False: a webhook cannot reach what it has posted."""
        del receipt
        return False

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Post with one request; what may have been said already says "(may repeat)" of itself.

        A webhook posts where it was made for, whatever place *delivery* names.

        Raises:
            SinkError: it was not delivered, or perhaps it was; the error tells which.
        """
        content = compose(delivery.message, may_repeat=delivery.may_have_been_said)
        content |= {"unfurl_links": False, "unfurl_media": False}
        try:
            answer = await self._carrier.exchange("POST", self._url.get_secret_value(), headers=_AGENT, json=content)
            taken(answer, self._clock())
        except SinkError as error:
            trouble = final(error, delivery.attempts, repeats=True)
        else:
            return Receipt(place="webhook", name=stable_id(delivery.intent))
        raise trouble

    async def find(self, delivery: Delivery) -> Receipt | None:
        """Return None: nobody can look, and `can_look` says so."""
        del delivery
        return None

    async def close(self) -> None:
        """Close every connection."""
        await self._carrier.close()


def stable_id(intent: str) -> str:
    """Return the id by which the message of *intent* is found again; it holds no name."""
    return sha256(intent.encode("utf-8", "surrogatepass")).hexdigest()[:32]


# --- The SDK, carried by us -------------------------------------------------------------------------------------------


class _Client(AsyncWebClient):
    """The methods of Slack's SDK. Each raises `SinkError` or returns an answer that was `ok`."""

    def __init__(self, token: SecretStr, api_url: str, carrier: Carrier, clock: Clock) -> None:
        super().__init__(
            token.get_secret_value(),
            base_url=api_url,
            # Any word keeps the SDK from reading the environment; and as no one can use this one, a request that should
            # ever pass us by would fail rather than take a way of its own.
            proxy="none",
            retry_handlers=[],
            user_agent_prefix=_AGENT["User-Agent"],
        )
        self._carrier = carrier
        self._clock = clock

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        answer: Answer = await self._carrier.exchange(
            http_verb,
            api_url,
            headers=req_args["headers"],
            params=req_args.get("params"),
            json=req_args.get("json"),
        )
        return {"data": said(answer, self._clock()), "headers": answer.headers, "status_code": 200}


_AGENT: Final = {"User-Agent": f"reckon/{__version__}"}
_POSTING: Final = "chat:write"
_HISTORIES: Final = ("channels:history", "groups:history")
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=10)
# The name of a channel has no capitals, so whatever has them is an id.
CHANNEL_ID: Final = re.compile(r"[CGD][A-Z0-9]{2,}")
_TS: Final = re.compile(r"[0-9]{1,20}\.[0-9]{1,20}")


def _parent_of(delivery: Delivery) -> Receipt:
    if delivery.parent is None:
        # A mistake of ours, not of the world; but no message may end its sender.
        raise SinkError("there is no message to answer or to change", outcome=Outcome.REFUSED)
    return delivery.parent


def _receipt(answer: Any) -> Receipt:
    """Return where Slack put a message.

    Raises:
        SinkError: it did not say where, so it has to be looked for.
    """
    channel, ts = answer.get("channel"), answer.get("ts")
    if isinstance(channel, str) and isinstance(ts, str) and _TS.fullmatch(ts):
        return Receipt(place=channel, name=ts)
    raise SinkError("Slack did not say where it put the message", outcome=Outcome.AMBIGUOUS)


def _messages(page: Any) -> list[dict[str, Any]]:
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise SinkError("Slack's answer holds no messages", outcome=Outcome.AMBIGUOUS)
    return [message for message in messages if isinstance(message, dict)]


def _next_cursor(page: Any) -> str | None:
    told = page.get("response_metadata")
    cursor = told.get("next_cursor") if isinstance(told, dict) else None
    return cursor if isinstance(cursor, str) and cursor else None


def _id_in(message: dict[str, Any]) -> object:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT_TYPE:
        return None
    payload = metadata.get("event_payload")
    return payload.get("id") if isinstance(payload, dict) else None
