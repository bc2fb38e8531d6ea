"""What an answer means for the message: the table of outcomes, row by row."""

from datetime import UTC, datetime

import pytest

from reckon.core.outbox import Outcome
from reckon.errors import SinkError
from reckon.sinks.slack.carrier import Answer
from reckon.sinks.slack.verdicts import Unknown, final, said, taken

NOW = datetime(2026, 11, 20, 2, 6, tzinfo=UTC)
NOT_DELIVERED, AMBIGUOUS, REFUSED = Outcome.NOT_DELIVERED, Outcome.AMBIGUOUS, Outcome.REFUSED
UNNEEDED = Outcome.UNNEEDED


def verdict(status, body, headers=None, *, judge=said, attempts=1, repeats=False):
    with pytest.raises(SinkError) as trouble:
        judge(Answer(status, headers or {}, body), NOW)
    return final(trouble.value, attempts, repeats=repeats)


def not_ok(code):
    return b'{"ok":false,"error":"%s"}' % code.encode()


BY_CODE = {
    NOT_DELIVERED: [
        *("ratelimited", "rate_limited", "message_limit_exceeded", "request_timeout"),
        *("team_added_to_org", "external_channel_migrating"),
    ],
    AMBIGUOUS: ["fatal_error", "internal_error", "service_unavailable", "update_failed"],
    REFUSED: [
        *("channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "token_revoked", "token_expired"),
        *("account_inactive", "not_authed", "missing_scope", "msg_too_long", "invalid_blocks", "msg_blocks_too_long"),
        *("no_text", "restricted_action", "ekm_access_denied", "cant_update_message"),
        *("metadata_too_large", "not_allowed_token_type"),
    ],
    UNNEEDED: ["message_not_found", "thread_not_found", "edit_window_closed"],
}


@pytest.mark.parametrize(("outcome", "code"), [(outcome, code) for outcome in BY_CODE for code in BY_CODE[outcome]])
def test_each_code_has_its_outcome_and_is_named(outcome, code):
    trouble = verdict(200, not_ok(code))

    assert trouble.outcome is outcome
    assert code in str(trouble)


@pytest.mark.parametrize("code", [*BY_CODE[REFUSED], *BY_CODE[UNNEEDED]])
def test_what_is_refused_says_what_to_do(code):
    assert ": " in str(verdict(200, not_ok(code)))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
def test_a_failing_server_leaves_it_open_whatever_it_says(status):
    for body in (b"", b"<html>", not_ok("service_unavailable"), not_ok("invalid_auth"), b'{"ok":true}'):
        assert verdict(status, body).outcome is AMBIGUOUS


@pytest.mark.parametrize("judge", [said, taken])
@pytest.mark.parametrize("body", [b"", b"<html>slow down</html>", not_ok("ratelimited"), b"rate_limited"])
def test_429_is_not_delivered_whatever_it_says(judge, body):
    trouble = verdict(429, body, {"Retry-After": "7"}, judge=judge)

    assert (trouble.outcome, trouble.retry_after_seconds) == (NOT_DELIVERED, 7)


@pytest.mark.parametrize(
    ("told", "waited"),
    [
        ("1", 1),
        ("30", 30),
        (" 30 ", 30),
        ("2.2", 3),
        ("0", 1),
        ("3600", 3600),
        ("3601", 3600),
        ("1000000000", 3600),
        ("9" * 18, 3600),
        ("Fri, 20 Nov 2026 02:07:30 GMT", 90),
        ("Fri, 20 Nov 2026 02:07:30 -0000", 90),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
        ("Fri, 31 Dec 2038 23:59:59 GMT", 3600),
        ("-5", 30),
        ("soon", 30),
        ("", 30),
        ("٣", 30),
        ("9" * 400, 30),
        ("1e9", 30),
        ("Fri, 99 Nov 2026 02:07:30 GMT", 30),
        (None, 30),
    ],
)
def test_a_wait_is_read_from_seconds_or_a_date_and_bounded_and_otherwise_the_usual_one(told, waited):
    headers = {} if told is None else {"Retry-After": told}

    assert verdict(429, b"", headers).retry_after_seconds == waited


def test_a_limit_told_as_a_refusal_has_its_wait_too():
    assert verdict(200, not_ok("ratelimited")).retry_after_seconds == 30
    assert verdict(200, not_ok("ratelimited"), {"Retry-After": "9"}).retry_after_seconds == 9


def test_a_failing_server_may_name_a_wait_and_none_is_made_up():
    assert verdict(503, b"", {"Retry-After": "120"}).retry_after_seconds == 120
    assert verdict(503, b"").retry_after_seconds is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 408, 413, 451])
@pytest.mark.parametrize("judge", [said, taken])
def test_a_refusal_by_someone_else_never_costs_the_message(status, judge):
    outcomes = [verdict(status, b"<html>no</html>", judge=judge, attempts=attempts).outcome for attempts in (1, 6, 100)]

    assert outcomes == [NOT_DELIVERED] * 3


def test_a_code_counts_whatever_the_status_it_comes_with():
    assert verdict(403, not_ok("invalid_auth")).outcome is REFUSED


@pytest.mark.parametrize("error", [b"null", b"7", b'""', b'"Not Found"', b'"<b>"', b'"xoxb-1-2-3"', b"[]", b"{}"])
def test_a_refusal_without_a_reason_shows_nothing_of_what_stands_there(error):
    trouble = verdict(200, b'{"ok":false,"error":' + error + b"}")

    assert isinstance(trouble, Unknown)
    assert trouble.outcome is NOT_DELIVERED
    assert str(trouble) == "refused without a reason, HTTP 200"


@pytest.mark.parametrize(("attempts", "outcome"), [(1, NOT_DELIVERED), (5, NOT_DELIVERED), (6, REFUSED), (60, REFUSED)])
def test_an_unknown_code_is_given_up_at_the_sixth_attempt(attempts, outcome):
    trouble = verdict(200, not_ok("whatever_comes_next"), attempts=attempts)

    assert trouble.outcome is outcome
    assert "whatever_comes_next" in str(trouble)


def test_what_is_perhaps_said_is_never_given_up():
    for attempts in (1, 6, 100):
        assert verdict(200, b"<html>", attempts=attempts).outcome is AMBIGUOUS
        assert verdict(200, not_ok("internal_error"), attempts=attempts).outcome is AMBIGUOUS


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b"invalid_payload", REFUSED),
        (400, b"no_text", REFUSED),
        (400, b"invalid_blocks", REFUSED),
        (403, b"action_prohibited", REFUSED),
        (404, b"channel_not_found", REFUSED),
        (404, b"no_service\n", REFUSED),
        (410, b"channel_is_archived", REFUSED),
        (404, b"<html>", NOT_DELIVERED),
        (400, b"", NOT_DELIVERED),
        (400, b"a_new_reason", NOT_DELIVERED),
        (500, b"rollup_error", AMBIGUOUS),
        (400, b"rollup_error", AMBIGUOUS),
        (200, b"accepted", AMBIGUOUS),
        (200, b'{"ok":false}', AMBIGUOUS),
        (202, b"accepted", AMBIGUOUS),
    ],
)
def test_a_webhook_answers_in_words(status, body, outcome):
    assert verdict(status, body, judge=taken).outcome is outcome


@pytest.mark.parametrize("body", [b"ok", b"ok\n", b'{"ok":true}'])
def test_a_webhook_that_says_ok_has_taken_it(body):
    taken(Answer(200, {}, body), NOW)
