"""The SQLite file: whose it is, who may write to it, and what is left when the disk or somebody interferes."""

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.errors import StoreBusy, StoreError, StoreMissing
from reckon.store import open_store
from tests.builders import MINUTE, at, book_of, contents, policy, snapshot, usd, watched

NOON = at("2026-11-20 12:00")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "reckon.db"


def url_of(file):
    return f"sqlite:///{quote(str(file))}"


def poll_once(store, minute, total):
    seen = Poll((snapshot(NOON + minute * MINUTE, total),))
    terms = policy()
    return store.commit_poll(lambda state: plans.after_poll(state, seen, (watched(),), terms, NOON), terms, NOON)


def spent(store):
    return book_of(store).amounts().spend_nanos


@contextmanager
def opened(file, *, writes=True):
    with open_store(url_of(file), writes=writes) as store:
        yield store


# --- Whose it is ---------------------------------------------------------------------------------------------------


def test_the_file_is_ours_to_read_and_nobody_elses(file):
    with opened(file) as store:
        poll_once(store, 0, "10")

        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        assert modes == dict.fromkeys(["reckon.db", "reckon.db-wal", "reckon.db-shm", "reckon.db.lock"], 0o600)


def test_a_database_of_another_program_is_left_alone(file):
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE photographs (id INTEGER)")
        other.commit()
    before = file.read_bytes()

    for writes in (True, False):
        with pytest.raises(StoreError, match="another program"):
            open_store(url_of(file), writes=writes)

    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(file):
    file.write_text("Dear diary, " * 1_000)
    before = file.read_bytes()

    for writes in (True, False):
        with pytest.raises(StoreError, match=r"cannot be read as a SQLite database.*backup"):
            open_store(url_of(file), writes=writes)

    assert file.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(file):
    file.touch()
    with pytest.raises(StoreMissing):
        open_store(url_of(file), writes=False)

    with opened(file) as store:
        poll_once(store, 0, "10")

    with opened(file, writes=False) as store:
        assert len(book_of(store).keys) == 1


def test_a_directory_that_does_not_exist_is_named_and_not_made(tmp_path):
    for writes in (True, False):
        with pytest.raises(StoreError, match="no-such-place"):
            open_store(f"sqlite:///{tmp_path}/no-such-place/reckon.db", writes=writes)

    assert not (tmp_path / "no-such-place").exists()


def test_a_directory_in_place_of_the_file_is_refused(file):
    file.mkdir()

    for writes in (True, False):
        with pytest.raises(StoreError):
            open_store(url_of(file), writes=writes)


def test_a_place_where_no_file_can_be_made_is_refused_in_words(file):
    file.with_name("reckon.db.lock").mkdir()

    with pytest.raises(StoreError, match=r"reckon\.db"):
        open_store(url_of(file), writes=True)

    assert not file.exists()


@pytest.mark.parametrize("name", ["100%41", "a b", "über", "#1", "it's"])
def test_a_path_may_hold_any_sign(tmp_path, name):
    file = tmp_path / name / "reckon.db"
    file.parent.mkdir()
    with opened(file) as store:
        poll_once(store, 0, "10")

    with opened(file) as store:
        poll_once(store, 1, "11")
    with opened(file, writes=False) as store:
        assert spent(store) == usd("1")

    assert {path.name for path in tmp_path.iterdir()} == {name}


NETWORK = """
mount --bind {mounts} /proc/$$/mountinfo && exec {python} -c '
from reckon.errors import StoreError
from reckon.store import open_store
try:
    open_store("sqlite:///{file}", writes=True)
except StoreError as refusal:
    print(refusal)
'
"""


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("ext4", False)])
def test_a_network_file_system_is_refused_before_anything_is_written(tmp_path, file, kind, refused):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody have mounts of their own")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 disk rw\n2 1 0:2 / {tmp_path} rw shared:7 - {kind} server:/home rw\n")
    script = NETWORK.format(mounts=mounts, python=sys.executable, file=file)

    answer = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert ("network file system" in answer.stdout) is refused
    assert (kind in answer.stdout) is refused
    assert file.exists() is not refused


# --- Who may write -------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_one_is_and_the_first_goes_on(file):
    with opened(file) as store:
        poll_once(store, 0, "10")

        with pytest.raises(StoreBusy, match=rf"process {os.getpid()}\b"):
            open_store(url_of(file), writes=True)

        poll_once(store, 1, "11")
        assert spent(store) == usd("1")


def test_a_writer_by_another_name_of_the_file_is_a_second_writer_too(file, tmp_path):
    with opened(file):
        link = tmp_path / "link.db"
        link.symlink_to(file)

        with pytest.raises(StoreBusy), opened(link):
            pass


def test_readers_need_nobodys_leave(file):
    with opened(file) as store:
        poll_once(store, 0, "10")
        with opened(file, writes=False) as one, opened(file, writes=False) as other:
            poll_once(store, 1, "11")
            assert spent(one) == spent(other) == usd("1")


