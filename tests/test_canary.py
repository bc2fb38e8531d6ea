"""The watch is itself watched: every way out, in every disguise, must make a test fail, and clean tests must not."""

import os
import re
import sqlite3
import subprocess
import sys
from base64 import b64encode
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pytest

from tests.canary import CANARIES, Canary, inference_key

PROJECT = Path(__file__).resolve().parent.parent


def random_part_of(secret):
    return re.search("[0-9a-f]{24,}", secret).group()


DISGUISES = {
    "verbatim": lambda secret: secret,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "capitals": str.upper,
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    "first sixteen": lambda secret: random_part_of(secret)[:16],
    "last sixteen": lambda secret: random_part_of(secret)[-16:],
    "first sixteen, hex": lambda secret: random_part_of(secret)[:16].encode().hex(),
    "last sixteen, HEX": lambda secret: random_part_of(secret)[-16:].encode().hex().upper(),
    **{
        f"{piece}base64 after {len(before)}": lambda secret, before=before, cut=cut: b64encode(
            before + (random_part_of(secret)[cut] if cut else secret).encode()
        ).decode()
        for piece, cut in (("", None), ("first sixteen, ", slice(16)), ("last sixteen, ", slice(-16, None)))
        for before in (b"", b":", b"u:")
    },
}


@pytest.fixture
def watch(tmp_path_factory):
    """Another watch than this test's own, which must not see what is leaked here on purpose."""
    watch = Canary()
    watch.directory = tmp_path_factory.mktemp("leaks")
    watch.watch_directory(watch.directory)
    return watch


def names_of(leaks):
    return {leak.canary for leak in leaks}


# --- What is found -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("name", CANARIES)
def test_every_canary_is_found_and_named_in_every_disguise(watch, name, disguise):
    watch.look_at("here", f"{{'token': '{DISGUISES[disguise](CANARIES[name])}'}}")

    assert name in names_of(watch.leaks())


def test_a_key_without_a_name_is_found(watch):
    watch.look_at("here", inference_key(4_711))

    assert names_of(watch.leaks()) == {"a canary that has no name"}


def test_keys_differ_as_the_real_ones_do():
    keys = {inference_key(number) for number in range(10_000)}

    assert len(keys) == 10_000
    assert all(re.fullmatch("sk-or-v1-[0-9a-f]{64}", key) for key in keys)


def test_a_mask_and_a_hash_are_not_leaks(watch):
    for secret in CANARIES.values():
        part = random_part_of(secret)
        watch.look_at("here", f"sk-or-v1-{part[:3]}...{part[-3:]} {sha256(secret.encode()).hexdigest()}")

    assert watch.leaks() == ()


def test_a_leak_is_told_without_repeating_it(watch):
    secret = CANARIES["http_token"]
    (watch.directory / f"{secret}.txt").write_text(secret)

    told = [str(leak) for leak in watch.leaks()]

    assert len(told) == 2
    assert all(text.startswith("http_token, in plain, in ") for text in told)
    assert not any(random_part_of(secret)[cut] in text for text in told for cut in (slice(16), slice(-16, None)))


# --- Files ---------------------------------------------------------------------------------------------------------


def test_a_secret_torn_by_the_reading_is_found(watch):
    secret = CANARIES["slack_bot_token"]
    (watch.directory / "big").write_bytes(b"-" * (8 * 1024 * 1024 - len(secret) + 12) + secret.encode())

    assert names_of(watch.leaks()) == {"slack_bot_token"}


def test_a_file_nobody_may_read_is_read(watch):
    file = watch.directory / "locked"
    file.write_text(CANARIES["prompt"])
    file.chmod(0)

    assert names_of(watch.leaks()) == {"prompt"}


def test_a_pipe_is_left_alone(watch):
    os.mkfifo(watch.directory / "pipe")

    assert watch.leaks() == ()


def test_a_row_torn_over_two_pages_is_found(watch):
    fragment = random_part_of(CANARIES["management_key"])[:16]
    file = watch.directory / "reckon.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA page_size = 512")
        database.execute("CREATE TABLE note (text TEXT)")
        # Of 700 characters such a page keeps 192, and the rest goes to the next.
        database.execute("INSERT INTO note VALUES (?)", (fragment.rjust(200, "-").ljust(700, "-"),))
        database.commit()
    assert fragment.encode() not in file.read_bytes()

    assert names_of(watch.leaks()) == {"management_key"}


