"""What an alert says. Each message is written out as a person reads it: its headline, and the facts under it."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import alert_messages as say
from reckon.core.alert_messages import NOBODY, DayFacts, Moment, Person
from reckon.core.alerts import Alert, AlertState, Finding, Rule
from reckon.core.detectors import AnomalyPolicy
from reckon.core.generations import CallPlace, CallTotal
from reckon.core.messages import Fact, Tone
from reckon.core.records import Balance, Counter, Counters, FailureReason, KeyState, Reading, TotalState
from reckon.core.tokens import UNKNOWN
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, day, key_hash, usd

NOW = at("2026-11-20 02:06")
UTC_NOW = Moment(NOW, ZoneInfo("UTC"))
DEFAULTS = AnomalyPolicy()
DANA = Person("dana", mention="U012ABCDEF", place="C1")
UNUSUAL = Finding(
    Rule.SIGMA,
    "dana",
    date(2026, 11, 20),
    spend_nanos=usd("84.10"),
    threshold_nanos=usd("7.90"),
    usual_nanos=usd("3.10"),
    history_days=21,
)
SO_FAR = DayFacts(day("2026-11-20"), TotalState.PROVISIONAL, "ci-runner", 0.961, hourly_nanos=usd("10"))
AFTERWARDS = DayFacts(day("2026-11-19"), TotalState.SETTLED)
COUNTER = Counter(Reading(0, 0, 0, 0), 0, 0, 0)
LONGEST_LINE = 100


def told(message):
    return [message.headline, *(f"{fact.label}: {fact.text}" for fact in message.facts)]


def unusual_day(finding=UNUSUAL, facts=SO_FAR, policy=DEFAULTS, moment=UTC_NOW, noticed_at=None):
    return say.unusual_day(finding, facts, policy, DANA, moment, noticed_at=noticed_at)


# --- A day that is unusual -----------------------------------------------------------------------------------------


def test_an_unusual_day_that_runs():
    message = unusual_day()

    assert told(message) == [
        "dana spent $84.10 today - usually $3.10 a day",
        "When: noticed 02:06 UTC; the day ends in 21 h 54 min",
        "Rule: above mean + 3 sigma = $7.90 over 21 days, and more than $1.00 above the mean",
        "Driver: key ci-runner 96%",
        "If it goes on: $303.10 by the end of the day, at $10.00 an hour",
        "Data: provisional, as of 02:06 UTC",
    ]
    assert (message.tone, message.mention) == (Tone.ALARM, "U012ABCDEF")


@pytest.mark.parametrize(
    ("left", "hourly", "said"),
    [
        ("122", "50", "account balance $122.00, empty about 04:32 UTC"),
        ("122", "0.50", "account balance $122.00"),  # that is days away
        ("122", "0", "account balance $122.00"),
        ("-3", "50", "account balance -$3.00"),
    ],
)
def test_what_is_left_of_the_account_is_told_with_when_it_is_gone_at_this_pace(left, hourly, said):
    balance = Balance("0" * 64, UTC_NOW.now, usd(left), 0)
    facts = replace(SO_FAR, balance=balance, hourly_credits_nanos=usd(hourly))

    assert told(unusual_day(facts=facts))[4].endswith(f"by the end of the day, at $10.00 an hour; {said}")


def calls(model, asked, spent, generations, session=None):
    place = CallPlace(owner="dana", model=model, requested_model=asked, session=session)
    return CallTotal(place, generations, usd(spent), 0, UNKNOWN)


def test_what_drives_a_day_is_told_by_model_as_asked_and_served_and_by_session():
    night = [
        calls("anthropic/claude-opus", "openrouter/auto", "70", 1_200, "nightly"),
        calls("anthropic/claude-opus", "openrouter/auto", "6.53", 38, "nightly"),
        calls("google/gemini-flash", "google/gemini-flash", "1", 2, "nightly"),
    ]

    assert told(unusual_day(facts=replace(SO_FAR, calls=night)))[3] == (
        "Driver: key ci-runner 96%; anthropic/claude-opus (asked: openrouter/auto) 91%; 1,240 generations in 1 session"
    )


def test_a_model_that_was_asked_for_by_name_is_named_once_and_generations_without_a_session_have_none():
    day_of_one = [calls("google/gemini-flash", "google/gemini-flash", "8.41", 1)]

    assert told(unusual_day(facts=replace(SO_FAR, calls=day_of_one)))[3] == (
        "Driver: key ci-runner 96%; google/gemini-flash 10%; 1 generation"
    )


def test_generations_that_have_settled_before_the_counters_were_read_are_never_more_than_all():
    ahead = [calls("google/gemini-flash", None, "100", 3, "a"), calls("google/gemini-flash", None, "1", 3, "b")]

    assert told(unusual_day(facts=replace(SO_FAR, calls=ahead)))[3] == (
        "Driver: key ci-runner 96%; google/gemini-flash 100%; 6 generations in 2 sessions"
    )


def test_an_unusual_day_that_has_grown_keeps_when_it_was_noticed():
    assert told(unusual_day(noticed_at=NOW - 2 * HOUR))[1] == "When: noticed 00:06 UTC; the day ends in 21 h 54 min"


def test_an_unusual_day_that_is_over():
    finding = replace(UNUSUAL, day=date(2026, 11, 19))

    assert told(unusual_day(finding, AFTERWARDS)) == [
        "dana spent $84.10 on Thu 19 Nov - usually $3.10 a day",
        "When: the day was over at 00:00 UTC, and its money was seen later",
        "Rule: above mean + 3 sigma = $7.90 over 21 days, and more than $1.00 above the mean",
        "Data: settled, as of 02:06 UTC",
    ]


def test_the_end_of_an_unusual_day():
    message = say.day_is_over(UNUSUAL, DANA, say.data(TotalState.SETTLED, UTC_NOW))

    assert told(message) == [
        "dana: Fri 20 Nov ended at $84.10 - usually $3.10 a day",
        "Data: settled, as of 02:06 UTC",
    ]
    assert (message.tone, message.mention) == (Tone.CALM, None)


def test_times_are_by_the_clock_of_the_zone():
    kathmandu = Moment(NOW, ZoneInfo("Asia/Kathmandu"))
    facts = replace(SO_FAR, window=day("2026-11-20", "Asia/Kathmandu"))

    assert (
        told(unusual_day(facts=facts, moment=kathmandu))[1] == "When: noticed 07:51 +0545; the day ends in 16 h 9 min"
    )


def test_money_through_own_upstream_keys_is_named():
    assert "BYOK: $12.00 of it went through your own upstream keys" in told(
        unusual_day(facts=replace(SO_FAR, byok_nanos=usd("12")))
    )


def test_what_a_gap_over_midnight_may_have_held_is_named_and_not_counted():
    message = unusual_day(facts=replace(SO_FAR, guessed_nanos=usd("5.25")))

    assert told(message)[-1] == "Data: provisional, as of 02:06 UTC; up to $5.25 more, from a gap over midnight"
    assert message.headline.startswith("dana spent $84.10 today")


def test_the_rule_is_told_as_it_is_set():
    policy = AnomalyPolicy(sigma=Fraction(5, 2), min_nanos=0)

    assert told(unusual_day(policy=policy))[2] == "Rule: above mean + 2.5 sigma = $7.90 over 21 days"


def test_an_owner_who_usually_spends_nothing():
    finding = replace(UNUSUAL, usual_nanos=0, threshold_nanos=0)

    assert unusual_day(finding).headline == "dana spent $84.10 today - usually nothing"
    assert say.why_unusual(finding) == "$84.10 is above the threshold of $0.00; the mean of 21 days is $0.00"


def test_the_reasons_of_an_unusual_day():
    assert say.why_unusual(UNUSUAL) == "$84.10 is above the threshold of $7.90; the mean of 21 days is $3.10"
    assert say.why_told_again(UNUSUAL, usd("70")) == "$84.10 is more than a tenth above the $70.00 told last"


def test_amounts_that_would_read_the_same_are_told_exactly():
    finding = replace(UNUSUAL, spend_nanos=usd("1.000000001"), usual_nanos=usd("1"), threshold_nanos=usd("1"))

    assert unusual_day(finding).headline == "dana spent $1.000000001 today - usually $1.000000000 a day"
    assert say.why_unusual(finding).startswith("$1.000000001 is above the threshold of $1.000000000;")


def test_an_idle_last_hour_says_nothing_of_what_comes():
    assert not [
        fact for fact in unusual_day(facts=replace(SO_FAR, hourly_nanos=0)).facts if fact.label.startswith("If")
    ]


# --- A silence -----------------------------------------------------------------------------------------------------


def key(name, reason=FailureReason.ACCESS_DENIED, *, owner="dana", watched=True, opened="2026-11-01 00:00"):
    return KeyState(
        key_hash(name),
        owner,
        name,
        watched,
        counters=opened and Counters(at(opened), NOW - HOUR, 1, COUNTER, COUNTER),
        failure=reason,
        failing_since=reason and NOW - HOUR + MINUTE,
    )


def finding_of(keys, owner="dana"):
    hashes = tuple(key.hash for key in keys)
    return Finding(Rule.STALENESS, owner, date(2026, 11, 20), since=NOW - HOUR, key_hashes=hashes)


def by_hash(keys):
    return {key.hash: key for key in keys}


def silence(*keys, owner="dana"):
    return say.silence(finding_of(keys, owner), by_hash(keys), DANA if owner else NOBODY, UTC_NOW)


def seen_again(before, after, *, owner="dana", gap_nanos=0):
    alert = Alert(finding_of(before, owner), AlertState.FIRING, NOW - 50 * MINUTE, NOW, gap_nanos=gap_nanos)
    return say.seen_again(alert, by_hash(after), DANA if owner else NOBODY, UTC_NOW)


def answers(key):
    return replace(key, failure=None, failing_since=None)


def test_one_silent_key():
    message = silence(key("laptop"))

    assert told(message) == [
        "dana: key laptop unseen since 01:06 UTC: refused (revoked, disabled or expired)",
        "Meanwhile: what is spent is counted with the next good answer",
    ]
    assert (message.tone, message.mention) == (Tone.ALARM, "U012ABCDEF")


def test_several_silent_keys_with_one_reason():
    assert silence(key("ci"), key("laptop")).headline == (
        "dana: keys ci and laptop unseen since 01:06 UTC: refused (revoked, disabled or expired)"
    )


def test_several_silent_keys_with_several_reasons_the_commonest_first():
    keys = [key(name, FailureReason.TIMED_OUT) for name in "abcde"]

    assert told(silence(key("ci"), *keys)) == [
        "dana: keys ci, a, b and 3 more unseen since 01:06 UTC",
        "Why: timed out: keys a, b, c and 2 more",
        "Why: refused (revoked, disabled or expired): key ci",
        "Meanwhile: what is spent is counted with the next good answer",
    ]


@pytest.mark.parametrize(("names", "said"), [("a", "the only one"), ("ab", "all 2")])
def test_a_silent_source(names, said):
    message = silence(*(key(name, FailureReason.UNAVAILABLE) for name in names), owner=None)

    assert told(message) == [
        "Nothing seen of OpenRouter since 01:06 UTC: unavailable",
        f"Keys: {said}",
        "Meanwhile: what is spent is counted with the next good answer",
    ]
    assert message.mention is None


def test_the_reasons_of_a_silence():
    keys = [key("a", FailureReason.TIMED_OUT), key("b"), key("c", FailureReason.TIMED_OUT)]

    assert say.why_silent(finding_of(keys), by_hash(keys)) == (
        "no snapshot of 3 keys: timed out (2), refused (revoked, disabled or expired) (1)"
    )
    assert say.why_silent(finding_of(keys[:1]), by_hash(keys)) == "no snapshot of 1 key: timed out"


def test_every_reason_for_a_failure_has_its_words():
    for reason in FailureReason:
        assert silence(key("laptop", reason)).headline.startswith("dana: key laptop unseen since 01:06 UTC: ")


@pytest.mark.parametrize(
    ("gap_nanos", "held"), [(usd("5"), "$5.00 was spent meanwhile"), (0, "nothing was spent meanwhile")]
)
def test_the_end_of_a_silence_tells_the_money_it_held(gap_nanos, held):
    keys = [key("ci"), key("laptop")]
    back = [*map(answers, keys)]

    message = seen_again(keys, back, gap_nanos=gap_nanos)

    assert told(message) == [f"dana: keys ci and laptop seen again after 1 h; {held}"]
    assert (message.tone, message.mention) == (Tone.CALM, None)
    assert told(seen_again(keys, back, owner=None, gap_nanos=gap_nanos)) == [
        f"OpenRouter answers again after 1 h; {held}"
    ]


def test_what_a_key_never_seen_before_has_spent_in_its_silence_is_not_said_to_be_nothing():
    never_seen = key("laptop", opened=None)

    for opened in ("2026-11-20 01:10", "2026-11-20 02:06"):
        assert told(seen_again([never_seen], [answers(key("laptop", opened=opened))])) == [
            "dana: key laptop seen again after 1 h"
        ]


def test_the_end_of_a_silence_of_the_source_names_how_many_are_silent_still():
    keys = [key("a"), key("b"), key("c")]

    assert told(seen_again(keys, [answers(keys[0]), keys[1], keys[2]], owner=None)) == [
        "OpenRouter answers again after 1 h",
        "Keys: 2 of 3 still silent",
    ]


def test_a_silence_may_end_because_nobody_watches_any_more():
    (silent,) = keys = [key("laptop")]

    for gone in (replace(silent, watched=False), replace(silent, owner="ben")):
        assert told(seen_again(keys, [gone])) == ["dana: key laptop no longer watched for this owner"]
    assert told(seen_again(keys, [replace(silent, watched=False)], owner=None)) == [
        "No key is left to watch; nothing had been seen of OpenRouter for 1 h"
    ]


def test_only_keys_that_answer_again_are_said_to():
    keys = [key("ci"), key("laptop")]

    assert told(seen_again(keys, [answers(keys[0]), replace(keys[1], watched=False)])) == [
        "dana: key ci seen again after 1 h; nothing was spent meanwhile"
    ]


# --- A reminder ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (UNUSUAL, "dana is at $84.10 on Fri 20 Nov - usually $3.10 a day, told first at 19 Nov 23:06 UTC"),
        (finding_of([key("ci")]), "dana: 1 key still unseen, told first at 19 Nov 23:06 UTC"),
        (finding_of([key("ci"), key("b")]), "dana: 2 keys still unseen, told first at 19 Nov 23:06 UTC"),
        (finding_of([key("ci")], None), "Still nothing seen of OpenRouter, told first at 19 Nov 23:06 UTC"),
    ],
)
def test_a_reminder(finding, said):
    alert = Alert(finding, AlertState.FIRING, NOW - 3 * HOUR, told_at=NOW - 2 * HOUR)
    person = DANA if finding.owner else NOBODY

    message = say.reminder(alert, person, UTC_NOW)

    assert told(message) == [said]
    assert (message.tone, message.mention) == (Tone.ALARM, person.mention)
    assert say.why_reminded(alert, UTC_NOW) == "still firing, and told last at 00:06 UTC"


def test_a_reminder_names_the_silent_keys_it_is_given():
    keys = [key("ci"), key("b")]
    alert = Alert(finding_of(keys), AlertState.FIRING, NOW - HOUR, told_at=NOW - HOUR)

    assert told(say.reminder(alert, DANA, UTC_NOW, keys)) == [
        "dana: keys ci and b still unseen, told first at 01:06 UTC"
    ]


# --- Any message ---------------------------------------------------------------------------------------------------


def lines(message):
    return [message.headline, *(f"{fact.label:15}{fact.text}" for fact in message.facts)]


def test_no_line_is_longer_than_a_person_reads_at_a_glance():
    names = ("laptop", "ci-runner", "agent-nightly", "notebooks", "old-ci")
    large = replace(UNUSUAL, spend_nanos=usd("123456.78"), usual_nanos=usd("12345.67"), threshold_nanos=usd("23456.78"))
    facts = replace(SO_FAR, hourly_nanos=usd("12345.67"), guessed_nanos=usd("12345.67"), byok_nanos=usd("12345.67"))
    keys = [key(name, reason) for name, reason in zip(names, FailureReason, strict=False)]

    for message in (unusual_day(large, facts), silence(*keys), silence(*keys, owner=None), silence(keys[0])):
        assert max(map(len, lines(message))) <= LONGEST_LINE


def test_a_long_name_of_a_key_is_cut():
    long = key("x" * 200)

    assert silence(long).headline.startswith(f"dana: key {'x' * 31}… unseen since")
    assert told(unusual_day(facts=replace(SO_FAR, driver=long.name)))[3] == f"Driver: key {'x' * 31}… 96%"


@given(st.integers(1, 10**15), st.integers(0, 10**15))
def test_money_is_never_shown_as_none(spent, usual):
    finding = replace(UNUSUAL, spend_nanos=usual + spent, usual_nanos=usual, threshold_nanos=usual)
    facts = replace(SO_FAR, guessed_nanos=spent, byok_nanos=spent, hourly_nanos=spent)

    message = unusual_day(finding, facts, AnomalyPolicy(min_nanos=spent))
    shown = [word.strip(";,") for line in told(message)[1:] for word in line.split() if word.startswith("$")]

    # The threshold alone may be nothing.
    assert [word for word in shown if not word.strip("$0.,")] == (["$0.00"] if usual == 0 else [])
    assert (" usually nothing" in message.headline) == (usual == 0)
    assert "$0.00 today" not in message.headline


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(0), "0 s"),
        (-HOUR, "0 s"),
        (59 * SECOND, "59 s"),
        (MINUTE, "1 min"),
        (59 * MINUTE + 59 * SECOND, "59 min"),
        (HOUR, "1 h"),
        (21 * HOUR + 54 * MINUTE, "21 h 54 min"),
        (DAY, "1 d"),
        (3 * DAY + 4 * HOUR + 5 * MINUTE, "3 d 4 h"),
    ],
)
def test_lengths_of_time_are_told_in_the_two_units_that_matter(length, said):
    assert say.span(length) == said


def test_a_fact_about_how_sure_we_are_stands_by_itself():
    assert say.data(TotalState.UNKNOWN, UTC_NOW) == Fact("Data", "unknown, as of 02:06 UTC")
