"""A message as blocks: what it looks like, what Slack takes, and that no name is ever more than a name."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.fakes.slack_blocks import what_is_wrong
from reckon.sinks.foreign import size
from reckon.sinks.slack.blocks import MOST_BLOCKS, MOST_CHARACTERS, compose
from tests.sinks.mrkdwn import markup, monospaced, shown, words
from tests.sinks.saying import ALERT, DIGEST, RESOLVED


def characters(post):
    return len(json.dumps(post["blocks"], ensure_ascii=False).encode("utf-16-le")) // 2


def assert_slack_takes(post):
    """Slack's own models and the fake's limits both take it, and it keeps our own budget."""
    for block in Block.parse_all(post["blocks"]):
        block.validate_json()
        assert block.to_dict()["type"] in {"header", "section", "rich_text", "context"}
    assert what_is_wrong(post["blocks"]) is None
    assert 1 <= len(post["blocks"]) <= MOST_BLOCKS
    assert characters(post) <= MOST_CHARACTERS
    assert 1 <= len(post["text"]) <= 1000
    json.dumps(post).encode()


# --- The look ---------------------------------------------------------------------------------------------------------


def test_an_alert_as_a_whole():
    assert compose(ALERT) == {
        "text": "dana spent $84.10 today - usually $3.10 a day",
        "blocks": [
            {
                "type": "header",
                "text": {
                    "type": "plain_text",
                    "text": "🔴 dana spent $84.10 today - usually $3.10 a day",
                    "emoji": False,
                },
            },
            {"type": "section", "text": {"type": "mrkdwn", "text": "<@U012ABCDEF>"}},
            {
                "type": "rich_text",
                "elements": [
                    {
                        "type": "rich_text_section",
                        "elements": [
                            {"type": "text", "text": "When", "style": {"bold": True}},
                            {
                                "type": "text",
                                "text": "\u2003since 01:52 UTC, 14 min ago; the day ends 00:00 UTC (02:00 yours)\n",
                            },
                            {"type": "text", "text": "Rule", "style": {"bold": True}},
                            {
                                "type": "text",
                                "text": "\u2003today > mean + 3 sigma = $7.90 over 21 days, and more than $1 above "
                                "the mean\n",
                            },
                        ],
                    }
                ],
            },
            {
                "type": "context",
                "elements": [{"type": "plain_text", "text": "provisional; as of 02:06 UTC", "emoji": False}],
            },
        ],
    }


def test_a_table_is_monospaced_with_its_figures_to_the_right():
    [text] = monospaced(compose(DIGEST))

    assert text.split("\n") == [
        "Owner     Yesterday   Usual      MTD",
        "dana         $18.40   $9.10  $201.00",
        "ci-agent     $12.00  $11.80  $240.00",
    ]


@pytest.mark.parametrize(("tone", "mark"), [(Tone.ALARM, "🔴 "), (Tone.CALM, "🟢 "), (Tone.PLAIN, "")])
def test_the_tone_is_a_circle_before_the_headline_and_not_in_the_push(tone, mark):
    post = compose(Message("headline", tone=tone))

    assert post["blocks"][0]["text"]["text"] == f"{mark}headline"
    assert post["text"] == "headline"


def test_the_mark_of_a_repetition_is_small_and_not_in_the_push():
    post = compose(RESOLVED, may_repeat=True)

    assert post["blocks"][-1] == {
        "type": "context",
        "elements": [{"type": "plain_text", "text": "(may repeat)", "emoji": False}],
    }
    assert post["text"] == RESOLVED.headline


@pytest.mark.parametrize("mention", [None, "", "dana", "<!channel>", "U1> <!here", "U012abc", "S012ABCDEF", "U1\n"])
def test_what_is_no_id_of_a_user_is_not_mentioned(mention):
    assert markup(compose(replace(ALERT, mention=mention))) == []


def test_the_person_is_mentioned_once():
    assert markup(compose(ALERT)) == [("link", "@U012ABCDEF")]


def test_a_table_of_a_digest_fits_a_phone():
    wide = replace(DIGEST.table, columns=("Owner", "Yesterday", "Usual", "MTD"))
    rows = tuple((f"a-rather-long-name-of-an-owner-{n}" * 3, *row[1:]) for n, row in enumerate(wide.rows))

    [text] = monospaced(compose(replace(DIGEST, table=replace(wide, rows=rows))))

    assert max(map(size, text.split("\n"))) == 60
    assert "$18.40" in text


# --- Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["owner", "öwner", "王芳", '"\\', "e\u0301\u0302", "<&>", "👩"])
def test_names_of_5000_characters_in_2000_rows_are_taken_and_what_is_left_out_is_counted(name):
    long = (name * 5000)[:5000]
    table = Table(("Owner", "Spend"), tuple((f"{n} {long}", f"${n}.00") for n in range(2000)), (1,))
    message = Message(
        headline=long, facts=tuple(Fact(long, long) for _ in range(100)), table=table, notes=(long,) * 100, mention="U1"
    )

    began = time.process_time()
    post = compose(message, may_repeat=True)
    took_seconds = time.process_time() - began

    assert_slack_takes(post)
    rows = sum(text.count("\n") for text in monospaced(post))
    facts = sum(1 for run in post["blocks"][2]["elements"][0]["elements"] if "style" in run)
    notes = post["blocks"][-1]["elements"][0]["text"].split("\n")
    assert rows > 5
    assert f"+ {2000 - rows:,} more" in words(post)
    assert facts > 1
    assert f"+ {100 - facts} more" in words(post)
    assert notes[-2] == f"+ {100 - (len(notes) - 2)} more"
    assert notes[-1] == "(may repeat)"
    assert post["text"].endswith("…")
    assert took_seconds < 3


def test_every_row_that_has_room_is_shown_and_no_more_are_counted_than_are_missing():
    for count in (0, 1, 40, 160, 190, 200, 400, 401, 2000):
        rows = tuple((f"owner-{n:04}", f"${n}.00") for n in range(count))

        post = compose(Message("digest", table=Table(("Owner", "Spend"), rows, (1,))))

        text = words(post)
        there = sum(f"owner-{n:04}" in text for n in range(count))
        assert ("more" in text) == (there < count)
        assert there == count or f"+ {count - there:,} more" in text
        assert there >= min(count, 160)
        assert_slack_takes(post)


def test_each_part_of_a_long_table_has_the_headings():
    rows = tuple((f"owner-{n:04}", f"${n}.00") for n in range(400))

    parts = monospaced(compose(Message("digest", table=Table(("Owner", "Spend"), rows, (1,)))))

    assert len(parts) > 1
    assert {part.split("\n")[0] for part in parts} == {"Owner         Spend"}
    assert max(map(len, parts)) <= 3000


def test_rows_need_not_be_as_long_as_the_headings():
    post = compose(Message("odd", table=Table(("A", "B"), (("1",), (), ("1", "2", "3")), (7,))))

    assert monospaced(post) == ["A  B\n1\n\n1  2  3"]
    assert_slack_takes(post)


@pytest.mark.parametrize("table", [Table((), ()), Table(("", ""), (("", "\u200b"),)), Table((), ((), ()))])
def test_a_table_of_nothing_is_no_block(table):
    post = compose(Message("nothing", table=table))

    assert monospaced(post) == []
    assert_slack_takes(post)


# --- Names that want to be more ---------------------------------------------------------------------------------------

EVIL = [
    *("<!channel>", "<!here>", "<!everyone>", "<!subteam^S1>", "<@U1>", "<#C1|general>", "<!date^1^{date}^x|y>"),
    *("<https://evil.test|openrouter.ai>", "https://evil.test", "mailto:x@evil.test", "&lt;!channel&gt;", "&amp;"),
    *("```", "`", "*bold*", "_it_", "~no~", "> quote", ":skull:", "@channel", "@here", "\u202e", "\u200b", "\x00"),
    *("\x1b[2J", "\n", "\r\n", "|", "\\", '"', "{}", "\ud800", "👩\u200d👩\u200d👧", "e" + "\u0301" * 50, "٣", "﷽"),
]
NAMES = st.lists(st.sampled_from(EVIL) | st.text(max_size=8), min_size=1, max_size=5).map("".join)
BATCH = 10


@given(st.lists(NAMES, min_size=BATCH, max_size=BATCH), st.sampled_from(Tone))
def test_hostile_names_by_the_thousand_are_shown_and_are_nothing_else(names, tone):
    message = Message(
        headline=names[0],
        tone=tone,
        facts=tuple(map(Fact, names, reversed(names))),
        table=Table(tuple(names[:3]), tuple(zip(names, reversed(names), names[1:], strict=False)), (1,)),
        notes=tuple(names),
        mention="U012ABCDEF",
    )

    post = compose(message, may_repeat=True)

    assert markup(post) == [("link", "@U012ABCDEF")]
    assert_slack_takes(post)
    for name in names:
        post = compose(Message(name, tone=tone, mention=f"{name}>"))
        assert markup(post) == []
        assert post["blocks"][0]["text"]["text"].endswith(shown(post["text"]))


@pytest.mark.parametrize("name", EVIL)
def test_each_hostile_name_in_every_place(name):
    message = Message(
        name, facts=(Fact(name, name),), table=Table((name,), ((name, name), (name,)), (1,)), notes=(name, name)
    )

    post = compose(message, may_repeat=True)

    assert markup(post) == []
    assert_slack_takes(post)


def test_the_reader_itself_sees_what_a_name_could_be():
    evil = {"text": "<!channel>", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "<https://a|b>"}}]}

    assert markup(evil) == [("link", "!channel"), ("link", "https://a|b")]
    assert markup({"text": "a < b", "blocks": [{"type": "broadcast", "range": "here"}]})[0] == ("stray", "<")
