import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from reckon.core.records import Balance, FailureReason, Reading, Snapshot
from tests.canary import inference_key
from tests.sources.asking import (
    KEY,
    NOW,
    OTHER_KEY,
    THIRD_KEY,
    Clock,
    Upstream,
    good,
    hash_of,
    json_answer,
    key_of,
    poll,
    source_over,
    watched,
)

MANY = [inference_key(n) for n in range(100, 160)]
UNPERMITTED = {"error": {"code": 403, "message": "Only management keys can perform this operation"}}


# --- Polling -------------------------------------------------------------------------------------------------------


def test_a_sound_answer_is_a_snapshot_of_everything_in_it():
    data = {
        "usage": 25.5,
        "usage_daily": 5.5,
        "usage_weekly": 15.5,
        "usage_monthly": 20.5,
        "byok_usage": 17.38,
        "byok_usage_daily": 7.38,
        "byok_usage_weekly": 8.38,
        "byok_usage_monthly": 9.38,
    }
    assert poll(lambda *_: json_answer(good(**data))).snapshots == (
        Snapshot(
            key_hash=hash_of(KEY),
            at=NOW,
            credits=Reading(25_500_000_000, 5_500_000_000, 15_500_000_000, 20_500_000_000),
            byok=Reading(17_380_000_000, 7_380_000_000, 8_380_000_000, 9_380_000_000),
            label="sk-or-v1-abc...123",
        ),
    )


def test_a_revoked_key_does_not_cost_the_poll():
    answered = poll(
        lambda _, key: json_answer({}, 401) if key == OTHER_KEY else json_answer(good()), KEY, OTHER_KEY, THIRD_KEY
    )
    assert [snapshot.key_hash for snapshot in answered.snapshots] == [hash_of(KEY), hash_of(THIRD_KEY)]
    assert [(f.key_hash, f.reason, f.detail) for f in answered.failures] == [
        (hash_of(OTHER_KEY), FailureReason.ACCESS_DENIED, "HTTP 401")
    ]
    assert (answered.balances, answered.swept) == ((), {})


@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_each_key_is_asked_once_with_its_own_secret_and_answered_in_order(concurrency):
    upstream = Upstream(lambda _, key: json_answer(good(usage=MANY.index(key))))
    source, _ = source_over(upstream, *MANY, concurrency=concurrency)
    answered = asyncio.run(source.poll(watched(*MANY)))
    assert answered.failures == ()
    assert [s.key_hash for s in answered.snapshots] == [hash_of(key) for key in MANY]
    assert [s.credits.total_nanos for s in answered.snapshots] == [n * 10**9 for n in range(len(MANY))]
    assert len(upstream.requests) == len(MANY)


def test_a_key_without_a_secret_is_passed_over_and_one_named_twice_is_asked_once():
    upstream = Upstream(lambda *_: json_answer(good()))
    source, _ = source_over(upstream, KEY)
    answered = asyncio.run(source.poll(watched(OTHER_KEY, KEY, KEY)))
    assert [snapshot.key_hash for snapshot in answered.snapshots] == [hash_of(KEY)]
    assert answered.failures == ()
    assert len(upstream.requests) == 1


def test_nobody_to_ask_is_an_empty_poll():
    upstream = Upstream(lambda *_: json_answer(good()))
    source, _ = source_over(upstream, KEY)
    answered = asyncio.run(source.poll([]))
    assert (answered.snapshots, answered.failures, upstream.requests) == ((), (), [])


@pytest.mark.parametrize(
    ("microsecond", "second"), [(0, 0), (1, 1), (500_000, 1), (999_999, 1)], ids=["0", "1 us", "500 ms", "999999 us"]
)
def test_an_answer_is_stamped_when_it_is_complete_rounded_up_to_a_second(microsecond, second):
    clock = Clock()

    def answer(*_):
        clock.now = datetime(2026, 12, 31, 23, 59, 59, microsecond, tzinfo=UTC)
        return json_answer(good())

    (snapshot,) = poll(answer, clock=clock).snapshots
    assert snapshot.at == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC) + timedelta(seconds=second)


