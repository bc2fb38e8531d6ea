"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """How good it is. The value is what `reckon doctor --json` prints."""

    OK = "ok"
    WARNING = "warning"
    """It works, and a person should know."""
    WRONG = "wrong"
    """It does not work until a person has mended it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: str
    state: CheckState
    text: str
    advice: str = ""
    """What to do about it; empty where there is nothing to do."""
