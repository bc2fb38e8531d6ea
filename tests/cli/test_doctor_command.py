"""`reckon doctor`: each thing that Reckon leans on, right and wrong, and what it says to do."""

import ast
import asyncio
import inspect
import json
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
        *("configuration", "ledger", "SQLite", "key laptop of ravi", "clock", "Slack", "egress"),
        *("management key", "generations", "broadcast"),  # what there is beside the counters, and what there is not
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
    monkeypatch.setenv("RECKON_ANOMALY__NEWCOMER", "true")
    assert any("anomaly.newcomer" in text for _, text in found(team)["configuration"])


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


def effective_budget(**layer):
    """Return an edit of a key's answer in which this layer of its budget blocks first."""
    told = json.dumps({"resets_at": None, "reset_interval": None, **layer}).encode()
    return Answer(edit=lambda right: right.replace(b'"effective_budget":null', b'"effective_budget":' + told))


def test_the_layer_of_a_budget_that_blocks_first_is_told(team):
    layer = {"scope": "workspace", "limit_usd": 50, "remaining_usd": 3.2, "reset_interval": "monthly"}
    team.world.answer_with(team.key("laptop"), effective_budget(**layer))
    state, text = only(found(team)["key laptop of ravi"])
    assert state == "ok"
    assert "blocked first by its workspace's budget ($3.20 left of $50.00 monthly)" in text


def test_a_layer_that_is_used_up_is_a_warning(team):
    layer = {"scope": "member", "limit_usd": 50, "remaining_usd": -0.5, "resets_at": "2026-12-01T00:00:00Z"}
    team.world.answer_with(team.key("laptop"), effective_budget(**layer))
    state, text = only(found(team)["key laptop of ravi"])
    assert state == "warning"
    assert "Its member's budget is used up. OpenRouter refuses its calls until 1 Dec 00:00 UTC." in text


def test_a_layer_nobody_knows_is_told_by_its_own_name(team):
    team.world.answer_with(team.key("laptop"), effective_budget(scope="guild", limit_usd=5, remaining_usd=1))
    assert "blocked first by the budget guild" in only(found(team)["key laptop of ravi"])[1]


def test_a_layer_that_cannot_be_read_is_not_told(team):
    team.world.answer_with(team.key("laptop"), effective_budget(scope=7, limit_usd="much"))
    state, text = only(found(team)["key laptop of ravi"])
    assert (state, "blocked first" in text) == ("ok", False)


# --- The account -----------------------------------------------------------------------------------------------------


@pytest.fixture
def managed(team):
    """The same team with a management key."""
    team.manage()
    team.settle({"ravi": ["laptop"]})
    return team


def with_rules(team, **globs):
    """Give each owner a rule by the names of keys, in this order."""
    team.extra += "".join(f'\n[owners.{owner}]\nmatch = {{ name = "{glob}" }}' for owner, glob in globs.items())
    team.settle({"ravi": ["laptop"]})


def test_what_a_management_key_opens_is_told(managed):
    checks = found(managed)
    assert only(checks["management key"])[0] == "ok"
    assert checks["sweep"] == [("ok", "1 key in 1 workspace. ")]
    assert checks["analytics"] == checks["activity"] == [("ok", "Available. ")]
    assert checks["generations"] == [("ok", "Their cost can be asked for with any of 2 keys. ")]
    assert checks["owner map"] == [("ok", "1 key: 1 of 1 owner, 0 of nobody. ")]


def test_without_one_it_is_told_what_one_would_add(team):
    checks = found(team)
    state, text = only(checks["management key"])
    assert state == "ok"
    assert all(source in text for source in ("sweep", "analytics", "activity", "balance"))
    assert {"sweep", "analytics", "activity", "owner map"} & checks.keys() == set()


def test_each_thing_of_the_account_is_asked_for_once(managed):
    found(managed)
    paths = [request.path.removeprefix("/api/v1") for request in managed.world.requests]
    assert sorted(paths) == [
        *("/activity", "/analytics/meta", "/auth/key", "/auth/key", "/credits", "/credits", "/keys", "/workspaces")
    ]


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_without_analytics_is_told_what_it_loses(managed, status):
    managed.world.analytics_available = False
    managed.world.analytics_missing_status = status
    checks = found(managed)
    state, text = only(checks["analytics"])
    assert state == "warning"
    assert f"HTTP {status}" in text
    assert "spend by model the same day" in text
    assert checks["activity"][0][0] == "ok"


def test_a_sweep_that_fails_is_wrong_and_blames_no_key(managed):
    managed.world.answer_with("/api/v1/keys", rate_limited("60"))
    managed.extra = '[owners.dana]\nkeys = [{ name = "notebook", hash = "' + "ab" * 32 + '" }]'
    managed.settle({"ravi": ["laptop"]})
    checks = found(managed)
    assert only(checks["sweep"])[0] == "wrong"
    assert only(checks["key laptop of ravi"])[0] == "ok"
    assert checks["key notebook of dana"][0][0] == "warning"
    assert "owner map" not in checks


def test_a_sweep_that_is_turned_off_is_told(managed, monkeypatch):
    monkeypatch.setenv("RECKON_POLL__SWEEP_EVERY", "0")
    state, text = only(found(managed)["sweep"])
    assert state == "warning"
    assert "poll.sweep_every turns it off" in text


def test_an_owner_map_without_keys_is_no_fault_where_a_sweep_finds_them(managed):
    managed.settle({})
    assert "keys" not in found(managed)


