"""`reckon poll` against a served account, as a person or a timer runs it."""

import re

import pytest

from reckon.fakes import openrouter
from reckon.fakes.answers import rate_limited
from reckon.store import open_store
from tests.serving import serve


@pytest.fixture
def served(town):
    with serve(openrouter.app(town.world)) as url:
        town.base_url = f"{url}/api/v1"
        yield town


def test_a_poll_counts_what_was_spent_since_the_last(served):
    served.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    served.spend("laptop", "100")
    first = served.reckon("poll", "--json")
    assert first.code == 0
    assert first.document == {"schema_version": 1, "keys_polled": 2, "failures": [], "spend_usd": "0.000000000"}
    served.spend("laptop", "0.000000007")
    served.spend("notebook", "1.25")
    second = served.reckon("poll", "--json")
    assert second.document["spend_usd"] == "1.250000007"
    assert served.reckon("spend", "--json").document["total_usd"] == "1.250000007"


def test_a_key_that_yields_nothing_is_told_with_its_reason_and_costs_the_others_nothing(served):
    served.settle({"ravi": ["laptop"], "dana": ["notebook"]})
    served.world.disable(served.key("notebook"))
    answer = served.reckon("poll", "--json")
    assert answer.code == 0
    assert answer.document["keys_polled"] == 1
    (failure,) = answer.document["failures"]
    assert {name: failure[name] for name in ("owner", "key", "reason")} == {
        "owner": "dana",
        "key": "notebook",
        "reason": "access_denied",
    }
    shown = served.reckon("poll")
    assert shown.lines[0] == "1 of 2 keys answered; $0.00 counted by this poll."
    assert re.search(r"^dana +notebook +access denied +HTTP 401$", shown.out, re.MULTILINE)


def test_a_poll_that_no_key_answered_is_69(served):
    served.settle({"ravi": ["laptop"]})
    served.world.disable(served.key("laptop"))
    answer = served.reckon("poll", "--json")
    assert answer.code == 69
    assert answer.document["keys_polled"] == 0


def test_the_first_poll_tells_that_nothing_before_it_counts(served):
    served.settle({"ravi": ["laptop", "phone"]})
    served.spend("laptop", "100")
    assert served.reckon("poll").lines == [
        "2 of 2 keys answered; $0.00 counted by this poll.",
        "2 keys seen for the first time: what they spend counts from now on.",
    ]
    served.spend("laptop", "2")
    assert served.reckon("poll").lines == ["2 of 2 keys answered; $2.00 counted by this poll."]


def test_the_account_balance_is_told_with_who_saw_it(served):
    from reckon.fakes.world import CreditsPolicy  # noqa: PLC0415

    served.settle({"ravi": ["laptop"]})
    served.world.purchase(50 * 10**9)
    served.world.credits_policy = CreditsPolicy.NUMBERS
    served.spend("laptop", "8.50")
    assert "Account balance $41.50, as seen by key laptop of ravi." in served.reckon("poll").lines


def test_an_owner_map_without_a_key_is_69_and_says_what_to_do(served):
    served.settle({"ravi": []})
    answer = served.reckon("poll")
    assert (answer.code, answer.out) == (69, "")
    assert "holds no key" in answer.err


def test_a_wait_that_openrouter_asked_of_the_daemon_does_not_bind_a_person(served):
    served.settle({"ravi": ["laptop"]})
    served.world.answer_with(served.key("laptop"), rate_limited("3600"), times=1)
    assert served.reckon("poll", "--json").document["failures"][0]["reason"] == "rate_limited"
    assert served.reckon("poll", "--json").document["keys_polled"] == 1


def test_a_poll_asks_nobody_while_another_process_writes_to_the_file(served):
    served.settle({"ravi": ["laptop"]})
    assert served.reckon("poll").code == 0
    served.spend("laptop", "1")
    asked = list(served.world.requests)
    writer = open_store(f"sqlite:///{served.database}", writes=True)
    try:
        refused = served.reckon("poll", "--json")
        assert (refused.code, refused.out) == (69, "")
        assert str(served.database) in refused.err
        assert served.world.requests == asked
    finally:
        writer.close()
    assert served.reckon("poll", "--json").document["spend_usd"] == "1.000000000"


def test_settings_without_effect_are_named_once_on_standard_error(served, monkeypatch):
    served.settle({"ravi": ["laptop"]})
    monkeypatch.setenv("RECKON_ANOMALY__PRICE", "true")
    answer = served.reckon("poll", "--json")
    assert answer.document["keys_polled"] == 1
    assert answer.err.splitlines() == ["reckon: not built yet, so without effect: anomaly.price"]


def test_no_secret_is_told_when_the_secrets_cannot_be_had(served):
    served.settle({"ravi": ["laptop"]})
    text = served.config.read_text().replace(served.key("laptop").secret, "env:A_KEY_THAT_IS_NOT_SET")
    served.write_secret("reckon.toml", text)
    answer = served.reckon("poll")
    assert (answer.code, answer.out) == (78, "")
    assert "A_KEY_THAT_IS_NOT_SET" in answer.err
    assert not served.database.exists()