def test_a_damaged_database_is_still_read_as_a_file(watch):
    file = watch.directory / "reckon.db"
    file.write_bytes(b"SQLite format 3\0" + CANARIES["slack_webhook_url"].encode())

    assert names_of(watch.leaks()) == {"slack_webhook_url"}


def test_a_file_that_was_given_may_hold_its_secret_until_it_changes(watch):
    file = watch.directory / "reckon.toml"
    file.write_text(CANARIES["inference_key"])
    watch.allow(file)
    assert watch.leaks() == ()

    (watch.directory / "copy.toml").write_text(CANARIES["inference_key_2"])
    assert names_of(watch.leaks()) == {"inference_key_2"}

    file.write_text(f"{CANARIES['inference_key']} # seen")
    assert names_of(watch.leaks()) == {"inference_key", "inference_key_2"}


# --- Requests ------------------------------------------------------------------------------------------------------


def request_with(**parts):
    quiet = {"method": "GET", "path": "/key", "query": "", "headers": {}, "body": b""}
    return SimpleNamespace(**quiet | parts)


BEARER = f"Bearer {CANARIES['inference_key']}"


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": BEARER}, [("authorization", BEARER)], [(b"authorization", BEARER.encode())]],
    ids=["mapping", "pairs", "bytes"],
)
def test_a_secret_may_stand_in_the_authorization_header(watch, headers):
    watch.watch_requests([request_with(headers=headers)])

    assert watch.leaks() == ()


@pytest.mark.parametrize(
    "parts",
    [
        {"method": CANARIES["inference_key"]},
        {"path": f"/key/{CANARIES['inference_key']}"},
        {"query": f"key={CANARIES['inference_key']}"},
        {"query": {"key": [CANARIES["inference_key"]]}},
        {"body": f'{{"text": "{CANARIES["inference_key"]}"}}'.encode()},
        {"headers": {"X-Api-Key": CANARIES["inference_key"]}},
        {"headers": [(b"cookie", CANARIES["inference_key"].encode())]},
        {"headers": {CANARIES["inference_key"]: "1"}},
    ],
    ids=["method", "path", "query", "parsed query", "body", "header", "header in bytes", "header name"],
)
def test_a_secret_anywhere_else_in_a_request_is_found(watch, parts):
    requests = []
    watch.watch_requests(requests)
    requests.append(request_with(**parts))  # as a fake does: after it was put under watch

    assert names_of(watch.leaks()) == {"inference_key"}


# --- The whole bed, over tests that leak ---------------------------------------------------------------------------

