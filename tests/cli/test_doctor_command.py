"""`reckon doctor`: each thing that Reckon leans on, right and wrong, and what it says to do."""

import ast
import asyncio
import inspect
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from reckon.app import system_clock
from reckon.checkup import slack as slack_checkup
from reckon.fakes import openrouter
from reckon.fakes.answers import Answer, rate_limited
from reckon.fakes.slack import app as slack_app
from reckon.fakes.slack_workspace import Workspace, refused
from reckon.fakes.world import CreditsPolicy
from reckon.sinks.slack import sink as slack_sink
from reckon.store import open_store
from tests.canary import CANARIES
from tests.serving import serve


@pytest.fixture
def team(town_lately):
    """A team whose account is served, at the present instant."""
    town_lately.world.move_to(system_clock().replace(microsecond=0))
    with serve(openrouter.app(town_lately.world)) as url:
        town_lately.base_url = f"{url}/api/v1"
        town_lately.settle({"ravi": ["laptop"]})
        yield town_lately


def make_key(team, name, **rights):
    """Let the account make a key with these rights, under a secret that may stand in the configuration."""
    secret = CANARIES["management_key"] if rights.get("is_management_key") else CANARIES["inference_key_3"]
    team.keys[name] = team.world.make_key(name, secret=secret, **rights)
    team.settle({"ravi": ["laptop", name]})


def found(team, *arguments):
    """Return what was found of each thing: {subject: [(state, text and advice)]}."""
    checks = team.reckon("doctor", "--json", *arguments).document["checks"]
    by_subject = {}
    for check in checks:
        by_subject.setdefault(check["subject"], []).append((check["state"], f"{check['text']} {check['advice']}"))
    return by_subject


def only(checks):
    (check,) = checks
    return check


# --- The whole -------------------------------------------------------------------------------------------------------


def test_a_sound_team_has_nothing_to_mend(team):
    team.poll()
    answer = team.reckon("doctor", "--json")
    assert (answer.code, answer.err) == (0, "")
    document = answer.document
    assert document["schema_version"] == 1
    assert "wrong" not in {check["state"] for check in document["checks"]}
    assert {check["subject"] for check in document["checks"]} == {
        *("configuration", "ledger", "SQLite", "key laptop of ravi", "clock", "Slack", "egress")
    }


def test_a_warning_is_told_and_is_still_no_reason_to_answer_no(team):
    assert only(found(team)["ledger"])[0] == "warning"
    answer = team.reckon("doctor")
    assert answer.code == 0
    assert answer.lines[-1].startswith("Nothing to mend, ")


def test_one_thing_that_is_wrong_is_told_and_answers_no(team):
    team.world.disable(team.key("laptop"))
    answer = team.reckon("doctor")
    assert answer.code == 1
    assert answer.lines[-1].startswith("1 thing to mend, ")


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits(team, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, team.reckon("doctor").lines)) <= width


def test_it_looks_while_a_daemon_holds_the_file_and_changes_nothing(team):
    team.poll()
    with open_store(f"sqlite:///{team.database}", writes=True) as store, store.reading() as ledger:
        before = ledger.every_key()
        assert only(found(team)["ledger"])[0] == "ok"
    with open_store(f"sqlite:///{team.database}", writes=False) as store, store.reading() as ledger:
        assert ledger.every_key() == before


