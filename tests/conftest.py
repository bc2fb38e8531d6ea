"""The test bed: databases to borrow, an empty environment, and a canary watching every test.

For tests to use:

- `database_url` (every test runs on SQLite and on Postgres), `sqlite_url`, `postgres_url`: an empty database each.
- `fresh_database` (also `fresh_sqlite`, `fresh_postgres`): `with fresh_database() as url:`, for tests that need many.
- `secret_file(name, text, mode)`: a file that may hold a secret, because the test itself puts it there.
- `some_of(things, most)`: a sample of what is exhaustive, another each time; all of it under `--long`.
- `canary`: `look_at` what the bed cannot see by itself, `watch_requests` that a fake receives.
- `CANARIES` and `inference_key(n)` of `tests.canary`: the secrets to use, whenever one is needed.

`--long` adds the tests marked `long`, and lets Hypothesis try twenty times as much.
"""

import logging
import os
import platform
import shutil
import sqlite3
import subprocess
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from itertools import count
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.canary import Canary
from tests.databases import NoPostgres, PostgresServer, postgres_server
from tests.sampling import spread

PROJECT: Final = Path(__file__).resolve().parent.parent

_CANARY: Final = pytest.StashKey[Canary]()
_RAN: Final = pytest.StashKey[Counter[str]]()
_POSTGRES: Final = pytest.StashKey[str]()

_LEFT_OUT_OF_THE_ENVIRONMENT: Final = (
    ("RECKON_", "OPENROUTER_", "SLACK_"),
    {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "XDG_CONFIG_HOME"},
)


# --- The run -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")


def pytest_configure(config):
    config.stash[_RAN] = Counter()
    # Wherever the tests are started from, what Hypothesis remembers goes to the one place that git ignores.
    set_hypothesis_home_dir(PROJECT / ".hypothesis")
    # How long an example takes is the machine's business, so there is neither a deadline nor a complaint of slowness.
    always = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("short", max_examples=100, **always)
    settings.register_profile("long", max_examples=2_000, **always)
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # What waits for real processes goes first, so that no worker is left alone with it at the end.
    items.sort(key=lambda item: not ("/system/" in item.nodeid or "/test_demo_command" in item.nodeid))


def pytest_sessionfinish(session):
    """Let a worker of a divided run tell what it ran."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["ran"] = dict(session.config.stash[_RAN])
        output["postgres"] = session.config.stash.get(_POSTGRES, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Add what one worker of a divided run has told; one that died told nothing, and its test has failed."""
    del error
    told = getattr(node, "workeroutput", {})
    node.config.stash[_RAN].update(told.get("ran", {}))
    if told.get("postgres"):
        node.config.stash[_POSTGRES] = told["postgres"]


def pytest_terminal_summary(terminalreporter, config):
    ran = config.stash[_RAN]
    sqlite = f"sqlite {sqlite3.sqlite_version} ({ran['sqlite']} tests)"
    postgres = f"postgres {config.stash.get(_POSTGRES, 'not asked for')} ({ran['postgres']} tests)"
    terminalreporter.write_line(f"databases: {sqlite}, {postgres}")
    if without := ran["without postgres"]:
        terminalreporter.write_line(f"WITHOUT POSTGRES: {without} tests were skipped", red=True, bold=True)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("sqlalchemy", "psycopg", "httpx", "hypothesis"))
    terminalreporter.write_line(f"versions: python {platform.python_version()}, {libraries}")


@pytest.fixture
def some_of(request) -> Callable[[Sequence[Any], int], Sequence[Any]]:
    """Take so many of some things, or all under `--long`. A report of the test names the `SAMPLE` that repeats it."""
    is_long = request.config.getoption("--long")

    def take(things, most):
        if is_long:
            return things
        seed = os.environ.get("SAMPLE") or str(SystemRandom().randrange(10_000))
        request.node.add_report_section("call", "sample", f"{most} of {len(things)}, again by SAMPLE={seed}")
        return spread(things, most, Random(seed))  # noqa: S311 - which to try is no secret

    return take


# --- Databases -----------------------------------------------------------------------------------------------------

FreshDatabase = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def postgres(request) -> Iterator[PostgresServer]:
    """The session's server; it starts when the first test asks."""
    with ExitStack() as cleanup:
        try:
            server = cleanup.enter_context(postgres_server())
        except NoPostgres as reason:
            request.config.stash[_POSTGRES] = "missing"
            pytest.skip(f"no Postgres: {reason}")
        request.config.stash[_POSTGRES] = server.version
        yield server


@pytest.fixture
def _counts_on_postgres(request):
    # Counted by the test, not by the server: a skip of the server's fixture is kept and told to each test that asks.
    ran = request.config.stash[_RAN]
    try:
        request.getfixturevalue("postgres")
    except pytest.skip.Exception:
        ran["without postgres"] += 1
        raise
    ran["postgres"] += 1


