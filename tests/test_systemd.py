"""What the service manager is told, and that nothing it does or fails to do is our trouble."""

import os
import resource
import socket
from contextlib import closing, contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest

from reckon.systemd import ServiceManager


@contextmanager
def listening(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(address)
        yield manager


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request, tmp_path_factory):
    if request.param == "a path":
        name = str(tmp_path_factory.mktemp("notify") / "socket")
        with listening(name) as manager:
            yield name, manager
    else:
        name = f"reckon-test-{uuid4().hex}"
        with listening("\0" + name) as manager:
            yield "@" + name, manager


def test_it_is_told_line_by_line(manager):
    address, heard = manager

    ServiceManager({"NOTIFY_SOCKET": address}).tell(READY="1", STATUS="polled 20 keys")

    assert heard.recv(4096) == b"READY=1\nSTATUS=polled 20 keys"


def test_no_text_can_begin_a_line_of_its_own(manager):
    address, heard = manager

    ServiceManager({"NOTIFY_SOCKET": address}).tell(STATUS="poll.every:\nSTOPPING=1\r\n is no setting")

    assert heard.recv(4096) == b"STATUS=poll.every: STOPPING=1 is no setting"


def test_where_nobody_listens_nothing_is_said():
    ServiceManager({}).tell(READY="1")
    ServiceManager({"NOTIFY_SOCKET": "@nobody-is-there"}).tell(READY="1")
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell(READY="1")
    ServiceManager({"NOTIFY_SOCKET": "x" * 4096}).tell(READY="1")


def test_a_manager_that_is_too_busy_to_listen_is_not_waited_for(tmp_path_factory):
    name = str(tmp_path_factory.mktemp("notify") / "socket")
    with listening(name) as busy:
        manager = ServiceManager({"NOTIFY_SOCKET": name})
        for _ in range(2_000):
            manager.tell(WATCHDOG="1")

        assert busy.recv(4096) == b"WATCHDOG=1"


def test_where_no_file_can_be_opened_any_more_nothing_is_said_and_nothing_fails(manager):
    address, heard = manager
    silent = ServiceManager({"NOTIFY_SOCKET": address})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(socket.socket()) as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), before[1]))
        try:
            silent.tell(READY="1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    with pytest.raises(BlockingIOError):
        heard.recv(4096)


def test_what_is_meant_for_us_alone_is_taken_out_of_the_environment():
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "HOME": "/"}

    ServiceManager(environ)

    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({"WATCHDOG_USEC": "120000000"}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_if_it_is_ours(environ, watchdog):
    assert ServiceManager(environ).watchdog == watchdog
