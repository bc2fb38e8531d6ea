"""Looking at analytics, look by look, against the fake: whose each row is, and never a question too many.

The fake keeps to 64 questions a minute by the same clock as the limiter; one question more would be answered by 429.
"""

import asyncio
import json
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from reckon.app import App
from reckon.config import load
from reckon.core import listing
from reckon.core.analytics_plan import LOOK_EVERY, MOST_QUESTIONS
from reckon.core.generations import Facts, Handed, Settled
from reckon.core.plans import LedgerPolicy, after_poll
from reckon.core.records import UNOWNED, WatchedKey
from reckon.core.reports import Dimension
from reckon.core.settlement import SettlePlan, SettlePolicy
from reckon.core.windows import Window
from reckon.fakes import openrouter
from reckon.fakes.analytics import AnalyticsDialect, Pace
from reckon.fakes.answers import Answer
from reckon.fakes.world import World
from reckon.jobs.analytics import Analyst, AnalystTerms
from reckon.sources.openrouter import AccountSource, Analytics, OpenRouterClient, OpenRouterSource
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, SECOND, at
from tests.canary import CANARIES
from tests.sources.asking import BASE_URL

USD = 10**9
UTC = ZoneInfo("UTC")
MIDNIGHT = at("2026-11-20 00:00")
MORNING = MIDNIGHT + 9 * HOUR
MODELS = ("anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash", "openai/gpt-5.1")
REST = "(not resolved)"
EVER = Window(at("2020-01-01 00:00"), at("2030-01-01 00:00"))
SETTLING = SettlePolicy((SECOND,))


class Account:
    """An account that is swept into a ledger, and looked at; time is the world's."""

    def __init__(self, url, *, entries=()):
        self.world = World(MIDNIGHT, purchased_nanos=10**6 * USD)
        self.manager = self.world.make_key("manager", secret=CANARIES["management_key"], is_management_key=True)
        self.places = [self.world.workspaces[0].id, *(self.world.make_workspace(name).id for name in ("Lab", "Ops"))]
        self.store = open_store(url, writes=True)
        self.entries = list(entries)
        self.status = []
        self.holder = "one"

    def keys(self, *names):
        made = [self.world.make_key(name, workspace=self.places[n % 3]) for n, name in enumerate(names)]
        self.poll()  # a first sight counts nothing
        return made

    def poll(self):
        self.world.advance(SECOND)  # what is spent at an instant is told a moment later

        async def run():
            async with self._client() as client:
                single = OpenRouterSource(client, {}, clock=self._clock)
                source = AccountSource(client, single, self._secret, clock=self._clock, concurrency=4)
                return await source.poll(self.entries)

        seen = asyncio.run(run())
        policy = LedgerPolicy(UTC, MINUTE, sweeps=True)
        now = self.world.now
        entries = self.entries
        self.store.commit_poll(
            lambda state: after_poll(state, seen, entries, policy, now), policy, now, seen=seen, watched=entries
        )

    def analyst(self, holder="one"):
        def hand_in(handed, now):
            return self.store.hand_in(handed, SETTLING, now, self.entries)

        terms = AnalystTerms(UTC, holder, frozenset(entry.hash for entry in self.entries), hand_in)
        return _Looking(self, terms)

    def spend(self, by, span=None, zone="UTC"):
        settings = load(None, {}, cwd=None).model_copy(update={"timezone": ZoneInfo(zone)})
        report = App(settings, self.store, clock=self._clock).spend([Dimension(each) for each in by], span)
        return {
            (*row.place.values(),): row.amounts.spend_nanos + row.amounts.byok_nanos
            for row in report.rows
            if row.amounts.spend_nanos or row.amounts.byok_nanos
        }

    def truth(self, since=MIDNIGHT):
        """Return what each key spent on each model since an instant, by hash, as the world knows it."""
        found = Counter()
        for entry in self.world.entries(since, self.world.now + DAY):
            if entry.key_hash:
                found[entry.key_hash, entry.model] += entry.credits_nanos + entry.byok_nanos
        return found

    def told(self):
        with self.store.reading() as ledger:
            found = Counter()
            for row in ledger.model_hours(EVER):
                found[row.key_hash, row.model] += row.nanos
            return found

    def account_days(self):
        with self.store.reading() as ledger:
            statement = "SELECT day, credits_nanos + byok_nanos, read_at FROM account_day WHERE source = 'analytics'"
            return {row[0]: (row[1], row[2]) for row in ledger.connection.exec_driver_sql(statement)}

    def asked(self, path="/analytics/query"):
        return sum(request.path.endswith(path) for request in self.world.requests)

    @property
    def _secret(self):
        return SecretStr(self.manager.secret)

    def _clock(self):
        return self.world.now

    def _client(self):
        app = _Noting(openrouter.app(self.world), self.status)
        return OpenRouterClient(
            BASE_URL, timeout_seconds=60, clock=self._clock, transport=httpx.ASGITransport(app), concurrency=4
        )


