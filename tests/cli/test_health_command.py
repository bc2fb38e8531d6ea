"""`reckon health`: one line and an exit code, from the daemon's own answer or else from the ledger."""

import socket
import threading
from contextlib import closing
from time import monotonic

import pytest
from starlette.responses import PlainTextResponse

from reckon.app import open_app, system_clock
from reckon.cli.health import ask
from reckon.config import Listen, load
from reckon.pulse import Beat, Pulse
from reckon.web.server import surface
from tests.canary import CANARIES
from tests.serving import serve


@pytest.fixture
def pulse():
    return Pulse(system_clock())


@pytest.fixture
def watched(town, pulse):
    """A town whose daemon answers over HTTP."""
    town.settle({"ravi": ["laptop"]})
    pulse.committed(town.poll())
    with open_app(load(town.config, {})) as app, serve(surface(lambda: app, pulse, None, None)) as url:
        listening_at(town, url.removeprefix("http://"))
        yield town


def listening_at(town, address, token=None):
    line = f'token = "{token}"' if token else ""
    town.extra = f'[http]\nlisten = "{address}"\n{line}'
    town.settle({"ravi": ["laptop"]})


def test_a_daemon_whose_polls_get_on_is_well(watched, pulse):
    answer = watched.reckon("health")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"alive; last poll {pulse.polled_at:%Y-%m-%dT%H:%M:%SZ}\n"


def test_one_that_is_stuck_is_not_and_says_why(watched, pulse):
    pulse.beats["poll"] = Beat("poll", longest_step_seconds=-1.0)
    answer = watched.reckon("health")
    assert answer.code == 1
    assert answer.out.startswith("poll does not move; last poll ")


def test_nobody_there_is_no(town):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    listening_at(town, address)
    answer = town.reckon("health")
    assert (answer.code, answer.out) == (1, f"nobody answers at {address}: Connection refused\n")


def test_somebody_else_there_is_no(town):
    with serve(PlainTextResponse("hello")) as url:
        listening_at(town, url.removeprefix("http://"))
        answer = town.reckon("health")
    assert answer.code == 1
    assert "is not Reckon (HTTP 200)" in answer.out


def test_an_answer_that_never_ends_is_not_waited_for():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        stop = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        began = monotonic()
        reply = ask(Listen("127.0.0.1", server.getsockname()[1]), patience_seconds=0.5)
        took = monotonic() - began
        stop.set()
        thread.join()
    assert not reply.is_well
    assert "within 0.5 s" in reply.text
    assert took < 3


def test_whoever_listens_everywhere_is_asked_within_this_machine(watched):
    port = watched.config.read_text().split("127.0.0.1:")[-1].split('"')[0]
    listening_at(watched, f"0.0.0.0:{port}", token=CANARIES["http_token"])
    assert watched.reckon("health").code == 0


def test_no_proxy_has_a_say(watched, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert watched.reckon("health").code == 0


def test_without_a_surface_the_ledger_tells(town_lately):
    town_lately.settle({"ravi": ["laptop"]})
    town_lately.poll()
    late = town_lately.reckon("health")
    assert late.code == 1
    assert late.out.startswith("no poll was committed for too long; last poll ")
    town_lately.poll(f"{system_clock():%Y-%m-%d %H:%M}")
    well = town_lately.reckon("health")
    assert well.code == 0
    assert well.out.startswith("alive; last poll ")


def test_without_a_surface_and_a_ledger_nobody_can_tell(town_lately):
    town_lately.settle({"ravi": ["laptop"]})
    answer = town_lately.reckon("health")
    assert (answer.code, answer.out) == (69, "")
    assert str(town_lately.database) in answer.err
    assert not town_lately.database.exists()
