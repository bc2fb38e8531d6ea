"""`reckon init`: a newcomer with an account, an environment and nothing else."""

import io
import stat
import sys
import tomllib

import pytest

from reckon.cli import run
from reckon.config import load
from reckon.fakes import openrouter
from reckon.fakes.answers import Answer
from reckon.store import open_store
from tests.canary import CANARIES, inference_key
from tests.cli.town import Answer as Said
from tests.serving import serve

MANAGEMENT_KEY = CANARIES["management_key"]


class Newcomer:
    """Somebody in an empty directory."""

    def __init__(self, directory, world, monkeypatch, read_output):
        self.directory, self.world = directory, world
        self._monkeypatch, self._read_output = monkeypatch, read_output
        world.make_key("boss", secret=MANAGEMENT_KEY, is_management_key=True)

    @property
    def file(self):
        return self.directory / "reckon.toml"

    @property
    def toml(self):
        return tomllib.loads(self.file.read_text())

    def has(self, **variables):
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def keys(self, *names, **terms):
        return [self.world.make_key(name, secret=inference_key(len(self.world.keys) + 1), **terms) for name in names]

    def sits_at_a_terminal(self, *answers):
        self._monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{answer}\n" for answer in answers)))

    def reckon(self, *arguments):
        self._read_output()
        code = run(arguments)
        captured = self._read_output()
        return Said(code, captured.out, captured.err)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def newcomer(town, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with serve(openrouter.app(town.world)) as url:
        monkeypatch.setenv("RECKON_OPENROUTER__BASE_URL", f"{url}/api/v1")
        yield Newcomer(tmp_path / "here", town.world, monkeypatch, capsys.readouterr)


@pytest.fixture
def manager(newcomer):
    """A newcomer with a management key."""
    newcomer.has(OPENROUTER_MANAGEMENT_KEY=MANAGEMENT_KEY)
    return newcomer


def there_is_nothing(newcomer):
    return [*newcomer.directory.iterdir()] == []


# --- With a management key -------------------------------------------------------------------------------------------


def test_the_file_reads_as_it_should(manager):
    dana_s, _, bot = manager.keys("dana-laptop", "dana-ci", "billing bot")
    manager.has(
        OPENROUTER_API_KEY=dana_s.secret,
        SLACK_BOT_TOKEN=CANARIES["slack_bot_token"],
        SLACK_APP_TOKEN=CANARIES["slack_app_token"],
        SLACK_WEBHOOK_URL=CANARIES["slack_webhook_url"],
    )
    answer = manager.reckon("init", "--yes")
    assert answer.code == 0
    assert (
        manager.file.read_text()
        == f"""\
# Drafted by `reckon init`. Every other setting has a default that will do;
# `reckon config show` names them all.

timezone = "UTC"  # whose midnight ends a day; perhaps "Europe/Vienna"?

[openrouter]
management_key = "env:OPENROUTER_MANAGEMENT_KEY"  # shows every key

[slack]
# In which channel? Put its id here, and take the # from both lines:
#channel = "C012ABCDEF"
#bot_token = "env:SLACK_BOT_TOKEN"
#app_token = "env:SLACK_APP_TOKEN"  # would have no effect yet
webhook_url = "env:SLACK_WEBHOOK_URL"

# Who answers for which keys: change the names, move keys, merge owners. To each
# you may add slack = "U012ABCDEF", whom an alert mentions, and team = "platform".
# Of two globs that match a key, the first one has it.

[owners.dana]
# dana-ci
match = {{ name = "dana-*" }}
keys = [{{ name = "dana-laptop", key = "env:OPENROUTER_API_KEY" }}]

[owners.billing-bot]
keys = [{{ name = "billing bot", hash = "{bot.hash}" }}]
"""
    )
    assert manager.file.read_text() in answer.out


def test_the_file_is_the_newcomer_s_alone_and_loads(manager):
    manager.keys("dana-laptop", "dana-ci")
    manager.reckon("init", "--yes")
    assert stat.S_IMODE(manager.file.stat().st_mode) == 0o600
    settings = load(manager.file, {})
    assert str(settings.openrouter.management_key) == "env:OPENROUTER_MANAGEMENT_KEY"
    assert {*settings.owners} == {"dana"}
    assert sorted(path.name for path in manager.directory.iterdir()) == ["reckon.db", "reckon.db.lock", "reckon.toml"]


def test_it_makes_the_ledger_and_says_what_comes_next(manager):
    answer = manager.reckon("init", "--yes")
    with open_store(f"sqlite:///{manager.directory}/reckon.db", writes=False) as store, store.reading() as ledger:
        assert ledger.every_key() == []
    steps = [line.split("#")[0].strip() for line in answer.out.partition("Next:")[2].splitlines() if line]
    assert steps == ["reckon doctor", "reckon poll", "reckon run"]


def test_what_comes_next_works(manager):
    manager.keys("dana-laptop", "dana-ci", "notes")
    manager.reckon("init", "--yes")
    assert manager.reckon("poll", "--json").document["keys_polled"] == 3
    owners = {row["key"]: row["owner"] for row in manager.reckon("keys", "--json").document["rows"]}
    assert owners == {"dana-ci": "dana", "dana-laptop": "dana", "notes": "notes"}


def test_the_account_is_swept_once(manager):
    manager.world.make_workspace("Labs")
    manager.reckon("init", "--yes")
    paths = [request.path.removeprefix("/api/v1") for request in manager.world.requests]
    assert sorted(paths) == ["/keys", "/keys", "/workspaces"]


@pytest.mark.parametrize("variable", ["OPENROUTER_PROVISIONING_KEY", "OPENROUTER_MGMT_KEY"])
def test_a_management_key_is_found_under_its_older_names(newcomer, variable):
    newcomer.has(**{variable: MANAGEMENT_KEY})
    newcomer.reckon("init", "--yes")
    assert newcomer.toml["openrouter"] == {"management_key": f"env:{variable}"}


def test_an_empty_variable_is_not_set(newcomer):
    newcomer.has(OPENROUTER_MANAGEMENT_KEY="", OPENROUTER_MGMT_KEY=MANAGEMENT_KEY, SLACK_WEBHOOK_URL="")
    newcomer.reckon("init", "--yes")
    assert newcomer.toml["openrouter"] == {"management_key": "env:OPENROUTER_MGMT_KEY"}
    assert "slack" not in newcomer.toml


def test_a_key_that_may_not_list_keys_is_refused_and_nothing_is_written(newcomer):
    (key,) = newcomer.keys("laptop")
    newcomer.has(OPENROUTER_MANAGEMENT_KEY=key.secret)
    answer = newcomer.reckon("init", "--yes")
    assert answer.code == 69
    assert "is it one, and does it still work?" in answer.err
    assert there_is_nothing(newcomer)


def test_a_part_of_the_account_that_cannot_be_read_is_told(manager):
    labs = manager.world.make_workspace("Labs")
    manager.keys("dana-laptop")
    manager.keys("ci-runner", workspace=labs.id)
    hushed = Answer(edit=lambda body: body.replace(b'"hash"', b'"hush"'))
    manager.world.answer_with("/api/v1/keys", hushed, times=1)
    answer = manager.reckon("init", "--yes")
    assert answer.code == 0
    assert "There may be more: data: 1 without a hash." in answer.err
    assert len(manager.toml["owners"]) == 1


def test_a_variable_that_holds_no_secret_is_named_without_what_it_holds(newcomer):
    newcomer.has(OPENROUTER_MANAGEMENT_KEY="two words")
    answer = newcomer.reckon("init", "--yes")
    assert answer.code == 78
    assert "env:OPENROUTER_MANAGEMENT_KEY" in answer.err
    assert "two words" not in answer.err
    assert there_is_nothing(newcomer)


# --- Where it is written ---------------------------------------------------------------------------------------------


def test_it_goes_where_it_is_told_to(manager):
    place = manager.directory / "etc" / "watch it.toml"
    answer = manager.reckon("init", "--yes", "--config", str(place))
    assert load(place, {}).sweeps
    assert f"reckon run --config '{place}'" in answer.out
    assert (place.parent / "reckon.db").exists()


def test_it_goes_where_the_environment_says(manager):
    place = manager.directory / "elsewhere.toml"
    manager.has(RECKON_CONFIG=str(place))
    answer = manager.reckon("init", "--yes")
    assert place.exists()
    assert "--config" not in answer.out


def test_it_never_takes_another_file_s_place(manager):
    manager.file.write_text("# mine\n")
    answer = manager.reckon("init", "--yes")
    assert answer.code == 78
    assert "nothing is overwritten" in answer.err
    assert manager.file.read_text() == "# mine\n"
    assert manager.world.requests == []


def test_nor_that_of_a_link_that_leads_nowhere(manager):
    manager.file.symlink_to(manager.directory / "nowhere")
    assert manager.reckon("init", "--yes").code == 78
    assert manager.file.is_symlink()
    assert not (manager.directory / "nowhere").exists()


def test_nor_that_of_one_made_while_it_was_asking(manager):
    class Slow(Terminal):
        def readline(self, *_):
            manager.file.write_text("# mine\n")
            return "y\n"

    manager.sits_at_a_terminal()
    manager._monkeypatch.setattr(sys, "stdin", Slow())
    answer = manager.reckon("init")
    assert answer.code == 69
    assert "File exists" in answer.err
    assert [path.name for path in manager.directory.iterdir()] == ["reckon.toml"]
    assert manager.file.read_text() == "# mine\n"


# --- Asking ----------------------------------------------------------------------------------------------------------


def test_where_nobody_can_be_asked_it_takes_a_yes_beforehand(manager):
    answer = manager.reckon("init")
    assert answer.code == 64
    assert "--yes" in answer.err
    assert there_is_nothing(manager)


@pytest.mark.parametrize("yes", ["", "y", "YES"])
def test_the_file_is_shown_before_anybody_is_asked(manager, yes):
    manager.sits_at_a_terminal(yes)
    answer = manager.reckon("init")
    assert answer.code == 0
    assert answer.out.startswith("# Drafted by")
    assert f"Write this to {manager.file}? [Y/n]" in answer.err
    assert manager.file.exists()


@pytest.mark.parametrize("answers", [["n"], ["what?"], []])
def test_whoever_does_not_agree_is_left_with_nothing(manager, answers):
    manager.sits_at_a_terminal(*answers)
    answer = manager.reckon("init")
    assert answer.code == 1
    assert "Nothing was written." in answer.err
    assert there_is_nothing(manager)


def test_a_bot_token_is_asked_for_its_channel_until_it_is_one(manager):
    manager.has(SLACK_BOT_TOKEN=CANARIES["slack_bot_token"])
    manager.sits_at_a_terminal("not a channel", "C0SPEND", "y")
    answer = manager.reckon("init")
    assert "accepts the id of a Slack channel" in answer.err
    assert manager.toml["slack"] == {"channel": "C0SPEND", "bot_token": "env:SLACK_BOT_TOKEN"}


# --- Without a management key ----------------------------------------------------------------------------------------


def test_a_single_key_is_its_holder_s(newcomer):
    newcomer.has(OPENROUTER_API_KEY=newcomer.keys("laptop")[0].secret)
    assert newcomer.reckon("init", "--yes").code == 0
    assert newcomer.toml["owners"] == {"me": {"keys": [{"name": "main", "key": "env:OPENROUTER_API_KEY"}]}}
    assert newcomer.reckon("poll", "--json").document["keys_polled"] == 1


def test_without_any_key_there_is_nothing_to_write(newcomer):
    answer = newcomer.reckon("init", "--yes")
    assert answer.code == 69
    assert "OPENROUTER_MANAGEMENT_KEY" in answer.err
    assert there_is_nothing(newcomer)


def test_one_key_per_owner_is_asked_for_by_name(newcomer):
    newcomer.has(OPENROUTER_API_KEY=newcomer.keys("laptop")[0].secret)
    newcomer.sits_at_a_terminal("y", "Dana", "ravi, CI bot", "y")
    answer = newcomer.reckon("init")
    assert "one key per owner?" in answer.err
    assert {id_: owner["keys"][0]["key"] for id_, owner in newcomer.toml["owners"].items()} == {
        "dana": "env:OPENROUTER_API_KEY",
        "ravi": "env:OPENROUTER_KEY_RAVI",
        "ci-bot": "env:OPENROUTER_KEY_CI_BOT",
    }
    assert "Set OPENROUTER_KEY_RAVI to" in answer.out
    assert "Set OPENROUTER_API_KEY to" not in answer.out


@pytest.mark.parametrize("answers", [["n"], ["y", ""]])
def test_whoever_has_no_key_to_name_is_told_what_to_set(newcomer, answers):
    newcomer.sits_at_a_terminal(*answers)
    answer = newcomer.reckon("init")
    assert answer.code == 69
    assert "Set OPENROUTER_MANAGEMENT_KEY" in answer.err
    assert there_is_nothing(newcomer)


@pytest.mark.parametrize("width", [60, 80])
def test_what_comes_after_it_fits(manager, monkeypatch, width):
    manager.keys("dana-laptop", "dana-ci", "a key with a rather long name", "notes")
    manager.reckon("init", "--yes")
    manager.reckon("poll")
    monkeypatch.setenv("COLUMNS", str(width))
    for command in ("doctor", "keys"):
        assert max(map(len, manager.reckon(command).lines)) <= width
