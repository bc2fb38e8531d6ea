"""Messages: what to say, free of any sink's markup.

A message is made where the decision is, from the numbers that made it, and is stored as it stands: what a person reads
an hour later is what was true then. How it looks, and what has to be escaped, is the affair of the sink; every name in
it is foreign text.
"""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How a message should catch the eye."""

    ALARM = "alarm"
    CALM = "calm"
    """Something has ended well."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Fact:
    """One line under the headline: `When`, `since 01:52 UTC, 14 min ago`."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of cells that are already text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[int, ...] = ()
    """The positions of the columns to align to the right."""


@dataclass(frozen=True, slots=True)
class Message:
    """What to say. The headline is also the push notification, so it says everything by itself."""

    headline: str
    tone: Tone = Tone.PLAIN
    facts: tuple[Fact, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    """Small print, below everything else."""
    mention: str | None = None
    """The Slack id of the person it concerns."""