LEAKING_TESTS = """
import logging, os, sqlite3, subprocess, sys, warnings
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psycopg, pytest

from tests.canary import CANARIES
from tests.test_canary import DISGUISES


@pytest.fixture(params=[name for name in DISGUISES if not name.endswith(("after 1", "after 2"))])
def leak(request):
    return DISGUISES[request.param](CANARIES["postgres_password"])


def test_leak_to_stdout(leak): print(leak)
def test_leak_to_stderr(leak): print(leak, file=sys.stderr)
def test_leak_to_a_descriptor(leak): os.write(2, leak.encode())
def test_leak_to_a_log(leak): logging.getLogger("x").warning("sent %s", leak)
def test_leak_to_a_log_record(leak): logging.getLogger("x").warning("sent", extra={"token": leak})
def test_leak_to_a_file(leak, tmp_path): (tmp_path / "f").write_text(leak)
def test_leak_to_a_file_far_below(leak, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_text(leak)
def test_leak_to_the_home(leak): (Path.home() / "f").write_text(leak)
def test_leak_before_the_end(leak, before_the_end): pass
def test_leak_to_a_child(leak):
    subprocess.run([sys.executable, "-c", "print(input())"], input=leak.encode(), capture_output=True, check=True)


@pytest.fixture
def before_the_end(leak):
    yield
    print(leak)


def test_leak_to_what_a_test_reads(leak, capsys):
    print(leak)
    assert capsys.readouterr().out


def test_leak_to_what_a_test_reads_in_bytes(leak, capfdbinary):
    os.write(1, leak.encode())
    assert capfdbinary.readouterr().out


def test_leak_to_a_traceback(leak):
    try:
        raise ValueError(leak)
    except ValueError:
        logging.getLogger("x").exception("failed")


def test_leak_to_a_log_that_was_cleared(leak, caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").debug("sent %s", leak)
    caplog.clear()


@pytest.mark.filterwarnings("default")
def test_leak_to_a_warning(leak): warnings.warn(leak)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_leak_to_a_sqlite_row(leak, sqlite_url, journal):
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("CREATE TABLE t (n INTEGER, x TEXT)")
        database.execute("INSERT INTO t VALUES (1, ?)", (leak,))
        database.commit()


@pytest.mark.parametrize("type", ["text", "bytea", "text[]", "jsonb"])
def test_leak_to_a_postgres_row(leak, postgres_url, type):
    value = {"text": leak, "bytea": leak.encode(), "text[]": [leak], "jsonb": f'{{"a": "{leak}"}}'}[type]
    with psycopg.connect(postgres_url) as database:
        database.execute("CREATE SCHEMA other")
        database.execute(f"CREATE TABLE other.t (n bigint, x {type})")
        database.execute("INSERT INTO other.t VALUES (1, %s)", (value,))


@pytest.mark.parametrize("part", ["path", "query", "headers", "body"])
def test_leak_to_a_request(leak, canary, part):
    request = SimpleNamespace(method="GET", path="/key", query="", headers={}, body=b"")
    setattr(request, part, {"X-Key": leak} if part == "headers" else leak)
    canary.watch_requests([request])


def test_clean_of_everything(): pass


def test_clean_file(tmp_path, secret_file, capsys, caplog):
    file = secret_file("etc/reckon.toml", f"key = '{CANARIES['inference_key']}'")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file == tmp_path / "etc" / "reckon.toml"
    print("saved"); logging.getLogger("x").warning("saved")
    assert capsys.readouterr().out == "saved\\n"


@pytest.mark.parametrize("visit", [1, 2])
def test_clean_database(database_url, visit):
    connect = {"p": psycopg.connect, "s": lambda url: sqlite3.connect(url.removeprefix("sqlite:///"))}
    with closing(connect[database_url[0]](database_url)) as database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("INSERT INTO t VALUES ('fine')")
        database.commit()


def test_clean_databases_one_after_another(fresh_database):
    seen = set()
    for _ in range(3):
        with fresh_database() as url:
            seen.add(url)
    assert seen


def test_clean_environment(tmp_path):
    assert not [name for name in os.environ if name.startswith(("RECKON_", "OPENROUTER_", "SLACK_"))]
    assert not os.environ.keys() & {"STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "XDG_CONFIG_HOME"}
    assert (os.environ["COLUMNS"], os.environ["NO_COLOR"]) == ("80", "1")
    assert list(Path.home().iterdir()) == []


@pytest.mark.long
def test_clean_but_long(): pass
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, postgres):
    """Run the tests above in a pytest of their own; yield the trouble of each test by name, "" where there was none."""
    place = tmp_path_factory.mktemp("bed")
    (place / "test_leaks.py").write_text(LEAKING_TESTS)
    report = place / "report.xml"
    database = postgres.lend()
    environment = os.environ | {
        "RECKON_TEST_POSTGRES_URL": database,
        "RECKON_OWNERS": "nobody",
        "OPENROUTER_API_KEY": "nothing",
        "SLACK_BOT_TOKEN": "nothing",
        "STATE_DIRECTORY": "/nowhere",
        "CREDENTIALS_DIRECTORY": "/nowhere",
        "XDG_CONFIG_HOME": "/nowhere",
    }
    with (place / "output").open("wb") as output:
        options = ["-c", "pyproject.toml", f"--rootdir={place}", "-p", "tests.conftest", "-p", "no:cacheprovider"]
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--basetemp={place / 'tmp'}", f"--junit-xml={report}", place],
            cwd=PROJECT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    postgres.take_back(database)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own child a moment ago
        trouble = "".join(part.text or "" for kind in ("failure", "error", "skipped") for part in case.iter(kind))
        outcomes[case.get("name")] = outcomes.get(case.get("name"), "") + trouble
    return outcomes


WAYS_OUT = re.findall(r"def (test_leak\w+)", LEAKING_TESTS)


@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_a_leak_makes_the_test_fail(outcomes, way_out):
    told = {name: trouble for name, trouble in outcomes.items() if name.partition("[")[0] == way_out}

    assert len(told) >= 10
    for name, trouble in told.items():
        assert trouble.startswith("A secret came out:\n  postgres_password, in "), name


def test_a_clean_test_passes(outcomes):
    clean = {name.partition("[")[0]: trouble for name, trouble in outcomes.items() if name.startswith("test_clean")}

    assert set(clean.values()) == {""}
    assert set(clean) == set(re.findall(r"def (test_clean\w+)", LEAKING_TESTS)) - {"test_clean_but_long"}
