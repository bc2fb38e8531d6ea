"""Starting, stopping, and what systemd is told meanwhile. Whatever a daemon is in the middle of, it ends in time."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from reckon.fakes.slack_workspace import late
from tests.system.daemons import PATIENCE_SECONDS, STOPPED_WITHIN_SECONDS, Daemon, Manager, Team, eventually
from tests.system.forks import PROJECT

READY_WITHIN_SECONDS = 3.0
AT_ONCE_SECONDS = 3.0
STARTS = 2
"""The quickest counts: a machine that is busy with other tests is no measure."""


@pytest.fixture
def make(fresh_sqlite, make_team):
    with ExitStack() as stack:

        def make(store_url=None, **changes):
            team = make_team(store_url or stack.enter_context(fresh_sqlite()))
            stack.enter_context(team.served())
            team.configure(**changes)
            return team

        yield make


# --- Starting --------------------------------------------------------------------------------------------------------


@contextmanager
def started_by_a_person(team, program=("-m", "reckon"), **environ):
    manager = Manager()
    with subprocess.Popen(
        [sys.executable, *program, "--config", team.config, "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "NOTIFY_SOCKET": manager.address, **environ},
    ) as process:
        try:
            yield process, manager
        finally:
            process.kill()
            manager.close()


def test_a_daemon_is_ready_within_three_seconds_of_its_start(make):
    team = make()
    seconds = []
    for _ in range(STARTS):
        with started_by_a_person(team) as (process, manager):
            eventually(lambda manager=manager: manager.told("READY"), "READY")
            seconds.append(processor_seconds(process.pid))  # other tests may have all but a part of the machine
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=STOPPED_WITHIN_SECONDS)
        assert (process.returncode, b"Traceback" in said) == (0, False)

    assert min(seconds) < READY_WITHIN_SECONDS


def processor_seconds(pid):
    """Return how long a process has been running on a processor."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_systemd_is_told_that_it_is_ready_how_it_is_that_it_lives_and_that_it_ends(make):
    team = make()
    daemon = team.start(WATCHDOG_USEC="800000")
    manager = daemon.manager
    daemon.until_ready()
    began, fed = time.monotonic(), len(manager.told("WATCHDOG"))
    eventually(lambda: len(manager.told("WATCHDOG")) >= fed + 10, "the watchdog to be fed")
    assert time.monotonic() - began < 10 * 0.8  # more often than it has to be
    told = eventually(lambda: [text for text in manager.told("STATUS") if "4 keys answered" in text], "the status")
    assert manager.told("STOPPING") == []
    daemon.stop()

    assert "last poll" in told[-1]
    assert manager.told("READY") == ["1"]
    assert manager.told("STOPPING") == ["1"]


def test_a_second_daemon_on_one_sqlite_file_is_refused_and_names_the_first(make):
    team = make()
    with team.running() as daemon:
        daemon.until("poll.committed")
        team.configure(http__listen="")
        asked = len(team.openrouter.arrivals)
        refused = team.run("run")

        assert refused.code == 69
        assert f"process {daemon.pid}" in refused.stderr
        assert "Traceback" not in refused.stderr
        daemon.until_polled()
        assert (len(team.openrouter.arrivals) - asked) % 4 == 0
    team.assert_exact()


def test_a_port_that_is_taken_is_refused_in_words_and_nothing_is_asked(make):
    team = make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        team.configure(http__listen=f"127.0.0.1:{taken.getsockname()[1]}")
        refused = team.run("run")

    assert refused.code == 69
    assert "http.listen" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert team.openrouter.arrivals == []


def test_an_owner_map_without_keys_is_refused(make):
    team = make()
    team.owners = []
    team.configure()

    refused = team.run("run")

    assert (refused.code, "owner map" in refused.stderr) == (69, True)


# --- Stopping --------------------------------------------------------------------------------------------------------


@dataclass
class Phase:
    """A daemon in the middle of something."""

    daemon: Daemon
    team: Team
    release: Callable[[], object] = lambda: None
    """Ends what it was in the middle of, once it is over."""


def starting(make, stack, _):
    """A database that takes the connection and says nothing."""
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    team = make(store__url=f"postgresql://reckon@127.0.0.1:{silent.getsockname()[1]}/reckon")
    daemon = team.start()
    silent.settimeout(PATIENCE_SECONDS)
    stack.enter_context(silent.accept()[0])
    return Phase(daemon, team)


def asking(make, *_):
    """Keys that never answer."""
    team = make(openrouter__timeout="60s")
    team.openrouter.gate.clear()
    daemon = team.start()
    eventually(lambda: len(team.openrouter.arrivals) == 4, "every key to be asked")
    return Phase(daemon, team, team.openrouter.gate.set)


