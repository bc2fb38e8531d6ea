"""Every wrong answer we know, for one key of several, through the real command: it costs nobody else anything.

The key concerned is told as failed and counts nothing; the poll ends in time, without a traceback; and as soon as the
answer is right again, all that was spent meanwhile is counted. Each answer in turn strikes another key, so each key's
next right answer also proves that the wrong one before it lost nothing.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from pathlib import Path

import pytest

from reckon.core.records import FailureReason
from reckon.fakes import openrouter
from reckon.fakes.answers import WRONG
from reckon.fakes.world import Key
from tests import wire_faults as faults
from tests.serving import serve
from tests.system.accounts import USD, Account, counted, nanos
from tests.system.forks import Ended, Forks
from tests.wire_faults import MEBIBYTE, bomb, good_body

OWNERS = {"ana": ["a1", "a2"], "ben": ["b1", "b2"], "cleo": ["c1"]}
TIMEOUT_SECONDS = 2
IN_TIME_SECONDS = TIMEOUT_SECONDS + 10.0  # a loaded machine is slow to start and end a process, not to time out

REASONS = {"401": "access_denied", "403": "access_denied", "429": "rate_limited", "5": "unavailable"}


class Books:
    """An account and the ledger beside it, which may lag behind on keys that have answered wrongly."""

    def __init__(self, account: Account, config: Path, commands: Forks) -> None:
        self.account = account
        self._config = config
        self._commands = commands
        account.open()
        self._seen = account.spent()
        """What each key had spent when it last answered rightly."""
        self._grown_nanos = 0

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
        return self._commands.run("--config", self._config, *arguments, environ=environ or {})

    def opens(self) -> None:
        assert self.run("poll").code == 0

    def poll(self, *wrong: str, environ: Mapping[str, str] | None = None) -> Ended:
        """Let every key spend and poll; the keys of the names *wrong* answer wrongly. Return the poll."""
        self.account.spend(*self.account.keys)
        ended = self.run("poll", "--json", environ=environ)
        at_fault = {self.account.keys[name].hash for name in wrong}
        before = sum(self._seen.values())
        self._seen |= {key: spent for key, spent in self.account.spent().items() if key not in at_fault}
        self._grown_nanos = sum(self._seen.values()) - before
        return ended

    def problems(self, ended: Ended, *wrong: str) -> Iterator[str]:
        """Yield what *ended* did that it should not have."""
        if "Traceback" in ended.stderr:
            yield "a traceback"
        if ended.seconds > IN_TIME_SECONDS:
            yield f"took {ended.seconds:.1f} s"
        if ended.code != 0:
            yield f"exit code {ended.code}"
        failures = ended.document["failures"]
        if [failure["key"] for failure in failures] != list(wrong):
            yield f"failures {failures}"
        if {failure["reason"] for failure in failures} - {*FailureReason}:
            yield f"reasons {failures}"
        if nanos(ended.document["spend_usd"]) != self._grown_nanos:
            yield f"counted {ended.document['spend_usd']} where the right answers told {self._grown_nanos} nanos"

    def counted(self) -> dict[str, int]:
        return counted(self.run("spend", "--by", "key", "--json").document)

    def is_exact(self) -> bool:
        """Return whether, now that every answer is right, everything is counted and the books are in order."""
        assert self.poll().document["failures"] == []
        return self.counted() == self.account.spent() and self.run("verify").code == 0


def test_an_answer_that_is_wrong_in_content_costs_nothing_but_itself(sqlite_url, secret_file, commands, some_of):
    account = Account(OWNERS)
    wrong = {}
    with serve(openrouter.app(account.world)) as url:
        config = secret_file("reckon.toml", account.toml(url, sqlite_url, timeout=f"{TIMEOUT_SECONDS}s"))
        books = Books(account, config, commands)
        books.opens()
        for (answer, what), name in zip(some_of([*WRONG.items()], 12), cycle(account.keys), strict=False):
            key = account.keys[name]
            account.world.answer_with(key, what)
            ended = books.poll(name)
            account.world.answer_rightly(key)
            found = list(books.problems(ended, name))
            expected = next((reason for status, reason in REASONS.items() if answer.startswith(status)), None)
            if expected and answer != "500000_opened" and ended.document["failures"][0]["reason"] != expected:
                found.append(f"not {expected}: {ended.document['failures']}")
            if found:
                wrong[answer] = found
        assert wrong == {}
        assert books.is_exact()


# --- Wrong on the wire ---------------------------------------------------------------------------------------------

BODY = good_body()
FAULTS: dict[str, faults.Script] = {
    "silence": faults.silence,
    "a body that drips": faults.drip(BODY),
    "headers that drip": faults.drip(BODY, from_the_start=True),
    "a fast drip": faults.drip(b" " * 5_000, every_seconds=0.01),
    "hung up": faults.hang_up,
    "reset at once": faults.reset_at_once,
    "reset within the body": faults.reset_mid_body(BODY),
    "shorter than promised": faults.cut_short(BODY),
    "the last chunk missing": faults.chunks_cut_short(BODY),
    "not HTTP": faults.not_http,
    "endless headers": faults.endless_headers,
    "endless body": faults.endless,
    "a gzip bomb of 300 MiB": faults.gzipped(bomb(300)),
    "half a gzip": faults.whole(faults.packed(BODY)[:40], "200 OK", "Content-Encoding: gzip"),
    "a redirect elsewhere": faults.redirect("302 Found", "http://127.0.0.1:9/api/v1/key"),
    "a redirect home": faults.redirect("307 Temporary Redirect", "/api/v1/key"),
}


class _Scripts(dict[str, faults.Script]):
    """What each key is answered, by its secret: the truth of the account, unless a fault is set."""

    def __init__(self, account: Account) -> None:
        super().__init__({key.secret: _right(account, key) for key in account.keys.values()})


def _right(account: Account, key: Key) -> faults.Script:
    async def script(wire: faults.Wire) -> None:
        totals = account.world.totals(key)
        shown = {
            "usage": totals.lifetime_nanos / USD,
            "usage_daily": totals.day_nanos / USD,
            "usage_weekly": totals.week_nanos / USD,
            "usage_monthly": totals.month_nanos / USD,
        }
        await faults.whole(good_body(**shown))(wire)

    script.keeps_alive = True
    return script


def on_the_wire(account: Account, store: str, secret_file, commands: Forks, act: Callable[[Books, _Scripts], None]):
    """Let *act* run commands, from a thread of its own, against an account served by scripts."""

    async def scenario() -> None:
        scripts = _Scripts(account)
        async with faults.serve(scripts) as server:
            config = secret_file("reckon.toml", account.toml(server.url, store, timeout=f"{TIMEOUT_SECONDS}s"))
            await asyncio.to_thread(act, Books(account, config, commands), scripts)

    asyncio.run(scenario())


def test_an_answer_that_is_wrong_on_the_wire_costs_nothing_but_itself(sqlite_url, secret_file, commands):
    account = Account(OWNERS)
    wrong = {}

    def act(books: Books, scripts: _Scripts) -> None:
        books.opens()
        for (fault, script), name in zip(FAULTS.items(), cycle(account.keys), strict=False):
            key = account.keys[name]
            scripts[key.secret] = script
            ended = books.poll(name)
            scripts[key.secret] = _right(account, key)
            if found := list(books.problems(ended, name)):
                wrong[fault] = found
        assert wrong == {}
        assert books.is_exact()

    on_the_wire(account, sqlite_url, secret_file, commands, act)


def test_a_gzip_bomb_costs_a_poll_no_more_than_16_mebibytes(sqlite_url, secret_file, commands):
    account = Account(OWNERS)

    def act(books: Books, scripts: _Scripts) -> None:
        books.opens()
        undisturbed = books.poll()
        scripts[account.keys["b1"].secret] = faults.gzipped(bomb(300))
        struck = books.poll("b1")

        (failure,) = struck.document["failures"]
        assert failure["reason"] == "too_large"
        assert struck.peak_bytes - undisturbed.peak_bytes <= 16 * MEBIBYTE

    on_the_wire(account, sqlite_url, secret_file, commands, act)


@pytest.mark.parametrize("port", [faults.refused_port, faults.unanswered_port], ids=["refused", "unanswered"])
def test_when_nobody_is_reached_nothing_is_counted_and_nothing_lost(port, sqlite_url, secret_file, commands):
    account = Account(OWNERS)
    with serve(openrouter.app(account.world)) as url, port() as dead:
        config = secret_file("reckon.toml", account.toml(url, sqlite_url, timeout=f"{TIMEOUT_SECONDS}s"))
        books = Books(account, config, commands)
        books.opens()
        elsewhere = {"RECKON_OPENROUTER__BASE_URL": f"http://127.0.0.1:{dead}/api/v1"}
        ended = books.poll(*account.keys, environ=elsewhere)

        assert (ended.code, ended.document["keys_polled"], len(ended.document["failures"])) == (69, 0, 5)
        assert ended.seconds < IN_TIME_SECONDS
        assert "Traceback" not in ended.stderr
        assert set(books.counted().values()) == {0}
        assert books.is_exact()
