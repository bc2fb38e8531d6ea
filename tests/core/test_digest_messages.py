"""A digest is read in one breath: its headline says it all, and nothing is said that has nothing in it."""

from dataclasses import replace
from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from reckon.core.alert_messages import Person
from reckon.core.alerts import Alert, AlertState, Finding, Rule
from reckon.core.digest_calendar import DigestKind, latest
from reckon.core.digest_figures import Digest, Line, MonthToDate, TopModel
from reckon.core.digest_messages import compose, document
from reckon.core.messages import Fact, Message, Tone
from reckon.core.records import Amounts, FailureReason, KeyState, TotalState
from tests.builders import HOUR, MINUTE, at, key_hash, usd

NINE = at("2026-11-20 08:00")  # 09:00 in Vienna
VIENNA = ZoneInfo("Europe/Vienna")
PEOPLE = {"ana": Person("Ana (ana)", "U012ABCDEF", "C012ABCDEF"), "bo": Person("bo")}
SETTLED, PROVISIONAL, UNKNOWN = TotalState.SETTLED, TotalState.PROVISIONAL, TotalState.UNKNOWN


def month(spend, *, state=SETTLED, since=None, before="0"):
    return MonthToDate(usd(spend), state, since, usd(before))


def line(owner, spend="0", *, usual=None, month_to_date=None, state=SETTLED, byok="0", correction="0", **rest):
    amounts = Amounts(usd(spend), usd(correction), usd(byok), 0)
    return Line(
        owner, amounts, state, usual_nanos=usd(usual) if usual else None, month=month_to_date or month("0"), **rest
    )


def digest(*lines, total, kind=DigestKind.DAILY, **changed):
    made = Digest(
        due=latest(kind, VIENNA, NINE),
        zone=VIENNA,
        now=NINE,
        lines=lines,
        total=total,
        as_of=NINE - MINUTE,
        usual_has_byok=False,
        firing=(),
        resolved=(),
        silent=(),
        keys={},
    )
    return replace(made, **changed)


ORDINARY = digest(
    line("ana", "18.40", usual="9.10", month_to_date=month("201")),
    line("bo", "22.80", usual="25.80", month_to_date=month("411")),
    line("cy"),
    total=line(None, "41.20", usual="34.90", month_to_date=month("612")),
)


def headline(total, kind=DigestKind.DAILY, **changed):
    return compose(digest(total=total, kind=kind, **changed), PEOPLE).headline


# --- The headline --------------------------------------------------------------------------------------------------


def test_an_ordinary_day_reads_as_one_line_and_a_table():
    message = compose(ORDINARY, PEOPLE)

    assert message.headline == (
        "OpenRouter, Thu 19 Nov: $41.20, up 18 % on a usual day ($34.90). Month to date $612.00"
    )
    assert message.table.columns == ("Owner", "Thu 19 Nov", "Usual", "Month to date")
    assert message.table.rows == (
        ("Ana (ana)", "$18.40", "$9.10", "$201.00"),
        ("bo", "$22.80", "$25.80", "$411.00"),
        ("cy", "$0.00", "-", "$0.00"),
        ("Total", "$41.20", "$34.90", "$612.00"),
    )
    assert message.table.figures == (1, 2, 3)
    assert message.notes == ("As of 08:59 CET: every figure is settled. Days are those of Europe/Vienna.",)
    assert (message.facts, message.tone, message.mention) == ((), Tone.PLAIN, None)


@pytest.mark.parametrize(
    ("spend", "usual", "said"),
    [
        ("41.20", "34.90", "$41.20, up 18 % on a usual day ($34.90)"),
        ("30", "34.90", "$30.00, down 14 % on a usual day ($34.90)"),
        ("35", "34.90", "$35.00, as on a usual day ($34.90)"),
        ("348.30", "34.90", "$348.30, up 898 % on a usual day ($34.90)"),
        ("700", "34.90", "$700.00, 20 times a usual day ($34.90)"),
        ("0", "34.90", "$0.00, down 100 % on a usual day ($34.90)"),
        ("5", "0.00", "$5.00, after nothing on a usual day"),
        ("0", "0.00", "$0.00, as on a usual day"),
        ("5", None, "$5.00"),
    ],
)
def test_a_day_is_held_against_a_usual_one(spend, usual, said):
    total = line(None, spend, month_to_date=month("612"))
    total = replace(total, usual_nanos=None if usual is None else usd(usual))

    assert headline(total) == f"OpenRouter, Thu 19 Nov: {said}. Month to date $612.00"


