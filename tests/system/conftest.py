import logging
import os
from collections.abc import Iterator

import pytest

from tests.system.forks import Forks, ForkServer


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Whoever opens a poller in this process sends the whole process's log elsewhere."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory) -> Iterator[ForkServer]:
    home = tmp_path_factory.mktemp("home-of-commands")
    with ForkServer({"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1"}) as server:
        yield server


@pytest.fixture
def commands(fork_server, tmp_path) -> Forks:
    """Runs `reckon` in processes of its own; what they print is kept below `tmp_path`."""
    return Forks(fork_server, tmp_path)