class Holding(Upstream):
    """Holds every answer back until `release` is set, and knows how many it holds."""

    def __init__(self, answer):
        super().__init__(answer)
        self.release = asyncio.Event()
        self.news = asyncio.Event()
        self.taken = 0
        self.held = 0
        self.most_held = 0

    async def handle_async_request(self, request):
        self.taken += 1
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        self.news.set()
        try:
            await self.release.wait()
            return await super().handle_async_request(request)
        finally:
            self.held -= 1

    async def holds(self, count):
        async with asyncio.timeout(5):
            while self.held != count:
                self.news.clear()
                await self.news.wait()


def test_no_more_are_asked_at_once_than_agreed():
    upstream = Holding(lambda *_: json_answer(good()))
    source, _ = source_over(upstream, *MANY, concurrency=7)

    async def ask():
        polling = asyncio.create_task(source.poll(watched(*MANY)))
        await upstream.holds(7)
        upstream.release.set()
        return await polling

    assert len(asyncio.run(ask()).snapshots) == len(MANY)
    assert upstream.most_held == 7


def test_a_second_poll_waits_for_the_first_so_a_key_has_one_request_in_flight():
    upstream = Holding(lambda *_: json_answer(good()))
    source, _ = source_over(upstream, KEY)

    async def ask():
        polls = [asyncio.create_task(source.poll(watched(KEY))) for _ in range(3)]
        await upstream.holds(1)
        upstream.release.set()
        return await asyncio.gather(*polls)

    assert [len(answered.snapshots) for answered in asyncio.run(ask())] == [1, 1, 1]
    assert (len(upstream.asked), upstream.most_held) == (3, 1)


@pytest.mark.parametrize("unexpected", [RuntimeError(KEY), KeyError(KEY), MemoryError(), asyncio.CancelledError(KEY)])
def test_what_nobody_expected_of_one_key_is_its_failure_told_by_its_kind(unexpected):
    def answer(_, key):
        if key == KEY:
            raise unexpected
        return json_answer(good())

    answered = poll(answer, *MANY, KEY, concurrency=2)
    assert len(answered.snapshots) == len(MANY)
    assert [(f.key_hash, f.reason, f.detail) for f in answered.failures] == [
        (hash_of(KEY), FailureReason.UNEXPECTED_ANSWER, type(unexpected).__name__)
    ]


def test_cancelling_the_poll_ends_it_and_the_next_one_is_whole():
    upstream = Holding(lambda *_: json_answer(good()))
    source, _ = source_over(upstream, *MANY, concurrency=7)

    async def ask():
        polling = asyncio.create_task(source.poll(watched(*MANY)))
        await upstream.holds(7)
        polling.cancel()
        await asyncio.wait([polling], timeout=1)
        left = polling.cancelled(), upstream.held, upstream.taken
        upstream.release.set()
        return left, await source.poll(watched(*MANY))

    left, answered = asyncio.run(ask())
    assert left == (True, 0, 7)
    assert len(answered.snapshots) == len(MANY)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_nobodys_failure(interrupt):
    def answer(*_):
        raise interrupt

    with pytest.raises(interrupt):
        poll(answer, KEY, OTHER_KEY)


def test_a_clock_far_off_is_told():
    upstream = Upstream(lambda *_: json_answer(good(), headers=[("Date", "Sun, 22 Nov 2026 02:05:00 GMT")]))
    source, _ = source_over(upstream)
    assert source.clock_skew_seconds is None
    (snapshot,) = asyncio.run(source.poll(watched(KEY))).snapshots
    assert source.clock_skew_seconds == 300
    assert snapshot.at == NOW  # never stamped by the server's clock


# --- The alias -----------------------------------------------------------------------------------------------------


def only(path, status=404):
    """Answer on *path* alone."""
    return lambda asked, _: json_answer(good()) if asked == path else json_answer({"error": {"code": status}}, status)


@pytest.mark.parametrize("status", [404, 405, 410])
@pytest.mark.parametrize("body", [b'{"error": {"code": 404}}', b"<html>", b"", b"\xff"])
def test_where_the_alias_is_gone_the_other_path_is_asked(status, body):
    upstream = Upstream(lambda asked, _: json_answer(good()) if asked == "/key" else gone(status, body))
    source, client = source_over(upstream)
    answered = asyncio.run(source.poll(watched(KEY)))
    assert (len(answered.snapshots), answered.failures) == (1, ())
    assert upstream.asked == ["/auth/key", "/key"]
    assert +client.asked == {("GET", "/auth/key"): 1, ("GET", "/key"): 1}


