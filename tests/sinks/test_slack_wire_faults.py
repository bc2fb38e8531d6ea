"""What goes wrong below HTTP, over real sockets: an answer is lost, and the message perhaps said."""

import asyncio
import logging
import ssl
import time
import traceback
import warnings

import pytest
import trustme

from reckon.core.outbox import Outcome
from reckon.errors import SinkError
from tests.canary import CANARIES, DYE
from tests.sinks.saying import INTENT, TOKEN, Town, bot, delivery, webhook
from tests.wire_faults import (
    MEBIBYTE,
    bomb,
    carried_out,
    chunks_cut_short,
    cut_short,
    drip,
    endless,
    endless_headers,
    gzipped,
    hang_up,
    in_turn,
    not_http,
    packed,
    redirect,
    refused_port,
    reset_at_once,
    reset_mid_body,
    serve,
    silence,
    unanswered_port,
    whole,
)

OK = b'{"ok":true,"channel":"C0ALERTS","ts":"1795140360.000100"}'
SHORT_SECONDS = 0.4


@pytest.fixture(params=[bot, webhook])
def opened(request):
    return request.param


def fail_to_deliver(opened, script=None, *, url=None, timeout_seconds=5.0, tls=None):
    """Return the error of one delivery, and what arrived."""

    async def failing():
        async with (
            serve(otherwise=script, tls=tls) as server,
            opened(url or server.url, timeout_seconds=timeout_seconds) as sink,
        ):
            with pytest.raises(SinkError) as trouble:
                await sink.deliver(delivery())
            return trouble.value, server.arrived

    return asyncio.run(failing())


PERHAPS_SAID = {
    "hang up": hang_up,
    "reset": reset_at_once,
    "reset in the body": reset_mid_body(OK),
    "cut short": cut_short(OK),
    "chunks cut short": chunks_cut_short(OK),
    "not HTTP": not_http,
    "endless body": endless,
    "endless headers": endless_headers,
    "gzip bomb": gzipped(bomb(64)),
    "500": whole(b"", "500 Internal Server Error"),
    "502 in HTML": whole(b"<html>Bad gateway</html>", "502 Bad Gateway", content_type="text/html"),
    "503": whole(b'{"ok":false,"error":"service_unavailable"}', "503 Service Unavailable"),
    "200 in HTML": whole(b"<html>Log in to the guest network</html>", content_type="text/html"),
    "200 with a list": whole(b"[]"),
    "200 with a number": whole(b"1"),
    "200 with null": whole(b"null"),
    "200 with text": whole(b"fine", content_type="text/plain"),
    "200 without ok": whole(b'{"channel":"C0ALERTS","ts":"1.000000"}'),
    "200 with another ok": whole(b'{"ok":"true","channel":"C0ALERTS","ts":"1.000000"}'),
    "200 packed though nobody asked": gzipped(packed(OK)),
    "200 cut short": whole(b'{"ok":true,"chan'),
    "200 not UTF-8": whole(b'\xff\xfe{"ok"'),
    "200 very deep": whole(b"[" * 200_000),
    "200 with nothing": whole(b""),
    "204": whole(b"", "204 No Content"),
}


@pytest.mark.parametrize("script", PERHAPS_SAID.values(), ids=PERHAPS_SAID)
def test_a_lost_or_foreign_answer_is_ambiguous_and_asked_for_once(opened, script):
    trouble, arrived = fail_to_deliver(opened, script)

    assert trouble.outcome is Outcome.AMBIGUOUS
    assert len(arrived) == 1


@pytest.mark.parametrize(
    "script", [silence, drip(OK, every_seconds=0.2), drip(OK, every_seconds=0.2, from_the_start=True)]
)
def test_a_whole_call_ends_within_its_deadline(opened, script):
    began = time.monotonic()

    trouble, arrived = fail_to_deliver(opened, script, timeout_seconds=SHORT_SECONDS)

    assert trouble.outcome is Outcome.AMBIGUOUS
    assert time.monotonic() - began < SHORT_SECONDS + 2
    assert len(arrived) == 1


