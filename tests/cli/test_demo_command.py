"""`reckon demo`: the first command anybody runs, as a process without anything of ours around it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from slack_sdk.models.blocks import Block

from reckon.fakes.slack_blocks import what_is_wrong

LONGEST_MONTH_SECONDS = 240
LAST_LINE = "\nThis ledger is gone again. For your own keys, start from config.example.toml.\n"


def started_in(directory, *arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-m", "reckon", "demo", *arguments],
        text=True,
        encoding="utf-8",
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory), "PYTHONUTF8": "1"},
        cwd=directory,
        **streams,
    )


# --- The story --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str
    directory: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory, worker_id):
    """One month for all workers of a divided run: whoever comes first lives it, and the others read of it."""
    if worker_id == "master":
        return lived(tmp_path_factory.mktemp("demo"))
    directory = tmp_path_factory.getbasetemp().parent / "demo"
    told = directory.with_name("demo.json")
    try:
        directory.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 2 * LONGEST_MONTH_SECONDS
        while not told.exists():
            assert time.monotonic() < deadline, "whoever lives the month has not told of it"
            time.sleep(0.1)
        code, stdout, stderr = json.loads(told.read_text())
        return Ended(code, stdout, stderr, directory)
    ended = lived(directory)
    part = told.with_suffix(".part")
    part.write_text(json.dumps([ended.code, ended.stdout, ended.stderr]))
    part.rename(told)
    return ended


def lived(directory):
    with started_in(directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            stdout, stderr = process.communicate(timeout=LONGEST_MONTH_SECONDS)
        finally:
            process.kill()
    return Ended(process.returncode, stdout, stderr, directory)


def posted(story):
    """The JSON of the story, and where it stands."""
    start = story.index("\n{") + 1
    post, end = json.JSONDecoder().raw_decode(story, start)
    return post, slice(start, end)


def test_it_succeeds_says_nothing_beside_its_answer_and_leaves_nothing_behind(demo):
    assert demo.code == 0, demo.stderr
    assert demo.stderr == ""
    assert list(demo.directory.iterdir()) == []


def test_it_shows_spend_by_owner_of_a_month_and_by_day_of_its_last_week(demo):
    by_owner, by_day, _ = demo.stdout.split("Spend by ")[1:]
    assert by_owner.startswith("owner, 22 Oct 2026 00:00 to 21 Nov 2026 00:00 (UTC)")
    owners = re.findall(r"^([\w-]+)  +\$", by_owner, re.MULTILINE)
    assert owners == ["nightly-refactor", "jonas", "mira", "support-bot", "lena", "Total"]
    days = re.findall(r"^2026-11-(\d\d)  +\$([\d.]+)", by_day, re.MULTILINE)
    assert [day for day, _ in days] == ["14", "15", "16", "17", "18", "19", "20"]
    *quiet, dear = [float(usd) for _, usd in days]
    assert dear > 4 * max(quiet)


def test_it_shows_the_month_by_asked_and_served_model_and_what_nobody_handed_in(demo):
    _, by_model = demo.stdout.split("Spend by asked model and model")
    rows = re.findall(r"^(openrouter/auto|\(not told\)) +(\w+/[\w.-]+) +[\d,]+ +\$", by_model, re.MULTILINE)
    assert ("openrouter/auto", "anthropic/claude-sonnet-4.5") in rows
    assert ("(not told)", "google/gemini-2.5-pro") in rows
    assert re.search(r"^\(not resolved\) +\(not resolved\) +\d* +\$[\d.]+", by_model, re.MULTILINE)


def test_the_books_of_the_last_day_tell_what_is_explained_and_what_is_not(demo):
    _, books = demo.stdout.split("Books of Fri 20 Nov 2026 (UTC)")
    assert re.search(r"^Counters +\$334\.\d\d$", books, re.MULTILINE)
    assert re.search(r"never handed in +-\$\d", books)
    assert "The books balance." in books


def test_its_one_alert_goes_out_minutes_after_the_agent_ran_away(demo):
    assert "\n20 Nov 2026 02:00: nightly-refactor runs away.\n" in demo.stdout
    (minute,) = re.findall(r"^20 Nov 2026 02:(\d\d): the month's only alert goes out\.$", demo.stdout, re.MULTILINE)
    assert 5 <= int(minute) <= 30
    assert re.search(
        r"^● nightly-refactor spent \$[\d.]+ today - usually \$[\d.]+ a day\n"
        rf"  When +noticed 02:{minute} UTC; .*\n"
        r"  Rule +above mean \+ 3 sigma = \$[\d.]+ over 29 days",
        demo.stdout,
        re.MULTILINE,
    )


def test_the_same_alert_is_shown_as_json_that_slack_takes(demo):
    post, _ = posted(demo.stdout)
    (headline,) = re.findall(r"^● (.*)$", demo.stdout, re.MULTILINE)
    assert post["text"] == headline
    assert what_is_wrong(post["blocks"]) is None
    parsed = Block.parse_all(post["blocks"])
    for block in parsed:
        block.validate_json()
    header, mention, facts = (block.to_dict() for block in parsed)
    assert header["text"]["text"] == f"🔴 {headline}"
    assert re.fullmatch(r"<@U[A-Z0-9]+>", mention["text"]["text"])
    labels = [run["text"] for run in facts["elements"][0]["elements"] if run.get("style")]
    assert labels == ["When", "Rule", "Driver", "If it goes on", "Data"]


def test_the_digest_of_the_last_day_has_its_total_and_how_the_alert_ended(demo):
    before, digest = demo.stdout.split("21 Nov 2026 00:00: the day's digest goes out.\n\n")
    digest, _ = digest.split("The books of that day.")
    (dear,) = re.findall(r"^2026-11-20  +(\$[\d.]+)", before, re.MULTILINE)
    assert digest.startswith(f"OpenRouter, Fri 20 Nov: {dear} ")
    (ended_at,) = re.findall(
        r"^  Resolved  nightly-refactor: Fri 20 Nov ended at (\$[\d.]+) - usually", digest, re.MULTILINE
    )
    assert re.search(rf"^  nightly-refactor +\{ended_at} ", digest, re.MULTILINE)
    assert re.search(rf"^  Total +\{dear} ", digest, re.MULTILINE)


def test_at_the_end_it_verifies_its_ledger(demo):
    assert re.search(r"\n\nverify: [\d,]+ snapshots read again, no difference\.\n" + LAST_LINE + r"\Z", demo.stdout)


def test_it_is_three_pages_long_and_no_wider_than_eighty_columns(demo):
    _, place = posted(demo.stdout)
    prose = demo.stdout[: place.start] + demo.stdout[place.stop :]
    assert len(demo.stdout.splitlines()) <= 160
    assert max(map(len, prose.splitlines())) <= 80
    assert not [line for line in demo.stdout.splitlines() if line != line.rstrip()]
    # A string of JSON cannot be broken; all else in it can.
    too_long = [line for line in demo.stdout[place].splitlines() if len(line) > 80]
    assert all(re.fullmatch(r' *("\w+": )?"([^"\\]|\\.)*",?', line) for line in too_long)


# --- The daemon after it ----------------------------------------------------------------------------------------------


@dataclass
class Serving:
    process: subprocess.Popen
    story: str
    log: Path
    directory: Path

    @property
    def url(self):
        return re.search(r"http://[\d.]+:\d+", self.story)[0]

    def until(self, path, is_right):
        """The first answer for *path* that is right; what is asked for comes about in seconds."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(self.url + path, timeout=5, trust_env=False)
                if is_right(answer):
                    return answer
            time.sleep(0.1)
        raise AssertionError(f"{path} was never as it should be: {self.log.read_text()}")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    directory, elsewhere = tmp_path_factory.mktemp("serving"), tmp_path_factory.mktemp("log")
    log = elsewhere / "stderr"
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):  # then it is taken all the same
            opened.enter_context(socket.create_server(("127.0.0.1", 8787)))
        stderr = opened.enter_context(log.open("w"))
        process = opened.enter_context(started_in(directory, "--serve", stdout=subprocess.PIPE, stderr=stderr))
        opened.callback(process.kill)
        overdue = threading.Timer(LONGEST_MONTH_SECONDS, process.kill)
        overdue.start()
        story = ""
        while (line := process.stdout.readline()) and line != "Ctrl-C ends it.\n":
            story += line
        overdue.cancel()
        yield Serving(process, story, log, directory)


