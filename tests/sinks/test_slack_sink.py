"""The bot and the webhook against a fake workspace, over a socket."""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from reckon.core.messages import Message
from reckon.core.outbox import Manner, Outcome, Receipt
from reckon.errors import SinkError
from reckon.fakes.slack_workspace import A_LIST, BAD_GATEWAY, PAGE, Order, late, lost, refused, throttled
from reckon.sinks.slack.sink import EVENT_TYPE, SlackCheck, stable_id
from tests.sinks.saying import ALERT, DIGEST, INTENT, NOW, RESOLVED, TOKEN, Town, bot, delivery, webhook

UNCERTAIN = {"may_have_been_said": True, "attempts": 2}


@pytest.fixture
def town():
    return Town()


@pytest.fixture
def url(town):
    with town.served() as url:
        yield url


def through_a_bot(url, work, **settings):
    async def asking():
        async with bot(url, **settings) as sink:
            return await work(sink)

    return asyncio.run(asking())


def deliver(url, what=None, **settings):
    return through_a_bot(url, lambda sink: sink.deliver(what or delivery()), **settings)


def find(url, what, **settings):
    return through_a_bot(url, lambda sink: sink.find(what), **settings)


def said_lines(message):
    return json.dumps(message.blocks, ensure_ascii=False)


# --- Posting ----------------------------------------------------------------------------------------------------------


def test_a_post_stands_in_the_channel_with_its_id_and_is_returned_with_its_place(town, url):
    receipt = deliver(url)

    [message] = town.messages
    assert receipt == Receipt("C0ALERTS", message.ts)
    assert message.text == ALERT.headline
    assert message.metadata == {"event_type": EVENT_TYPE, "event_payload": {"id": stable_id(INTENT)}}
    assert message.arguments["parse"] == "none"
    assert message.arguments["unfurl_links"] is False
    assert message.arguments["unfurl_media"] is False
    assert "link_names" not in message.arguments


def test_the_id_is_always_the_same_for_an_intent_and_holds_no_name():
    assert stable_id(INTENT) == stable_id(INTENT)
    assert stable_id(INTENT) != stable_id(INTENT + "!")
    assert "dana" not in stable_id(INTENT)
    assert len(stable_id("x" * 100_000)) == 32


def test_a_delivery_that_names_a_place_goes_there(town, url):
    team = town.workspace.make_channel("team-platform")

    receipt = deliver(url, delivery(to=team.id))

    assert receipt.place == team.id
    assert len(town.workspace.messages(team)) == 1
    assert town.messages == ()


def test_a_channel_may_be_told_by_name_and_is_receipted_by_id(town, url):
    receipt = deliver(url, channel="#alerts")

    assert receipt.place == "C0ALERTS"
    assert len(town.messages) == 1


def test_an_edit_stands_in_the_place_of_the_message_and_keeps_its_id(town, url):
    receipt = deliver(url)
    grown = replace(ALERT, headline="dana spent $96.00 today - usually $3.10 a day")

    edited = deliver(url, delivery(grown, manner=Manner.EDIT, intent="other", parent=receipt))

    [message] = town.messages
    assert edited == receipt
    assert message.text == grown.headline
    assert message.metadata["event_payload"] == {"id": stable_id(INTENT)}
    assert find(url, delivery(**UNCERTAIN)) == receipt


def test_a_reply_stands_in_the_thread(town, url):
    receipt = deliver(url)

    deliver(url, delivery(RESOLVED, manner=Manner.REPLY, intent="resolved", parent=receipt))

    _, reply = town.messages
    assert reply.thread_ts == receipt.name
    assert reply.text == RESOLVED.headline


def test_edits_and_replies_go_to_the_place_of_their_parent_even_if_the_channel_was_named(town, url):
    receipt = deliver(url, channel="alerts")

    deliver(url, delivery(manner=Manner.EDIT, parent=receipt), channel="alerts")
    deliver(url, delivery(RESOLVED, manner=Manner.REPLY, parent=receipt, to="alerts"), channel="alerts")

    assert [message.text for message in town.messages] == [ALERT.headline, RESOLVED.headline]


def test_a_webhook_posts_and_says_nothing_of_places(town, url):
    async def post():
        async with webhook(url) as sink:
            return await sink.deliver(delivery(DIGEST, to="C0ELSEWHERE"))

    receipt = asyncio.run(post())

    [message] = town.messages
    assert message.text == DIGEST.headline
    assert message.arguments["unfurl_links"] is False
    assert "link_names" not in message.arguments
    assert receipt.place == "webhook"


