"""What our own HTTP surface answers: in every state of the daemon, to whoever asks, however oddly."""

import asyncio
import socket
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from reckon.app import App
from reckon.config import Listen, Settings
from reckon.core import plans
from reckon.core.messages import Message
from reckon.core.outbox import Outgoing
from reckon.core.polls import Poll
from reckon.pulse import Beat, Pulse
from reckon.store import open_store
from reckon.web.server import CannotListen, served, surface
from tests.builders import MINUTE, at, failure, policy, snapshot, watched
from tests.canary import CANARIES
from tests.store.faults import failing, lost_connection

NOON = at("2026-11-20 12:00")
TOKEN = CANARIES["http_token"]
OWNERS = (watched("laptop", "ana"), watched("ci", "ben"), watched("late", "ben"))
DEADLINE_SECONDS = 20


@pytest.fixture
def url(request):
    """Where the ledger is: on Postgres, too, for those tests that ask it something."""
    return request.getfixturevalue(getattr(request, "param", "sqlite_url"))


@pytest.fixture
def store(url):
    with open_store(url, writes=True) as opened:
        poll(opened, NOON, "10", "4")
        poll(opened, NOON + MINUTE, "12.5", "4")
        opened.enqueue([Outgoing("alert:1", Message("ana spent $84"))], NOON)
        yield opened


on_both_databases = pytest.mark.parametrize("url", ["sqlite_url", "postgres_url"], indirect=True)


def poll(store, when, ana, ben):
    seen = Poll((snapshot(when, ana, key="laptop"), snapshot(when, ben, key="ci")), (failure("late"),))
    return store.commit_poll(lambda state: plans.after_poll(state, seen, OWNERS, policy(), when), policy(), when)


@pytest.fixture
def app(store):
    return App(Settings(), store, clock=lambda: NOON + MINUTE)


@pytest.fixture
def pulse(store):
    pulse = Pulse(NOON)
    pulse.committed(poll(store, NOON + 2 * MINUTE, "12.5", "4.25"))
    return pulse