def test_each_key_is_asked_about_itself_once(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    found(team)
    assert sorted(request.path for request in team.world.requests) == [
        *["/api/v1/auth/key"] * 2,
        *["/api/v1/credits"] * 2,
    ]


# --- This machine ----------------------------------------------------------------------------------------------------


def test_before_any_ledger_it_says_that_there_is_none_and_makes_none(team):
    state, text = only(found(team)["ledger"])
    assert state == "warning"
    assert "there is no ledger yet" in text
    assert "reckon run" in text
    assert not team.database.exists()


def test_a_place_where_no_ledger_can_be_made_is_wrong(team, monkeypatch):
    monkeypatch.setenv("RECKON_DATABASE_URL", f"sqlite:///{team.directory}/nowhere/reckon.db")
    state, text = only(found(team)["ledger"])
    assert state == "wrong"
    assert "mkdir -p" in text


def test_a_damaged_ledger_is_wrong(team):
    team.poll()
    with closing(sqlite3.connect(team.database)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("UPDATE key SET owner_id = 4711")
        database.commit()
    state, text = only(found(team)["ledger"])
    assert state == "wrong"
    assert "is damaged" in text
    assert "backup" in text


def test_a_file_of_another_program_is_wrong(team):
    team.database.write_text("notes of mine, and long enough to be no accident")
    assert only(found(team)["ledger"])[0] == "wrong"


def test_an_old_sqlite_is_told_with_why_it_does_no_harm(team):
    state, text = only(found(team)["SQLite"])
    assert state == ("warning" if sqlite3.sqlite_version_info < (3, 51, 3) else "ok")
    assert sqlite3.sqlite_version in text
    assert ("one process writes" in text) == (state == "warning")


def test_a_configuration_that_others_may_change_is_told(team):
    assert found(team)["configuration"] == [("ok", f"{team.config}, mode 0600. ")]
    text = team.config.read_text().replace(team.key("laptop").secret, "env:LAPTOP")
    team.write_secret("reckon.toml", text, 0o666)
    state, text = found(team)["configuration"][0]
    assert state == "warning"
    assert "chmod go-w" in text


def test_settings_without_effect_are_told(team, monkeypatch):
    monkeypatch.setenv("RECKON_POLL__SWEEP_EVERY", "5m")
    assert any("poll.sweep_every" in text for _, text in found(team)["configuration"])


def test_a_secret_that_cannot_be_had_is_wrong_and_the_rest_is_looked_at(team):
    text = team.config.read_text().replace(team.key("laptop").secret, "env:NOT_SET_ANYWHERE")
    team.write_secret("reckon.toml", text)
    checks = found(team)
    state, text = only(checks["secret"])
    assert state == "wrong"
    assert "NOT_SET_ANYWHERE" in text
    assert "ledger" in checks
    assert team.world.requests == []


# --- Keys and clock --------------------------------------------------------------------------------------------------


def test_a_key_is_described(team):
    make_key(team, "ci", limit_nanos=100 * 10**9, limit_reset="monthly", expires_at=team.world.now + timedelta(days=90))
    team.world.purchase(50 * 10**9)
    team.spend("ci", "25.50")
    state, text = only(found(team)["key ci of ravi"])
    expires = team.world.now + timedelta(days=90)
    assert state == "ok"
    assert text == (
        f"Inference key, $74.50 left of $100.00 monthly, expires {expires:%-d %b %Y}, does not see the account's"
        " balance. "
    )


def test_a_right_that_cannot_be_read_is_not_told_and_costs_the_others_nothing(team):
    make_key(team, "ci", limit_nanos=100 * 10**9, expires_at=team.world.now + timedelta(days=90))
    year = f"{team.world.now + timedelta(days=90):%Y}-".encode()
    unreadable = Answer(edit=lambda right: right.replace(b'"expires_at":"' + year, b'"expires_at":"some day '))
    team.world.answer_with(team.key("ci"), unreadable)
    state, text = only(found(team)["key ci of ravi"])
    assert state == "ok"
    assert text == "Inference key, $100.00 left of $100.00, free tier, does not see the account's balance. "


def test_a_key_that_sees_the_balance_is_told(team):
    team.world.credits_policy = CreditsPolicy.NUMBERS
    team.world.purchase(50 * 10**9)
    assert "sees the account's balance ($50.00)" in only(found(team)["key laptop of ravi"])[1]


def test_two_zeros_are_no_balance(team):
    team.world.credits_policy = CreditsPolicy.ZEROS
    team.world.purchase(50 * 10**9)
    assert "does not see the account's balance" in only(found(team)["key laptop of ravi"])[1]


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ({"limit_nanos": 0}, "limit is used up"),
        ({"expires_at": system_clock() + timedelta(days=3, hours=12)}, "expires in 3 d"),
        ({"is_management_key": True}, "list, make and delete"),
    ],
)
def test_what_a_person_should_know_of_a_key_is_a_warning(team, rights, words):
    make_key(team, "ci", **rights)
    state, text = only(found(team)["key ci of ravi"])
    assert state == "warning"
    assert words in text