def test_an_answer_that_is_ok_but_says_not_where_has_to_be_looked_for():
    trouble, _ = fail_to_deliver(bot, whole(b'{"ok":true}'))

    assert trouble.outcome is Outcome.AMBIGUOUS


# --- Where certainly nothing was said ---------------------------------------------------------------------------------


def test_a_refused_connection_is_not_delivered(opened):
    with refused_port() as port:
        trouble, _ = fail_to_deliver(opened, url=f"http://127.0.0.1:{port}")

    assert trouble.outcome is Outcome.NOT_DELIVERED
    assert "refused" in str(trouble)


def test_a_black_hole_is_not_delivered_and_noticed_in_time(opened):
    began = time.monotonic()
    with unanswered_port() as port:
        trouble, _ = fail_to_deliver(opened, url=f"http://127.0.0.1:{port}", timeout_seconds=SHORT_SECONDS)

    assert trouble.outcome is Outcome.NOT_DELIVERED
    assert time.monotonic() - began < SHORT_SECONDS + 2


def test_a_name_that_does_not_resolve_is_not_delivered(opened):
    trouble, _ = fail_to_deliver(opened, url="http://slack.invalid")

    assert trouble.outcome is Outcome.NOT_DELIVERED


def test_a_certificate_nobody_signed_is_not_delivered_and_sees_no_request(opened):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    trouble, arrived = fail_to_deliver(opened, tls=context)

    assert trouble.outcome is Outcome.NOT_DELIVERED
    assert "certificate" in str(trouble)
    assert arrived == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(opened, status):
    async def redirected():
        async with serve(otherwise=whole(OK)) as elsewhere:
            away = redirect(status, f"{elsewhere.url}/api/chat.postMessage")
            async with serve(otherwise=away) as server, opened(server.url) as sink:
                with pytest.raises(SinkError) as trouble:
                    await sink.deliver(delivery())
                return trouble.value, server.arrived, elsewhere.arrived

    trouble, arrived, elsewhere = asyncio.run(redirected())

    assert trouble.outcome is Outcome.NOT_DELIVERED
    assert len(arrived) == 1
    assert elsewhere == []


@pytest.mark.parametrize(
    "variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
)
def test_no_proxy_is_taken_from_the_environment(opened, monkeypatch, caplog, variable):
    caplog.set_level(logging.DEBUG)
    town = Town()

    async def deliver():
        async with serve() as proxy:
            monkeypatch.setenv(variable, proxy.url)
            async with serve(otherwise=carried_out(town.app)) as server, opened(server.url) as sink:
                await sink.deliver(delivery())
            return proxy.connections

    assert asyncio.run(deliver()) == 0
    assert len(town.messages) == 1
    assert "proxy" not in caplog.text.lower()


# --- Accepted, then lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [hang_up, reset_at_once, silence], ids=["hang up", "reset", "silence"])
def test_a_post_that_was_taken_and_whose_answer_was_lost_stands_once_and_is_found(loss):
    town = Town()

    async def lose_and_look():
        script = in_turn(carried_out(town.app, then=loss), carried_out(town.app))
        async with serve(otherwise=script) as server, bot(server.url, timeout_seconds=1) as sink:
            with pytest.raises(SinkError) as trouble:
                await sink.deliver(delivery())
            assert trouble.value.outcome is Outcome.AMBIGUOUS
            return await sink.find(delivery(may_have_been_said=True, attempts=2))

    found = asyncio.run(lose_and_look())

    [message] = town.messages
    assert found.name == message.ts