def ask(app, pulse, path, *, token=None, method="GET", **headers):
    async def once():
        web = surface(lambda: app, pulse, token and SecretStr(token), Listen("127.0.0.1", 8787))
        transport = httpx.ASGITransport(app=web, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(once())


# --- /healthz and /readyz --------------------------------------------------------------------------------------------


@on_both_databases
def test_a_daemon_that_polls_is_alive_and_ready(app, pulse):
    alive, ready = ask(app, pulse, "/healthz"), ask(app, pulse, "/readyz")

    assert (alive.status_code, alive.json()["status"]) == (200, "alive")
    assert (ready.status_code, ready.json()["status"], ready.json()["database"]) == (200, "ready", "open")
    told = alive.json()
    assert (told["keys_answered"], told["keys_failed"]) == (2, 1)
    assert (told["started_at"], told["last_poll_at"]) == ("2026-11-20T12:00:00Z", "2026-11-20T12:02:00Z")


def test_one_that_has_not_polled_yet_is_alive_and_not_ready(app):
    pulse = Pulse(NOON)

    alive, ready = ask(app, pulse, "/healthz"), ask(app, pulse, "/readyz")

    assert (alive.status_code, alive.json()["last_poll_at"]) == (200, None)
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")


def test_one_whose_worker_is_stuck_is_not_alive_and_says_which(app, pulse):
    pulse.beats["deliver"] = Beat("deliver", longest_step_seconds=-1)

    answer = ask(app, pulse, "/healthz")

    assert (answer.status_code, answer.json()["status"]) == (503, "deliver does not move")


def test_one_that_is_stopping_is_alive_and_not_ready(app, pulse):
    pulse.stopping = True

    assert ask(app, pulse, "/healthz").status_code == 200
    ready = ask(app, pulse, "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")


def test_one_whose_keys_do_not_answer_is_alive_and_ready(app, pulse):
    silent = Poll((), tuple(failure(name) for name in ("laptop", "ci", "late")))
    pulse.committed(plans.after_poll(plans.State(), silent, OWNERS, policy(), NOON))

    assert ask(app, pulse, "/healthz").status_code == 200
    assert ask(app, pulse, "/readyz").status_code == 200
    assert ask(app, pulse, "/healthz").json()["keys_failed"] == 3


@on_both_databases
def test_one_whose_ledger_cannot_be_read_is_alive_and_not_ready_and_says_why(app, pulse):
    with failing("before_cursor_execute", 0, lost_connection(), times=1_000):
        alive, ready = ask(app, pulse, "/healthz"), ask(app, pulse, "/readyz")
        figures = ask(app, pulse, "/metrics")

    assert alive.status_code == 200
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert "the connection was lost" in ready.json()["database"]
    assert (figures.status_code, "the connection was lost" in figures.text) == (503, True)


def test_what_is_amiss_with_the_configuration_is_in_the_detail(app, pulse):
    pulse.reload_refused = "poll.evry (reckon.toml): there is no such setting"
    pulse.needs_restart = ("store.url",)

    answer = ask(app, pulse, "/healthz")

    assert answer.status_code == 200
    assert answer.json()["reload_refused"] == pulse.reload_refused
    assert answer.json()["needs_restart"] == ["store.url"]


# --- /metrics --------------------------------------------------------------------------------------------------------


def figures(answer):
    """Return every sample by its name and labels, as Prometheus would read it."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@on_both_databases
def test_the_figures_are_those_of_the_ledger_and_of_this_process(app, pulse):
    pulse.beats["poll"] = Beat("poll", 60, jobs=7, failed=2)

    answer = ask(app, pulse, "/metrics")
    found = figures(answer)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["reckon_polls_total",] == 1
    assert found["reckon_poll_failures_total", "unavailable"] == 1
    assert (found["reckon_jobs_total", "poll"], found["reckon_jobs_failed_total", "poll"]) == (7, 2)
    assert found["reckon_last_poll_timestamp_seconds",] == (NOON + 2 * MINUTE).timestamp()
    assert found["reckon_key_counted_usd", "", "ana", "credits", "laptop"] == 2.5
    assert found["reckon_key_counted_usd", "", "ben", "ci", "credits"] == 0.25
    assert found["reckon_key_failing", "", "ben", "late"] == 1
    assert found["reckon_key_failing", "", "ana", "laptop"] == 0
    assert found["reckon_messages", "waiting"] == 1
    assert found["reckon_messages", "dead"] == 0


def test_with_a_token_only_who_has_it_sees_figures_and_anybody_sees_how_we_are(app, pulse):
    assert ask(app, pulse, "/metrics", token=TOKEN, authorization=f"Bearer {TOKEN}").status_code == 200
    assert ask(app, pulse, "/healthz", token=TOKEN).status_code == 200


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Basic {}", "bearer {}", "Bearer {}x", "{}", "Bearer \xff\xfe"])
def test_without_the_token_nobody_sees_figures(app, pulse, given):
    headers = {} if given is None else {"authorization": given.format(TOKEN).encode("latin-1")}

    answer = ask(app, pulse, "/metrics", token=TOKEN, **headers)

    assert (answer.status_code, "reckon_" in answer.text) == (401, False)


# --- Odd requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/healthz/", 307),
        ("GET", "/healthz?x=%00&y=%ff", 200),
        ("HEAD", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/readyz", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%00", 404),
    ],
)
def test_what_is_not_there_is_refused_in_order(app, pulse, method, path, status):
    assert ask(app, pulse, path, method=method).status_code == status


GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
ODD = {
    "nothing but noise": b"\x00\xff\x16\x03\x01" * 50 + b"\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": GET + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": GET + b"Content-Length: -1\r\n\r\n",
    "a bare line feed in a header": GET + b"X: a\nY: b\r\n\r\n",
    "a header without an end": GET + b"X: " + b"x" * 200_000,
    "a thousand headers": GET + b"".join(b"X-%d: y\r\n" % n for n in range(1_000)) + b"\r\n",
    "a very long path": b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an upgrade": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's request": b"CONNECT openrouter.ai:443 HTTP/1.1\r\nHost: openrouter.ai:443\r\n\r\n",
    "an endless body": b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999999\r\n\r\n"
    + b"x" * 300_000,
}


@asynccontextmanager
async def listening(app, pulse):
    with socket.create_server(("127.0.0.1", 0)) as found:
        listen = Listen("127.0.0.1", found.getsockname()[1])
    async with served(surface(lambda: app, pulse, None, listen), listen):
        yield listen


async def exchange(listen, request):
    """Return what is answered to raw bytes until the other side has had enough, or has said all of it."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        answer = b""
        try:
            writer.write(request)
            writer.write_eof()
            while piece := await reader.read(65_536):
                answer += piece
        except ConnectionError:
            pass
        finally:
            writer.close()
        return answer


@pytest.mark.parametrize("request_", ODD.values(), ids=ODD)
def test_an_odd_request_is_refused_without_a_fault_of_ours_and_the_next_one_is_answered(app, pulse, request_):
    async def ask_both():
        async with listening(app, pulse) as listen:
            return await exchange(listen, request_), await exchange(listen, GET + b"Connection: close\r\n\r\n")

    odd, sound = asyncio.run(ask_both())

    status = int(odd.split()[1]) if odd else 0
    assert status < 500
    assert b"Traceback" not in odd
    assert sound.startswith(b"HTTP/1.1 200 ")


def test_those_who_connect_and_say_nothing_leave_room_for_who_asks(app, pulse):
    async def ask_among_many():
        async with listening(app, pulse) as listen:
            silent = [await asyncio.open_connection(listen.host, listen.port) for _ in range(50)]
            try:
                return await exchange(listen, GET + b"Connection: close\r\n\r\n")
            finally:
                for _, writer in silent:
                    writer.close()

    assert asyncio.run(ask_among_many()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.long
def test_who_connects_and_says_nothing_is_shown_out(app, pulse):
    async def say_nothing():
        async with listening(app, pulse) as listen:
            reader, writer = await asyncio.open_connection(listen.host, listen.port)
            async with asyncio.timeout(60):
                said = await reader.read()
            writer.close()
            return said

    assert asyncio.run(say_nothing()) == b""


# --- The address -----------------------------------------------------------------------------------------------------


def test_an_address_that_is_taken_is_refused_with_what_to_do(app, pulse):
    async def listen_twice():
        async with listening(app, pulse) as listen:
            async with served(surface(lambda: app, pulse, None, listen), listen):
                pass

    with pytest.raises(CannotListen, match=r"http.listen: 127.0.0.1:\d+ .*in use.*another address"):
        asyncio.run(listen_twice())


def test_without_an_address_nothing_is_served(app, pulse):
    async def serve_nothing():
        async with served(surface(lambda: app, pulse, None, None), None):
            return True

    assert asyncio.run(serve_nothing())


def test_an_address_of_the_newer_kind_is_served(app, pulse):
    async def listen_on_six():
        listen = Listen("::1", free_port_on_six())
        async with served(surface(lambda: app, pulse, None, listen), listen):
            return await exchange(listen, b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")

    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    assert asyncio.run(listen_on_six()).startswith(b"HTTP/1.1 200 ")


def free_port_on_six():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as found:
        return found.getsockname()[1]