def test_a_key_that_does_not_answer_is_wrong_and_the_others_are_described(team):
    team.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    team.world.disable(team.key("notebook"))
    checks = found(team)
    state, text = only(checks["key notebook of dana"])
    assert state == "wrong"
    assert text.startswith("Access denied: HTTP 401. ")
    assert only(checks["key laptop of ravi"])[0] == "ok"


def test_a_key_that_is_told_to_wait_passes(team):
    team.world.answer_with(team.key("laptop"), rate_limited("60"))
    assert only(found(team)["key laptop of ravi"])[0] == "warning"


def test_an_account_that_cannot_be_reached_is_wrong(team, monkeypatch):
    monkeypatch.setenv("RECKON_OPENROUTER__BASE_URL", "http://127.0.0.1:9/api/v1")
    checks = found(team)
    state, text = only(checks["key laptop of ravi"])
    assert state == "wrong"
    assert "connection refused" in text
    assert only(checks["clock"])[0] == "warning"


def test_a_management_key_is_one_or_wrong(team, monkeypatch):
    make_key(team, "boss", is_management_key=True)
    team.settle({"ravi": ["laptop"]})
    monkeypatch.setenv("RECKON_OPENROUTER__MANAGEMENT_KEY", team.key("boss").secret)
    state, text = only(found(team)["management key"])
    assert state == "ok"
    assert text.startswith("Management key, ")
    assert "sees the account's balance" in text
    monkeypatch.setenv("RECKON_OPENROUTER__MANAGEMENT_KEY", team.key("laptop").secret)
    state, text = only(found(team)["management key"])
    assert state == "wrong"
    assert "inference key" in text


def test_an_empty_owner_map_is_wrong(team):
    team.settle({})
    assert only(found(team)["keys"])[0] == "wrong"


def test_clocks_that_differ_are_told(town):
    with serve(openrouter.app(town.world)) as url:
        town.base_url = f"{url}/api/v1"
        town.settle({"ravi": ["laptop"]})
        state, text = only(found(town)["clock"])
    assert state == "warning"
    assert "ahead of OpenRouter's" in text


def test_clocks_that_agree_are_well(team):
    assert only(found(team)["clock"]) == ("ok", "Within a minute of OpenRouter's. ")


# --- Slack -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace():
    workspace = Workspace(system_clock)
    workspace.issue_token(CANARIES["slack_bot_token"])
    workspace.make_channel("spend", id="C0SPEND")
    return workspace


@contextmanager
def slack_for(team, workspace, channel="C0SPEND", more=""):
    with serve(slack_app(workspace)) as url:
        team.extra += (
            f'\n[slack]\nbot_token = "{CANARIES["slack_bot_token"]}"\nchannel = "{channel}"\n'
            f'api_url = "{url}/api/"\n{more}'
        )
        team.settle({"ravi": ["laptop"]})
        yield


def test_a_token_is_told_with_who_it_is(team, workspace):
    with slack_for(team, workspace):
        assert only(found(team)["Slack"]) == ("ok", "Posts as reckon in Invented Works, with every scope of use. ")
    assert workspace.messages() == ()


@pytest.mark.parametrize(
    ("scopes", "state"),
    [({"chat:write"}, "warning"), ({"channels:history"}, "wrong"), ({"chat:write", "groups:history"}, "ok")],
)
def test_a_scope_that_is_missing_is_told(team, workspace, scopes, state):
    workspace.issue_token(CANARIES["slack_bot_token"], frozenset(scopes))
    with slack_for(team, workspace):
        assert only(found(team)["Slack"])[0] == state