# --- After a lost answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [BAD_GATEWAY, A_LIST])
def test_a_post_whose_answer_was_lost_is_found_where_it_stands(town, url, answer):
    town.workspace.answer_with("chat.postMessage", lost(answer), times=1)

    with pytest.raises(SinkError) as trouble:
        deliver(url)

    assert trouble.value.outcome is Outcome.AMBIGUOUS
    [message] = town.messages
    assert find(url, delivery(**UNCERTAIN)) == Receipt("C0ALERTS", message.ts)


def test_a_reply_whose_answer_was_lost_is_found_in_its_thread(town, url):
    receipt = deliver(url)
    reply = delivery(RESOLVED, manner=Manner.REPLY, intent="resolved", parent=receipt)
    town.workspace.answer_with("chat.postMessage", lost(BAD_GATEWAY), times=1)

    with pytest.raises(SinkError):
        deliver(url, reply)

    _, answered = town.messages
    assert find(url, replace(reply, **UNCERTAIN)) == Receipt("C0ALERTS", answered.ts)


def test_what_was_never_said_is_not_found(town, url):
    town.workspace.say(
        town.alerts, "hello", metadata={"event_type": "lunch", "event_payload": {"id": stable_id(INTENT)}}
    )
    deliver(url, delivery(intent="another"))

    assert find(url, delivery(**UNCERTAIN)) is None


def test_a_reply_is_not_found_for_a_post_of_the_same_name(url):
    receipt = deliver(url, delivery(intent="parent"))
    deliver(url, delivery(manner=Manner.REPLY, parent=receipt))

    assert find(url, delivery(**UNCERTAIN)) is None


def test_an_edit_is_never_looked_for(town, url):
    assert find(url, delivery(manner=Manner.EDIT, parent=Receipt("C0ALERTS", "1.000000"), **UNCERTAIN)) is None
    assert town.methods_asked == []


def test_a_message_is_found_though_slacks_clock_is_some_minutes_behind(town, url):
    town.clock.advance(minutes=-9)
    receipt = deliver(url)

    assert find(url, delivery(**UNCERTAIN)) == receipt


@pytest.mark.parametrize("oldest_page_first", [False, True])
@pytest.mark.parametrize("chatter", [0, 14, 15, 16, 44])
def test_a_message_is_found_among_the_chatter_after_it(town, url, chatter, oldest_page_first):
    town.workspace.oldest_page_first = oldest_page_first
    town.workspace.most_objects = 15
    town.workspace.say(town.alerts, "long ago")
    town.clock.advance(hours=1)
    receipt = deliver(url)
    for number in range(chatter):
        town.clock.advance(seconds=1)
        town.workspace.say(town.alerts, f"chatter {number}")

    asked_before = len(town.methods_asked)
    found = find(url, delivery(created_at=NOW + timedelta(hours=1), **UNCERTAIN))

    assert found == receipt
    pages = 1 if oldest_page_first else chatter // 15 + 1
    assert len(town.methods_asked) - asked_before == pages


def test_a_look_that_has_to_wait_goes_on_where_it_stopped(town, url):
    town.workspace.most_objects = 15
    town.workspace.looks_a_minute = 1
    receipt = deliver(url)
    for number in range(40):
        town.workspace.say(town.alerts, f"chatter {number}")

    async def look_until_found(sink):
        waits = []
        while True:
            try:
                return await sink.find(delivery(**UNCERTAIN)), waits
            except SinkError as trouble:
                waits.append((trouble.outcome, trouble.retry_after_seconds))
                town.clock.advance(seconds=trouble.retry_after_seconds)

    found, waits = through_a_bot(url, look_until_found)

    assert found == receipt
    assert waits == [(Outcome.AMBIGUOUS, 60)] * 2


def test_a_look_whose_page_is_gone_begins_again(town, url):
    town.workspace.most_objects = 15
    receipt = deliver(url)
    for number in range(20):
        town.workspace.say(town.alerts, f"chatter {number}")

    async def look(sink):
        town.workspace.looks_a_minute = 1
        with pytest.raises(SinkError):
            await sink.find(delivery(**UNCERTAIN))
        town.workspace.looks_a_minute = None
        town.workspace.answer_with("conversations.history", refused("invalid_cursor"), times=1)
        with pytest.raises(SinkError) as trouble:
            await sink.find(delivery(**UNCERTAIN))
        assert trouble.value.outcome is Outcome.AMBIGUOUS
        assert sink.can_look
        return await sink.find(delivery(**UNCERTAIN))

    assert through_a_bot(url, look) == receipt
    assert "cursor" not in town.workspace.requests[-2].query


