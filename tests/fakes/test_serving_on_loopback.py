"""What other tests rely on when they serve an app."""

import asyncio
import signal
import ssl
import threading

import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.serving import serve


async def hello(request):
    return PlainTextResponse(request.url.scheme)


HELLO = Starlette(routes=[Route("/", hello)])


def trusting(ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def test_an_app_answers_at_once_and_no_more_once_the_block_ends():
    with serve(HELLO) as url:
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(url).text == "http"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert "serving" not in {thread.name for thread in threading.enumerate()}


def test_no_header_is_added_to_the_apps_own():
    with serve(HELLO) as url:
        assert set(httpx.get(url).headers) == {"content-type", "content-length"}


def test_an_app_answers_over_https_to_those_who_trust_its_authority():
    ca = trustme.CA()
    with serve(HELLO, ca=ca) as url:
        assert url.startswith("https://127.0.0.1:")
        assert httpx.get(url, verify=trusting(ca)).text == "https"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(url, verify=trusting(trustme.CA()))


def test_an_async_test_may_ask_many_things_at_once():
    async def asking():
        with serve(HELLO) as url:
            async with httpx.AsyncClient() as client:
                return await asyncio.gather(*(client.get(url) for _ in range(20)))

    assert [response.text for response in asyncio.run(asking())] == ["http"] * 20


def test_a_connection_left_open_does_not_hold_the_server_up():
    with httpx.Client() as client:
        with serve(HELLO) as url:
            assert client.get(url).text == "http"
        with pytest.raises(httpx.TransportError):
            client.get(url)


def test_a_handler_that_never_ends_does_not_hold_the_server_up():
    reached = threading.Event()

    async def never(_request):
        reached.set()
        await asyncio.Event().wait()

    with serve(Starlette(routes=[Route("/", never)])) as url:
        asking = threading.Thread(target=httpx.get, args=(url,))
        asking.start()
        assert reached.wait(10)
    # What is left unanswered is answered with an error, so whoever asked is set free as well.
    asking.join(10)
    assert not asking.is_alive()


def test_signals_are_left_alone():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with serve(HELLO):
        assert {number: signal.getsignal(number) for number in before} == before


def test_an_app_that_cannot_be_served_is_told_at_once():
    with pytest.raises(RuntimeError, match="did not start"), serve("no_such_module:app"):
        pytest.fail("it was served")
