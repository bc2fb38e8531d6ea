"""What a command says no to, with which exit code, and that it says so in lines and never with a traceback."""

import pytest

from reckon.cli import run

USAGE, UNAVAILABLE, BAD_CONFIGURATION = 64, 69, 78

REPORTS = [
    *(["spend"], ["daily"], ["weekly"], ["monthly"], ["alerts"], ["digest", "daily"]),
    *(["keys"], ["owners"], ["verify"], ["status"]),
]


@pytest.fixture
def settled(town):
    town.settle({"ravi": ["laptop"]})
    town.poll()
    return town


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spend", "--bogus"], "No such option: --bogus"),
        (["spend", "extra"], "unexpected extra argument"),
        (["bogus"], "No such command 'bogus'"),
        (["config", "bogus"], "No such command 'bogus'"),
        (
            ["spend", "--by", "colour"],
            "owner, team, key, model, requested_model, provider, app, session, hour, day, week, month",
        ),
        (
            ["spend", "--by", "Owner"],
            "owner, team, key, model, requested_model, provider, app, session, hour, day, week, month",
        ),
        (["spend", "--by", "day", "--by", "hour"], "one of hour, day, week and month"),
        (["spend", "--last", "7x"], "7d or 24h"),
        (["spend", "--last", ""], "7d or 24h"),
        (["daily", "--since", "2025-11-18T10:10Z"], "quarter of an hour"),
        (["weekly", "--since", "2025-11-19", "--until", "2025-11-18"], "ends before it begins"),
        (["monthly", "--last", "2d", "--until", "2025-11-18"], "stands alone"),
    ],
)
def test_usage_is_refused_with_64_and_a_way_to_help(settled, arguments, words):
    answer = settled.reckon(*arguments)
    assert answer.code == USAGE
    assert answer.out == ""
    assert answer.err.startswith("Usage: reckon")
    assert words in " ".join(answer.err.split())


def test_reckon_alone_shows_its_help_and_is_no_answer(capsys):
    assert run([]) == USAGE
    captured = capsys.readouterr()
    assert "Commands:" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["spend", "--help"], ["config", "show", "-h"]])
def test_help_is_an_answer(arguments, capsys):
    assert run(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: reckon")
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 80
    assert "..." not in captured.out.replace("[ARGS]...", "")


@pytest.mark.parametrize("command", REPORTS)
def test_a_database_that_is_not_there_is_69_and_its_path(town, command):
    town.settle({"ravi": ["laptop"]})
    answer = town.reckon(*command)
    assert (answer.code, answer.out) == (UNAVAILABLE, "")
    assert str(town.database) in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not town.database.exists()


@pytest.mark.parametrize("command", REPORTS)
def test_a_file_that_is_no_database_is_69_and_left_alone(town, command):
    town.settle({"ravi": ["laptop"]})
    town.database.write_text("notes of mine")
    answer = town.reckon(*command)
    assert (answer.code, answer.out) == (UNAVAILABLE, "")
    assert str(town.database) in answer.err
    assert town.database.read_text() == "notes of mine"


def test_a_wrong_configuration_is_78_with_a_line_for_each_problem(town, secret_file):
    secret_file("reckon.toml", 'timezon = "UTC"\n[poll]\nevery = "3 fortnights"\n')
    answer = town.reckon("spend")
    assert (answer.code, answer.out) == (BAD_CONFIGURATION, "")
    lines = answer.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("reckon: ") and str(town.config) in line for line in lines)
    assert "the nearest is timezone" in answer.err


def test_a_configuration_that_is_not_there_is_78(capsys, tmp_path):
    assert run(["--config", str(tmp_path / "nowhere.toml"), "spend"]) == BAD_CONFIGURATION
    assert "nowhere.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place",
    [
        lambda path: ["--config", path, "spend", "--json"],
        lambda path: [f"--config={path}", "spend", "--json"],
        lambda path: ["spend", "--config", path, "--json"],
        lambda path: ["spend", "--json", f"--config={path}"],
        lambda path: ["--config", "/nowhere.toml", "spend", "--json", "--config", path],
    ],
)
def test_config_may_stand_before_or_after_the_command_and_the_last_one_counts(settled, place, capsys):
    assert run(place(str(settled.config))) == 0
    assert '"owner": "ravi"' in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["spend", "--config"], ["--config"], ["spend", "--json", "--config"]])
def test_config_without_a_file_is_told_so(arguments, capsys):
    assert run(arguments) == USAGE
    assert "'--config' requires an argument" in capsys.readouterr().err


def test_the_configuration_is_also_found_by_its_variable(settled, monkeypatch, capsys):
    monkeypatch.setenv("RECKON_CONFIG", str(settled.config))
    assert run(["owners", "--json"]) == 0
    assert '"owner": "ravi"' in capsys.readouterr().out