# --- Where nobody can look --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channel", "can_look"), [("C0ALERTS", True), ("#alerts", False), ("alerts", False)])
def test_only_a_channel_told_by_id_can_be_looked_into(url, channel, can_look):
    async def ask(sink):
        return sink.can_look

    assert through_a_bot(url, ask, channel=channel) is can_look


def test_a_missing_scope_ends_looking_and_the_next_attempt_carries_the_mark(town, url):
    town.workspace.issue_token(TOKEN, frozenset({"chat:write"}))

    async def try_twice(sink):
        assert sink.can_look
        with pytest.raises(SinkError) as trouble:
            await sink.find(delivery(**UNCERTAIN))
        assert trouble.value.outcome is Outcome.AMBIGUOUS
        assert "missing_scope" in str(trouble.value)
        assert not sink.can_look
        assert await sink.find(delivery(**UNCERTAIN)) is None
        return await sink.deliver(delivery(**UNCERTAIN))

    through_a_bot(url, try_twice)

    [message] = town.messages
    assert "(may repeat)" in said_lines(message)
    assert town.methods_asked == ["conversations.history", "chat.postMessage"]


def test_a_channel_the_bot_is_not_in_is_given_up_alone(town, url):
    other = town.workspace.make_channel("other")
    town.workspace.put_out(other)

    async def look(sink):
        with pytest.raises(SinkError):
            await sink.find(delivery(to=other.id, **UNCERTAIN))
        assert await sink.find(delivery(to=other.id, **UNCERTAIN)) is None
        return sink.can_look

    assert through_a_bot(url, look) is True


def test_a_refusal_nobody_knows_does_not_stop_a_message_for_ever(town, url):
    town.workspace.answer_with("conversations.history", refused("history_on_strike"))

    async def look(sink):
        for attempt in (2, 5):
            with pytest.raises(SinkError):
                await sink.find(delivery(may_have_been_said=True, attempts=attempt))
            assert sink.can_look
        with pytest.raises(SinkError):
            await sink.find(delivery(may_have_been_said=True, attempts=6))
        return sink.can_look

    assert through_a_bot(url, look) is False


def test_a_page_in_the_way_of_a_look_never_ends_looking(town, url):
    town.workspace.answer_with("conversations.history", Order(PAGE), times=1)
    receipt = deliver(url)

    async def look(sink):
        with pytest.raises(SinkError):
            await sink.find(delivery(may_have_been_said=True, attempts=100))
        return await sink.find(delivery(may_have_been_said=True, attempts=101))

    assert through_a_bot(url, look) == receipt


def test_a_team_channel_told_by_name_gets_the_mark_though_others_can_be_looked_into(town, url):
    team = town.workspace.make_channel("team-platform")

    async def try_again(sink):
        uncertain = delivery(to="team-platform", **UNCERTAIN)
        assert sink.can_look
        assert await sink.find(uncertain) is None
        await sink.deliver(uncertain)

    through_a_bot(url, try_again)

    assert "(may repeat)" in said_lines(town.workspace.messages(team)[0])


def test_what_can_be_looked_for_carries_no_mark(town, url):
    deliver(url, delivery(**UNCERTAIN))

    assert "may repeat" not in said_lines(town.messages[0])


def test_an_edit_carries_no_mark_even_where_nobody_can_look(town, url):
    receipt = deliver(url)
    town.workspace.issue_token(TOKEN, frozenset({"chat:write"}))

    async def lose_sight_and_edit(sink):
        with pytest.raises(SinkError):
            await sink.find(delivery(**UNCERTAIN))
        await sink.deliver(delivery(manner=Manner.EDIT, parent=receipt, **UNCERTAIN))
        return sink.can_look

    assert through_a_bot(url, lose_sight_and_edit) is False
    [message] = town.messages
    assert message.before
    assert "may repeat" not in said_lines(message)


def test_a_webhook_marks_what_it_may_have_said(town, url):
    async def post():
        async with webhook(url) as sink:
            assert not sink.can_look
            assert await sink.find(delivery(**UNCERTAIN)) is None
            await sink.deliver(delivery())
            await sink.deliver(delivery(**UNCERTAIN))

    asyncio.run(post())

    first, second = map(said_lines, town.messages)
    assert "may repeat" not in first
    assert "(may repeat)" in second


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_a_revoked_token_is_refused_and_nothing_is_said(town, url):
    town.workspace.revoke(TOKEN)

    with pytest.raises(SinkError) as trouble:
        deliver(url)

    assert trouble.value.outcome is Outcome.REFUSED
    assert "slack.bot_token" in str(trouble.value)
    assert town.messages == ()