class _Noting:
    """Notes the status of every answer."""

    def __init__(self, app, status):
        self._app, self._status = app, status

    async def __call__(self, scope, receive, send):
        async def note(message):
            if message["type"] == "http.response.start":
                self._status.append(message["status"])
            await send(message)

        await self._app(scope, receive, note)


class _Looking:
    """An analyst that lives through many looks, with a limiter that keeps to the world's clock."""

    def __init__(self, account, terms):
        self._account = account
        self._client = account._client()
        world = account.world

        async def sleep(seconds):
            await asyncio.sleep(0)
            world.advance(timedelta(seconds=seconds))

        self._analytics = Analytics(
            self._client,
            account._secret,
            monotonic_seconds=lambda: world.now.timestamp(),  # noqa: PLW0108 - of the world as it is then
            sleep=sleep,
        )
        self._analyst = Analyst(self._analytics, account.store, terms)

    def look(self):
        return asyncio.run(self._analyst.look(self._account.world.now))

    def give_back(self):
        asyncio.run(self._analyst.give_back())


@pytest.fixture
def make_account(fresh_database):
    with ExitStack() as opened:

        def make(**how):
            account = Account(opened.enter_context(fresh_database()), **how)
            opened.callback(account.store.close)
            return account

        yield make


@pytest.fixture
def account(make_account):
    return make_account()


def call(account, key, usd, model=MODELS[0], **how):
    return account.world.call(key, cost_nanos=round(usd * USD), model=model, **how)


# --- Whose it is ---------------------------------------------------------------------------------------------------