def committing_to_sqlite(make, stack, _):
    team = make()
    daemon = team.start()
    team.hold_the_next_poll_of(daemon)
    other = stack.enter_context(
        closing(sqlite3.connect(team.store_url.removeprefix("sqlite:///"), isolation_level=None))
    )
    other.execute("BEGIN IMMEDIATE")
    team.openrouter.gate.set()
    eventually(lambda: all(arrival.answered_at for arrival in team.openrouter.arrivals), "the answers")
    return Phase(daemon, team, lambda: other.execute("ROLLBACK"))


def committing_to_postgres(make, stack, postgres_url):
    team = make(store_url=postgres_url, openrouter__timeout="1s", store__lease="2s")
    daemon = team.start()
    team.hold_the_next_poll_of(daemon)
    other = stack.enter_context(closing(psycopg.connect(postgres_url, autocommit=True)))
    other.execute("BEGIN")
    other.execute("LOCK TABLE owner IN ACCESS EXCLUSIVE MODE")
    team.openrouter.gate.set()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    eventually(lambda: other.execute(waiting).fetchone()[0], "it to wait for the lock")
    return Phase(daemon, team, lambda: other.execute("ROLLBACK"))


def delivering(make, *_):
    """A Slack that takes the message and says nothing."""
    team = make()
    never = threading.Event()
    team.workspace.answer_with("chat.postMessage", late(never))
    daemon = team.start()
    daemon.until("poll.committed")
    team.spend_thirty_times_as_much("dana")
    eventually(team.posts, "the alert")
    return Phase(daemon, team, never.set)


def idle(make, *_):
    team = make(poll__every="1h")
    daemon = team.start()
    daemon.until("poll.committed")
    return Phase(daemon, team)


def reloading(make, *_):
    """A program that is asked for a secret and does not give it."""
    team = make()
    daemon = team.start()
    daemon.until("poll.committed")
    marker = team.config.with_suffix(".asked")
    team.configure(http__token=f"command:sh -c 'touch {marker}; exec sleep 30'")
    daemon.signal(signal.SIGHUP)
    eventually(marker.exists, "the program to be asked")
    return Phase(daemon, team, lambda: team.configure(http__token=None))


PHASES = (asking, committing_to_sqlite, committing_to_postgres, delivering, idle, reloading, starting)


def test_whatever_it_is_in_the_middle_of_it_ends_with_0_within_ten_seconds(make, postgres_url, record_property):
    with ExitStack() as stack:
        phases = {begin.__name__: begin(make, stack, postgres_url) for begin in PHASES}
        ended = end_all(phases, signal.SIGTERM)
        for phase in phases.values():
            phase.release()
        record_property("seconds to end", ended)
        assert max(ended.values()) < STOPPED_WITHIN_SECONDS
        assert {name: phase.daemon.ends().code for name, phase in phases.items()} == dict.fromkeys(phases, 0)

        for name in ("asking", "committing_to_sqlite", "committing_to_postgres", "idle", "reloading"):
            phases[name].team.asked("poll")
            phases[name].team.assert_exact()


def test_told_a_second_time_it_ends_at_once(make, postgres_url, record_property):
    with ExitStack() as stack:
        phases = {
            begin.__name__: begin(make, stack, postgres_url) for begin in (asking, committing_to_sqlite, delivering)
        }
        for phase in phases.values():
            phase.daemon.signal(signal.SIGTERM)
            eventually(lambda phase=phase: phase.daemon.manager.told("STOPPING"), "it to begin to stop")
        ended = end_all(phases, signal.SIGTERM)
        for phase in phases.values():
            phase.release()
        record_property("seconds to end", ended)

        assert max(ended.values()) < AT_ONCE_SECONDS
        assert {name: phase.daemon.ends().code for name, phase in phases.items()} == dict.fromkeys(phases, 0)


def end_all(phases, number):
    """Send all of them a signal; return after how many seconds each was over."""
    began = time.monotonic()
    for phase in phases.values():
        phase.daemon.signal(number)
    ended = {}

    def all_over():
        for name, phase in phases.items():
            if name not in ended and phase.daemon.is_over:
                ended[name] = time.monotonic() - began
        return len(ended) == len(phases)

    eventually(all_over, "the end of all")
    return ended


HANGING_NAME_SERVER = """
import socket, sys, time
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest: time.sleep(3600) if "invalid" in str(host) else found(host, *rest)
from reckon.__main__ import main
main()
"""


def test_a_name_server_that_never_answers_does_not_delay_the_end(make):
    team = make(openrouter__base_url="https://openrouter.invalid/api/v1", openrouter__timeout="1s")
    with started_by_a_person(team, ("-c", HANGING_NAME_SERVER)) as (process, manager):
        eventually(lambda: any("4 did not" in text for text in manager.told("STATUS")), "a poll to be given up")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=STOPPED_WITHIN_SECONDS)
        seconds = time.monotonic() - began

    assert (process.returncode, b"Traceback" in said) == (0, False)
    assert seconds < AT_ONCE_SECONDS