def test_weeks_and_months_are_held_against_the_one_before():
    total = line(None, "90", usual="100", month_to_date=month("612"))

    assert headline(total, DigestKind.WEEKLY) == (
        "OpenRouter, 2026-W46 (9 Nov to 15 Nov): $90.00, down 10 % on the week before ($100.00). Month to date $612.00"
    )
    assert headline(replace(total, month=None), DigestKind.MONTHLY) == (
        "OpenRouter, October 2026: $90.00, down 10 % on the month before ($100.00)"
    )


def test_what_nobody_saw_is_unknown_and_never_nothing():
    unseen = month("0", state=UNKNOWN)
    message = compose(
        digest(
            line("ana", state=UNKNOWN, month_to_date=unseen),
            total=line(None, state=UNKNOWN, usual="34.90", month_to_date=unseen),
            as_of=None,
        ),
        PEOPLE,
    )

    assert message == Message(
        "OpenRouter, Thu 19 Nov: unknown, no key was read. Month to date unknown",
        notes=("No key has answered yet, which does not mean that nothing was spent.",),
    )
    assert "$0.00" not in repr(message)


def test_a_figure_that_may_still_change_says_so():
    message = compose(
        digest(
            line("ana", "2", state=PROVISIONAL),
            line("bo"),
            line("cy", state=UNKNOWN, month_to_date=month("0", state=UNKNOWN)),
            total=line(None, "2", state=PROVISIONAL),
        ),
        PEOPLE,
    )

    assert message.headline == "OpenRouter, Thu 19 Nov: $2.00 (provisional). Month to date $0.00"
    assert [row[1] for row in message.table.rows] == ["$2.00", "$0.00", "unknown", "$2.00"]
    assert [row[-1] for row in message.table.rows] == ["provisional", "settled", "unknown", "provisional"]
    assert message.table.columns[-1] == "State"
    assert "what is provisional may still change" in message.notes[0]


def test_a_day_without_spend_is_its_headline():
    message = compose(digest(line("ana"), line("bo"), total=line(None, month_to_date=month("612"))), PEOPLE)

    assert message == Message("OpenRouter, Thu 19 Nov: $0.00. Month to date $612.00")


def test_a_late_digest_says_when_it_was_due_even_if_nothing_was_spent():
    late = replace(latest(DigestKind.DAILY, VIENNA, NINE), late=True, scheduled_at=NINE - 6 * HOUR)

    idle = compose(digest(total=line(None), due=late), PEOPLE)
    busy = compose(replace(ORDINARY, due=late), PEOPLE)

    assert idle.notes == ("Late: due at 03:00 CET, Reckon was not running.",)
    assert busy.notes[0] == idle.notes[0]


# --- The table -----------------------------------------------------------------------------------------------------


def test_money_through_own_upstream_keys_has_a_column_while_there_is_any():
    message = compose(
        digest(
            line("ana", "1", byok="5", usual="4"),
            line("bo"),
            total=line(None, "1", byok="5", usual="4"),
            usual_has_byok=True,
        ),
        PEOPLE,
    )

    assert message.headline.startswith(
        "OpenRouter, Thu 19 Nov: $1.00 + $5.00 BYOK, up 50 % on a usual day ($4.00 with BYOK)."
    )
    assert message.table.columns == ("Owner", "Thu 19 Nov", "BYOK", "Usual with BYOK", "Month to date")
    assert message.table.rows[0] == ("Ana (ana)", "$1.00", "$5.00", "$4.00", "$0.00")


@pytest.mark.parametrize(("owners", "shown"), [(40, 40), (41, 39), (500, 39)])
def test_more_owners_than_a_person_reads_are_summed_in_one_line(owners, shown):
    lines = [
        line(f"o{n}", str(owners - n), usual="1", month_to_date=month(str(2 * (owners - n)))) for n in range(owners)
    ]
    in_all = str(sum(range(owners + 1)))

    rows = compose(digest(*lines, total=line(None, in_all)), PEOPLE).table.rows

    assert [row[0] for row in rows[:shown]] == [f"o{n}" for n in range(shown)]
    if shown == owners:
        assert len(rows) == shown + 1
    else:
        rest = sum(range(owners - shown + 1))
        assert rows[shown:-1] == (
            (f"+ {owners - shown} more", f"${rest:,}.00", f"${owners - shown:,}.00", f"${2 * rest:,}.00"),
        )
    assert rows[-1][0] == "Total"