def test_a_key_known_by_its_hash_is_described_by_the_sweep(managed):
    labs = managed.world.make_workspace("Labs")
    terms = {"limit_nanos": 20 * 10**9, "limit_reset": "weekly", "workspace": labs.id}
    key = managed.world.make_key("notebook", **terms)
    managed.extra = f'[owners.dana]\nkeys = [{{ name = "notebook", hash = "{key.hash}" }}]'
    managed.settle({"ravi": ["laptop"]})
    assert found(managed)["key notebook of dana"] == [
        ("ok", "Seen by the sweep, in workspace Labs, $20.00 left of $20.00 weekly. ")
    ]
    managed.world.disable(key)
    state, text = only(found(managed)["key notebook of dana"])
    assert (state, "It is disabled." in text) == ("warning", True)
    managed.world.delete(key)
    state, text = only(found(managed)["key notebook of dana"])
    assert (state, "No sweep shows a key with this hash." in text) == ("wrong", True)


def test_without_a_sweep_a_key_known_by_its_hash_cannot_be_seen(team):
    team.extra = '[owners.dana]\nkeys = [{ name = "notebook", hash = "' + "ab" * 32 + '" }]'
    team.settle({"ravi": ["laptop"]})
    state, text = only(found(team)["key notebook of dana"])
    assert state == "warning"
    assert "openrouter.management_key" in text


def test_a_key_of_another_account_is_told(managed):
    managed.world.make_key("other")
    managed.world.answer_with(
        "/api/v1/keys", Answer(edit=lambda right: right.replace(managed.key("laptop").hash.encode(), b"c" * 64))
    )
    state, text = only(found(managed)["key laptop of ravi"])
    assert state == "warning"
    assert "it is of another account" in text


def test_a_rule_that_claims_nothing_is_told(managed):
    managed.world.make_key("ci-1")
    with_rules(managed, ci="ci-*", dana="dana-*")
    checks = found(managed)
    assert checks["rule of dana"][0] == (
        "warning",
        "name dana-* claims no key. Mend it, unless its keys are yet to come.",
    )
    assert "rule of ci" not in checks


def test_rules_without_a_sweep_claim_nothing_and_that_is_told(team):
    with_rules(team, dana="dana-*")
    state, text = only(found(team)["owner map"])
    assert state == "warning"
    assert "openrouter.management_key" in text


def test_a_key_that_two_rules_claim_is_told_with_who_has_it(managed):
    for number in range(7):
        managed.world.make_key(f"ci-{number}")
    with_rules(managed, dana="*", ci="ci-*")
    managed.settle({"ravi": ["laptop", "ci-named"]})  # an entry comes before every rule
    checks = found(managed)
    assert "Claimed by dana and by ci; the first rule wins, so it is dana's." in only(checks["key ci-3 of dana"])[1]
    assert sum("Claimed by" in text for told in checks.values() for _, text in told) == 5
    assert ("warning", "2 more keys are claimed by several rules; the first wins. ") in checks["owner map"]


def test_keys_of_nobody_are_told_dearest_first_with_who_might_own_them(managed):
    managed.extra = "[owners.dana]"
    managed.settle({"ravi": ["laptop"]})
    for number in range(7):
        managed.world.spend(managed.world.make_key(f"stray{number}", creator=None), number * 10**9)
    managed.world.spend(managed.world.make_key("dana-toy", creator=None), 9 * 10**9)
    checks = found(managed)
    told = [subject for subject in checks if subject.endswith("of (unowned)")]
    assert told[:2] == ["key dana-toy of (unowned)", "key stray6 of (unowned)"]
    assert only(checks["key dana-toy of (unowned)"]) == (
        "warning",
        "$9.00 this month, $9.00 in all. Perhaps dana's? Name it in the owner map, or let a rule claim it.",
    )
    assert checks["keys of (unowned)"] == [("warning", "3 more keys, $3.00 this month; see `reckon keys`. ")]
    assert checks["owner map"][0] == ("ok", "9 keys: 1 of 1 owner, 8 of nobody. ")


def test_broadcast_is_told_with_what_it_needs(team, monkeypatch):
    assert "http.listen is turned off" in only(found(team)["broadcast"])[1]
    monkeypatch.setenv("RECKON_HTTP__LISTEN", "127.0.0.1:8787")
    assert "it needs http.token" in only(found(team)["broadcast"])[1]
    monkeypatch.setenv("RECKON_HTTP__TOKEN", CANARIES["http_token"])
    assert only(found(team)["broadcast"])[1].startswith("Taken in at 127.0.0.1:8787, path /v1/traces.")


def test_the_document_keeps_its_shape(managed):
    document = managed.reckon("doctor", "--json").document
    assert {*document} == {"schema_version", "checks"}
    assert {tuple(check) for check in document["checks"]} == {("subject", "state", "text", "advice")}
    assert [check["subject"] for check in document["checks"]] == [
        *("configuration", "ledger", "SQLite", "management key", "key laptop of ravi", "owner map"),
        *("sweep", "analytics", "activity", "generations", "broadcast", "clock", "Slack", "egress"),
    ]


# --- The clock -------------------------------------------------------------------------------------------------------


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
    assert to_openrouter == (
        f"To {team.base_url}: GET /activity, GET /analytics/meta, GET /auth/key, GET /credits, GET /generation,"
        " GET /key, GET /keys, GET /workspaces, POST /analytics/query; nothing else. "
    )
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
