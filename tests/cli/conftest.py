import logging

import pytest
import structlog

from reckon.fakes.world import World
from tests.builders import at
from tests.cli.town import Town


@pytest.fixture
def town(tmp_path, secret_file, capsys, canary) -> Town:
    """An account at noon of a Tuesday long past, with nobody in it yet."""
    world = World(at("2025-11-18 12:00"))
    canary.watch_requests(world.requests)
    return Town(tmp_path, secret_file, capsys.readouterr, world)


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Commands set up the logging of their process; a test's process goes on."""
    root = logging.getLogger()
    levels = {
        name: logging.getLogger(name).level for name in ("", "httpx", "httpcore", "sqlalchemy", "alembic", "asyncio")
    }
    handlers = root.handlers[:]
    yield
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()