def test_an_archived_channel_is_refused_by_both_sinks(town, url):
    town.workspace.archive(town.alerts)

    async def try_both():
        async with bot(url) as first, webhook(url) as second:
            for sink in (first, second):
                with pytest.raises(SinkError) as trouble:
                    await sink.deliver(delivery())
                assert trouble.value.outcome is Outcome.REFUSED
                assert "archived" in str(trouble.value)

    asyncio.run(try_both())
    assert town.messages == ()


def test_an_edit_of_a_deleted_message_is_unneeded_and_posts_nothing(town, url):
    receipt = deliver(url)
    town.workspace.delete(town.messages[0])

    with pytest.raises(SinkError) as trouble:
        deliver(url, delivery(manner=Manner.EDIT, parent=receipt))

    assert trouble.value.outcome is Outcome.UNNEEDED
    assert "deleted" in str(trouble.value)
    assert town.messages == ()


def test_a_limit_is_told_with_its_wait_and_nothing_is_said(town, url):
    town.workspace.answer_with("chat.postMessage", throttled("42"), times=1)

    with pytest.raises(SinkError) as trouble:
        deliver(url)

    assert (trouble.value.outcome, trouble.value.retry_after_seconds) == (Outcome.NOT_DELIVERED, 42)
    assert len(town.methods_asked) == 1
    assert town.messages == ()


def test_a_code_nobody_knows_is_tried_again_and_refused_at_last(town, url):
    town.workspace.answer_with("chat.postMessage", refused("mercury_in_retrograde"))

    def outcome(attempts):
        with pytest.raises(SinkError) as trouble:
            deliver(url, delivery(attempts=attempts))
        assert "mercury_in_retrograde" in str(trouble.value)
        return trouble.value.outcome

    assert [outcome(attempts) for attempts in (1, 5, 6)] == [
        Outcome.NOT_DELIVERED,
        Outcome.NOT_DELIVERED,
        Outcome.REFUSED,
    ]


def test_an_answer_that_comes_late_but_in_time_is_an_answer(town, url):
    said = threading.Event()
    town.workspace.answer_with("chat.postMessage", late(said), times=1)

    async def deliver_slowly(sink):
        posting = asyncio.create_task(sink.deliver(delivery()))
        async with asyncio.timeout(10):
            while not town.messages:  # noqa: ASYNC110 - it arrives in another thread
                await asyncio.sleep(0.005)
        assert not posting.done()
        said.set()
        return await posting

    assert through_a_bot(url, deliver_slowly).name == town.messages[0].ts


# --- Checking ---------------------------------------------------------------------------------------------------------


def test_a_check_tells_who_the_token_is_and_what_it_may_do(url):
    assert through_a_bot(url, lambda sink: sink.check()) == SlackCheck(
        team="Invented Works",
        bot_user="reckon",
        bot_user_id="U0RECKONBOT",
        scopes=frozenset({"chat:write", "channels:history", "groups:history"}),
    )


@pytest.mark.parametrize(
    ("scopes", "missing"),
    [
        ({"chat:write", "channels:history"}, ()),
        ({"chat:write", "groups:history"}, ()),
        ({"chat:write"}, ("channels:history", "groups:history")),
        ({"groups:history"}, ("chat:write",)),
        (set(), ("chat:write", "channels:history", "groups:history")),
    ],
)
def test_a_check_names_the_scopes_that_are_missing(town, url, scopes, missing):
    town.workspace.issue_token(TOKEN, frozenset(scopes))

    assert through_a_bot(url, lambda sink: sink.check()).missing_scopes == missing


def test_a_check_of_a_bad_token_is_refused(url, town):
    town.workspace.revoke(TOKEN)

    with pytest.raises(SinkError) as trouble:
        through_a_bot(url, lambda sink: sink.check())

    assert trouble.value.outcome is Outcome.REFUSED


# --- Importing --------------------------------------------------------------------------------------------------------


def test_who_does_not_use_slack_does_not_import_its_libraries():
    program = "import sys, reckon.sinks.console, reckon.sinks.slack.blocks; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "reckon.sinks.console" in loaded
    assert {"slack_sdk", "aiohttp", "pydantic"} & set(loaded) == set()


def test_an_empty_message_can_still_be_said(town, url):
    deliver(url, delivery(Message(headline="\u200b")))

    assert town.messages[0].text == "(no text)"
