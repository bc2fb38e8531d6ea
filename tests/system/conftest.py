import logging
import os
from collections.abc import Callable, Iterator

import pytest
import trustme

from tests.system.daemons import WEBHOOK_PATH, Team, Template
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
def authority() -> trustme.CA:
    """Whom the commands trust, beside nobody."""
    return trustme.CA()


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory, authority) -> Iterator[ForkServer]:
    home = tmp_path_factory.mktemp("home-of-commands")
    trusted = home / "trusted.pem"
    authority.cert_pem.write_to_path(str(trusted))
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1"}
    with ForkServer({**environ, "SSL_CERT_FILE": str(trusted)}) as server:
        yield server


@pytest.fixture
def commands(fork_server, tmp_path) -> Forks:
    """Runs `reckon` in processes of its own; what they print is kept below `tmp_path`."""
    return Forks(fork_server, tmp_path)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Template:
    return Template.made_in(tmp_path_factory.mktemp("past-of-a-team"))


@pytest.fixture
def make_team(template, commands, secret_file, canary, authority) -> Callable[[str], Team]:
    """Make a team whose past the ledger at a URL knows; what its fakes receive is watched."""

    def make(store_url: str) -> Team:
        team = Team(template, store_url, commands, secret_file, authority)
        # The path of a webhook is its secret, and has to be sent.
        canary.watch_requests(request for request in team.workspace.requests if request.path != WEBHOOK_PATH)
        canary.watch_requests(team.world.requests)
        return team

    return make
