"""Slack's Web API and incoming webhooks over a `Workspace`: what the documents say they answer, unless told otherwise.

Every request is recorded before it is answered. Arguments come as JSON, as a form or in the query, as with Slack; a
refusal is HTTP 200 with `"ok": false`, a limit is HTTP 429, a webhook answers in plain text.
"""

import asyncio
import json
import math
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from reckon.fakes.answers import JSON, Answer
from reckon.fakes.slack_blocks import what_is_wrong
from reckon.fakes.slack_workspace import TEXT, WEBHOOK, Channel, Message, Workspace
from reckon.fakes.world import Request

API: Final = "/api/"
_LONGEST_TEXT: Final = 40_000
_LONGEST_EDIT: Final = 4_000
_LONGEST_METADATA: Final = 16_384
_PATIENCE_SECONDS: Final = 30.0


def app(workspace: Workspace) -> Starlette:
    """Return the API as an ASGI app; *workspace* may be changed while it is served."""

    async def answer(http: HttpRequest) -> Response:
        request = Request(
            method=http.method,
            path=http.url.path,
            query=http.url.query,
            headers=tuple(http.headers.items()),
            body=await http.body(),
        )
        workspace.requests.append(request)
        is_method = request.path.startswith(API)
        order = workspace.next_order(request.path.removeprefix(API) if is_method else WEBHOOK)
        said = order.answer
        if said is None or order.carries_out:
            right = (_method if is_method else _webhook)(workspace, request)
            said = said or right
        if order.until is not None:
            # The event may be set from another thread and loop; a test that forgets it still ends.
            await asyncio.to_thread(order.until.wait, _PATIENCE_SECONDS)
        return Response(said.body, said.status, dict(said.headers))

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])])


# --- The Web API ------------------------------------------------------------------------------------------------------


class _Refusal(Exception):
    """`"ok": false`, with a code and whatever else the answer says."""

    def __init__(self, code: str, **more: object) -> None:
        super().__init__(code)
        self.code = code
        self.more = more


