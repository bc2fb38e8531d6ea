import pytest

from reckon.store import open_store
from tests.web.house import House


@pytest.fixture
def house(sqlite_url):
    with open_store(sqlite_url, writes=True) as store:
        yield House(store)
