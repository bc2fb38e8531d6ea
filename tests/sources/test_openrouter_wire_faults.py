"""What is wrong below HTTP, over real sockets: the key concerned fails in time, and the others notice nothing."""

import asyncio
import hashlib
import json
import os
import re
import socket
import ssl
import threading
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from reckon.core.records import FailureReason
from reckon.sources.openrouter import LaneTransport, OpenRouterClient, OpenRouterSource
from tests import wire_faults as faults
from tests.canary import inference_key
from tests.sources.asking import KEY, Clock, hash_of, watched
from tests.wire_faults import MEBIBYTE, bomb, good_body, serve

OTHERS = [inference_key(n) for n in range(200, 220)]
TIMEOUT_SECONDS = 0.4
# Far more than anything here takes, far less than a drip or a silence would.
IN_TIME_SECONDS = 5.0


@asynccontextmanager
async def source_at(url, *, lanes=None, timeout_seconds=TIMEOUT_SECONDS, concurrency=4):
    clock = Clock()
    secrets = {hash_of(key): SecretStr(key) for key in (KEY, *OTHERS)}
    transport = lanes or LaneTransport(concurrency)
    async with OpenRouterClient(
        f"{url}/api/v1", timeout_seconds=timeout_seconds, clock=clock, transport=transport
    ) as client:
        yield OpenRouterSource(client, secrets, clock=clock, concurrency=concurrency)


async def failure_at(url, **options):
    """Poll `KEY` alone at *url*; return its failure, and how long that took."""
    async with source_at(url, **options) as source:
        began = time.monotonic()
        answered = await source.poll(watched(KEY))
        took_seconds = time.monotonic() - began
    assert answered.snapshots == ()
    (failure,) = answered.failures
    return failure, took_seconds


UNAVAILABLE, TIMED_OUT, TOO_LARGE = FailureReason.UNAVAILABLE, FailureReason.TIMED_OUT, FailureReason.TOO_LARGE
IN_TIME = "no whole answer within 0.4 s"
NO_CONNECTION = "no connection within 0.18 s"
BROKEN = "the answer broke off, or was not HTTP"
MORE = "more than 1048576 bytes"
HALF_A_GZIP = faults.whole(faults.packed(good_body())[:40], "200 OK", "Content-Encoding: gzip")