@pytest.fixture(scope="module")
def ended(serving):
    """The daemon, asked and watched for a while, and then interrupted."""
    ready = serving.until("/readyz", lambda answer: answer.status_code == 200)
    healthy = serving.until("/healthz", lambda answer: answer.status_code == 200)
    counted = counted_usd(serving.until("/metrics", lambda answer: answer.status_code == 200))
    grown = counted_usd(serving.until("/metrics", lambda answer: counted_usd(answer) > counted))
    interrupted_at = time.monotonic()
    serving.process.send_signal(signal.SIGINT)
    rest, _ = serving.process.communicate(timeout=60)
    return {
        "ready": ready.json(),
        "healthy": healthy.json(),
        "spent_usd": grown - counted,
        "seconds": time.monotonic() - interrupted_at,
        "rest": rest,
    }


def counted_usd(metrics):
    return sum(float(usd) for usd in re.findall(r"^reckon_key_counted_usd\{.*} (\S+)$", metrics.text, re.MULTILINE))


@pytest.mark.long
def test_served_it_tells_the_same_story_and_where_it_listens(demo, serving):
    story, afterwards = serving.story.split("\nThe team goes on spending")
    assert story == demo.stdout.removesuffix(LAST_LINE)
    assert re.search(r"^http://127\.0\.0\.1:\d+/metrics", afterwards, re.MULTILINE)


@pytest.mark.long
def test_where_the_usual_port_is_taken_it_listens_on_another(serving, ended):
    assert not serving.url.endswith(":8787")
    assert ended["healthy"]["version"]


@pytest.mark.long
def test_the_daemon_watches_the_team_spend_on(ended):
    assert ended["ready"]["keys_answered"] == 10
    assert ended["healthy"]["status"] == "alive"
    assert ended["healthy"]["last_poll_at"].startswith("2026-11-21T00:0")
    assert 0 < ended["spent_usd"] < 1


@pytest.mark.long
def test_an_interrupt_ends_the_daemon_cleanly(serving, ended):
    assert serving.process.returncode == 0, serving.log.read_text()
    assert ended["seconds"] < 10
    assert ended["rest"] == LAST_LINE
    assert list(serving.directory.iterdir()) == []
    events = [json.loads(line) for line in serving.log.read_text().splitlines()]
    assert {event["level"] for event in events} == {"info"}
    assert [events[0]["event"], events[-1]["event"]] == ["daemon.started", "daemon.stopped"]
    assert "poll.committed" in {event["event"] for event in events}
