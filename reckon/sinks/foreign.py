"""Text from outside, made fit to be shown in one line.

A name may hold anything: escape sequences, text that runs backwards, letters nobody can see, ten thousand accents on
one letter. What is shown is counted in graphemes, what a person would call one letter, and none is ever cut in two. A
grapheme is told here as far as a display needs it: a sign with its marks, a flag, a hand with its colour, a Korean
syllable. What joins signs unseen is dropped with all that is unseen, so a family of emoji comes out as its members.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final
from unicodedata import category, east_asian_width

MORE: Final = "…"
_MOST_MARKS: Final = 4
"""On one letter. Languages get by with three; more is decoration that runs into the lines around it."""


def clean(text: str, longest: int = 2000) -> str:
    """Return *text* as one line: blanks made single spaces, what is unseen or steers a display left out.

    Half a surrogate pair, which no encoding can carry, becomes U+FFFD. What follows the *longest* stretch that anyone
    has room for is not even read: an ellipsis stands for it.
    """
    if len(text) > longest:
        text = text[:longest] + MORE
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    seen = "".join(shown for sign in " ".join(text.split()) if (shown := _shown(sign)))
    whole = " ".join("".join(graphemes(seen)).split())
    # A mark with nothing below it would settle on whatever we put in front.
    return f"◌{whole}" if whole and _is_mark(whole[0]) else whole


def graphemes(text: str) -> Iterator[str]:
    """Yield the graphemes of *text*, marks beyond the most that one may have left out."""
    grapheme = ""
    for sign in text:
        if not grapheme:
            grapheme = sign
        elif not _goes_on(grapheme, sign):
            yield grapheme
            grapheme = sign
        elif len(grapheme) <= _MOST_MARKS:
            grapheme += sign
    if grapheme:
        yield grapheme


# --- Measures of a grapheme ------------------------------------------------------------------------------------------

Measure = Callable[[str], int]


def one(_grapheme: str) -> int:
    """Count graphemes."""
    return 1


def columns(grapheme: str) -> int:
    """Count the columns of a terminal, or of monospaced text."""
    if _is_mark(grapheme[0]):
        return 0
    is_wide = east_asian_width(grapheme[0]) in "WF" or "\ufe0f" in grapheme or _FLAG_PART.match(grapheme)
    return 2 if is_wide else 1


def units(grapheme: str) -> int:
    """Count UTF-16 code units: the largest count of characters that a service may make."""
    return len(grapheme) + sum(sign > "\uffff" for sign in grapheme)


def size(text: str, *, by: Measure = columns) -> int:
    """Return the measure of a clean *text*."""
    if text.isascii():
        return len(text)
    return sum(map(by, graphemes(text)))


def clip(text: str, most: int, *, by: Measure = one) -> str:
    """Return a clean *text* of at most *most*, which is 1 or more; what was cut short ends in an ellipsis."""
    if text.isascii():
        return text if len(text) <= most else text[: most - 1].rstrip() + MORE
    kept: list[str] = []
    taken = 0
    fits = 0
    for grapheme in graphemes(text):
        taken += by(grapheme)
        if taken > most:
            return "".join(kept[:fits]).rstrip() + MORE
        kept.append(grapheme)
        if taken < most:  # one is left for the ellipsis
            fits = len(kept)
    return "".join(kept)


def wrapped(text: str, width: int) -> list[str]:
    """Return a clean *text* in lines of at most *width* columns, 2 or more; a word is broken only if it must be."""
    lines: list[str] = []
    line, taken = "", 0
    for word in text.split(" "):
        for place, piece in enumerate(_broken(word, width)):
            wide = size(piece)
            if line and place == 0 and taken + 1 + wide <= width:
                line, taken = f"{line} {piece}", taken + 1 + wide
                continue
            if line:
                lines.append(line)
            line, taken = piece, wide
    return [*lines, line]


def _broken(word: str, width: int) -> Iterator[str]:
    """Yield *word* in pieces of at most *width* columns."""
    piece, taken = "", 0
    for grapheme in graphemes(word):
        wide = columns(grapheme)
        if taken + wide > width:
            yield piece
            piece, taken = "", 0
        piece, taken = piece + grapheme, taken + wide
    yield piece


_UNSEEN: Final = {"Cc", "Cf"}
# Letters, by Unicode's book, that show nothing: fillers of Korean, Khmer and Mongolian, and the joiner of graphemes.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_FLAG_PART: Final = re.compile("[\U0001f1e6-\U0001f1ff]")
_GOES_ON: Final = re.compile("[\u1161-\u11ff\U0001f3fb-\U0001f3ff]")
"""The later parts of a Korean syllable, and the colours of a hand."""


def _shown(sign: str) -> str:
    if " " <= sign <= "~":
        return sign
    kind = category(sign)
    if kind == "Cs":
        return "\ufffd"
    return "" if kind in _UNSEEN or sign in _BLANK else sign


def _goes_on(grapheme: str, sign: str) -> bool:
    if sign <= "~":
        return False
    is_second_half = len(grapheme) == 1 and _FLAG_PART.match(grapheme) and _FLAG_PART.match(sign)
    return bool(is_second_half or _is_mark(sign) or (grapheme > "~" and _GOES_ON.match(sign)))


def _is_mark(sign: str) -> bool:
    return sign > "~" and category(sign)[0] == "M"