def test_a_post_that_never_arrived_is_not_found_and_stands_once_after_the_next_attempt():
    town = Town()

    async def lose_look_and_repeat():
        script = in_turn(hang_up, carried_out(town.app))
        async with serve(otherwise=script) as server, bot(server.url) as sink:
            with pytest.raises(SinkError):
                await sink.deliver(delivery())
            uncertain = delivery(may_have_been_said=True, attempts=2)
            assert await sink.find(uncertain) is None
            return await sink.deliver(uncertain)

    receipt = asyncio.run(lose_look_and_repeat())

    [message] = town.messages
    assert receipt.name == message.ts


def test_a_look_that_fails_leaves_it_open_whether_the_message_was_said():
    async def look(script):
        async with serve(otherwise=script) as server, bot(server.url, timeout_seconds=1) as sink:
            with pytest.raises(SinkError) as trouble:
                await sink.find(delivery(may_have_been_said=True, attempts=2))
            assert sink.can_look
            return trouble.value.outcome

    scripts = [hang_up, silence, whole(b"[]"), whole(b"", "500 No"), whole(b'{"ok":true}'), redirect("302 Found", "/")]
    with refused_port():
        outcomes = [asyncio.run(look(script)) for script in scripts]

    assert outcomes == [Outcome.AMBIGUOUS] * len(scripts)


def test_a_post_through_a_webhook_that_answers_strangely_is_repeated_ever_more_slowly():
    async def waits():
        async with serve(otherwise=whole(b"<html>")) as server, webhook(server.url) as sink:
            told = []
            for attempts in (1, 2, 3, 8, 50):
                with pytest.raises(SinkError) as trouble:
                    await sink.deliver(delivery(attempts=attempts))
                told.append(trouble.value.retry_after_seconds)
            return told

    assert asyncio.run(waits()) == [10, 20, 40, 600, 600]


# --- Nothing of it shows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [hang_up, not_http, whole(b"[]"), whole(b'{"ok":false,"error":"invalid_auth"}')])
def test_no_secret_is_in_an_error_its_chain_or_any_log(opened, script, canary, caplog):
    caplog.set_level(logging.DEBUG)

    async def fail():
        async with serve(otherwise=script) as server, opened(server.url) as sink:
            canary.look_at("the sink's own text", repr(sink))
            try:
                await sink.deliver(delivery())
            except SinkError as trouble:
                return trouble

    trouble = asyncio.run(fail())

    assert trouble.__cause__ is None
    assert trouble.__context__ is None
    canary.look_at("an error", "".join(traceback.format_exception(trouble)) + repr(vars(trouble)))
    canary.look_at("a log", caplog.text)
    assert canary.leaks() == ()


def test_a_reason_that_is_no_reason_is_not_shown(opened):
    body = b'{"ok":false,"error":"Bearer ' + TOKEN.encode() + b'"}'

    trouble, _ = fail_to_deliver(opened, whole(body, "400 Bad Request"))

    assert trouble.outcome is Outcome.NOT_DELIVERED
    assert DYE not in str(trouble)


def test_a_sink_that_is_closed_leaves_no_connection_behind(opened):
    async def use():
        async with serve(otherwise=whole(OK)) as server:
            async with opened(server.url) as sink:
                await sink.deliver(delivery())
                await sink.deliver(delivery())
            return server.connections

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(use()) == 2


def test_the_token_travels_in_its_header_and_nowhere_else():
    async def use():
        async with serve(otherwise=whole(OK)) as server, bot(server.url) as sink:
            await sink.deliver(delivery())
            return server.arrived

    [arrived] = asyncio.run(use())

    assert arrived.key == CANARIES["slack_bot_token"]
    assert TOKEN not in arrived.path + arrived.query
    assert TOKEN.encode() not in arrived.body
    assert INTENT.encode() not in arrived.body
    assert "cookie" not in arrived.headers


def test_no_more_of_an_answer_is_held_than_a_mebibyte(opened):
    trouble, _ = fail_to_deliver(opened, whole(b" " * (2 * MEBIBYTE)))

    assert "longer than" in str(trouble)