def test_the_rest_is_unknown_only_if_all_of_it_is():
    unseen = month("0", state=UNKNOWN)
    lines = [line(f"o{n}", "1") for n in range(40)] + [line("x", state=UNKNOWN, month_to_date=unseen)] * 2
    total = line(None, "40", state=PROVISIONAL)

    partly = compose(digest(*lines, total=total), PEOPLE).table.rows[-2]
    wholly = compose(digest(*lines[:39], *lines[40:], total=total), PEOPLE).table.rows[-2]

    assert partly == ("+ 3 more", "$1.00", "-", "$0.00", "provisional")
    assert wholly == ("+ 2 more", "unknown", "-", "unknown", "unknown")


def test_who_left_is_named_so_and_was_not_looked_for():
    gone = line("dan", state=UNKNOWN, month_to_date=month("5"), former=True)

    rows = compose(digest(line("ana", "1"), gone, total=line(None, "1")), PEOPLE).table.rows

    assert rows[1] == ("dan (former)", "-", "-", "$5.00")


def test_one_owner_needs_no_total():
    assert len(compose(digest(line("ana", "1"), total=line(None, "1")), PEOPLE).table.rows) == 1


# --- What went before, and since when ------------------------------------------------------------------------------


def test_what_went_before_watching_stands_beside_what_was_counted():
    opened = NINE - 20 * HOUR
    ana = line(
        "ana",
        "1",
        watched_from=opened,
        before_watching_nanos=usd(8),
        month_to_date=month("1", since=opened, before="24"),
    )
    bo = line("bo", "2", watched_from=opened + HOUR, month_to_date=month("2", since=opened + HOUR))
    total = replace(ana, owner=None, amounts=Amounts(usd(3)), month=month("3", since=opened, before="24"))

    message = compose(digest(ana, bo, total=total), PEOPLE)

    assert message.headline.endswith("Month to date $3.00 + $24.00 before watching")
    assert [row[-1] for row in message.table.rows] == ["$1.00 + $24.00", "$2.00", "$3.00 + $24.00"]
    assert message.notes[1:] == (
        "Watched only from 19 Nov 13:00 CET on.",
        "Watched only bo from 19 Nov 14:00 CET.",
        "Earlier that day, before Reckon watched: $8.00 more.",
        "After a +: what OpenRouter's counters show for the same month from before Reckon watched.",
    )


def test_a_month_that_was_not_watched_from_its_beginning_says_since_when():
    total = line(None, "1", month_to_date=month("3", since=at("2026-11-10 08:00")))

    assert "The month is counted from 10 Nov 09:00 CET on." in compose(digest(total=total), PEOPLE).notes


# --- Beside the table ----------------------------------------------------------------------------------------------


def alert(owner, rule=Rule.SIGMA, *, resolved_at=None, **rest):
    amounts = (usd(84), usd("7.90"), usd("3.10"), 21) if rule is Rule.SIGMA else (None,) * 4
    finding = Finding(rule, owner, date(2026, 11, 18), *amounts, **rest)
    state = AlertState.RESOLVED if resolved_at else AlertState.FIRING
    opened_at = at("2026-11-18 00:52")
    return Alert(finding, state, opened_at, opened_at, resolved_at=resolved_at, id=17)


def key(name="laptop", owner="ana", *, failure=None, since=None, watched=True):
    return KeyState(key_hash(name), owner, name, watched=watched, failure=failure, failing_since=since)


def test_open_alerts_and_the_ends_of_others_are_told_with_their_figures():
    laptop = key()
    silence = alert(
        "ana",
        Rule.STALENESS,
        resolved_at=at("2026-11-19 12:00"),
        since=at("2026-11-19 08:00"),
        key_hashes=(laptop.hash,),
    )
    made = replace(
        ORDINARY,
        firing=[alert("ana")],
        resolved=[alert("bo", resolved_at=NINE - HOUR), silence],
        keys={laptop.hash: laptop},
    )

    facts = compose(made, PEOPLE).facts

    assert [fact.label for fact in facts] == ["Open", "Resolved", "Resolved"]
    assert facts[0].text.startswith("Ana (ana) is at $84.00 on Wed 18 Nov - usually $3.10 a day")
    assert facts[1].text == "bo: Wed 18 Nov ended at $84.00 - usually $3.10 a day"
    assert facts[2].text.startswith("Ana (ana): key laptop seen again after 4 h")


def test_alerts_are_told_even_if_nothing_was_spent():
    message = compose(digest(total=line(None), firing=[alert("ana")]), PEOPLE)

    assert message.table is None
    assert [fact.label for fact in message.facts] == ["Open"]