def test_a_token_that_slack_does_not_take_is_wrong_with_what_to_do(team, workspace):
    workspace.revoke(CANARIES["slack_bot_token"])
    with slack_for(team, workspace):
        answer = team.reckon("doctor", "--json")
    assert answer.code == 1
    (check,) = [check for check in answer.document["checks"] if check["subject"] == "Slack"]
    assert check["state"] == "wrong"
    assert "slack.bot_token is not valid any more" in check["text"]


def test_a_channel_known_by_name_is_told_wherever_it_stands(team, workspace):
    with slack_for(team, workspace, channel="spend", more='[teams.platform]\nchannel = "#platform"'):
        texts = [text for state, text in found(team)["Slack"] if state == "warning"]
    assert [text.split()[0] for text in texts] == ["slack.channel", "teams.platform.channel"]


def test_a_sample_alert_gets_to_the_channel_and_says_that_it_is_one(team, workspace):
    with slack_for(team, workspace):
        state, text = only(found(team, "--slack")["sample alert"])
    assert state == "ok"
    assert "C0SPEND" in text
    (message,) = workspace.messages()
    assert "Sample alert: nobody spent $84.10 today - usually $3.10 a day" in message.text
    assert "This is a sample" in str(message.blocks)


def test_a_sample_that_is_refused_is_wrong(team, workspace):
    workspace.answer_with("chat.postMessage", refused("not_in_channel"))
    with slack_for(team, workspace):
        state, text = only(found(team, "--slack")["sample alert"])
    assert state == "wrong"
    assert "invite the app" in text
    assert workspace.messages() == ()


def test_without_slack_the_sample_is_printed_where_alerts_are(team):
    answer = team.reckon("doctor", "--slack", "--json")
    assert "Sample alert: nobody spent $84.10 today" in answer.err
    assert "Printed on standard error" in answer.out


def test_a_webhook_is_tried_only_by_a_sample(team, workspace):
    channel = workspace.channel("spend")
    with serve(slack_app(workspace)) as url:
        webhook = f"{url}{workspace.make_webhook(channel)}"
        team.extra += f'\n[slack]\nwebhook_url = "{webhook}"'
        team.settle({"ravi": ["laptop"]})
        assert only(found(team)["Slack"])[0] == "ok"
        assert workspace.requests == []
        assert only(found(team, "--slack")["sample alert"])[0] == "ok"
    assert len(workspace.messages()) == 1


# --- What may leave --------------------------------------------------------------------------------------------------


def test_the_egress_is_told_in_full(team, workspace):
    with slack_for(team, workspace):
        to_openrouter, to_slack = [text for _, text in found(team)["egress"]]
    assert to_openrouter == f"To {team.base_url}: GET /auth/key, GET /credits, GET /key; nothing else. "
    assert "POST chat.postMessage" in to_slack


def test_the_egress_told_of_slack_is_what_the_sink_can_ask():
    tree = ast.parse(inspect.getsource(slack_sink))
    methods = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_the_client(node.func.value)
    }
    asked = set()

    class Listening(AsyncWebClient):
        async def _request(self, *, http_verb, api_url, **_):
            asked.add((http_verb, api_url.removeprefix(slack_sink.API_URL)))
            return {"data": {"ok": True}, "headers": {}, "status_code": 200}

    client = Listening(base_url=slack_sink.API_URL)
    arguments = {"auth_test": {}, "chat_postMessage": {"channel": "C0", "text": "x"}}
    usual = {"channel": "C0", "ts": "1.0", "text": "x"}
    for method in methods:
        asyncio.run(getattr(client, method)(**arguments.get(method, usual)))
    assert asked == slack_checkup.EGRESS


def _is_the_client(node):
    return isinstance(node, ast.Attribute) and node.attr == "_client"