class _Limited(Exception):
    """HTTP 429."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class _Call:
    workspace: Workspace
    arguments: Mapping[str, Any]
    scopes: frozenset[str]


def _method(workspace: Workspace, request: Request) -> Answer:
    headers = dict(JSON)
    try:
        call = _admitted(workspace, request)
        headers["x-oauth-scopes"] = ",".join(sorted(call.scopes))
        document = {"ok": True, **_METHODS[request.path.removeprefix(API)](call)}
    except _Refusal as refusal:
        document = {"ok": False, "error": refusal.code, **refusal.more}
    except _Limited as limit:
        headers["retry-after"] = str(limit.retry_after_seconds)
        return Answer(b'{"ok":false,"error":"ratelimited"}', 429, headers)
    return Answer(json.dumps(document).encode(), 200, headers)


def _admitted(workspace: Workspace, request: Request) -> _Call:
    method = request.path.removeprefix(API)
    if method not in _METHODS:
        raise _Refusal("unknown_method", req_method=method)
    arguments = _arguments(request)
    secret = _bearer(request) or str(arguments.get("token", ""))
    if not secret:
        raise _Refusal("not_authed")
    scopes = workspace.scopes_of(secret)
    if scopes is None:
        raise _Refusal("invalid_auth")
    return _Call(workspace, arguments, scopes)


def _post_message(call: _Call) -> dict[str, Any]:
    _needs(call, "chat:write")
    channel = _open_channel(call)
    content = _content(call, _LONGEST_TEXT)
    thread_ts = call.arguments.get("thread_ts")
    if thread_ts is not None and call.workspace.message(channel, thread_ts) is None:
        raise _Refusal("thread_not_found")
    if not call.workspace.keeps_pace(channel):
        raise _Limited(1)
    message = call.workspace.say(
        channel,
        content.text,
        blocks=content.blocks,
        metadata=content.metadata,
        thread_ts=thread_ts,
        through="bot",
        arguments=dict(call.arguments),
    )
    return {"channel": channel.id, "ts": message.ts, "message": _shown(call.workspace, message, metadata=True)}


def _update(call: _Call) -> dict[str, Any]:
    _needs(call, "chat:write")
    channel = _open_channel(call)
    if channel.id != call.arguments.get("channel"):
        raise _Refusal("channel_not_found")
    message = call.workspace.message(channel, call.arguments.get("ts"))
    if message is None:
        raise _Refusal("message_not_found")
    if message.through != "bot":
        raise _Refusal("cant_update_message")
    content = _content(call, _LONGEST_EDIT)
    call.workspace.edit(message, content.text, content.blocks, content.metadata)
    shown = _shown(call.workspace, message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown}


def _history(call: _Call) -> dict[str, Any]:
    channel = _readable_channel(call)
    found = [message for message in call.workspace.messages(channel) if message.thread_ts is None]
    newest_first = sorted(_within(call, found), key=_age, reverse=True)
    if call.workspace.oldest_page_first and "oldest" in call.arguments and "latest" not in call.arguments:
        return _page(call, newest_first[::-1], newest_first=True) | {"pin_count": 0}
    return _page(call, newest_first) | {"pin_count": 0}


def _replies(call: _Call) -> dict[str, Any]:
    channel = _readable_channel(call)
    parent = call.workspace.message(channel, call.arguments.get("ts"))
    if parent is None:
        raise _Refusal("thread_not_found")
    answers = [message for message in call.workspace.messages(channel) if message.thread_ts == parent.ts]
    return _page(call, [parent, *sorted(_within(call, answers), key=_age)])


def _auth_test(call: _Call) -> dict[str, Any]:
    workspace = call.workspace
    return {
        "url": "https://invented.slack.test/",
        "team": workspace.name,
        "user": workspace.bot_user,
        "team_id": workspace.team_id,
        "user_id": workspace.bot_user_id,
        "bot_id": workspace.bot_id,
        "is_enterprise_install": False,
    }


_METHODS: Final[Mapping[str, Callable[[_Call], dict[str, Any]]]] = MappingProxyType(
    {
        "auth.test": _auth_test,
        "chat.postMessage": _post_message,
        "chat.update": _update,
        "conversations.history": _history,
        "conversations.replies": _replies,
    }
)


# --- What a call may do -----------------------------------------------------------------------------------------------


def _needs(call: _Call, scope: str) -> None:
    if scope not in call.scopes:
        raise _Refusal("missing_scope", needed=scope, provided=",".join(sorted(call.scopes)))


def _open_channel(call: _Call) -> Channel:
    channel = call.workspace.channel(call.arguments.get("channel"))
    if channel is None or (channel.is_private and call.workspace.is_outside(channel)):
        raise _Refusal("channel_not_found")
    if call.workspace.is_outside(channel):
        raise _Refusal("not_in_channel")
    if call.workspace.is_archived(channel):
        raise _Refusal("is_archived")
    return channel


def _readable_channel(call: _Call) -> Channel:
    name = call.arguments.get("channel")
    channel = call.workspace.channel(name)
    if channel is None or channel.id != name:
        raise _Refusal("channel_not_found")
    _needs(call, "groups:history" if channel.is_private else "channels:history")
    if call.workspace.is_outside(channel):
        raise _Refusal("not_in_channel")
    if not call.workspace.may_look():
        raise _Limited(60)
    return channel


# --- Content ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Content:
    text: str
    blocks: list[Any]
    metadata: dict[str, Any] | None


def _content(call: _Call, longest_text: int) -> _Content:
    text = call.arguments.get("text") or ""
    blocks = _from_json(call.arguments.get("blocks", []), "invalid_blocks_format")
    metadata = _from_json(call.arguments.get("metadata"), "invalid_metadata_format")
    if not isinstance(text, str) or not (text or blocks):
        raise _Refusal("no_text")
    if len(text) > longest_text:
        raise _Refusal("msg_too_long")
    if wrong := what_is_wrong(blocks):
        raise _Refusal(wrong)
    if metadata is not None:
        _check_metadata(metadata)
    return _Content(text, blocks, metadata)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or (metadata and set(metadata) != {"event_type", "event_payload"}):
        raise _Refusal("invalid_metadata_format")
    if metadata and not (isinstance(metadata["event_type"], str) and isinstance(metadata["event_payload"], dict)):
        raise _Refusal("invalid_metadata_schema")
    if len(json.dumps(metadata)) > _LONGEST_METADATA:
        raise _Refusal("metadata_too_large")


def _shown(workspace: Workspace, message: Message, *, metadata: bool) -> dict[str, Any]:
    """Return *message* as the API tells it: its text as Slack keeps it, which is as it came."""
    shown: dict[str, Any] = {"type": "message", "text": message.text, "ts": message.ts}
    if message.through in {"bot", WEBHOOK}:
        shown |= {"user": workspace.bot_user_id, "bot_id": workspace.bot_id, "team": workspace.team_id}
    else:
        shown |= {"user": "U0SOMEBODY", "team": workspace.team_id}
    if message.blocks:
        shown["blocks"] = message.blocks
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    if message.before:
        shown["edited"] = {"user": workspace.bot_user_id, "ts": message.ts}
    if metadata and message.metadata:
        shown["metadata"] = message.metadata
    return shown


# --- Pages ------------------------------------------------------------------------------------------------------------


def _within(call: _Call, messages: list[Message]) -> list[Message]:
    oldest, latest = _number(call, "oldest", 0), _number(call, "latest", math.inf)
    if _is_true(call.arguments.get("inclusive")):
        return [message for message in messages if oldest <= _age(message) <= latest]
    return [message for message in messages if oldest < _age(message) < latest]


def _number(call: _Call, name: str, usual: float) -> float:
    try:
        return float(call.arguments.get(name, usual))
    except (TypeError, ValueError):
        raise _Refusal("invalid_limit" if name == "limit" else f"invalid_ts_{name}") from None


def _page(call: _Call, messages: list[Message], *, newest_first: bool = False) -> dict[str, Any]:
    """Return as many of *messages* as one answer holds, and the cursor of the others."""
    most = min(int(_number(call, "limit", 100)), call.workspace.most_objects)
    begin = _place(call.arguments.get("cursor"))
    page = messages[begin : begin + most]
    more = begin + most < len(messages)
    metadata = _is_true(call.arguments.get("include_all_metadata"))
    answer: dict[str, Any] = {
        "messages": [
            _shown(call.workspace, message, metadata=metadata) for message in (page[::-1] if newest_first else page)
        ],
        "has_more": more,
    }
    if more:
        answer["response_metadata"] = {"next_cursor": b64encode(f"next:{begin + most}".encode()).decode()}
    return answer


def _place(cursor: object) -> int:
    if not cursor:
        return 0
    try:
        kind, _, place = b64decode(str(cursor), validate=True).decode().partition(":")
    except (NotBase64, UnicodeDecodeError):
        raise _Refusal("invalid_cursor") from None
    if kind != "next" or not place.isdecimal():
        raise _Refusal("invalid_cursor")
    return int(place)


def _age(message: Message) -> float:
    return float(message.ts)


# --- Requests ---------------------------------------------------------------------------------------------------------


def _arguments(request: Request) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(parse_qsl(request.query))
    kind = dict(request.headers).get("content-type", "").partition(";")[0].strip().lower()
    if not request.body:
        return arguments
    if kind == "application/json":
        document = _from_json(request.body.decode("utf-8", "replace"), "invalid_json")
        if not isinstance(document, dict):
            raise _Refusal("json_not_object")
        return arguments | document
    if kind == "application/x-www-form-urlencoded":
        return arguments | dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    raise _Refusal("invalid_post_type")


def _bearer(request: Request) -> str:
    scheme, _, secret = dict(request.headers).get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _from_json(value: Any, otherwise: str) -> Any:
    """Return what *value* is, read as JSON if it is text, as in a form."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise _Refusal(otherwise) from None


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in {"1", "true"}


