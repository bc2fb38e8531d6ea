"""Two things at once, within a deadline."""

import threading
import time
from contextlib import contextmanager

DEADLINE_SECONDS = 20


def wait_until(condition):
    ends = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.005)


@contextmanager
def in_another_thread(act):
    """Do *act* meanwhile; at the end of the block it has returned, and anything it raised is raised here."""
    trouble = []

    def run():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            trouble.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
    if trouble:
        raise trouble[0]
