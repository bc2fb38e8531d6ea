"""What holds for every sink: the console, a bot of Slack and an incoming webhook."""

import asyncio
import io
import json
from contextlib import asynccontextmanager

import pytest

from reckon.core.messages import Fact, Message
from reckon.core.outbox import Receipt
from reckon.ports import Sink
from reckon.sinks.console import ConsoleSink
from tests.sinks.saying import ALERT, DIGEST, RESOLVED, Town, bot, delivery, webhook


class Through:
    """One kind of sink, and a way to read all that came out of it."""

    def __init__(self, kind, town, url):
        self.kind, self.town, self.url, self.stream = kind, town, url, io.StringIO()

    @asynccontextmanager
    async def opened(self):
        if self.kind == "console":
            sink = ConsoleSink(self.stream)
            yield sink
            await sink.close()
        else:
            async with {"bot": bot, "webhook": webhook}[self.kind](self.url) as sink:
                yield sink

    def use(self, work):
        async def using():
            async with self.opened() as sink:
                return await work(sink)

        return asyncio.run(using())

    @property
    def said(self):
        posted = [json.dumps([said.text, said.blocks], ensure_ascii=False) for said in self.town.messages]
        return "\n".join([" ".join(self.stream.getvalue().split()), *posted])


@pytest.fixture(params=["console", "bot", "webhook"])
def through(request):
    town = Town()
    with town.served() as url:
        yield Through(request.param, town, url)


def test_it_has_what_a_sink_has(through):
    async def look_at(sink: Sink):
        assert sink.name
        assert isinstance(sink.has_threads, bool)
        assert isinstance(sink.has_pace, bool)
        assert isinstance(sink.can_look, bool)
        assert sink.has_threads or not sink.can_look

    through.use(look_at)


def test_it_knows_the_messages_it_can_change_and_nobody_else_s(through):
    async def look_at(sink: Sink):
        assert sink.knows(await sink.deliver(delivery())) is sink.has_threads
        assert not sink.knows(Receipt("console", "1"))
        assert not sink.knows(Receipt("webhook", "1"))

    through.use(look_at)


@pytest.mark.parametrize("message", [ALERT, DIGEST, RESOLVED])
def test_everything_in_a_message_is_said_once_and_receipted(through, message):
    receipt = through.use(lambda sink: sink.deliver(delivery(message)))

    assert isinstance(receipt, Receipt)
    assert receipt.place
    assert receipt.name
    words = [message.headline, *message.notes]
    words += [word for fact in message.facts for word in (fact.label, fact.text[:40])]
    words += [cell for row in message.table.rows for cell in row] if message.table else []
    assert [word for word in words if word not in through.said] == []


def test_what_was_never_said_is_not_found(through):
    uncertain = delivery(may_have_been_said=True, attempts=2)

    assert through.use(lambda sink: sink.find(uncertain)) is None
    assert ALERT.headline not in through.said


def test_two_deliveries_are_two_messages_in_their_order(through):
    async def deliver_both(sink):
        first = await sink.deliver(delivery(ALERT))
        second = await sink.deliver(delivery(RESOLVED, id=18, intent="alert:sigma:dana:2026-11-20:resolved"))
        return first, second

    first, second = through.use(deliver_both)

    assert first.name != second.name
    assert 0 <= through.said.index(ALERT.headline) < through.said.index(RESOLVED.headline)


def test_it_can_be_closed_unused_and_twice(through):
    async def close(sink):
        await sink.close()

    through.use(close)
    assert through.said == ""


@pytest.mark.parametrize("may_have_been_said", [False, True])
def test_what_may_have_been_said_says_so_where_nobody_can_look(through, may_have_been_said):
    through.use(lambda sink: sink.deliver(delivery(may_have_been_said=may_have_been_said, attempts=2)))

    blind = through.kind != "bot"
    assert ("(may repeat)" in through.said) == (may_have_been_said and blind)


def test_a_name_from_outside_steers_no_reader(through):
    name = "\x1b[2J\u202e<!channel> <https://evil.test|openrouter>\r\x07```\x9b31m"
    message = Message(headline=f"{name} spent", facts=(Fact(name, name),), notes=(name,))

    through.use(lambda sink: sink.deliver(delivery(message)))

    assert "channel" in through.said
    assert [sign for sign in "\x1b\u202e\r\x07\x9b" if sign in through.said] == []