def gone(status, body):
    answer = json_answer({}, status, [("Content-Type", "text/html")])
    answer.stream = json_answer(body.decode("latin-1")).stream
    return answer


@pytest.mark.parametrize("status", [400, 401, 403, 408, 429, 500, 503, 302])
def test_any_other_answer_of_the_alias_stands(status):
    upstream = Upstream(only("/key", status))
    source, _ = source_over(upstream)
    assert [f.detail for f in asyncio.run(source.poll(watched(KEY))).failures] == [f"HTTP {status}"]
    assert upstream.asked == ["/auth/key"]


def test_the_path_that_works_is_remembered_for_all_keys_and_the_alias_asked_again_after_a_day():
    upstream = Upstream(only("/key"))
    clock = Clock()
    source, _ = source_over(upstream, KEY, OTHER_KEY, THIRD_KEY, clock=clock, concurrency=1)

    def asked_by_a_poll():
        upstream.requests.clear()
        assert len(asyncio.run(source.poll(watched(KEY, OTHER_KEY, THIRD_KEY))).snapshots) == 3
        return upstream.asked

    assert asked_by_a_poll() == ["/auth/key", "/key", "/key", "/key"]
    clock.now = NOW + timedelta(days=1, seconds=-1)
    assert asked_by_a_poll() == ["/key"] * 3
    clock.now = NOW + timedelta(days=1)
    assert asked_by_a_poll() == ["/auth/key", "/key", "/key", "/key"]
    clock.now = NOW + timedelta(days=2, seconds=-1)
    assert asked_by_a_poll() == ["/key"] * 3


def test_an_alias_that_came_back_is_asked_first_again():
    works = ["/key"]
    upstream = Upstream(lambda asked, _: json_answer(good()) if asked in works else json_answer({}, 404))
    clock = Clock()
    source, _ = source_over(upstream, clock=clock)
    asyncio.run(source.poll(watched(KEY)))
    works[:] = ["/auth/key"]
    clock.now += timedelta(hours=1)
    assert len(asyncio.run(source.poll(watched(KEY))).snapshots) == 1
    assert upstream.asked == ["/auth/key", "/key", "/key", "/auth/key"]
    asyncio.run(source.poll(watched(KEY)))
    assert upstream.asked[4:] == ["/auth/key"]


def test_a_clock_that_stepped_back_does_not_put_off_the_alias_for_ever():
    upstream = Upstream(only("/key"))
    clock = Clock()
    source, _ = source_over(upstream, clock=clock)
    asyncio.run(source.poll(watched(KEY)))
    clock.now -= timedelta(days=400)
    asyncio.run(source.poll(watched(KEY)))
    assert upstream.asked == ["/auth/key", "/key"] * 2


def test_when_both_paths_are_gone_the_failure_says_so_and_nothing_is_remembered():
    upstream = Upstream(lambda path, _: json_answer({}, 404 if path == "/auth/key" else 410))
    source, _ = source_over(upstream)
    for _ in range(2):
        (failure,) = asyncio.run(source.poll(watched(KEY))).failures
        assert failure.reason == FailureReason.UNEXPECTED_ANSWER
        assert failure.detail == "HTTP 404 from /auth/key, HTTP 410 from /key"
    assert upstream.asked == ["/auth/key", "/key"] * 2


def test_a_fallback_that_was_refused_is_not_remembered():
    upstream = Upstream(lambda path, _: json_answer({}, 404 if path == "/auth/key" else 401))
    source, _ = source_over(upstream)
    for _ in range(2):
        (failure,) = asyncio.run(source.poll(watched(KEY))).failures
        assert (failure.reason, failure.detail) == (FailureReason.ACCESS_DENIED, "HTTP 401")
    assert upstream.asked == ["/auth/key", "/key"] * 2


# --- Balances ------------------------------------------------------------------------------------------------------


def balances(answer, *secrets, **options):
    upstream = Upstream(answer)
    source, _ = source_over(upstream, *secrets, **options)
    found = asyncio.run(source.balances(watched(*secrets)))
    return list(found), [(path, key) for path, key in zip(upstream.asked, keys_of(upstream), strict=True)]


def keys_of(upstream):
    return [request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests]


def credits_of(bought, used):
    return json_answer({"data": {"total_credits": bought, "total_usage": used}})


