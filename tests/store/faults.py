"""Trouble where a statement meets the driver."""

from contextlib import contextmanager
from itertools import count

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError


@contextmanager
def whenever(moment, act):
    """Do *act* at every *moment* of any engine."""
    event.listen(Engine, moment, act)
    try:
        yield
    finally:
        event.remove(Engine, moment, act)


@contextmanager
def failing(moment, number, error, *, times=1):
    """Let the statement *number*, counted from 0, raise *error* before or after it, and so the next ones."""
    reached = count()
    raised = []

    def fail(*_):
        n = next(reached)
        if n >= number and len(raised) < times:
            raised.append(n)
            raise error

    with whenever(moment, fail):
        yield raised


def lost_connection():
    return OperationalError("?", {}, Exception("the connection was lost"))
