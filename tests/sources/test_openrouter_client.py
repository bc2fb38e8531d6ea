import asyncio
import json
import logging
import ssl
from datetime import timedelta
from urllib.parse import parse_qsl

import httpx
import pytest
from pydantic import SecretStr

from reckon import __version__
from reckon.core.records import FailureReason
from reckon.sources.openrouter import EGRESS, OpenRouterClient
from reckon.sources.openrouter.client import NotOnTheEgressList
from reckon.sources.openrouter.trouble import NoAnswer
from tests.sources.asking import BASE_URL, KEY, OTHER_KEY, Clock, Upstream, body_answer, good, json_answer, poll

SECRET = SecretStr(KEY)


def client_over(upstream, **options):
    return OpenRouterClient(
        BASE_URL, timeout_seconds=5, clock=options.pop("clock", Clock()), transport=upstream, **options
    )


def refusal_of(client, path="/key", secret=SECRET):
    with pytest.raises(NoAnswer) as refused:
        asyncio.run(client.get(path, secret))
    return refused.value


# --- What leaves ---------------------------------------------------------------------------------------------------


def test_nine_questions_may_be_asked_and_nothing_else():
    reads = ("/auth/key", "/key", "/credits", "/generation", "/keys", "/workspaces", "/activity", "/analytics/meta")
    assert {("POST", "/analytics/query"), *(("GET", path) for path in reads)} == EGRESS


@pytest.mark.parametrize(
    "path",
    [
        "/generation/content",
        "/generation/content?id=gen-1",
        "/generation/../generation/content",
        "/generation?id=gen-1",
        "/keys/",
        "/keys?offset=0",
        "/auth/keys",
        "/analytics/query",
        "key",
        "/key/",
        "/KEY",
        "/key?x=1",
        "/key/../keys",
        "",
    ],
)
def test_a_path_that_is_not_on_the_list_never_leaves(path):
    upstream = Upstream(lambda *_: json_answer(good()))
    client = client_over(upstream)
    with pytest.raises(NotOnTheEgressList):
        asyncio.run(client.get(path, SECRET))
    with pytest.raises(NotOnTheEgressList):
        asyncio.run(client.get(path, SECRET, {"id": "gen-1"}))
    assert upstream.requests == []
    assert set(client.asked) == EGRESS
    assert not any(client.asked.values())


@pytest.mark.parametrize(
    "path", ["/keys", "/key", "/generation", "/generation/content", "/analytics/meta", "/workspaces"]
)
def test_nothing_is_posted_but_questions(path):
    upstream = Upstream(lambda *_: json_answer(good()))
    client = client_over(upstream)
    with pytest.raises(NotOnTheEgressList):
        asyncio.run(client.post(path, SECRET, {}))
    assert upstream.requests == []
    assert not any(client.asked.values())


@pytest.mark.parametrize(
    "hostile",
    [
        "gen-1&id=gen-2",
        "../content",
        "/content",
        "gen-1#",
        "gen-1?x=1",
        "a b",
        "a+b",
        "%2e%2e",
        "\r\nX: 1",
        "\0",
        "é🔑",
        "",
    ],
)
def test_whatever_an_id_holds_it_stays_the_value_of_its_parameter(hostile):
    upstream = Upstream(lambda *_: json_answer(good()))
    asyncio.run(client_over(upstream).get("/generation", SECRET, {"id": hostile, "offset": 100}))
    (request,) = upstream.requests
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    assert path == "/api/v1/generation"
    assert parse_qsl(query, keep_blank_values=True, strict_parsing=True) == [("id", hostile), ("offset", "100")]


def test_a_posted_question_is_json_of_a_stated_length():
    upstream = Upstream(lambda *_: json_answer({"data": 1}))
    client = client_over(upstream)
    assert asyncio.run(client.post("/analytics/query", SECRET, {"metrics": ["total_usage"], "x": "é"})) == {"data": 1}
    (request,) = upstream.requests
    content = asyncio.run(request.aread())
    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/analytics/query")
    assert json.loads(content) == {"metrics": ["total_usage"], "x": "é"}
    assert dict(request.headers) == {
        "host": "openrouter.test",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"reckon/{__version__}",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(content)),
    }
    assert client.asked["POST", "/analytics/query"] == 1


def test_how_often_each_path_was_asked_is_counted_whatever_came_of_it():
    client = client_over(Upstream(lambda path, _: json_answer({}, 500 if path == "/credits" else 200)))

    async def ask():
        await client.get("/key", SECRET)
        await client.get("/key", SECRET)
        with pytest.raises(NoAnswer):
            await client.get("/credits", SECRET)

    asyncio.run(ask())
    assert client.asked == dict.fromkeys(EGRESS, 0) | {("GET", "/key"): 2, ("GET", "/credits"): 1}