def test_a_management_key_is_asked_alone_and_once():
    found, asked = balances(lambda *_: credits_of(100.5, 25.75), KEY, OTHER_KEY, management_key=THIRD_KEY)
    assert found == [Balance(hash_of(THIRD_KEY), NOW, credits_nanos=100_500_000_000, usage_nanos=25_750_000_000)]
    assert asked == [("/credits", THIRD_KEY)]


def test_an_account_of_nothing_is_a_balance_when_a_management_key_says_so():
    found, _ = balances(lambda *_: credits_of(0, 0), management_key=KEY)
    assert found == [Balance(hash_of(KEY), NOW, credits_nanos=0, usage_nanos=0)]


def test_an_overdrawn_account_is_a_balance():
    (balance,), _ = balances(lambda *_: credits_of(10, 12.5), management_key=KEY)
    assert balance.left_nanos == -2_500_000_000


def test_without_a_management_key_each_key_is_asked_and_what_it_may_not_see_is_left_out():
    answers = {
        KEY: lambda: json_answer(UNPERMITTED, 403),
        OTHER_KEY: lambda: credits_of(0, 0),
        THIRD_KEY: lambda: credits_of(100.5, 25.75),
        MANY[0]: lambda: json_answer({}, 401),
        MANY[1]: lambda: credits_of(0, 0.000000001),
    }
    found, asked = balances(lambda _, key: answers[key](), *answers, concurrency=1)
    assert [balance.seen_by for balance in found] == [hash_of(THIRD_KEY), hash_of(MANY[1])]
    assert asked == [("/credits", key) for key in answers]


@pytest.mark.parametrize("management_key", [None, KEY])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: json_answer({}, 500),
        lambda: json_answer({}, 429),
        lambda: json_answer([]),
        lambda: json_answer({"data": {"total_credits": 1}}),
        lambda: credits_of(None, 1),
        lambda: credits_of("100.5", 1),
        lambda: credits_of(True, 1),
        lambda: credits_of(-1, 1),
        lambda: credits_of(1, -1),
        lambda: credits_of(1e15, 1),
        lambda: 1 / 0,
    ],
)
def test_trouble_with_a_balance_is_no_balance_and_no_error(answer, management_key):
    found, asked = balances(lambda *_: answer(), KEY, management_key=management_key)
    assert found == []
    assert asked == [("/credits", KEY)]


def test_balances_need_a_key_that_is_known():
    upstream = Upstream(lambda *_: credits_of(1, 1))
    source, _ = source_over(upstream, KEY)
    assert asyncio.run(source.balances(watched(OTHER_KEY))) == []
    assert upstream.requests == []


# --- Nobody answers --------------------------------------------------------------------------------------------------


def test_when_nobody_answers_the_rest_are_not_asked_and_each_is_its_failure():
    def black_hole(_path, _key):
        raise httpx.ReadTimeout("")

    keys = [inference_key(n) for n in range(1, 41)]
    upstream = Upstream(black_hole)
    source, _ = source_over(upstream, *keys, concurrency=4)

    seen = asyncio.run(source.poll(watched(*keys)))

    assert len(upstream.requests) < 3 * 4
    assert [failure.key_hash for failure in seen.failures] == [hash_of(key) for key in keys]
    assert {failure.reason for failure in seen.failures} == {FailureReason.TIMED_OUT}


def test_one_answer_of_any_kind_and_everybody_is_asked():
    def answers_one(_path, key):
        if key == keys[3]:
            return httpx.Response(401)
        raise httpx.ReadTimeout("")

    keys = [inference_key(n) for n in range(1, 41)]
    upstream = Upstream(answers_one)
    source, _ = source_over(upstream, *keys, concurrency=4)

    asyncio.run(source.poll(watched(*keys)))

    assert len(upstream.requests) == 40


def test_in_a_long_silence_every_key_is_tried_again_by_and_by():
    def black_hole(_path, _key):
        raise httpx.ReadTimeout("")

    keys = [inference_key(n) for n in range(1, 41)]
    upstream = Upstream(black_hole)
    source, _ = source_over(upstream, *keys, concurrency=4)

    async def poll_on():
        for _ in range(5):
            await source.poll(watched(*keys))

    asyncio.run(poll_on())
    assert {key_of(request) for request in upstream.requests} == {*keys}