def test_a_reader_cannot_write(file):
    with opened(file) as store:
        poll_once(store, 0, "10")

    with opened(file, writes=False) as store, pytest.raises(StoreError, match="readonly"):
        poll_once(store, 1, "11")
    with opened(file, writes=False) as store, pytest.raises(StoreError, match="readonly"), store.reading() as ledger:
        ledger.connection.exec_driver_sql("DELETE FROM snapshot")

    with opened(file) as store:
        assert len(book_of(store).snapshots) == 1


HOLD = """
import sys
from reckon.store import open_store
store = open_store(sys.argv[1], writes=True)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_was_killed_holds_nothing(file):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url_of(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy, match=rf"process {holder.pid}\b"):
            open_store(url_of(file), writes=True)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=10)

    with opened(file) as store:
        poll_once(store, 0, "10")


def test_a_foreign_writer_is_waited_for(file):
    with opened(file) as store, closing(sqlite3.connect(file, check_same_thread=False, isolation_level=None)) as other:
        poll_once(store, 0, "10")
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ["COMMIT"])
        release.start()

        poll_once(store, 1, "11")

        release.join()
        assert spent(store) == usd("1")


# --- What SQLite is told to be -------------------------------------------------------------------------------------


def pragmas(connection, *names):
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


def test_a_commit_has_reached_the_disk_and_no_reader_moves_the_log(file):
    with opened(file) as store:
        with store._writer.connect() as writer:
            assert pragmas(writer, "journal_mode", "synchronous", "foreign_keys", "mmap_size", "trusted_schema") == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "mmap_size": 0,
                "trusted_schema": 0,
            }
        with store.reading() as ledger:
            assert pragmas(ledger.connection, "query_only", "wal_autocheckpoint", "mmap_size") == {
                "query_only": 1,
                "wal_autocheckpoint": 0,
                "mmap_size": 0,
            }


@pytest.mark.parametrize("wrong", ["'25.50'", "'much'", "25.5", "NULL", "x'00'"])
def test_nothing_but_an_integer_stands_where_money_does(file, wrong):
    with opened(file) as store:
        poll_once(store, 0, "10")
        before = contents(book_of(store))

    with closing(sqlite3.connect(file)) as outside:
        for table, column in (("snapshot", "credits_nanos"), ("key", "n"), ("balance", "usage_nanos")):
            if (table, wrong) == ("key", "NULL"):
                continue
            if table == "balance":
                statement = f"INSERT INTO balance VALUES ('a', 1, 1, {wrong})"  # noqa: S608 - our own words
            else:
                statement = f"UPDATE {table} SET {column} = {wrong}"  # noqa: S608 - our own words
            with pytest.raises(sqlite3.IntegrityError, match=r"cannot store|NOT NULL"):
                outside.execute(statement)

    with opened(file) as store:
        assert contents(book_of(store)) == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO window_total VALUES (0, 1, 1, 0, -1, 0)",
        "INSERT INTO window_total VALUES (0, 1, 1, 0, 0, 1)",
        "INSERT INTO correction VALUES (1, 1, 'credits', 'correction', 0, 0, 1, 0)",
        "INSERT INTO snapshot SELECT * FROM snapshot",
        "INSERT INTO snapshot VALUES (99, 1, 0, 0, 0, 0, 0, 0)",
    ],
)
def test_the_schema_refuses_what_the_ledger_would_never_write(file, statement):
    with opened(file) as store:
        poll_once(store, 0, "10")

    with closing(sqlite3.connect(file)) as outside:
        outside.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError):
            outside.execute(statement)


# --- What is left when the disk interferes -------------------------------------------------------------------------


@contextmanager
def no_file_may_grow_beyond(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_and_the_ledger_goes_on_when_there_is_room(file):
    with opened(file) as store:
        poll_once(store, 0, "10")
        before = contents(book_of(store))
        log = file.with_name("reckon.db-wal")

        with no_file_may_grow_beyond(log.stat().st_size + 100), pytest.raises(StoreError, match="disk"):
            poll_once(store, 1, "11")

        assert contents(book_of(store)) == before
        poll_once(store, 2, "12")
        assert spent(store) == usd("2")
        assert store.damage() == []


def test_a_log_that_was_lost_leaves_an_older_ledger_and_the_next_poll_spans_the_gap(file, tmp_path):
    restored = tmp_path / "restored.db"
    with opened(file) as store:
        poll_once(store, 0, "10")
    with opened(file) as store:
        poll_once(store, 1, "11")
        shutil.copy(file, restored)  # without the log, in which the second poll still is

        assert spent(store) == usd("1")

    with opened(restored) as store:
        assert spent(store) == 0
        poll_once(store, 60, "15")
        assert spent(store) == usd("5")
        assert store.damage() == []


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file_is_told_in_words(file, damage):
    with opened(file) as store:
        for minute in range(200):
            poll_once(store, minute, str(minute))
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
    file.write_bytes(content)

    try:
        with opened(file, writes=False) as store:
            found = store.damage()
    except StoreError as refusal:
        found = [str(refusal)]

    assert found
    assert str(Path(file)) in found[0] or "ok" not in found
