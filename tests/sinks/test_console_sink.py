"""The console: what a message looks like there, and that no name steers the terminal."""

import asyncio
import errno
import io
import os
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.core.outbox import Outcome, Receipt
from reckon.errors import SinkError
from reckon.sinks.console import ConsoleSink, render
from reckon.sinks.foreign import size
from tests.sinks.saying import ALERT, DIGEST, RESOLVED, delivery

TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from("\x1b\x9b\u202e\u0301王 \n"), max_size=200)


def test_an_alert_as_a_whole():
    assert render(ALERT).split("\n") == [
        "● dana spent $84.10 today - usually $3.10 a day",
        "  When  since 01:52 UTC, 14 min ago; the day ends 00:00 UTC (02:00 yours)",
        "  Rule  today > mean + 3 sigma = $7.90 over 21 days, and more than $1 above the",
        "        mean",
        "",
        "  provisional; as of 02:06 UTC",
    ]


def test_a_digest_as_a_whole():
    assert render(DIGEST, may_repeat=True).split("\n") == [
        "OpenRouter, Thu 19 Nov: $41.20, up 18 % on a usual Thursday ($34.90)",
        "",
        "  Owner     Yesterday   Usual      MTD",
        "  dana         $18.40   $9.10  $201.00",
        "  ci-agent     $12.00  $11.80  $240.00",
        "",
        "  1 alert acknowledged by ravi",
        "  1 key without owner ($0.80)",
        "  (may repeat)",
    ]


def test_what_ended_well_has_an_empty_circle():
    assert render(RESOLVED) == "○ dana's day closed at $84.10"


@given(
    st.builds(
        Message,
        headline=TEXT,
        tone=st.sampled_from(Tone),
        facts=st.lists(st.builds(Fact, TEXT, TEXT), max_size=3).map(tuple),
        table=st.none()
        | st.builds(
            Table,
            st.lists(TEXT, max_size=20).map(tuple),
            st.lists(st.lists(TEXT, max_size=20).map(tuple), max_size=3).map(tuple),
            st.lists(st.integers(0, 20), max_size=5).map(tuple),
        ),
        notes=st.lists(TEXT, max_size=3).map(tuple),
    ),
    st.booleans(),
)
def test_whatever_is_said_fits_80_columns_and_steers_nothing(message, may_repeat):
    text = render(message, may_repeat=may_repeat)

    assert all(size(line) <= 80 for line in text.split("\n"))
    assert [sign for sign in text.replace("\n", "") if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl"}] == []
    assert may_repeat == text.endswith("\n  (may repeat)")


def test_a_delivery_is_printed_at_once_with_an_empty_line_after_it():
    stream = io.StringIO()

    receipt = asyncio.run(ConsoleSink(stream).deliver(delivery()))

    assert stream.getvalue() == render(ALERT) + "\n\n"
    assert receipt == Receipt("console", "17")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_console_that_knows_few_letters_gets_what_it_can_show(encoding):
    taken = io.BytesIO()
    stream = io.TextIOWrapper(taken, encoding=encoding)

    asyncio.run(ConsoleSink(stream).deliver(delivery(replace(ALERT, headline="王 spent $84.10"))))

    assert taken.getvalue().decode(encoding).startswith("* ? spent $84.10\n  When")


def test_a_closed_console_is_not_delivered():
    stream = io.StringIO()
    stream.close()

    with pytest.raises(SinkError) as trouble:
        asyncio.run(ConsoleSink(stream).deliver(delivery()))

    assert trouble.value.outcome is Outcome.NOT_DELIVERED


class FullStream(io.StringIO):
    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_console_may_have_shown_a_part():
    with pytest.raises(SinkError) as trouble:
        asyncio.run(ConsoleSink(FullStream()).deliver(delivery()))

    assert trouble.value.outcome is Outcome.AMBIGUOUS
    assert "No space left" in str(trouble.value)
