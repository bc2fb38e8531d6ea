"""`reckon verify` against a ledger that somebody has tampered with: one thing at a time, each found and named.

The ledger has a history of three days: growth in every hour, a dip that passed, one that stayed, a counter that began
again, money of a team's own upstream keys, a night nobody looked, a key that changed hands, one that left, one that
never answered, and a dip that is still open.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest
from sqlalchemy import Engine, create_engine, text

from reckon.cli import run
from reckon.core import plans
from reckon.core.polls import Poll
from reckon.core.records import Failure, FailureReason, Reading, Snapshot, WatchedKey
from reckon.store import Store, open_store
from reckon.store.engines import parse
from tests.builders import HOUR, at, key_hash, policy, usd
from tests.system.ledger_rows import Rows, lay_down, stored

KEYS = {"laptop": "ana", "agent": "ana", "batch": "ben", "shared": "ben", "former": "cleo", "silent": "dan"}
POLICY = policy(poll_every=HOUR)
FIRST, LAST = at("2026-11-18 20:05"), at("2026-11-20 12:05")


@dataclass
class Life:
    """What a key shows, hour by hour: a lifetime counter that has grown, fallen, or begun again."""

    total_nanos: int
    byok_nanos: int = 0

    def shown(self, name: str, now: datetime, midnight: "Life") -> Snapshot:
        def reading(total: int, at_midnight: int) -> Reading:
            today = max(0, total - at_midnight)
            return Reading(total, today, today, total)

        return Snapshot(
            key_hash(name),
            now,
            reading(self.total_nanos, midnight.total_nanos),
            reading(self.byok_nanos, midnight.byok_nanos),
        )


def live_through_three_days(store: Store) -> None:
    lives = {name: Life(usd("100") + number * usd("7")) for number, name in enumerate(KEYS)}
    midnights = {name: Life(life.total_nanos, life.byok_nanos) for name, life in lives.items()}
    hours = int((LAST - FIRST) / HOUR)
    for hour in range(hours + 1):
        now = FIRST + hour * HOUR
        if now.hour == 0:
            midnights = {name: Life(life.total_nanos, life.byok_nanos) for name, life in lives.items()}
        _spend(lives, hour)
        if hour in (4, 5, 6):
            continue  # a night nobody looked: a gap over midnight
        answered = [lives[name].shown(name, now, midnights[name]) for name in KEYS if name != "silent"]
        owners = KEYS | ({"shared": "ana"} if hour > 20 else {})
        watched = [WatchedKey(key_hash(name), owner, name) for name, owner in owners.items()]
        if hour > 25:
            watched = [entry for entry in watched if entry.name != "former"]
            answered = [snapshot for snapshot in answered if snapshot.key_hash != key_hash("former")]
        poll = Poll(tuple(answered), (Failure(key_hash("silent"), FailureReason.ACCESS_DENIED, "HTTP 401"),))
        store.commit_poll(lambda state, p=poll, w=watched, n=now: plans.after_poll(state, p, w, POLICY, n), POLICY, now)


def _spend(lives: dict[str, Life], hour: int) -> None:
    for number, (name, life) in enumerate(lives.items()):
        if name != "agent" or hour < 30:
            life.total_nanos += 1_000_003 * (hour + 1) + number
    lives["batch"].byok_nanos += 777 * (hour % 5)
    if hour == 8:  # a refund that is believed three polls later
        lives["laptop"].total_nanos -= usd("1.5")
    if hour == 14:  # a replica behind, for one poll
        lives["shared"].total_nanos -= usd("0.9")
    if hour == 15:
        lives["shared"].total_nanos += usd("0.9")
    if hour == 18:  # a counter that began again
        lives["former"].total_nanos = usd("0.000000123")
    if hour == 24:
        lives["batch"].byok_nanos -= 20_000
    if hour == 39:  # below its mark to the end
        lives["agent"].total_nanos -= usd("0.25")


# --- Damage --------------------------------------------------------------------------------------------------------


MOMENTS = {
    "noon": at("2026-11-19 12:15"),  # a quarter of an hour of a closed day
    "today": at("2026-11-20 10:15"),
    "night": at("2026-11-20 00:05"),
    "long_ago": at("2026-11-17 12:00"),
}

DAMAGE: dict[str, tuple[str, str]] = {
    # What is planted, and what must be told: about whom, and what.
    "a mark raised": (
        'UPDATE "key" SET credits_mark_nanos = credits_mark_nanos + 1 WHERE id = :laptop',
        "ana/laptop: credits mark",
    ),
    "a mark lowered": (
        'UPDATE "key" SET credits_mark_nanos = credits_mark_nanos - 1 WHERE id = :laptop',
        "ana/laptop: credits mark",
    ),
    "a byok mark raised": (
        'UPDATE "key" SET byok_mark_nanos = byok_mark_nanos + 1 WHERE id = :batch',
        "ben/batch: byok mark",
    ),
    "a last value changed": (
        'UPDATE "key" SET credits_nanos = credits_nanos - 1 WHERE id = :laptop',
        "ana/laptop: credits counter",
    ),
    "a last byok value changed": (
        'UPDATE "key" SET byok_nanos = byok_nanos + 1 WHERE id = :batch',
        "ben/batch: byok counter",
    ),
    "a day counter changed": (
        'UPDATE "key" SET credits_daily_nanos = 0 WHERE id = :batch',
        "ben/batch: credits day counter",
    ),
    "an opening changed": (
        'UPDATE "key" SET credits_opening_nanos = credits_opening_nanos - 1 WHERE id = :batch',
        "ben/batch: credits opening",
    ),
    "a byok opening changed": (
        'UPDATE "key" SET byok_opening_nanos = 5 WHERE id = :batch',
        "ben/batch: byok opening",
    ),
    "an opening moved": (
        'UPDATE "key" SET opened_at = opened_at - 60 WHERE id = :batch',
        "ben/batch: first sight",
    ),
    "a count raised": (
        'UPDATE "key" SET n = n + 1 WHERE id = :batch',
        "ben/batch: numbers of the snapshots",
    ),
    "a count lowered": (
        'UPDATE "key" SET n = n - 1 WHERE id = :batch',
        "ben/batch: numbers of the snapshots",
    ),
    "a key that was never seen": (
        'UPDATE "key" SET opened_at = NULL, last_seen_at = NULL, n = NULL WHERE id = :batch',
        "ben/batch: stored snapshots",
    ),
    "a dip forgotten": (
        (
            'UPDATE "key" SET credits_dip_after = NULL, credits_dip_since = NULL, credits_dip_lowest_nanos = '
            "NULL, credits_dip_polls = NULL, credits_dip_first_n = NULL WHERE id = :agent"
        ),
        "ana/agent: credits dip",
    ),
    "a dip forged": (
        (
            'UPDATE "key" SET credits_dip_after = :noon, credits_dip_since = :today, credits_dip_lowest_nanos = '
            "1, credits_dip_polls = 1, credits_dip_first_n = 30 WHERE id = :laptop"
        ),
        "ana/laptop: credits dip",
    ),
    "a dip deeper": (
        'UPDATE "key" SET credits_dip_lowest_nanos = credits_dip_lowest_nanos - 1 WHERE id = :agent',
        "ana/agent: credits dip",
    ),
    "a dip of another time": (
        'UPDATE "key" SET credits_dip_since = credits_dip_since - 3600 WHERE id = :agent',
        "ana/agent: credits dip",
    ),
    "a snapshot deleted": (
        "DELETE FROM snapshot WHERE key_id = :batch AND n = 12",
        "ben/batch: numbers of the snapshots",
    ),
    "the last snapshot deleted": (
        "DELETE FROM snapshot WHERE key_id = :batch AND at = (SELECT max(at) FROM snapshot)",
        "ben/batch: numbers of the snapshots",
    ),
    "every snapshot deleted": (
        "DELETE FROM snapshot WHERE key_id = :batch",
        "ben/batch: stored snapshots",
    ),
    "a snapshot that never was": (
        (
            "INSERT INTO snapshot SELECT key_id, n + 1000, at + 60, 60, credits_nanos + 1, credits_daily_nanos, "
            "byok_nanos, byok_daily_nanos FROM snapshot WHERE key_id = :batch AND n = 12"
        ),
        "ben/batch: numbers of the snapshots",
    ),
    "a counter higher in a snapshot": (
        "UPDATE snapshot SET credits_nanos = credits_nanos + 1 WHERE key_id = :batch AND n = 12",
        "ben/batch: credits window",
    ),
    "a byok counter lower in a snapshot": (
        "UPDATE snapshot SET byok_nanos = byok_nanos - 1 WHERE key_id = :batch AND n = 12",
        "ben/batch: byok window",
    ),
    "a day counter changed over midnight": (
        ("UPDATE snapshot SET credits_daily_nanos = credits_daily_nanos / 2 WHERE key_id = :batch AND at = :night"),
        "ben/batch: credits window 2026-11-19T23:45Z",
    ),
    "a snapshot of another time": (
        "UPDATE snapshot SET at = at + 1800 WHERE key_id = :batch AND n = 12",
        "ben/batch: credits window",
    ),
    "a longer stretch": (
        "UPDATE snapshot SET stretch_seconds = stretch_seconds + 900 WHERE key_id = :batch AND n = 12",
        "ben/batch: credits window",
    ),
    "a negative stretch": (
        "UPDATE snapshot SET stretch_seconds = -1 WHERE key_id = :batch AND n = 12",
        "ben/batch: snapshots that end before they begin",
    ),
    "two snapshots in each other's place": (
        (
            "UPDATE snapshot SET n = 0 WHERE key_id = :batch AND n = 12;"
            "UPDATE snapshot SET n = 12 WHERE key_id = :batch AND n = 13;"
            "UPDATE snapshot SET n = 13 WHERE key_id = :batch AND n = 0"
        ),
        "ben/batch: credits window",
    ),
    "two keys with each other's snapshot": (
        (
            "UPDATE snapshot SET n = 9012 WHERE key_id = :batch AND n = 12;"
            "UPDATE snapshot SET key_id = :batch WHERE key_id = :laptop AND n = 12;"
            "UPDATE snapshot SET key_id = :laptop, n = 12 WHERE key_id = :batch AND n = 9012"
        ),
        "ana/laptop: credits window",
    ),
    "a nano-dollar more in a window": (
        ("UPDATE window_total SET spend_nanos = spend_nanos + 1 WHERE key_id = :batch AND start = :noon AND meter = 0"),
        "ben/batch: credits window 2026-11-19T12:15Z",
    ),
    "a nano-dollar less today": (
        (
            "UPDATE window_total SET spend_nanos = spend_nanos - 1 WHERE key_id = :batch AND start = :today AND "
            "meter = 0"
        ),
        "ben/batch: credits window 2026-11-20T10:15Z",
    ),
    "a byok window changed": (
        ("UPDATE window_total SET spend_nanos = spend_nanos + 1 WHERE key_id = :batch AND start = :noon AND meter = 1"),
        "ben/batch: byok window 2026-11-19T12:15Z",
    ),
    "a window deleted": (
        "DELETE FROM window_total WHERE key_id = :batch AND start = :noon AND meter = 0",
        "ben/batch: credits window 2026-11-19T12:15Z",
    ),
    "a window that never was": (
        "INSERT INTO window_total VALUES (:long_ago, :ben, :batch, 0, 1, 0)",
        "ben/batch: credits window 2026-11-17T12:00Z",
    ),
    "a window moved": (
        ("UPDATE window_total SET start = start - 30 * 86400 WHERE key_id = :batch AND start = :noon AND meter = 0"),
        "ben/batch: credits window 2026-10-20T12:15Z",
    ),
    "a window off the grain": (
        "UPDATE window_total SET start = start + 1 WHERE key_id = :batch AND start = :noon AND meter = 0",
        "ben/batch: credits window 2026-11-19T12:15Z",
    ),
    "a window of the other meter": (
        "UPDATE window_total SET meter = 1 WHERE key_id = :laptop AND start = :noon AND meter = 0",
        "ana/laptop: byok window 2026-11-19T12:15Z",
    ),
    "a window of another key": (
        (
            "UPDATE window_total SET key_id = :agent, start = :today WHERE key_id = :laptop AND start = :noon AND "
            "meter = 0"
        ),
        "ana/laptop: credits window 2026-11-19T12:15Z",
    ),
    "a window of a key that was never seen": (
        "INSERT INTO window_total VALUES (:today, :dan, :silent, 0, 1, 0)",
        "dan/silent: windows of a key never seen",
    ),
    "a window of another owner": (
        "UPDATE window_total SET owner_id = :cleo WHERE key_id = :batch AND start = :noon AND meter = 0",
        "cleo: closed day 2026-11-19",
    ),
    "a correction in a window changed": (
        (
            "UPDATE window_total SET correction_nanos = correction_nanos - 1 WHERE key_id = :batch AND start = "
            ":noon AND meter = 0"
        ),
        "ben/batch: credits window 2026-11-19T12:15Z",
    ),
    "a correction changed": (
        "UPDATE correction SET nanos = nanos - 1 WHERE key_id = :laptop",
        "ana/laptop: credits corrections",
    ),
    "a correction missing": (
        "DELETE FROM correction WHERE key_id = :laptop",
        "ana/laptop: credits opening + deltas + corrections",
    ),
    "a byok correction missing": (
        "DELETE FROM correction WHERE key_id = :batch",
        "ben/batch: byok window",
    ),
    "a correction that never was": (
        (
            "INSERT INTO correction (key_id, last_n, meter, kind, at, nanos, first_n, decided_at) VALUES (:batch, "
            "12, 'credits', 'correction', :noon, -1, 11, :noon)"
        ),
        "ben/batch: credits corrections",
    ),
    "a correction of another time": (
        "UPDATE correction SET at = at - 86400 WHERE key_id = :laptop",
        "ana/laptop: credits corrections",
    ),
    "a reset called a correction": (
        "UPDATE correction SET kind = 'correction' WHERE key_id = :former",
        "cleo/former: credits corrections",
    ),
    "a correction that began elsewhere": (
        "UPDATE correction SET first_n = first_n - 1 WHERE key_id = :laptop",
        "ana/laptop: credits corrections",
    ),
    "a correction of the other meter": (
        "UPDATE correction SET meter = 'byok' WHERE key_id = :laptop",
        "ana/laptop: credits mark",
    ),
    "a correction of another key": (
        "UPDATE correction SET key_id = :agent WHERE key_id = :laptop",
        "ana/agent: credits corrections",
    ),
    "a closed day changed": (
        "UPDATE owner_day SET spend_nanos = spend_nanos + 1 WHERE owner_id = :ben AND day = '2026-11-19'",
        "ben: closed day 2026-11-19",
    ),
    "a closed day's corrections changed": (
        "UPDATE owner_day SET correction_nanos = 0 WHERE owner_id = :ana AND day = '2026-11-19'",
        "ana: closed day 2026-11-19",
    ),
    "a closed day's byok changed": (
        "UPDATE owner_day SET byok_nanos = byok_nanos - 1 WHERE owner_id = :ben AND day = '2026-11-19'",
        "ben: closed day 2026-11-19",
    ),
    "a closed day's byok corrections changed": (
        "UPDATE owner_day SET byok_correction_nanos = -1 WHERE owner_id = :ana AND day = '2026-11-19'",
        "ana: closed day 2026-11-19",
    ),
    "a closed day deleted": (
        "DELETE FROM owner_day WHERE owner_id = :ben AND day = '2026-11-19'",
        "ben: closed day 2026-11-19",
    ),
    "a closed day that never was": (
        "INSERT INTO owner_day VALUES (:ben, '2026-11-01', 1, 0, 0, 0, 'settled', 0)",
        "ben: closed day 2026-11-01",
    ),
    "a closed day of another owner": (
        (
            "DELETE FROM owner_day WHERE owner_id = :cleo AND day = '2026-11-19';"
            "UPDATE owner_day SET owner_id = :cleo WHERE owner_id = :ben AND day = '2026-11-19'"
        ),
        "cleo: closed day 2026-11-19",
    ),
    "a closed day of another date": (
        "UPDATE owner_day SET day = '2026-11-17' WHERE owner_id = :ben AND day = '2026-11-19'",
        "ben: closed day 2026-11-17",
    ),
    "a day closed too early": (
        "UPDATE owner SET open_day = '2026-11-21' WHERE name = 'ben'",
        "ben: closed day 2026-11-20",
    ),
    "a day opened again": (
        "UPDATE owner SET open_day = '2026-11-19' WHERE name = 'ben'",
        "ben: closed day 2026-11-19",
    ),
    "the days of another zone": (
        "UPDATE meta SET value = 'Asia/Tokyo' WHERE name = 'zone'",
        "ben: closed day 2026-11-19",
    ),
    "a gap with another midnight": (
        "UPDATE gap SET midnight = midnight + 3600 WHERE key_id = :batch",
        "ben/batch: gap at snapshot",
    ),
    "an opening's day counter changed": (
        'UPDATE "key" SET credits_opening_daily_nanos = 1 WHERE id = :batch',
        "ben/batch: credits opening's day counter",
    ),
    "a correction decided at once": (
        "UPDATE correction SET decided_at = at WHERE key_id = :laptop",
        "ana/laptop: credits corrections too early",
    ),
    "an idle day closed ahead of time": (
        "INSERT INTO owner_day VALUES (:ben, '2026-11-25', 0, 0, 0, 0, 'settled', 0)",
        "ben: closed day 2026-11-25",
    ),
    "a kind that does not exist": ("UPDATE correction SET kind = 'x' WHERE key_id = :laptop", "database: rows"),
    "a day that is none": (
        "UPDATE owner_day SET day = 'x' WHERE owner_id = :ben AND day = '2026-11-19'",
        "database: rows",
    ),
    "a state that does not exist": ("UPDATE owner_day SET state = 'x' WHERE owner_id = :ben", "database: rows"),
    "a zone that does not exist": ("UPDATE meta SET value = 'Mars/Base' WHERE name = 'zone'", "database: rows"),
    "an instant beyond all calendars": (
        "UPDATE snapshot SET at = 9000000000000000 WHERE key_id = :batch AND n = 12",
        "database: rows",
    ),
    "half a counter": ('UPDATE "key" SET n = NULL WHERE id = :batch', "database: rows"),
    "half a dip": ('UPDATE "key" SET credits_dip_since = :noon WHERE id = :batch', "database: rows"),
    "a gap of another stretch": (
        "UPDATE gap SET since = since - 60 WHERE key_id = :batch",
        "ben/batch: gap at snapshot",
    ),
    "a gap at another snapshot": (
        "UPDATE gap SET n = n + 1 WHERE key_id = :batch",
        "ben/batch: gap at snapshot",
    ),
}


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> Rows:
    url = f"sqlite:///{tmp_path_factory.mktemp('history')}/reckon.db"
    with open_store(url, writes=True) as store:
        live_through_three_days(store)
    engine = create_engine(url)
    rows = stored(engine)
    engine.dispose()
    return rows


@dataclass
class Auditor:
    """Asks `reckon verify` about one ledger, and damages it."""

    engine: Engine
    arguments: list[str]
    capsys: pytest.CaptureFixture[str]
    named: dict[str, int]
    """The ids of keys and owners and some instants, for statements to name."""

    def plant(self, statements: str) -> None:
        with self.engine.begin() as connection:
            for statement in statements.split(";"):
                changed = connection.execute(text(statement), self.named).rowcount
                assert changed > 0, f"changed nothing: {statement}"

    def verify(self) -> tuple[int, list[str], dict]:
        code = run(self.arguments)
        document = json.loads(self.capsys.readouterr().out)
        told = [f"{found['subject']}: {found['what']}" for found in document["differences"]]
        return code, told, document


@pytest.fixture
def auditor(database_url, history, secret_file, capsys) -> Iterator[Auditor]:
    open_store(database_url, writes=True).close()
    engine = create_engine(parse(database_url))
    lay_down(engine, history)
    config = secret_file("reckon.toml", f"[store]\nurl = '{database_url}'\n")
    ids = {row["name"]: row["id"] for table in ("key", "owner") for row in history[table]}
    moments = {name: int(moment.timestamp()) for name, moment in MOMENTS.items()}
    yield Auditor(engine, ["--config", str(config), "verify", "--json"], capsys, ids | moments)
    engine.dispose()


def test_the_ledger_that_is_damaged_here_is_rich_and_in_order(auditor, history):
    code, told, document = auditor.verify()

    assert (code, told) == (0, [])
    assert document["checked"] == len(history["snapshot"]) > 150
    assert sorted((row["meter"], row["kind"]) for row in history["correction"]) == [
        ("byok", "correction"),
        ("credits", "correction"),
        ("credits", "reset"),
    ]
    assert len(history["gap"]) >= 5
    assert {row["day"] for row in history["owner_day"]} == {"2026-11-18", "2026-11-19"}
    assert [row["name"] for row in history["key"] if row["credits_dip_since"]] == ["agent"]
    assert [row["name"] for row in history["key"] if not row["watched"]] == ["former"]
    owners_of_shared = {row["owner_id"] for row in history["window_total"] if row["key_id"] == history["key"][3]["id"]}
    assert len(owners_of_shared) == 2


def test_every_kind_of_damage_is_found_and_named(auditor, history):
    overlooked = {}
    for name, (statements, expected) in DAMAGE.items():
        lay_down(auditor.engine, history)
        auditor.plant(statements)
        code, told, _ = auditor.verify()
        if code != 1 or not any(line.startswith(expected) for line in told):
            overlooked[name] = (code, told)

    assert overlooked == {}
    assert len(DAMAGE) >= 60
