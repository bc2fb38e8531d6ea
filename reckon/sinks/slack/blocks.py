"""A message as Slack shows it: `{text, blocks}`, pure.

What it believes. Slack reads markup in two places: in `text`, and in text objects of the type `mrkdwn`. All else
(`plain_text`, and the runs of a `rich_text` block) is shown as it stands. So what comes from outside goes there, and
into `text` with its three signs escaped; the one `mrkdwn` object is the mention, made here from an id of known form.
That is why no name can become a link or a mention, or end a block of code.

What it guarantees. At most 45 blocks and 10,000 characters of them, counted in UTF-16 units over the whole JSON (Slack
allows 50, and refuses at about 13,200); every limit of a single block; nothing left out without "+ N more", nothing cut
short without an ellipsis.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any, Final

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.sinks.foreign import clean, clip, units
from reckon.sinks.grid import lines_of

MOST_BLOCKS: Final = 45
MOST_CHARACTERS: Final = 10_000

_LONGEST_HEADER: Final = 150
_LONGEST_LABEL: Final = 80
_LONGEST_TEXT: Final = 500
_MOST_IN_FACTS: Final = 3000
_MOST_IN_NOTES: Final = 2000
_MOST_IN_ONE_PART: Final = 2900
_MOST_ROWS: Final = 400
"""More than ever have room."""
_ABOUT_A_PHONE: Final = 60
"""Columns of monospaced text; a phone held upright shows some forty and lets one scroll."""

_MARKS: Final = {Tone.ALARM: "🔴 ", Tone.CALM: "🟢 ", Tone.PLAIN: ""}
_USER: Final = re.compile(r"[UW][A-Z0-9]{1,30}")
_WORDLESS: Final = "(no text)"
_MAY_REPEAT: Final = "(may repeat)"

Json = dict[str, Any]


def compose(message: Message, *, may_repeat: bool = False) -> Json:
    """Return *message* as the `text` and `blocks` of a post; *may_repeat* adds a small mark that says so."""
    mark = _MARKS[message.tone]
    headline = _clipped(message.headline, _LONGEST_HEADER - _length(mark)) or _WORDLESS
    above = [{"type": "header", "text": _plain(mark + headline)}, *_mention(message.mention), *_facts(message.facts)]
    below = _notes(message.notes, [_MAY_REPEAT] if may_repeat else [])
    room = MOST_CHARACTERS - _size(above) - _size(below)
    return {"text": escaped(headline), "blocks": [*above, *_table(message.table, room), *below]}


def escaped(text: str) -> str:
    """Return *text* for a place where Slack reads markup: the three signs it is made of, escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- The parts, from the top ------------------------------------------------------------------------------------------


def _mention(user: str | None) -> list[Json]:
    if user is None or not _USER.fullmatch(user):
        return []
    return [{"type": "section", "text": {"type": "mrkdwn", "text": f"<@{user}>"}}]


def _facts(facts: Sequence[Fact]) -> list[Json]:
    """Return one block with a line for each fact: its label in bold, then its text."""
    lines = [
        [
            _run(_clipped(fact.label, _LONGEST_LABEL) or _WORDLESS, bold=True),
            _run(f"\u2003{_clipped(fact.text, _LONGEST_TEXT)}\n"),
        ]
        for fact in facts
    ]
    shown = _fitting([_size(line) for line in lines], _MOST_IN_FACTS)
    if shown < len(lines):
        lines[shown:] = [[_run(f"+ {len(lines) - shown:,} more")]]
    return [_rich({"type": "rich_text_section", "elements": list(chain(*lines))})] if lines else []


def _table(table: Table | None, room: int) -> list[Json]:
    """Return the table as blocks of monospaced text that together need no more than *room*."""
    if table is None:
        return []
    heading, *rows = lines_of(replace(table, rows=table.rows[:_MOST_ROWS]), _ABOUT_A_PHONE) or [""]
    if not any([heading, *rows]):
        return []
    parts = [[heading]]
    taken = _size(_preformatted(parts, left_out=len(table.rows)))
    for row in rows:
        if _length("\n".join([*parts[-1], row])) > _MOST_IN_ONE_PART:
            taken += _size(_preformatted([[heading]], left_out=0))
            parts.append([heading])
        taken += _size(row)
        if taken > room:
            break
        parts[-1].append(row)
    left_out = len(table.rows) - sum(len(part) - 1 for part in parts)
    return _preformatted([part for part in parts if len(part) > 1] or parts[:1], left_out=left_out)


def _preformatted(parts: Sequence[Sequence[str]], *, left_out: int) -> list[Json]:
    blocks = [_rich({"type": "rich_text_preformatted", "elements": [_run("\n".join(part))]}) for part in parts]
    if left_out:
        blocks[-1]["elements"].append({"type": "rich_text_section", "elements": [_run(f"+ {left_out:,} more")]})
    return blocks


def _notes(notes: Sequence[str], always: Sequence[str]) -> list[Json]:
    """Return one block of small print: as much of *notes* as fits, and all of *always*."""
    lines = [_clipped(note, _LONGEST_TEXT) or _WORDLESS for note in notes]
    shown = _fitting([_size(line) for line in lines], _MOST_IN_NOTES)
    if shown < len(lines):
        lines[shown:] = [f"+ {len(lines) - shown:,} more"]
    lines += always
    return [{"type": "context", "elements": [_plain("\n".join(lines))]}] if lines else []


# --- What they are made of --------------------------------------------------------------------------------------------


def _plain(text: str) -> Json:
    # Without `emoji`, the name `:skull:` stays a name.
    return {"type": "plain_text", "text": text, "emoji": False}


def _rich(element: Json) -> Json:
    return {"type": "rich_text", "elements": [element]}


def _run(text: str, *, bold: bool = False) -> Json:
    return {"type": "text", "text": text, **({"style": {"bold": True}} if bold else {})}


def _clipped(text: str, most: int) -> str:
    return clip(clean(text), most, by=units)


def _fitting(sizes: Sequence[int], room: int) -> int:
    """Return how many of *sizes*, from the first on, *room* is enough for."""
    return sum(taken <= room for taken in accumulate(sizes))


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _size(part: object) -> int:
    """Return what *part* takes of the characters a message may have."""
    return _length(json.dumps(part, ensure_ascii=False))
