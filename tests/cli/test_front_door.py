"""The command as a process: its streams, its environment, how it ends, and how soon it answers."""

import os
import pty
import re
import subprocess
import sys

import pytest

from reckon import __version__
from reckon.cli import run

RECKON = [sys.executable, "-m", "reckon"]
_HEAVY = (
    "sqlmodel",
    "sqlalchemy",
    "slack_sdk",
    "starlette",
    "uvicorn",
    "httpx",
    "pydantic",
    "alembic",
    "matplotlib",
    "psycopg",
)


@pytest.fixture
def team(town):
    town.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    town.spend("laptop", "2.50", "2025-11-18 12:30")
    town.poll("2025-11-18 12:00", "2025-11-18 13:00")
    return town


def started(*arguments, **options):
    """Run the command in a process of its own and return it when it has ended."""
    return subprocess.run([*RECKON, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def on_a_terminal(*arguments, width=80, **environ):
    """Return what the command shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(width), **environ}
    with subprocess.Popen(
        [*RECKON, *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        assert process.wait(60) == 0, shown
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_the_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"reckon {__version__}\n"


def test_help_is_told_without_importing_anything_heavy():
    code = f"import sys, reckon.cli as cli; cli.run(['--help']); print([m for m in {_HEAVY!r} if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_the_answer_is_all_of_standard_output_and_the_code_is_the_process_s(team):
    found = started("spend", "--json", "--config", str(team.config))
    assert (found.returncode, found.stderr) == (0, "")
    assert '"total_usd": "2.500000000"' in found.stdout
    refused = started("spend", "--by", "colour", "--config", str(team.config))
    assert (refused.returncode, refused.stdout) == (64, "")
    assert "Traceback" not in refused.stderr


def test_away_from_a_terminal_nothing_is_coloured_or_cut(town):
    owner = "the-team-that-builds-everything-which-nobody-else-has-got-the-time-to-build"
    town.settle({owner: ["the-laptop-of-whoever-is-on-duty"]})
    town.poll()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    found = started("keys", "--config", str(town.config), env=environment)
    assert re.search(rf"^{owner}  the-laptop-of-whoever-is-on-duty  .*  fine$", found.stdout, re.MULTILINE)
    assert "\x1b" not in found.stdout + found.stderr


def test_a_terminal_gets_a_table_of_its_width_with_a_title_that_stands_out(team):
    shown = on_a_terminal("spend", "--config", str(team.config), width=60)
    assert shown.startswith("\x1b[1mSpend by owner, ")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 60


@pytest.mark.parametrize("quiet", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_asks_for_no_colour_gets_no_escape_sequence(team, quiet):
    assert "\x1b" not in on_a_terminal("spend", "--config", str(team.config), **quiet)


def test_a_person_who_polls_reads_the_answer_once_and_not_also_in_the_log(team):
    log = '[log]\nlevel = "error"\n'
    team.write_secret("reckon.toml", team.config.read_text().replace(log.strip(), ""))
    silent = {"RECKON_OPENROUTER__BASE_URL": "http://127.0.0.1:9/api/v1", "RECKON_OPENROUTER__TIMEOUT": "1s"}
    away = started("poll", "--config", str(team.config), env={**os.environ, **silent})
    assert "key.failed" in away.stderr
    ours, theirs = pty.openpty()
    arguments = [*RECKON, "poll", "--config", str(team.config)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, **silent}) as process:
        out, _ = process.communicate(timeout=60)
        os.close(theirs)
        told = _read(ours)
        os.close(ours)
    assert b"0 of 2 keys answered" in out
    assert told == b""


def test_a_reader_who_goes_away_is_no_trouble(team):
    for arguments in (["spend"], ["config", "show"], ["spend", "--json"]):
        with subprocess.Popen(
            [*RECKON, *arguments, "--config", str(team.config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.close()
            told = process.stderr.read()
            assert (process.wait(60), told) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110 - no path
def test_an_answer_that_cannot_be_written_is_told_and_is_no_success(team):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        found = subprocess.run(
            [*RECKON, "spend", "--config", str(team.config)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert found.returncode == 69
    assert found.stderr == b"reckon: [Errno 28] No space left on device\n"


def test_closed_streams_are_no_trouble(team):
    command = f'{" ".join(RECKON)} spend --config "{team.config}"'
    without_output = subprocess.run(["/bin/sh", "-c", f"{command} >&-"], capture_output=True, timeout=60, check=False)
    assert (without_output.returncode, without_output.stderr) == (0, b"")
    # Where there is no place for diagnostics, they must not end up in the answer.
    refused = subprocess.run(
        ["/bin/sh", "-c", f"{command} --by colour 2>&-"], capture_output=True, timeout=60, check=False
    )
    assert (refused.returncode, refused.stdout) == (64, b"")


def test_a_terminal_that_knows_ascii_alone_gets_ascii(team):
    team.settle({"jürgen": ["laptop"], "dana": ["notebook"]})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    arguments = [*RECKON, "spend", "--by", "day", "--config", str(team.config)]
    found = subprocess.run(arguments, capture_output=True, timeout=60, check=False, env=environment)
    assert found.returncode == 0
    assert b"--------" in found.stdout
    assert b"$2.50" in found.stdout
    owners = subprocess.run(
        [*RECKON, "owners", "--config", str(team.config)], capture_output=True, env=environment, check=False
    )
    assert b"j\\xfcrgen" in owners.stdout


def test_an_interrupted_command_ends_quietly_with_the_code_of_an_interruption(town, monkeypatch):
    town.settle({"ravi": ["laptop"]})

    def interrupted(*_):
        raise KeyboardInterrupt

    # The one moment a test can choose for Ctrl-C: while the configuration's own environment is read.
    class Environment(dict):
        get = interrupted

    monkeypatch.setattr(os, "environ", Environment(os.environ))
    answer = town.reckon("spend")
    assert (answer.code, answer.out, answer.err) == (130, "", "")


def test_a_span_of_centuries_costs_no_more_than_what_was_counted_in_it(team):
    rows = team.rows("spend", "--by", "hour", "--since", "0001-02-01")

    assert [row["hour"] for row in rows] == ["2025-11-18T12:00:00+00:00"]