FAULTS = {
    "silence": (faults.silence, TIMED_OUT, IN_TIME),
    "a body that drips": (faults.drip(good_body()), TIMED_OUT, IN_TIME),
    "headers that drip": (faults.drip(good_body(), from_the_start=True), TIMED_OUT, IN_TIME),
    "a drip faster than any read times out": (faults.drip(b" " * 5000, every_seconds=0.01), TIMED_OUT, IN_TIME),
    "hung up": (faults.hang_up, UNAVAILABLE, BROKEN),
    "reset at once": (faults.reset_at_once, UNAVAILABLE, "connection reset"),
    "reset within the body": (faults.reset_mid_body(good_body()), UNAVAILABLE, "connection reset"),
    "shorter than promised": (faults.cut_short(good_body()), UNAVAILABLE, BROKEN),
    "the last chunk missing": (faults.chunks_cut_short(good_body()), UNAVAILABLE, BROKEN),
    "not HTTP": (faults.not_http, UNAVAILABLE, BROKEN),
    "endless headers": (faults.endless_headers, UNAVAILABLE, BROKEN),
    "endless body": (faults.endless, TOO_LARGE, MORE),
    "gzip bomb": (faults.gzipped(bomb(4)), TOO_LARGE, MORE),
    "half a gzip": (HALF_A_GZIP, UNAVAILABLE, "the gzip broke off"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_on_one_keys_wire_ends_in_time_and_costs_no_other_key(name):
    script, reason, detail = FAULTS[name]

    async def scenario():
        async with serve({KEY: script}) as server, source_at(server.url) as source:
            began = time.monotonic()
            answered = await source.poll(watched(*OTHERS[:10], KEY, *OTHERS[10:]))
            return answered, time.monotonic() - began, server

    answered, took_seconds, server = asyncio.run(scenario())
    assert took_seconds < IN_TIME_SECONDS
    assert [(f.key_hash, f.reason, f.detail) for f in answered.failures] == [(hash_of(KEY), reason, detail)]
    assert [s.key_hash for s in answered.snapshots] == [hash_of(key) for key in OTHERS]
    assert {s.credits.total_nanos for s in answered.snapshots} == {1_250_000_000}
    assert len(server.arrived) == len(OTHERS) + 1  # nothing was asked twice


def test_the_other_keys_do_not_wait_for_the_silent_one():
    async def scenario():
        async with serve({KEY: faults.silence}) as server, source_at(server.url, timeout_seconds=60) as source:
            polling = asyncio.create_task(source.poll(watched(KEY, *OTHERS)))
            await server.has_seen(len(OTHERS) + 1)
            still_waiting = not polling.done()
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
            return still_waiting

    assert asyncio.run(scenario())


def test_a_key_is_asked_again_after_each_fault_and_its_answer_believed():
    scripts = {KEY: faults.reset_mid_body(good_body())}

    async def scenario():
        async with serve(scripts) as server, source_at(server.url, concurrency=1) as source:
            polls = [await source.poll(watched(KEY))]
            for script in (faults.silence, faults.gzipped(bomb(4)), faults.whole(good_body())):
                scripts[KEY] = script
                polls.append(await source.poll(watched(KEY)))
            return [len(answered.snapshots) for answered in polls]

    assert asyncio.run(scenario()) == [0, 0, 0, 1]


# --- No connection -------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_told():
    with faults.refused_port() as port:
        failure, took_seconds = asyncio.run(failure_at(f"http://127.0.0.1:{port}"))
    assert (failure.reason, failure.detail) == (UNAVAILABLE, "connection refused")
    assert took_seconds < IN_TIME_SECONDS


def test_a_port_that_drops_every_syn_ends_in_time():
    with faults.unanswered_port() as port:
        failure, took_seconds = asyncio.run(failure_at(f"http://127.0.0.1:{port}"))
    assert (failure.reason, failure.detail) == (TIMED_OUT, NO_CONNECTION)
    assert TIMEOUT_SECONDS * 0.4 < took_seconds < IN_TIME_SECONDS


def resolving(monkeypatch, answer):
    """Let the system's resolver answer for `openrouter.test`; *answer* returns the addresses, or raises."""
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if host not in ("openrouter.test", b"openrouter.test"):
            return real(host, port, *args, **options)
        return [found for address in answer() for found in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_that_cannot_be_resolved_is_told(monkeypatch):
    def fail():
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    resolving(monkeypatch, fail)
    failure, took_seconds = asyncio.run(failure_at("http://openrouter.test:8"))
    assert (failure.reason, failure.detail) == (UNAVAILABLE, "the host name could not be resolved")
    assert took_seconds < IN_TIME_SECONDS


def test_a_resolver_that_hangs_ends_in_time(monkeypatch):
    answering = threading.Event()

    def hang():
        answering.wait(IN_TIME_SECONDS * 2)
        return []

    async def scenario():
        try:
            return await failure_at("http://openrouter.test:8")
        finally:
            answering.set()  # the thread it hangs in cannot be cancelled, and the loop waits for it at its end

    resolving(monkeypatch, hang)
    failure, took_seconds = asyncio.run(scenario())
    assert (failure.reason, failure.detail) == (TIMED_OUT, NO_CONNECTION)
    assert took_seconds < IN_TIME_SECONDS


@pytest.mark.parametrize("broken", ["refused", "unanswered"])
def test_a_broken_ipv6_does_not_hide_a_sound_ipv4(broken, monkeypatch):
    resolving(monkeypatch, lambda: ["::1", "127.0.0.1"])

    async def scenario():
        async with serve() as server:
            with ExitStack() as stack:
                if broken == "unanswered":
                    stack.enter_context(faults.unanswered_port("::1", server.port))
                async with source_at(f"http://openrouter.test:{server.port}", timeout_seconds=2) as source:
                    return await source.poll(watched(KEY, *OTHERS))

    answered = asyncio.run(scenario())
    assert answered.failures == ()
    assert len(answered.snapshots) == len(OTHERS) + 1


# --- TLS -----------------------------------------------------------------------------------------------------------


def tls_server(ca, name="127.0.0.1", **validity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, **validity).configure_cert(context)
    return context


def trusting(ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def test_a_trusted_certificate_is_accepted():
    ca = trustme.CA()

    async def scenario():
        lanes = LaneTransport(4, trusting(ca))
        async with serve(tls=tls_server(ca)) as server, source_at(server.url, lanes=lanes, timeout_seconds=5) as source:
            return await source.poll(watched(KEY, *OTHERS)), server

    answered, server = asyncio.run(scenario())
    assert answered.failures == ()
    assert len(answered.snapshots) == len(OTHERS) + 1
    assert server.connections <= 4


@pytest.mark.parametrize(
    ("certificate", "trusted", "why"),
    [
        ({"not_after": datetime.now(UTC) - timedelta(days=1)}, True, "certificate has expired"),  # noqa: TID251 - a real certificate
        ({"name": "openrouter.test"}, True, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ({}, False, "unable to get local issuer certificate"),
    ],
    ids=["expired", "for another host", "by nobody we know"],
)
def test_a_certificate_that_is_not_sound_is_never_accepted_and_the_reason_is_told(certificate, trusted, why):
    ca = trustme.CA()

    async def scenario():
        async with serve(tls=tls_server(ca, **certificate)) as server:
            lanes = LaneTransport(1, trusting(ca) if trusted else None)
            failure, _ = await failure_at(server.url, lanes=lanes, timeout_seconds=5)
            return failure, server.arrived

    failure, arrived = asyncio.run(scenario())
    assert (failure.reason, failure.detail) == (UNAVAILABLE, f"the certificate was not accepted: {why}")
    assert arrived == []


def test_a_server_that_never_finishes_its_handshake_ends_in_time_and_leaves_no_socket_open():
    async def scenario():
        # Its end of TLS is never spoken: it waits for a request in plain.
        async with serve() as server, source_at(f"https://127.0.0.1:{server.port}", timeout_seconds=0.1) as source:
            polls = [await source.poll(watched(KEY)) for _ in range(5)]
            return [answered.failures[0] for answered in polls], server.connections, open_sockets_to(server.port)

    failures, connections, still_open = asyncio.run(scenario())
    assert {(f.reason, f.detail) for f in failures} == {(TIMED_OUT, "no connection within 0.045 s")}
    assert (connections, still_open) == (5, 0)


def open_sockets_to(port):
    """Return how many sockets of this process are connected to *port*."""
    found = 0
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if descriptor.is_socket():
                with socket.socket(fileno=os.dup(int(descriptor.name))) as copy:
                    found += copy.family == socket.AF_INET and copy.getpeername()[1] == port
    return found


# --- Where a key may go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("to", ["{elsewhere}/key", "//127.0.0.1:{port}/", "http://localhost:{port}/", "/api/v1/key"])
def test_nothing_follows_a_redirect(status, to, canary):
    async def scenario():
        async with serve() as elsewhere:
            target = to.format(elsewhere=elsewhere.url, port=elsewhere.port)
            async with serve(otherwise=faults.redirect(status, target)) as server:
                failure, _ = await failure_at(server.url)
                return failure, server.arrived, elsewhere

    failure, arrived, elsewhere = asyncio.run(scenario())
    assert (failure.reason, failure.detail) == (FailureReason.REDIRECTED, f"HTTP {status[:3]}")
    assert (elsewhere.connections, elsewhere.arrived) == (0, [])
    assert [request.path for request in arrived] == ["/api/v1/auth/key"]
    canary.watch_requests(arrived)


def test_a_proxy_in_the_environment_is_not_used(monkeypatch):
    async def scenario():
        async with serve() as proxy, serve() as server:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
                monkeypatch.setenv(name.lower(), proxy.url)
            async with source_at(server.url) as source:
                return await source.poll(watched(KEY)), proxy.connections, len(server.arrived)

    answered, through_the_proxy, direct = asyncio.run(scenario())
    assert (len(answered.snapshots), through_the_proxy, direct) == (1, 0, 1)


# --- Memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["a gzip bomb of 300 MiB", "a body without an end"])
def test_a_bomb_costs_no_more_memory_than_the_limit(what):
    script = faults.endless if what.startswith("a body") else faults.gzipped(bomb(300))

    async def scenario():
        async with serve({KEY: script}) as server, source_at(server.url, timeout_seconds=IN_TIME_SECONDS) as source:
            await source.poll(watched(*OTHERS))
            before = peak_resident_bytes(restart=True)
            answered = await source.poll(watched(KEY, *OTHERS))
            return answered, peak_resident_bytes() - before

    answered, grown_bytes = asyncio.run(scenario())
    assert [failure.reason for failure in answered.failures] == [FailureReason.TOO_LARGE]
    assert len(answered.snapshots) == len(OTHERS)
    assert grown_bytes <= 16 * MEBIBYTE


def test_the_bomb_is_one():
    assert len(bomb(300)) < 400_000
    assert hashlib.sha256(bomb(1)).digest() != hashlib.sha256(bomb(300)).digest()


def peak_resident_bytes(*, restart=False):
    """Return the most memory this process ever held, or has held since the last restart of the count."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_the_bodies_here_are_sound_where_they_should_be():
    assert json.loads(good_body())["data"]["usage"] == 1.25
