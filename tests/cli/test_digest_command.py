"""`reckon digest`: what the calendar would send, for whoever asks; and sent, when somebody says so."""

import re
from datetime import timedelta

import pytest

from reckon.app import system_clock
from reckon.fakes.slack import app
from reckon.fakes.slack_workspace import Workspace, refused
from reckon.store import open_store
from tests.canary import CANARIES
from tests.serving import serve


@pytest.fixture
def team(town_lately):
    """Two owners, of whom one spent $12.50 yesterday."""
    town_lately.settle({"dana": ["notebook"], "ravi": ["laptop"]}, teams={"dana": "platform"})
    midnight = town_lately.world.now
    town_lately.spend("notebook", "12.50", f"{midnight + timedelta(hours=34):%Y-%m-%d %H:%M}")
    instants = [midnight, midnight + timedelta(hours=33), midnight + timedelta(hours=35), midnight + timedelta(days=2)]
    town_lately.poll(*(f"{instant:%Y-%m-%d %H:%M}" for instant in instants))
    return town_lately


@pytest.fixture
def workspace():
    return Workspace(system_clock)


@pytest.fixture
def team_with_slack(team, workspace):
    workspace.issue_token(CANARIES["slack_bot_token"])
    channel = workspace.make_channel("spend", id="C0SPEND")
    with serve(app(workspace)) as url:
        team.write_secret(
            "reckon.toml",
            f'{team.config.read_text()}\n[slack]\nbot_token = "{CANARIES["slack_bot_token"]}"\n'
            f'channel = "{channel.id}"\napi_url = "{url}/api/"\n',
        )
        yield team


def test_it_is_printed_as_it_would_be_sent(team):
    answer = team.reckon("digest", "daily")
    assert (answer.code, answer.err) == (0, "")
    yesterday = team.world.now - timedelta(days=1)
    assert answer.lines[0].startswith(f"OpenRouter, {yesterday:%a} {yesterday.day} {yesterday:%b}: $12.50")
    assert re.search(r"^  dana +\$12\.50 ", answer.out, re.MULTILINE)
    assert max(map(len, answer.lines)) <= 80


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
def test_each_kind_is_a_document_of_what_is_over(team, kind):
    document = team.reckon("digest", kind, "--json").document
    assert document["digest"] == kind
    assert {row["owner"] for row in document["rows"]} == {"dana", "ravi"}
    assert document["until"] <= f"{team.world.now:%Y-%m-%dT%H:%M:%SZ}"
    assert document["title"].startswith("OpenRouter, ")


def test_another_kind_is_refused(team):
    answer = team.reckon("digest", "hourly")
    assert (answer.code, answer.out) == (64, "")
    assert "daily" in answer.err


def test_to_look_at_one_tells_nobody_and_leaves_the_calendar_as_it_is(team_with_slack, workspace):
    team_with_slack.reckon("digest", "daily")
    assert workspace.requests == []
    with open_store(f"sqlite:///{team_with_slack.database}", writes=False) as store, store.reading() as ledger:
        assert ledger.due_dates() == {}
        assert ledger.outbox() == []


def test_sent_it_arrives_once_for_each_time_it_is_asked_for(team_with_slack, workspace):
    answer = team_with_slack.reckon("digest", "daily", "--send")
    assert (answer.code, answer.out) == (0, "Delivered to slack.\n")
    (message,) = workspace.messages()
    assert "$12.50" in message.text
    with open_store(f"sqlite:///{team_with_slack.database}", writes=False) as store, store.reading() as ledger:
        assert ledger.due_dates() == {}  # the calendar's own is still to come


def test_sent_it_tells_a_program_what_became_of_it(team_with_slack, workspace):
    document = team_with_slack.reckon("digest", "weekly", "--send", "--json").document
    assert document["delivery"] == {"sink": "slack", "state": "delivered", "trouble": None}
    assert len(workspace.messages()) == 1


def test_what_slack_refuses_is_69_and_says_what_to_mend(team_with_slack, workspace):
    workspace.answer_with("chat.postMessage", refused("channel_not_found"))
    answer = team_with_slack.reckon("digest", "daily", "--send")
    assert answer.code == 69
    assert answer.out.startswith(
        "It did not get to slack and will not be tried again: Slack answered channel_not_found"
    )
    assert workspace.messages() == ()


def test_without_slack_it_is_printed_where_messages_go(team):
    answer = team.reckon("digest", "daily", "--send")
    assert (answer.code, answer.out) == (0, "Delivered to console.\n")
    assert "$12.50" in answer.err


def test_sending_waits_for_no_daemon_that_holds_the_file(team_with_slack, workspace):
    with open_store(f"sqlite:///{team_with_slack.database}", writes=True) as store:
        answer = team_with_slack.reckon("digest", "daily", "--send")
        assert (answer.code, answer.out) == (69, "")
        assert "is writing to" in answer.err
        assert store.outbox() == []
        assert team_with_slack.reckon("digest", "daily").code == 0
    assert workspace.requests == []


def test_sending_makes_no_ledger_where_there_is_none(town):
    town.settle({"ravi": ["laptop"]})
    answer = town.reckon("digest", "daily", "--send")
    assert (answer.code, answer.out) == (69, "")
    assert not town.database.exists()
