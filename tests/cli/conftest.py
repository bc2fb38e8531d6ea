import logging
from zoneinfo import ZoneInfo

import pytest
import structlog

from reckon.app import system_clock
from reckon.core.windows import day_start
from reckon.fakes.world import World
from tests.builders import DAY, at
from tests.cli.town import Town


@pytest.fixture
def town(tmp_path, secret_file, capsys, canary) -> Town:
    """An account at noon of a Tuesday long past, with nobody in it yet."""
    world = World(at("2025-11-18 12:00"))
    canary.watch_requests(world.requests)
    return Town(tmp_path, secret_file, capsys.readouterr, world)


@pytest.fixture
def town_lately(tmp_path, secret_file, capsys, canary) -> Town:
    """The same at 00:00 UTC two days ago, for answers that depend on the present; it has no HTTP surface."""
    world = World(day_start(system_clock().date(), ZoneInfo("UTC")) - 2 * DAY)
    canary.watch_requests(world.requests)
    return Town(tmp_path, secret_file, capsys.readouterr, world, extra='[http]\nlisten = ""')


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