NAMES = [*(f"service {n}" for n in range(150)), *(f"worker {n % 20}" for n in range(80))]
DIALECTS = {
    "names": AnalyticsDialect(),
    "names, counts as text, created": AnalyticsDialect(time_key="created_at", short_days=True, counts_as_text=True),
    "labels": AnalyticsDialect(key_shown_by="label"),
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_poll_by_poll_every_key_of_a_large_account_is_told_by_model_and_no_question_is_too_many(account, dialect):
    account.world.analytics = dialect
    account.world.move_to(MORNING)
    keys = account.keys(*NAMES)
    analyst = account.analyst()
    most = 0
    for number in range(5):
        account.world.advance(LOOK_EVERY)
        for place, key in enumerate(keys):
            if (place + number) % 3 == 0 and number < 2:
                call(account, key, 1 + place / 100, MODELS[place % 7 % 3])
        account.poll()
        account.world.requests.clear()
        analyst.look()
        most = max(most, account.asked())

    assert set(account.status) == {200}
    assert account.told() == account.truth()
    assert most <= MOST_QUESTIONS + listing.MOST_LISTINGS
    by_model = account.spend(["model"])
    assert sum(by_model.values()) == sum(account.truth().values())
    assert by_model.keys() == {(model,) for model in MODELS}
    assert account.spend(["owner", "model"]) == {("(unowned)", model): nanos for (model,), nanos in by_model.items()}


def test_of_keys_that_are_called_alike_the_dearest_is_asked_about_first(account):
    account.world.move_to(MORNING)
    keys = account.keys(*["twin"] * 60)
    account.world.advance(MINUTE)
    for place, key in enumerate(keys):
        call(account, key, 1 + place)
    account.poll()
    look = account.analyst().look()

    told = {key_hash for key_hash, _ in account.told()}
    first = MOST_QUESTIONS - 4  # for both days there was one about the account and one about all keys
    assert told == {key.hash for key in keys[-first:]}
    assert (look.keys, look.in_doubt) == (first, 60 - first)


def test_a_name_that_the_owner_map_gave_is_nobodys_until_analytics_has_told_what_it_calls_the_key(make_account):
    """Two keys whose names in the owner map are those that OpenRouter gave to the other one."""
    account = make_account()
    a, b = (account.world.make_key(name) for name in ("alpha", "beta"))
    account.entries = [WatchedKey(a.hash, "ana", "beta"), WatchedKey(b.hash, "ben", "alpha")]
    account.world.move_to(MORNING)
    account.poll()
    analyst = account.analyst()
    for number in range(2):
        account.world.advance(LOOK_EVERY)
        call(account, a, 5, MODELS[0])
        call(account, b, 1, MODELS[1])
        account.poll()
        account.world.requests.clear()
        analyst.look()
        # Once it is known what both are called, one question about all keys does.
        assert account.asked() <= (4, 2)[number] + listing.MOST_LISTINGS
        assert account.told() == account.truth()
    assert account.spend(["owner", "model"]) == {("ana", MODELS[0]): 10 * USD, ("ben", MODELS[1]): 2 * USD}


def test_what_matches_nobody_is_the_accounts_alone(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("laptop")
    account.world.advance(MINUTE)
    call(account, key, 2)
    account.world.chatroom(7 * USD)
    stranger = account.world.make_key("made since the last sweep")
    call(account, stranger, 3)
    account.world.advance(SECOND)
    account.analyst().look()

    assert account.told() == {(key.hash, MODELS[0]): 2 * USD}
    assert account.account_days()["2026-11-20"] == (12 * USD, int(account.world.now.timestamp()))


def test_the_key_that_has_moved_since_keeps_the_hours_of_whoever_held_it(make_account):
    account = make_account()
    key = account.world.make_key("shared")
    account.entries = [WatchedKey(key.hash, "ana", "shared")]
    account.world.move_to(MORNING)
    account.poll()
    analyst = account.analyst()
    account.world.advance(MINUTE)
    call(account, key, 2)
    account.poll()
    analyst.look()
    account.entries = [WatchedKey(key.hash, "ben", "shared")]
    account.world.advance(2 * HOUR)
    account.poll()
    call(account, key, 3)
    account.world.advance(MINUTE)
    account.poll()
    analyst.look()

    assert account.spend(["owner", "model"]) == {("ana", MODELS[0]): 2 * USD, ("ben", MODELS[0]): 3 * USD}


# --- What a report makes of it -------------------------------------------------------------------------------------


def settle(account, *generations):
    """Hand in and settle *generations*, each at its own cost."""
    settled = [
        Settled(
            each.id,
            UNOWNED,
            each.key_hash,
            account.world.now,
            Facts(
                created_at=each.at, model=each.model, requested_model="openrouter/auto", credits_nanos=each.cost_nanos
            ),
        )
        for each in generations
    ]
    account.store.commit_settlement(SettlePlan(tuple(settled)), UTC, holder="one")


def test_money_that_both_tell_of_is_counted_once_and_rows_add_up_to_the_counters(account):
    account.world.move_to(MORNING)
    a, b, c = account.keys("a", "b", "c")
    analyst = account.analyst()
    account.world.advance(10 * MINUTE)
    first = call(account, a, 5, MODELS[0]), call(account, a, 2, MODELS[1]), call(account, b, 3, MODELS[1])
    account.world.spend(c, 7 * USD)
    account.world.advance(HOUR)
    account.poll()
    settle(account, first[0], first[2])
    before = account.spend(["model"])
    assert before == {(MODELS[0],): 5 * USD, (MODELS[1],): 3 * USD, (REST,): 9 * USD}

    analyst.look()
    told = {(MODELS[0],): 5 * USD, (MODELS[1],): 5 * USD, ("openrouter/unknown",): 7 * USD}
    assert account.spend(["model"]) == told
    late = call(account, b, 11, MODELS[2])
    account.poll()
    settle(account, late)  # the generation is known before analytics tells of it
    assert account.spend(["model"]) == told | {(MODELS[2],): 11 * USD}
    by_key = account.spend(["key", "model"])
    assert by_key == {
        ("a", MODELS[0]): 5 * USD,
        ("a", MODELS[1]): 2 * USD,
        ("b", MODELS[1]): 3 * USD,
        ("b", MODELS[2]): 11 * USD,
        ("c", "openrouter/unknown"): 7 * USD,
    }


def test_what_only_generations_tell_still_comes_from_them_alone(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("a")
    account.world.advance(MINUTE)
    ran = call(account, key, 5)
    call(account, key, 2)
    account.poll()
    settle(account, ran)
    account.analyst().look()
    assert account.spend(["requested_model"]) == {("openrouter/auto",): 5 * USD, (REST,): 2 * USD}
    assert account.spend(["model", "requested_model"]) == {
        (MODELS[0], "openrouter/auto"): 5 * USD,
        (REST, REST): 2 * USD,
    }


@pytest.mark.parametrize(
    ("zone", "cut_in_two"), [("UTC", 0), ("Europe/Berlin", 0), ("America/St_Johns", 0), ("Asia/Kolkata", 18 + 19)]
)
def test_in_every_zone_the_rows_of_a_time_add_up_to_its_counters(account, zone, cut_in_two):
    account.world.move_to(MORNING)
    (key,) = account.keys("a")
    for number in range(24):
        account.world.advance(30 * MINUTE)
        call(account, key, 1 + number, MODELS[number % 3])
        account.poll()
    account.analyst().look()
    for unit in ("hour", "day", "week", "month"):
        whole = account.spend([unit], zone=zone)
        divided = account.spend([unit, "model"], zone=zone)
        for (time,), nanos in whole.items():
            assert sum(part for (begun, _), part in divided.items() if begun == time) == nanos
        if unit != "hour":  # in some zones every hour is cut in two
            left = sum(nanos for (_, model), nanos in divided.items() if model == REST)
            assert left == cut_in_two * USD * (unit == "day")


def test_the_hours_before_a_key_was_watched_are_not_explained(account):
    key = account.world.make_key("a")
    for hour in range(6, 12):
        call(account, key, 4, at=MIDNIGHT + hour * HOUR + 20 * MINUTE)
    account.world.move_to(MORNING + 30 * MINUTE)
    account.poll()
    account.world.move_to(MORNING + 4 * HOUR)
    account.poll()
    account.analyst().look()
    assert sum(account.told().values()) == 24 * USD
    assert account.spend(["model"]) == {(MODELS[0],): 8 * USD}


def test_pending_generations_of_an_hour_that_analytics_explains_are_not_counted_beside_its_requests(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("a")
    account.world.advance(MINUTE)
    for _ in range(3):
        call(account, key, 1)
    account.poll()
    account.analyst().look()  # lists all three: they are pending
    assert len(pending(account)) == 3
    settings = load(None, {}, cwd=None)
    report = App(settings, account.store, clock=lambda: account.world.now).spend([Dimension.MODEL])
    assert [(row.place[Dimension.MODEL], row.generations) for row in report.rows] == [(MODELS[0], 3)]


# --- Answers that are not the whole one ----------------------------------------------------------------------------


def _without_a_row(right):
    answer = json.loads(right)
    answer["data"]["data"] = answer["data"]["data"][1:]
    answer["data"]["metadata"]["truncated"] = True
    return json.dumps(answer).encode()


CUT_OFF = Answer(edit=_without_a_row)


def spans_asked_for(account):
    """Return how many hours each question about all keys spanned, in the order asked."""
    asked = [json.loads(request.body) for request in account.world.requests if request.path.endswith("/query")]
    spans = [
        each["time_range"] for each in asked if "api_key_id" in each.get("dimensions", ()) and "filters" not in each
    ]
    return [(datetime.fromisoformat(span["end"]) - datetime.fromisoformat(span["start"])) / HOUR for span in spans]


@pytest.fixture
def reread(account):
    """An account of which the day before was read once more already."""
    account.store.keep_analytics(read_again=(MIDNIGHT - DAY).date())
    return account


def test_an_answer_that_was_cut_off_is_halved_and_what_was_whole_is_remembered(reread):
    account = reread
    account.world.move_to(MIDNIGHT)
    keys = account.keys("one", "two")
    for hour in range(8):
        for n, key in enumerate(keys):
            call(account, key, 1 + hour, MODELS[hour % 3], at=MIDNIGHT + hour * HOUR + (n + 5) * SECOND)
    account.world.move_to(MIDNIGHT + 8 * HOUR - SECOND)
    account.poll()
    analyst = account.analyst()
    account.world.answer_with(openrouter.ANALYTICS_QUERY, Answer(edit=lambda right: right), times=1)
    account.world.answer_with(openrouter.ANALYTICS_QUERY, CUT_OFF, times=2)
    analyst.look()
    assert spans_asked_for(account) == [8, 4, 2, 2, 4]
    assert account.told() == account.truth()

    account.world.requests.clear()
    analyst.look()
    assert spans_asked_for(account) == [2, 2, 2, 2]


def test_an_hour_that_is_cut_off_is_asked_for_key_by_key(reread):
    account = reread
    account.world.move_to(MIDNIGHT)
    keys = account.keys("one", "two", "three")
    for key in keys:
        call(account, key, 2, at=MIDNIGHT + MINUTE)
    account.world.advance(5 * MINUTE)
    account.poll()
    account.world.answer_with(openrouter.ANALYTICS_QUERY, Answer(edit=lambda right: right), times=1)
    account.world.answer_with(openrouter.ANALYTICS_QUERY, CUT_OFF, times=1)
    look = account.analyst().look()
    assert account.told() == account.truth()
    assert (len(spans_asked_for(account)), look.keys) == (1, 3)


def test_the_days_total_is_not_taken_from_an_answer_that_was_cut_off(reread):
    reread.world.move_to(MORNING)
    (key,) = reread.keys("one")
    call(reread, key, 2)
    reread.poll()
    reread.world.answer_with(openrouter.ANALYTICS_QUERY, CUT_OFF, times=1)
    reread.analyst().look()
    assert reread.account_days() == {}


def test_analytics_that_is_behind_says_as_of_when_and_catches_up(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("laptop")
    account.world.analytics_lag = 20 * MINUTE
    account.world.advance(MINUTE)
    call(account, key, 2)
    account.poll()
    analyst = account.analyst()
    analyst.look()
    assert account.told() == {}
    assert account.account_days()["2026-11-20"] == (0, int((account.world.now - 20 * MINUTE).timestamp()))
    assert account.spend(["model"]) == {(REST,): 2 * USD}

    account.world.advance(25 * MINUTE)
    analyst.look()
    assert account.told() == account.truth()
    assert account.spend(["model"]) == {(MODELS[0],): 2 * USD}


def test_yesterday_is_read_once_more_when_its_late_rows_are_there_and_then_no_more(account):
    account.world.move_to(MORNING)
    keys = account.keys("laptop", "twin", "twin")
    account.world.analytics_lag = 20 * MINUTE
    analyst = account.analyst()
    account.world.move_to(MIDNIGHT + DAY - 5 * MINUTE)
    for key in keys:
        call(account, key, 2)
    account.poll()
    analyst.look()
    assert account.told() == {}
    account.world.move_to(MIDNIGHT + DAY + 10 * MINUTE)
    account.poll()
    analyst.look()
    assert account.told() == {}

    account.world.move_to(MIDNIGHT + DAY + 31 * MINUTE)
    analyst.look()
    assert account.told() == account.truth()
    assert account.account_days()["2026-11-20"][0] == 6 * USD
    account.world.requests.clear()
    account.world.advance(LOOK_EVERY)
    account.analyst().look()  # another process knows that it was done
    assert not any(b"2026-11-20T00:00:00Z" in request.body for request in account.world.requests)


def test_yesterday_is_read_again_at_the_next_look_where_a_question_had_no_answer(account):
    account.world.move_to(MORNING)
    account.keys("laptop")
    analyst = account.analyst()
    account.world.answer_with(openrouter.ANALYTICS_QUERY, Answer(b"", 502), times=1)
    read = []
    for _ in range(2):
        analyst.look()
        with account.store.reading() as ledger:
            read.append(ledger.day_read_again())
        account.world.advance(LOOK_EVERY)
    assert read == [None, (MIDNIGHT - DAY).date()]


# --- Refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_without_analytics_is_told_of_once_and_asked_ever_more_rarely(account, status):
    account.world.analytics_available = False
    account.world.analytics_missing_status = status
    account.world.move_to(MORNING)
    (key,) = account.keys("laptop")
    account.world.advance(MINUTE)
    call(account, key, 2)
    account.poll()
    analyst = account.analyst()
    with capture_logs() as logs:
        for _ in range(24 * 12):
            assert analyst.look() is None
            account.world.advance(LOOK_EVERY)
    assert [line["event"] for line in logs] == ["analytics.unavailable"]
    assert account.asked() == 0
    assert account.asked("/analytics/meta") < 12
    assert account.spend(["model"]) == {(REST,): 2 * USD}

    account.world.analytics_available = True
    account.world.advance(DAY)
    account.poll()
    with capture_logs() as logs:
        assert analyst.look() is not None
    assert "analytics.available" in [line["event"] for line in logs]


def test_analytics_that_goes_away_is_told_of_once_and_what_it_told_stays(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("laptop")
    account.world.advance(MINUTE)
    call(account, key, 2)
    account.poll()
    analyst = account.analyst()
    analyst.look()
    account.world.analytics_available = False
    with capture_logs() as logs:
        for _ in range(12):
            account.world.advance(LOOK_EVERY)
            analyst.look()
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "analytics.left_unanswered",
        "analytics.unavailable",
    ]
    assert account.told() == account.truth()


def test_who_is_asked_to_rest_asks_nothing_more_in_that_look(account):
    account.world.move_to(MORNING)
    account.keys("laptop")
    account.world.advance(MINUTE)
    account.world.analytics_pace = Pace(2)
    look = account.analyst().look()

    assert account.status.count(429) == 1
    assert look.has_to_rest
    assert account.asked() == 2  # one of the two was for what can be asked


def test_a_question_that_fails_costs_no_other(account):
    account.world.move_to(MORNING)
    keys = account.keys("twin", "twin")
    account.world.advance(MINUTE)
    for key in keys:
        call(account, key, 2)
    account.poll()
    gateway = Answer(b"<html>", 502, {"content-type": "text/html"})
    account.world.answer_with(openrouter.ANALYTICS_QUERY, gateway, times=2)
    look = account.analyst().look()

    assert len(look.trouble) == 2
    assert account.told() == account.truth()


def test_one_replica_looks_until_it_gives_back(fresh_postgres):
    with fresh_postgres() as url:
        account = Account(url)
        account.world.move_to(MORNING)
        account.keys("laptop")
        one, other = account.analyst("one"), account.analyst("other")
        assert one.look() is not None
        assert other.look() is None
        one.give_back()
        assert other.look() is not None
        account.store.close()


# --- Generations that nobody handed in -----------------------------------------------------------------------------


def pending(account):
    with account.store.reading() as ledger:
        return {call.id: call for call in ledger.calls(EVER)}


def test_generations_that_nobody_handed_in_are_handed_in_with_their_owner_and_key(make_account):
    account = make_account()
    key = account.world.make_key("laptop")
    account.entries = [WatchedKey(key.hash, "ana", "laptop")]
    account.world.move_to(MORNING)
    account.poll()
    account.world.advance(MINUTE)
    generations = [call(account, key, n + 1) for n in range(3)]
    account.store.hand_in([Handed(generations[0].id, "ana", key.hash)], SETTLING, account.world.now, account.entries)
    account.poll()
    look = account.analyst().look()

    assert look.listed == 2
    found = pending(account)
    assert found.keys() == {each.id for each in generations}
    assert {(each.owner, each.key_hash) for each in found.values()} == {("ana", key.hash)}


def test_no_more_are_handed_in_within_an_hour_than_may_be_and_the_dearest_come_first(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("agent")
    account.world.advance(MINUTE)
    generations = [call(account, key, (n + 1) / 100) for n in range(listing.MOST_IDS_AN_HOUR + 300)]
    account.poll()
    analyst = account.analyst()
    assert analyst.look().listed == listing.MOST_IDS_AN_HOUR
    assert pending(account).keys() == {each.id for each in generations[300:]}
    settle(account, *generations[300:])  # no backlog keeps the others waiting
    for _ in range(11):
        account.world.advance(LOOK_EVERY)
        assert analyst.look().listed == 0
    account.world.advance(LOOK_EVERY)
    assert analyst.look().listed == 300
    assert pending(account).keys() == {each.id for each in generations}


def test_while_many_wait_nothing_is_listed(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("agent")
    account.world.advance(MINUTE)
    call(account, key, 5)
    account.poll()
    many = [Handed(f"gen-{n}", "ana", None) for n in range(listing.LARGEST_BACKLOG + 1)]
    account.store.hand_in(many, SETTLING, account.world.now)
    assert account.analyst().look().listed == 0
    assert len(pending(account)) == len(many)


def test_a_key_of_which_all_is_explained_is_not_listed_again_until_it_spends(account):
    account.world.move_to(MORNING)
    (key,) = account.keys("agent")
    analyst = account.analyst()
    account.world.advance(MINUTE)
    call(account, key, 5)
    account.poll()
    assert [analyst.look().listed for _ in range(2)] == [1, 0]
    account.world.advance(LOOK_EVERY)
    account.world.requests.clear()
    analyst.look()
    assert not any(b"generation_id" in request.body for request in account.world.requests)
    call(account, key, 5)
    account.poll()
    assert analyst.look().listed == 1