@pytest.mark.parametrize("base_url", [BASE_URL, BASE_URL + "/"])
def test_a_request_says_what_it_must_and_nothing_more(base_url):
    upstream = Upstream(lambda *_: json_answer(good()))
    client = OpenRouterClient(base_url, timeout_seconds=5, clock=Clock(), transport=upstream)
    asyncio.run(client.get("/auth/key", SECRET))
    (request,) = upstream.requests
    assert (request.method, str(request.url), request.content if request.read() else b"") == (
        "GET",
        "https://openrouter.test/api/v1/auth/key",
        b"",
    )
    assert dict(request.headers) == {
        "host": "openrouter.test",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": f"reckon/{__version__}",
        "authorization": f"Bearer {KEY}",
    }


def test_no_cookie_of_one_keys_answer_goes_with_the_next_key():
    upstream = Upstream(lambda *_: json_answer(good(), headers=[("Set-Cookie", "__cf_bm=abc; Path=/")]))
    client = client_over(upstream)

    async def ask():
        await client.get("/key", SECRET)
        await client.get("/key", SecretStr(OTHER_KEY))

    asyncio.run(ask())
    assert ["cookie" in request.headers for request in upstream.requests] == [False, False]


@pytest.mark.parametrize(
    "spoilt", [KEY + "\n", KEY + "\r\nX-Other: 1", f" {KEY}", f"{KEY} ", KEY + "é", KEY + "\0", ""]
)
def test_a_key_that_fits_no_header_is_refused_before_anything_leaves(spoilt):
    upstream = Upstream(lambda *_: json_answer(good()))
    refused = refusal_of(client_over(upstream), secret=SecretStr(spoilt))
    assert (refused.reason, refused.detail) == (
        FailureReason.ACCESS_DENIED,
        "the key holds characters that no key has" if spoilt else "the key is empty",
    )
    assert upstream.requests == []


# --- What comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        *dict.fromkeys((401, 403), FailureReason.ACCESS_DENIED).items(),
        *dict.fromkeys((429,), FailureReason.RATE_LIMITED).items(),
        *dict.fromkeys((500, 501, 502, 503, 504, 520, 524, 529, 599), FailureReason.UNAVAILABLE).items(),
        *dict.fromkeys((300, 301, 302, 303, 304, 307, 308), FailureReason.REDIRECTED).items(),
        *dict.fromkeys((400, 402, 406, 408, 409, 418, 422, 451), FailureReason.UNEXPECTED_ANSWER).items(),
        *dict.fromkeys((201, 202, 204, 206), FailureReason.UNEXPECTED_ANSWER).items(),
    ],
)
def test_a_status_other_than_200_is_told_by_its_number_and_its_body_is_not_read(status, reason):
    answered = poll(lambda *_: json_answer({"error": {"message": f"no such key {KEY}"}}, status))
    assert answered.snapshots == ()
    assert [(f.reason, f.detail) for f in answered.failures] == [(reason, f"HTTP {status}")]


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (httpx.ConnectError(KEY), FailureReason.UNAVAILABLE, "the connection failed"),
        (httpx.ReadError(KEY), FailureReason.UNAVAILABLE, "connection lost while reading"),
        (httpx.RemoteProtocolError(KEY), FailureReason.UNAVAILABLE, "the answer broke off, or was not HTTP"),
        (httpx.LocalProtocolError(KEY), FailureReason.UNAVAILABLE, "the connection failed"),
        (httpx.UnsupportedProtocol(KEY), FailureReason.UNAVAILABLE, "the connection failed"),
        (httpx.ReadTimeout(KEY), FailureReason.TIMED_OUT, "no whole answer within 5 s"),
        (httpx.PoolTimeout(KEY), FailureReason.TIMED_OUT, "no whole answer within 5 s"),
        (ssl.SSLError(KEY), FailureReason.UNAVAILABLE, "TLS failed"),
        (ConnectionResetError(KEY), FailureReason.UNAVAILABLE, "connection reset"),
    ],
    ids=range(9),
)
def test_what_a_library_says_of_its_trouble_is_never_passed_on(error, reason, detail):
    def fail(*_):
        raise error from RuntimeError(KEY)

    refused = refusal_of(client_over(Upstream(fail)))
    assert (refused.reason, refused.detail, str(refused)) == (reason, detail, detail)
    assert (refused.__cause__, refused.__context__) == (None, None)