# --- Incoming webhooks ------------------------------------------------------------------------------------------------

_STATUS: Final = {"no_service": 404, "channel_is_archived": 410, "action_prohibited": 403}


def _webhook(workspace: Workspace, request: Request) -> Answer:
    try:
        _take(workspace, request)
    except _Refusal as refusal:
        return Answer(refusal.code.encode(), _STATUS.get(refusal.code, 400), TEXT)
    except _Limited as limit:
        return Answer(b"rate_limited", 429, {**TEXT, "retry-after": str(limit.retry_after_seconds)})
    return Answer(b"ok", 200, TEXT)


def _take(workspace: Workspace, request: Request) -> None:
    channel = workspace.behind_webhook(request.path)
    if channel is None or request.method != "POST":
        raise _Refusal("no_service")
    try:
        arguments = _arguments(request)
    except _Refusal:
        raise _Refusal("invalid_payload") from None
    if "payload" in arguments:
        arguments = _from_json(arguments["payload"], "invalid_payload")
    if not isinstance(arguments, dict):
        raise _Refusal("invalid_payload")
    if workspace.is_archived(channel):
        raise _Refusal("channel_is_archived")
    content = _content(_Call(workspace, arguments, frozenset()), _LONGEST_TEXT)
    if not workspace.keeps_pace(channel):
        raise _Limited(1)
    workspace.say(channel, content.text, blocks=content.blocks, through=WEBHOOK, arguments=arguments)