def test_more_alerts_and_keys_than_a_person_reads_are_counted():
    made = replace(
        ORDINARY,
        firing=[alert(f"o{n}") for n in range(5)],
        resolved=[alert(f"o{n}", resolved_at=NINE) for n in range(50)],
        silent=[key(f"k{n}", failure=FailureReason.ACCESS_DENIED, since=NINE) for n in range(7)],
    )

    facts = compose(made, PEOPLE).facts

    assert [fact.label for fact in facts] == ["Open"] * 5 + ["Resolved"] * 5 + ["No answer"] * 5
    assert facts[9] == Fact("Resolved", "+ 46 more alerts")
    assert facts[14] == Fact("No answer", "+ 3 more keys")


def test_keys_that_do_not_answer_are_named_with_the_reason():
    silent = [key(failure=FailureReason.ACCESS_DENIED, since=at("2026-11-19 22:12"))]

    (fact,) = compose(replace(ORDINARY, silent=silent), PEOPLE).facts

    assert fact == Fact("No answer", "Ana (ana): key laptop, access denied since 19 Nov 23:12 CET")


def test_corrections_are_told_and_are_in_no_figure_of_spend():
    made = digest(
        line("ana", "2", correction="-1.50"),
        line("bo", "0", correction="-0.50"),
        total=line(None, "2", correction="-2"),
    )

    message = compose(made, PEOPLE)

    assert message.facts == (Fact("Corrections", "counters fell by $2.00: Ana (ana) -$1.50, bo -$0.50"),)
    assert message.headline.startswith("OpenRouter, Thu 19 Nov: $2.00.")


def test_the_model_most_was_spent_on_stands_beside_each_owner_and_the_router_it_was_asked_through():
    auto = TopModel("anthropic/claude-sonnet-4.5", Fraction(3, 5), "openrouter/auto")
    message = compose(
        digest(
            line("ana", "2", top_model=auto),
            line("bo", "1", top_model=TopModel("google/gemini-flash", Fraction(0), None)),
            line("cy", "0"),
            total=line(None, "3"),
        ),
        PEOPLE,
    )

    assert message.table.columns[-1] == "Top model"
    assert [row[-1] for row in message.table.rows] == ["claude-sonnet-4.5 (auto 60 %)", "gemini-flash", "", ""]


# --- For machines --------------------------------------------------------------------------------------------------


def test_the_document_holds_exact_money_and_null_for_what_is_not_known():
    first, *others = ORDINARY.lines
    lines = [replace(first, top_model=TopModel("anthropic/claude-sonnet-4.5", Fraction(0), None)), *others]
    found = document(replace(ORDINARY, lines=lines, firing=[alert("ana")]), PEOPLE)

    assert found["title"] == compose(ORDINARY, PEOPLE).headline
    assert (found["digest"], found["name"], found["timezone"]) == ("daily", "2026-11-19", "Europe/Vienna")
    assert (found["since"], found["until"]) == ("2026-11-18T23:00:00Z", "2026-11-19T23:00:00Z")
    assert [row["owner"] for row in found["rows"]] == ["ana", "bo", "cy"]
    assert found["rows"][0] == {
        "owner": "ana",
        "name": "Ana (ana)",
        "spend_usd": "18.400000000",
        "correction_usd": "0.000000000",
        "byok_usd": "0.000000000",
        "byok_correction_usd": "0.000000000",
        "state": "settled",
        "watched_from": None,
        "before_watching_usd": "0.000000000",
        "usual_usd": "9.100000000",
        "month_to_date_usd": "201.000000000",
        "month_state": "settled",
        "month_watched_from": None,
        "month_before_watching_usd": "0.000000000",
        "top_model": "anthropic/claude-sonnet-4.5",
    }
    assert found["rows"][2]["usual_usd"] is None
    assert found["alerts"] == [
        {
            "id": 17,
            "owner": "ana",
            "rule": "sigma",
            "state": "firing",
            "opened_at": "2026-11-18T00:52:00Z",
            "resolved_at": None,
            "spend_usd": "84.000000000",
            "threshold_usd": "7.900000000",
        }
    ]
    assert not any(isinstance(value, float) for row in [*found["rows"], found["total"]] for value in row.values())


def test_a_monthly_document_has_no_month_to_date():
    made = digest(total=replace(line(None, "1"), month=None), kind=DigestKind.MONTHLY)

    assert document(made, PEOPLE)["total"]["month_to_date_usd"] is None
