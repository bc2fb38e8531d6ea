from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.records import FailureReason
from reckon.http_time import http_date, retry_after_seconds
from tests.sources.asking import Clock, json_answer, poll

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)

WAITS = [
    ("30", 30),
    (" 30 ", 30),
    ("0", 0),
    ("0.0", 0),
    ("1.5", 2),
    ("0.001", 1),
    ("59.999999999", 60),
    ("3600", 3600),
    ("3601", 3600),
    ("1000000000", 3600),
    ("9" * 99, 3600),
    ("9" * 5000, None),
    ("Sun, 22 Nov 2026 02:00:30 GMT", 30),
    ("Sun, 22 Nov 2026 02:00:00 GMT", 0),
    ("Sunday, 22-Nov-26 02:00:30 GMT", 30),
    ("Sun Nov 22 02:00:30 2026", 30),
    ("Sun, 22 Nov 2026 04:00:30 +0200", 30),
    ("Sun, 22 Nov 2026 23:00:00 GMT", 3600),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ("Sun, 22 Nov 2026 01:59:59 GMT", None),
    ("Thu, 01 Jan 1970 00:00:00 GMT", None),
    ("Sun, 32 Nov 2026 02:00:30 GMT", None),
    ("Sun, 22 Nov 2026 25:00:00 GMT", None),
    ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ("-1", None),
    ("-0.5", None),
    ("+5", None),
    ("1e3", None),
    ("0x10", None),
    ("1,5", None),
    ("30, 60", None),
    ("30 s", None),
    (".5", None),
    ("5.", None),
    ("\u0663\u0660", None),
    ("NaN", None),
    ("inf", None),
    ("soon", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("text", "seconds"), WAITS)
def test_a_retry_after_is_read_or_it_is_none(text, seconds):
    assert retry_after_seconds(text, NOW) == seconds


def test_a_wait_until_a_date_is_counted_from_our_clock_and_rounded_up():
    just_after = NOW + timedelta(microseconds=1)
    assert retry_after_seconds("Sun, 22 Nov 2026 02:00:30 GMT", just_after) == 30
    assert retry_after_seconds("Sun, 22 Nov 2026 02:00:30 GMT", just_after + timedelta(seconds=1)) == 29


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9 ,:+-]{0,40}")))
def test_whatever_a_server_writes_there_a_wait_is_none_or_at_most_an_hour(text):
    seconds = retry_after_seconds(text, NOW)
    assert seconds is None or 0 <= seconds <= 3600
    told = http_date(text)
    assert told is None or told.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("status", "reason", "seconds"),
    [
        (429, FailureReason.RATE_LIMITED, 30),
        (503, FailureReason.UNAVAILABLE, 30),
        (500, FailureReason.UNAVAILABLE, None),
        (401, FailureReason.ACCESS_DENIED, None),
    ],
)
@pytest.mark.parametrize("wait", ["29.5", "Sun, 22 Nov 2026 02:00:30 GMT"])
def test_only_429_and_503_may_ask_for_a_wait(status, reason, seconds, wait):
    answered = poll(lambda *_: json_answer({}, status, [("Retry-After", wait)]), clock=Clock(NOW))
    assert answered.snapshots == ()
    assert [(failure.reason, failure.retry_after_seconds) for failure in answered.failures] == [(reason, seconds)]