def test_no_refusal_of_a_body_carries_the_body():
    for body in (f'{{"data": "{KEY}"', f'["{KEY}", NaN]', f'{{"{KEY}": 1, "{KEY}": 2}}', f'"{KEY}\xff"'):
        refused = refusal_of(client_over(Upstream(lambda *_, body=body: body_answer(body.encode("latin-1")))))
        error = refused
        while error is not None:
            assert KEY not in f"{error!r}{vars(error)}"
            assert not hasattr(error, "doc")
            assert not hasattr(error, "object")
            error = error.__cause__ or error.__context__


def test_nothing_is_logged_of_an_ask_that_went_wrong_or_well(caplog):
    caplog.set_level(logging.DEBUG)
    poll(lambda *_: json_answer(good()))
    poll(lambda *_: json_answer({}, 500))
    assert [record for record in caplog.records if record.name.startswith(("httpx", "httpcore", "reckon"))] == []


def test_the_limit_of_a_body_can_be_set():
    client = client_over(Upstream(lambda *_: body_answer(b'"1234567"')), body_limit_bytes=9)
    assert asyncio.run(client.get("/key", SECRET)) == "1234567"
    refused = refusal_of(client_over(Upstream(lambda *_: body_answer(b'"12345678"')), body_limit_bytes=9))
    assert (refused.reason, refused.detail) == (FailureReason.TOO_LARGE, "more than 9 bytes")


@pytest.mark.parametrize("path", ["/keys", "/activity", "/analytics/meta"])
def test_an_answer_that_lists_things_may_be_longer(path):
    client = client_over(Upstream(lambda *_: body_answer(b'"12345678"')), body_limit_bytes=9, page_limit_bytes=10)
    assert asyncio.run(client.get(path, SECRET)) == "12345678"
    assert refusal_of(client, "/workspaces").reason == FailureReason.TOO_LARGE
    longer = client_over(Upstream(lambda *_: body_answer(b'"123456789"')), body_limit_bytes=9, page_limit_bytes=10)
    assert refusal_of(longer, path).detail == "more than 10 bytes"


def test_every_answer_is_closed_and_so_is_the_client():
    class Body(httpx.AsyncByteStream):
        closed = False

        def __init__(self, *chunks):
            self.chunks = chunks

        async def __aiter__(self):
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        async def aclose(self):
            self.closed = True

    class Closing(Upstream):
        closed = False

        async def aclose(self):
            self.closed = True

    bodies = [
        Body(b"{}"),
        Body(b"{"),
        Body(b"x" * 99),
        Body(b"{", httpx.ReadError("")),
        Body(b"{}"),
        Body(b"{", OSError()),
    ]
    answers = iter(bodies)
    statuses = iter([200, 200, 200, 200, 500, 200])
    json_type = {"Content-Type": "application/json"}
    upstream = Closing(lambda *_: httpx.Response(next(statuses), stream=next(answers), headers=json_type))

    async def ask():
        async with client_over(upstream, body_limit_bytes=50) as client:
            for _ in bodies:
                try:
                    await client.get("/key", SECRET)
                except NoAnswer:
                    continue

    asyncio.run(ask())
    assert [body.closed for body in bodies] == [True] * 6
    assert upstream.closed


# --- Clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_seconds", "told"), [(0, None), (60, None), (61, 61.0), (-60, None), (-61, -61.0), (86_400, 86_400.0)]
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_clock_more_than_a_minute_off_is_told(ahead_seconds, told, status):
    clock = Clock()
    date = (clock.now + timedelta(seconds=ahead_seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    client = client_over(Upstream(lambda *_: json_answer(good(), status, [("Date", date)])), clock=clock)
    assert client.clock_skew_seconds is None
    if status == 200:
        asyncio.run(client.get("/key", SECRET))
    else:
        refusal_of(client)
    assert client.clock_skew_seconds == told


def test_a_clock_that_was_set_right_is_no_longer_told():
    clock = Clock()
    dates = iter(["Sun, 22 Nov 2026 03:00:00 GMT", "Sun, 22 Nov 2026 03:00:01 GMT", "nonsense"])
    client = client_over(Upstream(lambda *_: json_answer(good(), headers=[("Date", next(dates))])), clock=clock)
    asyncio.run(client.get("/key", SECRET))
    assert client.clock_skew_seconds == 3600
    clock.now += timedelta(hours=1)
    asyncio.run(client.get("/key", SECRET))
    assert client.clock_skew_seconds is None
    asyncio.run(client.get("/key", SECRET))
    assert client.clock_skew_seconds is None