@pytest.fixture
def fresh_postgres(_counts_on_postgres, postgres, canary) -> FreshDatabase:
    @contextmanager
    def lend():
        url = postgres.lend()
        try:
            yield url
        finally:
            for table, cells in postgres.take_back(url):
                canary.look_at(f"the Postgres table {table}", cells)

    return lend


@pytest.fixture
def fresh_sqlite(request, tmp_path, canary) -> FreshDatabase:
    request.config.stash[_RAN]["sqlite"] += 1
    number = count(1)

    @contextmanager
    def lend():
        directory = tmp_path / f"sqlite-{next(number)}"
        directory.mkdir()
        try:
            yield f"sqlite:///{directory}/reckon.db"
        finally:
            # One file at a time: a state machine asks for thousands.
            canary.look_at_directory(directory)
            shutil.rmtree(directory)

    return lend


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_database(request) -> FreshDatabase:
    return request.getfixturevalue(f"fresh_{request.param}")


@pytest.fixture
def sqlite_url(fresh_sqlite) -> Iterator[str]:
    with fresh_sqlite() as url:
        yield url


@pytest.fixture
def postgres_url(fresh_postgres) -> Iterator[str]:
    with fresh_postgres() as url:
        yield url


@pytest.fixture
def database_url(fresh_database) -> Iterator[str]:
    with fresh_database() as url:
        yield url


# --- The environment -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    parent = tmp_path_factory.mktemp("homes")
    return (parent / str(number) for number in count(1))


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch, canary, _homes):
    """Nothing of whoever runs the tests reaches one: no setting, no terminal, no home."""
    prefixes, names = _LEFT_OUT_OF_THE_ENVIRONMENT
    for name in [name for name in os.environ if name.startswith(prefixes) or name in names]:
        monkeypatch.delenv(name)
    home = next(_homes)
    home.mkdir()
    canary.watch_directory(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def secret_file(tmp_path, canary) -> Callable[..., Path]:
    """Write a file below `tmp_path` that may hold secrets for as long as nobody changes it."""

    def write(name: str, text: str, mode: int = 0o600) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        canary.allow(file)
        file.chmod(mode)
        return file

    return write


# --- The canary ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def canary(request, monkeypatch) -> Iterator[Canary]:
    """Watches this test; what it sees is judged once everything the test made has been closed."""
    watch = request.node.stash[_CANARY] = Canary()
    _see_warnings(watch, monkeypatch)
    _see_child_output(watch, monkeypatch)
    handler = _LogWatch(watch)
    logging.getLogger().addHandler(handler)
    yield watch
    logging.getLogger().removeHandler(handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "teardown" and (watch := item.stash.get(_CANARY, None)):
        del item.stash[_CANARY]
        for title, text in report.sections:
            watch.look_at(title, text)
        if leaks := watch.leaks():
            told = "A secret came out:\n" + "\n".join(f"  {leak}" for leak in leaks)
            if report.passed:
                report.outcome, report.longrepr = "failed", told
            else:
                report.sections.append(("Canary", told))
    return report


@pytest.fixture
def tmp_path(tmp_path, canary) -> Path:
    canary.watch_directory(tmp_path)
    return tmp_path


# What a test reads from its capture is gone from the report, so it is looked at on the way.


@pytest.fixture
def capsys(capsys, canary):
    return _seen(capsys, canary)


@pytest.fixture
def capfd(capfd, canary):
    return _seen(capfd, canary)


@pytest.fixture
def capsysbinary(capsysbinary, canary):
    return _seen(capsysbinary, canary)


@pytest.fixture
def capfdbinary(capfdbinary, canary):
    return _seen(capfdbinary, canary)


def _seen(capture, canary):
    read = capture.readouterr

    def readouterr():
        captured = read()
        canary.look_at("stdout", captured.out)
        canary.look_at("stderr", captured.err)
        return captured

    capture.readouterr = readouterr
    return capture


def _see_warnings(canary, monkeypatch):
    show = warnings.showwarning

    def showwarning(message, *rest):
        canary.look_at("a warning", str(message))
        show(message, *rest)

    monkeypatch.setattr(warnings, "showwarning", showwarning)


def _see_child_output(canary, monkeypatch):
    communicate = subprocess.Popen.communicate

    def seen(process, *args, **kwargs):
        stdout, stderr = communicate(process, *args, **kwargs)
        canary.look_at("stdout of a child process", stdout or b"")
        canary.look_at("stderr of a child process", stderr or b"")
        return stdout, stderr

    monkeypatch.setattr(subprocess.Popen, "communicate", seen)


class _LogWatch(logging.Handler):
    """Looks at all that a record carries; how it reads, with its traceback, stands in the report."""

    def __init__(self, watch: Canary) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        try:
            carried = repr(vars(record))
        except Exception:  # noqa: BLE001 - how a logging handler answers to an argument that cannot be printed
            self.handleError(record)
        else:
            self._watch.look_at(f"a log record of {record.name}", carried)
