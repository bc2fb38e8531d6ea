"""The console: a message as plain text of at most 80 columns, for whoever has no Slack, and for the demo.

Nothing that stands in a name can steer the terminal. Nothing is answered, edited or found again here.
"""

from typing import Final, TextIO

from reckon.core.messages import Fact, Message, Table, Tone
from reckon.core.outbox import Delivery, Outcome, Receipt
from reckon.errors import SinkError
from reckon.sinks.foreign import clean, clip, size, wrapped
from reckon.sinks.grid import lines_of

WIDTH: Final = 80
_MAY_REPEAT: Final = "(may repeat)"
_LONGEST_HEADLINE: Final = 150
_LONGEST_LABEL: Final = 20
_LONGEST_TEXT: Final = 1000
_INDENT: Final = "  "
_MARKS: Final = {Tone.ALARM: "●", Tone.CALM: "○", Tone.PLAIN: ""}
_IN_ASCII: Final = str.maketrans({"●": "*", "○": "o", "…": "~", "█": "#"})


class ConsoleSink:
    """Prints each message to *stream*."""

    name: Final = "console"
    has_threads: Final = False
    has_pace: Final = False
    can_look: Final = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def knows(self, receipt: Receipt) -> bool:
        """Return False: what was printed stays as it is."""
        del receipt
        return False

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Print *delivery* and an empty line.

        Raises:
            SinkError: the stream is closed, or took perhaps a part of it.
        """
        text = _for(self._stream, render(delivery.message, may_repeat=delivery.may_have_been_said) + "\n\n")
        try:
            self._stream.write(text)
            self._stream.flush()
        except ValueError:
            trouble = SinkError("the console is closed", outcome=Outcome.NOT_DELIVERED)
        except OSError as error:
            trouble = SinkError(f"the console failed: {error.strerror}", outcome=Outcome.AMBIGUOUS)
        else:
            return Receipt(place=self.name, name=str(delivery.id))
        raise trouble

    async def find(self, delivery: Delivery) -> Receipt | None:
        """Return None: what was printed nobody can read back, and `can_look` says so."""
        del delivery
        return None

    async def close(self) -> None:
        """Do nothing: the stream is not ours."""


def render(message: Message, *, may_repeat: bool = False) -> str:
    """Return *message* as lines of at most 80 columns, without a line break at the end."""
    notes = [clip(clean(note), _LONGEST_TEXT) for note in message.notes] + [_MAY_REPEAT] * may_repeat
    parts = (
        _headline(message) + _facts(message.facts),
        _table(message.table),
        [line for note in notes for line in _under(_INDENT, note)],
    )
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _headline(message: Message) -> list[str]:
    mark = _MARKS[message.tone]
    text = clip(clean(message.headline), _LONGEST_HEADLINE)
    return _under(f"{mark} " if mark else "", text)


def _facts(facts: tuple[Fact, ...]) -> list[str]:
    labels = [clip(clean(fact.label), _LONGEST_LABEL) for fact in facts]
    widest = max(map(size, labels), default=0)
    lines: list[str] = []
    for label, fact in zip(labels, facts, strict=True):
        lead = f"{_INDENT}{label}{' ' * (widest - size(label))}{_INDENT}"
        lines += _under(lead, clip(clean(fact.text), _LONGEST_TEXT))
    return lines


def _table(table: Table | None) -> list[str]:
    if table is None:
        return []
    return [f"{_INDENT}{line}".rstrip() for line in lines_of(table, WIDTH - len(_INDENT))]


def _under(lead: str, text: str) -> list[str]:
    """Return *text* in lines that begin below one another, the first of them after *lead*."""
    indent = size(lead)
    lines = wrapped(text, WIDTH - indent)
    return [f"{lead}{lines[0]}".rstrip(), *(" " * indent + line for line in lines[1:])]


def _for(stream: TextIO, text: str) -> str:
    """Return *text* as far as *stream* can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_IN_ASCII).encode(encoding, "replace").decode(encoding)
    return text
