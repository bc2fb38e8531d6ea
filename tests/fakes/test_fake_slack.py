"""The fake Slack held against an outside oracle: Slack's own SDK is the client, over a socket."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

from reckon.fakes.slack import app
from reckon.fakes.slack_workspace import (
    A_LIST,
    BAD_GATEWAY,
    EVERYTHING,
    PAGE,
    WEBHOOK,
    Order,
    Workspace,
    late,
    lost,
    refused,
    throttled,
)
from tests.canary import CANARIES
from tests.serving import serve

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKEN = CANARIES["slack_bot_token"]
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}
ID = {"event_type": "reckon_message", "event_payload": {"id": "abc"}}


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def workspace(clock, canary):
    workspace = Workspace(clock)
    workspace.issue_token(TOKEN)
    canary.watch_requests(workspace.requests)
    return workspace


@pytest.fixture
def alerts(workspace):
    return workspace.make_channel("alerts", id="C0ALERTS")


@pytest.fixture
def url(workspace):
    with serve(app(workspace)) as url:
        yield url


@pytest.fixture
def sdk(url, alerts, monkeypatch):
    assert alerts
    for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return WebClient(TOKEN, base_url=f"{url}/api/", retry_handlers=[])


def refusal_of(call, **arguments):
    with pytest.raises(SlackApiError) as trouble:
        call(**arguments)
    return trouble.value.response["error"]


# --- Posting, editing, answering --------------------------------------------------------------------------------------


def test_a_post_is_answered_with_its_place_and_read_back(workspace, alerts, sdk):
    answer = sdk.chat_postMessage(channel="#alerts", text="hello", blocks=[SECTION], metadata=ID)

    [message] = workspace.messages(alerts)
    assert (answer["ok"], answer["channel"], answer["ts"]) == (True, "C0ALERTS", message.ts)
    assert answer["message"]["text"] == "hello"
    assert message.blocks == [SECTION]
    [told] = sdk.conversations_history(channel="C0ALERTS", include_all_metadata=True)["messages"]
    assert (told["ts"], told["text"], told["metadata"]) == (message.ts, "hello", ID)


def test_metadata_is_told_only_to_who_asks(sdk):
    sdk.chat_postMessage(channel="C0ALERTS", text="hello", metadata=ID)

    [told] = sdk.conversations_history(channel="C0ALERTS")["messages"]
    assert "metadata" not in told


def test_an_edit_changes_the_message_and_keeps_its_metadata(workspace, alerts, sdk):
    ts = sdk.chat_postMessage(channel="C0ALERTS", text="hello", metadata=ID)["ts"]

    answer = sdk.chat_update(channel="C0ALERTS", ts=ts, text="good-bye")

    [message] = workspace.messages(alerts)
    assert answer["ts"] == ts
    assert (message.text, message.before, message.metadata) == ("good-bye", [("hello", [])], ID)


def test_an_answer_stands_in_the_thread_and_not_in_the_history(sdk):
    ts = sdk.chat_postMessage(channel="C0ALERTS", text="hello")["ts"]
    reply = sdk.chat_postMessage(channel="C0ALERTS", text="and more", thread_ts=ts)["ts"]

    assert [told["ts"] for told in sdk.conversations_history(channel="C0ALERTS")["messages"]] == [ts]
    assert [told["ts"] for told in sdk.conversations_replies(channel="C0ALERTS", ts=ts)["messages"]] == [ts, reply]


def test_no_two_messages_have_the_same_ts_and_later_ones_have_later(sdk):
    stamps = [sdk.chat_postMessage(channel="C0ALERTS", text="hello")["ts"] for _ in range(3)]

    assert stamps == ["1795176000.000000", "1795176000.000001", "1795176000.000002"]


def test_arguments_may_come_as_a_form_as_json_or_in_the_query(url, workspace, alerts):
    bearer = {"authorization": f"Bearer {TOKEN}"}
    arguments = {"channel": "C0ALERTS", "text": "hello", "metadata": json.dumps(ID)}
    post = f"{url}/api/chat.postMessage"

    for request in ({"data": arguments}, {"json": {**arguments, "metadata": ID}}, {"params": arguments}):
        assert httpx.post(post, headers=bearer, **request).json()["ok"]

    assert [(message.text, message.metadata) for message in workspace.messages(alerts)] == [("hello", ID)] * 3
    assert httpx.post(post, headers=bearer, content=b"{", timeout=5).json()["error"] == "invalid_post_type"
    as_json = {**bearer, "content-type": "application/json"}
    assert httpx.post(post, headers=as_json, content=b"{").json()["error"] == "invalid_json"
    assert httpx.post(post, headers=as_json, content=b"[]").json()["error"] == "json_not_object"


def test_who_the_bot_is_and_what_it_may_do(sdk, workspace):
    answer = sdk.auth_test()

    assert (answer["team"], answer["user"], answer["user_id"]) == ("Invented Works", "reckon", workspace.bot_user_id)
    assert answer.headers["x-oauth-scopes"] == "channels:history,chat:write,groups:history"


# --- Histories --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oldest_page_first", [False, True])
def test_the_sdk_walks_a_long_history_page_by_page(workspace, alerts, sdk, clock, oldest_page_first):
    workspace.most_objects = 15
    workspace.oldest_page_first = oldest_page_first
    for number in range(40):
        clock.now += timedelta(seconds=1)
        workspace.say(alerts, str(number))

    pages = [
        [int(told["text"]) for told in page["messages"]]
        for page in sdk.conversations_history(channel="C0ALERTS", limit=200, oldest="1795176009.5")
    ]

    # Number 8 was said at :09, so it begins with number 9.
    newest_first = [list(range(39, 24, -1)), list(range(24, 9, -1)), [9]]
    oldest_first = [list(range(23, 8, -1)), list(range(38, 23, -1)), [39]]
    assert pages == (oldest_first if oldest_page_first else newest_first)


def test_a_span_leaves_its_edges_out_unless_told_otherwise(workspace, alerts, sdk, clock):
    for number in range(3):
        clock.now = NOW + timedelta(seconds=number)
        workspace.say(alerts, str(number))
    span = {"channel": "C0ALERTS", "oldest": "1795176000", "latest": "1795176002"}

    assert [told["text"] for told in sdk.conversations_history(**span)["messages"]] == ["1"]
    assert [told["text"] for told in sdk.conversations_history(**span, inclusive=True)["messages"]] == ["2", "1", "0"]


def test_histories_may_be_few_a_minute(workspace, sdk, clock):
    workspace.looks_a_minute = 1
    sdk.conversations_history(channel="C0ALERTS")

    with pytest.raises(SlackApiError) as trouble:
        sdk.conversations_history(channel="C0ALERTS")
    assert trouble.value.response.status_code == 429
    assert trouble.value.response.headers["Retry-After"] == "60"

    clock.now += timedelta(minutes=1)
    sdk.conversations_history(channel="C0ALERTS")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"cursor": "nonsense!"}, "invalid_cursor"),
        ({"cursor": "bm9uc2Vuc2U="}, "invalid_cursor"),
        ({"oldest": "yesterday"}, "invalid_ts_oldest"),
        ({"latest": "today"}, "invalid_ts_latest"),
        ({"channel": "alerts"}, "channel_not_found"),
        ({"channel": "C0NOWHERE"}, "channel_not_found"),
    ],
)
def test_a_wrong_question_is_refused(sdk, wrong, code):
    assert refusal_of(sdk.conversations_history, **{"channel": "C0ALERTS", **wrong}) == code


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"channel": "C0NOWHERE"}, "channel_not_found"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [SECTION] * 51}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [SECTION["text"]] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "🔴" * 76}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": ""}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": [SECTION["text"]] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "rich_text", "elements": []}]}, "invalid_blocks"),
        ({"blocks": [{"type": "invented"}]}, "invalid_blocks"),
        ({"blocks": "{}"}, "invalid_blocks_format"),
        ({"blocks": "{"}, "invalid_blocks_format"),
        ({"metadata": {"event_type": "x"}}, "invalid_metadata_format"),
        ({"metadata": {"event_type": 1, "event_payload": {}}}, "invalid_metadata_schema"),
        ({"metadata": {"event_type": "x", "event_payload": {"id": "x" * 17_000}}}, "metadata_too_large"),
        ({"thread_ts": "1.000000"}, "thread_not_found"),
    ],
)
@pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing:UserWarning")
@pytest.mark.filterwarnings("ignore:Additionally, the attachment-level:UserWarning")
def test_a_wrong_post_is_refused_and_nothing_is_said(workspace, sdk, wrong, code):
    assert refusal_of(sdk.chat_postMessage, **{"channel": "C0ALERTS", "text": "hello", **wrong}) == code
    assert workspace.messages() == ()


@pytest.mark.parametrize(
    "elements",
    [
        [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x", "style": {"bold": True}}]}],
        [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x"}]}],
        [{"type": "rich_text_section", "elements": [{"type": "user", "user_id": "U1"}]}],
    ],
)
def test_rich_text_is_taken(sdk, elements):
    assert sdk.chat_postMessage(channel="C0ALERTS", text="x", blocks=[{"type": "rich_text", "elements": elements}])[
        "ok"
    ]


@pytest.mark.parametrize(
    "run", [{"type": "text", "text": ""}, {"type": "text"}, {"type": "invented", "text": "x"}, "x"]
)
def test_rich_text_of_nothing_or_of_nothing_known_is_not(sdk, run):
    blocks = [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [run]}]}]

    assert refusal_of(sdk.chat_postMessage, channel="C0ALERTS", text="x", blocks=blocks) == "invalid_blocks"


def test_what_may_not_be_edited_stays_as_it_was(workspace, alerts, sdk):
    others = workspace.say(alerts, "by a person")
    gone = workspace.message(alerts, sdk.chat_postMessage(channel="C0ALERTS", text="hello")["ts"])
    workspace.delete(gone)
    long = sdk.chat_postMessage(channel="C0ALERTS", text="hello")["ts"]

    edit = sdk.chat_update
    assert refusal_of(edit, channel="C0ALERTS", ts=others.ts, text="mine") == "cant_update_message"
    assert refusal_of(edit, channel="C0ALERTS", ts=gone.ts, text="back") == "message_not_found"
    assert refusal_of(edit, channel="C0ALERTS", ts=long, text="x" * 4001) == "msg_too_long"
    assert refusal_of(edit, channel="alerts", ts=long, text="by name") == "channel_not_found"
    assert [message.text for message in workspace.messages(alerts)] == ["by a person", "hello"]


def test_a_token_is_good_for_its_scopes_and_no_longer(workspace, sdk, url):
    assert refusal_of(WebClient(None, base_url=f"{url}/api/").auth_test) == "not_authed"
    assert refusal_of(WebClient("xoxb-invented", base_url=f"{url}/api/").auth_test) == "invalid_auth"

    workspace.issue_token(TOKEN, frozenset({"chat:write"}))
    with pytest.raises(SlackApiError) as trouble:
        sdk.conversations_history(channel="C0ALERTS")
    assert trouble.value.response.data == {
        "ok": False,
        "error": "missing_scope",
        "needed": "channels:history",
        "provided": "chat:write",
    }
    workspace.revoke(TOKEN)
    assert refusal_of(sdk.chat_postMessage, channel="C0ALERTS", text="hello") == "invalid_auth"


def test_a_channel_may_be_archived_private_or_without_the_bot(workspace, alerts, sdk):
    private = workspace.make_channel("board", is_private=True)
    workspace.issue_token(TOKEN, frozenset({"chat:write", "channels:history"}))
    assert refusal_of(sdk.conversations_history, channel=private.id) == "missing_scope"

    workspace.put_out(private)
    assert refusal_of(sdk.chat_postMessage, channel=private.id, text="x") == "channel_not_found"
    workspace.put_out(alerts)
    assert refusal_of(sdk.chat_postMessage, channel=alerts.id, text="x") == "not_in_channel"
    assert refusal_of(sdk.conversations_history, channel=alerts.id) == "not_in_channel"
    archived = workspace.make_channel("old")
    workspace.archive(archived)
    assert refusal_of(sdk.chat_postMessage, channel=archived.id, text="x") == "is_archived"
    assert workspace.messages() == ()


def test_a_method_not_built_here_is_refused_by_name(sdk):
    assert refusal_of(sdk.users_list) == "unknown_method"


# --- Pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enforces", [False, True])
def test_a_second_message_within_a_second_is_kept_in_mind_and_refused_if_wanted(
    workspace, alerts, sdk, clock, enforces
):
    workspace.enforces_pace = enforces
    elsewhere = workspace.make_channel("elsewhere")
    sdk.chat_postMessage(channel=alerts.id, text="1")
    sdk.chat_postMessage(channel=elsewhere.id, text="1")
    clock.now += timedelta(seconds=0.9)

    if enforces:
        with pytest.raises(SlackApiError) as trouble:
            sdk.chat_postMessage(channel=alerts.id, text="2")
        assert trouble.value.response.status_code == 429
        assert trouble.value.response.headers["Retry-After"] == "1"
    else:
        sdk.chat_postMessage(channel=alerts.id, text="2")

    assert workspace.too_fast == [(alerts.id, timedelta(seconds=0.9))]
    assert len(workspace.messages(alerts)) == 1 + (not enforces)


def test_a_message_a_second_is_no_haste(workspace, sdk, clock):
    workspace.enforces_pace = True
    for _ in range(3):
        sdk.chat_postMessage(channel="C0ALERTS", text="x")
        clock.now += timedelta(seconds=1)

    assert workspace.too_fast == []


# --- Webhooks ---------------------------------------------------------------------------------------------------------


def test_a_webhook_posts_where_it_was_made_for(workspace, alerts, url):
    path = workspace.make_webhook(alerts)

    answer = WebhookClient(url + path, retry_handlers=[]).send(text="hello", blocks=[SECTION])

    assert (answer.status_code, answer.body) == (200, "ok")
    [message] = workspace.messages(alerts)
    assert (message.text, message.blocks, message.through) == ("hello", [SECTION], WEBHOOK)


def test_what_a_webhook_does_not_take_is_said_in_words(workspace, alerts, url):
    hook = url + workspace.make_webhook(alerts)

    def answer(to, content):
        response = httpx.post(to, content=content, headers={"content-type": "application/json"})
        return response.status_code, response.text

    assert answer(url + "/services/T/B/x", b'{"text":"x"}') == (404, "no_service")
    assert answer(hook, b"{") == (400, "invalid_payload")
    assert answer(hook, b"{}") == (400, "no_text")
    assert answer(hook, b'{"text":"x","blocks":[{"type":"invented"}]}') == (400, "invalid_blocks")
    workspace.archive(alerts)
    assert answer(hook, b'{"text":"x"}') == (410, "channel_is_archived")
    assert workspace.messages() == ()


def test_a_webhook_takes_a_form_too_and_keeps_the_pace(workspace, alerts, url):
    workspace.enforces_pace = True
    hook = url + workspace.make_webhook(alerts)

    first, second = (httpx.post(hook, data={"payload": '{"text":"x"}'}) for _ in range(2))

    assert first.text == "ok"
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert len(workspace.messages()) == 1


# --- Orders -----------------------------------------------------------------------------------------------------------


def test_an_order_is_followed_as_often_as_told_and_then_the_truth_is_said(workspace, sdk):
    workspace.answer_with("chat.postMessage", refused("fatal_error"), times=1)
    workspace.answer_with("chat.postMessage", throttled("soon"), times=1)

    assert refusal_of(sdk.chat_postMessage, channel="C0ALERTS", text="1") == "fatal_error"
    with pytest.raises(SlackApiError) as trouble:
        sdk.chat_postMessage(channel="C0ALERTS", text="2")
    assert trouble.value.response.headers["Retry-After"] == "soon"
    sdk.chat_postMessage(channel="C0ALERTS", text="3")

    assert [message.text for message in workspace.messages()] == ["3"]


def test_an_order_may_be_for_everything_and_forgotten(workspace, alerts, sdk, url):
    workspace.answer_with(EVERYTHING, Order(PAGE))
    hook = url + workspace.make_webhook(alerts)

    assert "<h1>" in httpx.post(hook, json={"text": "x"}).text
    with pytest.raises(SlackApiError):
        sdk.auth_test()
    workspace.answer_rightly()
    assert sdk.auth_test()["ok"]


@pytest.mark.parametrize("answer", [BAD_GATEWAY, A_LIST])
def test_a_lost_answer_was_carried_out(workspace, url, alerts, answer):
    workspace.answer_with("chat.postMessage", lost(answer), times=1)
    arguments = {"channel": alerts.id, "text": "hello"}

    response = httpx.post(f"{url}/api/chat.postMessage", data=arguments, headers={"authorization": f"Bearer {TOKEN}"})

    assert (response.status_code, response.content) == (answer.status, answer.body)
    assert len(workspace.messages()) == 1


def test_a_late_answer_comes_when_it_is_told_to(workspace, sdk):
    said = threading.Event()
    workspace.answer_with("auth.test", late(said), times=1)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(sdk.auth_test()))

    asking.start()
    deadline = time.monotonic() + 5
    while not workspace.requests and time.monotonic() < deadline:
        time.sleep(0.005)
    assert answers == []
    said.set()
    asking.join(5)

    assert answers[0]["ok"]
